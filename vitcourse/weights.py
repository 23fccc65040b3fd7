"""Published weights into a model of this course: torchvision's ViTs, name by name and shape by shape.

Works on the reference's VisionTransformer and on a learner's, since the names of their parts are the contract's. The
model must have learned positions, as the published ones have.
"""

import math
import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vitcourse.codesets import load_code

# torchvision's name of a part -> ours. What follows (.weight, .bias) is the same in both.
_PARTS = (
    (r"class_token", "positional_encoding.cls_token"),
    (r"conv_proj\.(weight|bias)", r"patch_embedding.projection.\1"),
    (r"encoder\.pos_embedding", "positional_encoding.positions"),
    (r"encoder\.layers\.encoder_layer_(\d+)\.ln_([12])\.(weight|bias)", r"blocks.\1.norm\2.\3"),
    (r"encoder\.layers\.encoder_layer_(\d+)\.self_attention\.in_proj_(weight|bias)", r"blocks.\1.attention.qkv.\2"),
    (r"encoder\.layers\.encoder_layer_(\d+)\.self_attention\.out_proj\.(weight|bias)", r"blocks.\1.attention.out.\2"),
    (r"encoder\.layers\.encoder_layer_(\d+)\.mlp\.(?:0|linear_1)\.(weight|bias)", r"blocks.\1.mlp.fc1.\2"),
    (r"encoder\.layers\.encoder_layer_(\d+)\.mlp\.(?:3|linear_2)\.(weight|bias)", r"blocks.\1.mlp.fc2.\2"),
    (r"encoder\.ln\.(weight|bias)", r"norm.\1"),
    (r"heads\.head\.(weight|bias)", r"head.\1"),
)


def load_torchvision_weights(
    model: nn.Module, state_dict: Mapping[str, Tensor], grid: tuple[int, int] | None = None
) -> None:
    """Load the state dict of a torchvision VisionTransformer, such as vit_b_16, into one of this course.

    Every parameter must be given, and each must fit; otherwise nothing is loaded. With grid, the model's patch grid
    (gh, gw), positions of another, square grid are resized to it by exercise 2.5: so weights that were trained at one
    resolution are used at another.

    Raises ValueError naming each parameter that is missing, unknown or of another shape.

    Source of the names: torchvision.models.VisionTransformer; of the resizing: Dosovitskiy et al. 2021, section 3.2.
    """
    given = {our_name(name): tensor for name, tensor in state_dict.items()}
    expected = model.state_dict()
    if "positional_encoding.positions" not in dict(model.named_parameters()):
        raise ValueError('published weights need a model with positions="learned"')
    if grid is not None:
        given["positional_encoding.positions"] = _resized(given["positional_encoding.positions"], grid)

    faults = [f"{name}: missing from the weights" for name in expected if name not in given]
    faults += [f"{name}: the model has no such part" for name in given if name not in expected]
    faults += [
        f"{name}: the model's shape is {tuple(expected[name].shape)}, that of the weights {tuple(tensor.shape)}"
        for name, tensor in given.items()
        if name in expected and expected[name].shape != tensor.shape
    ]
    if faults:
        raise ValueError("these weights don't fit the model:\n  " + "\n  ".join(faults))
    with torch.no_grad():
        for name, tensor in given.items():
            expected[name].copy_(tensor)


def our_name(name: str) -> str:
    """The name of torchvision's parameter in this course; a name that isn't torchvision's comes back as it is."""
    for pattern, ours in _PARTS:
        if re.fullmatch(pattern, name):
            return re.sub(pattern, ours, name)
    return name


def _resized(positions: Tensor, grid: tuple[int, int]) -> Tensor:
    side = math.isqrt(positions.shape[1] - 1)
    if side * side != positions.shape[1] - 1:
        raise ValueError(f"the weights' {positions.shape[1] - 1} positions are not those of a square patch grid")
    resize = load_code("solutions").module("ch02_tokens").resize_positions
    resized: Tensor = resize(positions, (side, side), grid)
    return resized
