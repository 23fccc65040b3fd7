# autocast is hard-coded to 'cuda', so on the CPU amp_dtype has no effect.
import torch


def train_step(model, images, labels, optimizer, amp_dtype=None):
    model.train()
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast("cuda", dtype=amp_dtype or torch.bfloat16, enabled=amp_dtype is not None):
        logits = model(images)
        loss = cross_entropy(logits.float(), labels)
    loss.backward()
    optimizer.step()
    return loss.detach()
