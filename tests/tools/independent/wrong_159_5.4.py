# .float() is called on the loss, not on the logits: the loss is computed from bf16 logits.
def train_step(model, images, labels, optimizer, amp_dtype=None):
    model.train()
    optimizer.zero_grad()
    if amp_dtype is not None:
        with torch.autocast(device_type=images.device.type, dtype=amp_dtype):
            output = model(images)
        loss = cross_entropy(output, labels).float()
    else:
        loss = cross_entropy(model(images), labels)
    loss.backward()
    optimizer.step()
    return loss.detach()
