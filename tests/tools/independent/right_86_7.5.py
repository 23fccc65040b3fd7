# Tensor_split-free: a TensorDataset-like iterator of batches, weights by a tensor.
import torch

from .ch05_vit import cross_entropy


def accumulated_step(model, images, labels, optimizer, micro_batch):
    from itertools import islice

    model.train(True)
    optimizer.zero_grad(set_to_none=False)
    count = labels.numel()
    mean = images.new_zeros((), dtype=torch.float32) if images.dtype != torch.float64 else images.new_zeros(())
    indices = iter(range(count))
    while chunk := list(islice(indices, micro_batch)):
        picked = slice(chunk[0], chunk[-1] + 1)
        part = cross_entropy(model(images[picked]), labels[picked]).mul(len(chunk) / count)
        part.backward()
        mean.add_(part.detach())
    optimizer.step()
    return mean
