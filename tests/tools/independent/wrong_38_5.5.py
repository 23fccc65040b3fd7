# The model is always left in training mode, whatever mode the caller had.
import torch


@torch.no_grad()
def evaluate(model, images, labels, batch_size):
    model.eval()
    correct = 0
    for i in range(0, len(images), batch_size):
        pred = model(images[i : i + batch_size]).argmax(dim=1)
        correct += (pred == labels[i : i + batch_size]).sum().item()
    model.train()
    return correct / len(images)
