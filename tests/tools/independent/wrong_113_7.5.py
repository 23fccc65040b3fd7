# The last incomplete micro-batch is dropped.
def accumulated_step(model, images, labels, optimizer, micro_batch):
    model.train()
    optimizer.zero_grad()
    micro_batch = min(micro_batch, len(images))
    total = 0
    for i in range(len(images) // micro_batch):
        part = slice(i * micro_batch, (i + 1) * micro_batch)
        loss = cross_entropy(model(images[part]), labels[part]) * micro_batch / len(images)
        loss.backward()
        total = total + loss.detach()
    optimizer.step()
    return total
