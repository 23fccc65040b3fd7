# Ends in evaluation mode.
def accumulated_step(model, images, labels, optimizer, micro_batch):
    model.train()
    optimizer.zero_grad()
    total = torch.zeros(())
    for x, y in zip(images.split(micro_batch), labels.split(micro_batch)):
        loss = cross_entropy(model(x), y) * (len(x) / len(images))
        loss.backward()
        total += loss.detach()
    optimizer.step()
    model.eval()
    return total
