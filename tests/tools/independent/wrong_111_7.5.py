# One backward at the end: all graphs are alive at once.
def accumulated_step(model, images, labels, optimizer, micro_batch):
    model.train()
    optimizer.zero_grad()
    total = 0
    for x, y in zip(images.split(micro_batch), labels.split(micro_batch)):
        total = total + cross_entropy(model(x), y) * len(x) / len(images)
    total.backward()
    optimizer.step()
    return total.detach()
