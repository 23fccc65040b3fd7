# A step after every micro-batch.
def accumulated_step(model, images, labels, optimizer, micro_batch):
    model.train()
    total = 0
    for x, y in zip(images.split(micro_batch), labels.split(micro_batch)):
        optimizer.zero_grad()
        loss = cross_entropy(model(x), y) * len(x) / len(images)
        loss.backward()
        optimizer.step()
        total = total + loss.detach()
    return total
