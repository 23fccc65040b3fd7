# A number added up with item().
def accumulated_step(model, images, labels, optimizer, micro_batch):
    model.train()
    optimizer.zero_grad()
    total = 0.0
    for x, y in zip(images.split(micro_batch), labels.split(micro_batch)):
        loss = cross_entropy(model(x), y) * (len(x) / len(images))
        loss.backward()
        total += loss.item()
    optimizer.step()
    return torch.tensor(total)
