# The mean of the micro-batches' means.
def accumulated_step(model, images, labels, optimizer, micro_batch):
    model.train()
    optimizer.zero_grad()
    n = -(-len(images) // micro_batch)
    total = 0
    for x, y in zip(images.split(micro_batch), labels.split(micro_batch)):
        loss = cross_entropy(model(x), y) / n
        loss.backward()
        total = total + loss.detach()
    optimizer.step()
    return total
