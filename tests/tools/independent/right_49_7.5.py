# split; sums divided once by the whole batch; gradients cleared by hand.
def accumulated_step(model, images, labels, optimizer, micro_batch):
    model.train()
    for group in optimizer.param_groups:
        for p in group["params"]:
            p.grad = None
    n = images.size(0)
    losses = []
    for x, y in zip(images.split(micro_batch), labels.split(micro_batch)):
        loss = cross_entropy(model(x), y) * (x.size(0) / n)
        loss.backward()
        losses.append(loss.detach())
    optimizer.step()
    return torch.stack(losses).sum()
