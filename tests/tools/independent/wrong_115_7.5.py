# The graph of each micro-batch is retained, and the total holds on to it.
def accumulated_step(model, images, labels, optimizer, micro_batch):
    model.train()
    optimizer.zero_grad()
    losses = []
    for x, y in zip(images.split(micro_batch), labels.split(micro_batch)):
        losses.append(cross_entropy(model(x), y) * len(x) / len(images))
        losses[-1].backward(retain_graph=True)
    optimizer.step()
    return sum(losses).detach()
