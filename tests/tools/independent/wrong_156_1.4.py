# Torch.set_grad_enabled(False) as a statement leaves gradients off for the whole program.
def conv_to_linear(conv):
    d, c, p, _ = conv.weight.shape
    linear = nn.Linear(c * p * p, d, device=conv.weight.device, dtype=conv.weight.dtype)
    torch.set_grad_enabled(False)
    linear.weight.copy_(conv.weight.flatten(1))
    linear.bias.copy_(conv.bias)
    return linear
