# Ignores micro_batch: the update is right, the memory is that of the whole batch.
def accumulated_step(model, images, labels, optimizer, micro_batch):
    model.train()
    optimizer.zero_grad()
    loss = cross_entropy(model(images), labels)
    loss.backward()
    optimizer.step()
    return loss.detach()
