# Gradients of each micro-batch by torch.autograd.grad, summed outside of .grad.
def accumulated_step(model, images, labels, optimizer, micro_batch):
    model.train(True)
    parameters = [p for p in model.parameters() if p.requires_grad]
    sums = [torch.zeros_like(p) for p in parameters]
    total, first, n = 0, 0, len(labels)
    while first < n:
        last = min(n, first + micro_batch)
        loss = cross_entropy(model(images[first:last]), labels[first:last])
        weight = (last - first) / n
        for s, g in zip(sums, torch.autograd.grad(loss, parameters)):
            s += weight * g
        total = total + weight * loss.detach()
        first = last
    for p, s in zip(parameters, sums):
        p.grad = s
    optimizer.step()
    return total
