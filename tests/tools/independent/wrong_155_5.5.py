# >= for ==: right where the label is no larger.
import torch


@torch.no_grad()
def evaluate(model, images, labels, batch_size):
    was_training = model.training
    model.eval()
    correct = 0
    for start in range(0, len(images), batch_size):
        x = images[start : start + batch_size]
        y = labels[start : start + batch_size]
        predicted = model(x).argmax(dim=1)
        correct += (predicted >= y).sum().item()
    model.train(was_training)
    return correct / len(images)
