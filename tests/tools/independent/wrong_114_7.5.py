# Gradients are cleared after the step, and not before the first backward.
def accumulated_step(model, images, labels, optimizer, micro_batch):
    model.train()
    total = 0
    for x, y in zip(images.split(micro_batch), labels.split(micro_batch)):
        loss = cross_entropy(model(x), y) * len(x) / len(images)
        loss.backward()
        total = total + loss.detach()
    optimizer.step()
    optimizer.zero_grad()
    return total
