# Gradients are added with weights of images and divided at the end, before the step.
def accumulated_step(model, images, labels, optimizer, micro_batch):
    optimizer.zero_grad(set_to_none=False)
    model.train()
    total = torch.zeros((), device=images.device, dtype=torch.float64)
    for start in range(0, images.shape[0], micro_batch):
        batch = images[start : start + micro_batch]
        loss = cross_entropy(model(batch), labels[start : start + micro_batch]) * batch.shape[0]
        loss.backward()
        with torch.no_grad():
            total += loss
        del loss
    for p in model.parameters():
        if p.grad is not None:
            p.grad /= images.shape[0]
    optimizer.step()
    return (total / images.shape[0]).float()
