# Requires_grad_(False) on the convolution that was passed: it stays frozen.
def conv_to_linear(conv):
    conv.requires_grad_(False)
    d, c, p, _ = conv.weight.shape
    linear = nn.Linear(c * p * p, d, device=conv.weight.device, dtype=conv.weight.dtype)
    linear.weight.data.copy_(conv.weight.flatten(1))
    linear.bias.data.copy_(conv.bias)
    return linear
