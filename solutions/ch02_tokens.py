"""Chapter 2: a sequence gets a summary token and an order.

Attention treats its tokens as a set. So each token is told where it stands, by a vector that is added to it. And one
more token, CLS, is put in front: it has no patch of its own, and will carry the summary that the classifier reads.

B batch size · gh, gw patch grid · N = gh·gw patches · T = N + 1 tokens, CLS first · D = d_model

Sources: Dosovitskiy et al. 2021 (arXiv:2010.11929), section 3.1 and equation 1; Vaswani et al. 2017, "Attention Is All
You Need" (arXiv:1706.03762), section 3.5.
"""

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn

# Exercise 2.1


def prepend_cls(tokens: Float[Tensor, "B N D"], cls_token: Float[Tensor, "1 1 D"]) -> Float[Tensor, "B T D"]:
    """Put the CLS token in front of every sequence of the batch.

    All images share the one parameter. Expanding, repeating and broadcasting are equally right.

    (B, N, D), (1, 1, D) -> (B, T, D)

    Source: Dosovitskiy et al. 2021, equation 1 (x_class).
    """
    batch_size = tokens.shape[0]
    cls_tokens = cls_token.expand(batch_size, -1, -1)               # (B, 1, D), a view
    tokens = torch.cat([cls_tokens, tokens], dim=1)                 # (B, T, D)
    return tokens


# Exercise 2.2


def sinusoidal_positions(n_positions: int, d_model: int) -> Float[Tensor, "n_positions D"]:
    """The sinusoidal position table, in float32: row p encodes position p by sines and cosines of D/2 frequencies.

    Column 2i is sin(p / 10000^(2i/D)); column 2i+1 is the cosine of the same angle. When D is odd, the last cosine is
    missing and the exponent still divides by D.

    -> (n_positions, D)

    Source: Vaswani et al. 2017, section 3.5.
    """
    positions = torch.arange(n_positions).unsqueeze(1)              # (n_positions, 1)
    even_columns = torch.arange(0, d_model, 2)                      # (⌈D/2⌉), the numbers 2i
    angles = positions / 10000 ** (even_columns / d_model)          # (n_positions, ⌈D/2⌉)
    table = torch.zeros(n_positions, d_model)                       # (n_positions, D)
    table[:, 0::2] = angles.sin()
    table[:, 1::2] = angles.cos()[:, : d_model // 2]
    return table


# Exercise 2.3


def sinusoidal_positions_2d(grid: tuple[int, int], d_model: int) -> Float[Tensor, "gh*gw D"]:
    """The sinusoidal table of a grid of patches, row by row: half of the columns encode the row, half the column.

    The first D/2 columns are sinusoidal_positions, at width D/2, of the patch's row; the last D/2 those of its column.

    -> (gh·gw, D)

    Raises ValueError when D is not divisible by 4 (sine and cosine, of row and column).

    Source: Vaswani et al. 2017, section 3.5, once per axis; two-dimensional positions are compared with others in
    Dosovitskiy et al. 2021, appendix D.4.
    """
    if d_model % 4:
        raise ValueError(f"d_model must be divisible by 4, not {d_model}")
    gh, gw = grid
    rows = sinusoidal_positions(gh, d_model // 2)                   # (gh, D/2)
    columns = sinusoidal_positions(gw, d_model // 2)                # (gw, D/2)
    rows = repeat(rows, "gh d -> (gh gw) d", gw=gw)                 # (gh·gw, D/2)
    columns = repeat(columns, "gw d -> (gh gw) d", gh=gh)           # (gh·gw, D/2)
    table = torch.cat([rows, columns], dim=1)                       # (gh·gw, D)
    return table


# Exercise 2.4


class PositionalEncoding(nn.Module):
    """Prepend CLS and add the positions: the z_0 of equation 1.

    (B, N, D) -> (B, T, D)

    Holds `cls_token`, a parameter (1, 1, D), and `positions` (1, T, D): with "sinusoidal" a buffer, the sinusoidal
    table of T positions in which CLS has row 0; with "learned" a parameter. Both are in the state dict. Parameters
    start as normal noise of mean 0 and standard deviation 0.02; `cls_token` may also start as zeros.

    Raises ValueError when positions is any other word.

    Source: Dosovitskiy et al. 2021, equation 1 (E_pos).
    """

    def __init__(self, d_model: int, n_patches: int, positions: str = "sinusoidal") -> None:
        super().__init__()
        n_tokens = n_patches + 1
        self.cls_token = nn.Parameter(0.02 * torch.randn(1, 1, d_model))                # (1, 1, D)
        if positions == "sinusoidal":
            table = sinusoidal_positions(n_tokens, d_model)                             # (T, D)
            self.register_buffer("positions", table.unsqueeze(0))                       # (1, T, D)
        elif positions == "learned":
            self.positions = nn.Parameter(0.02 * torch.randn(1, n_tokens, d_model))     # (1, T, D)
        else:
            raise ValueError(f'positions must be "sinusoidal" or "learned", not {positions!r}')

    def forward(self, tokens: Float[Tensor, "B N D"]) -> Float[Tensor, "B T D"]:
        x = prepend_cls(tokens, self.cls_token)                     # (B, T, D)
        x = x + self.positions                                      # (B, T, D)
        return x


# Exercise 2.5


def resize_positions(
    positions: Float[Tensor, "1 1+gh*gw D"], grid: tuple[int, int], new_grid: tuple[int, int]
) -> Float[Tensor, "1 1+new_gh*new_gw D"]:
    """Fit the positions of one patch grid to another, so that a trained model can read images of another size.

    The row of CLS stays as it is. The rest is read as an image of D channels and resized to new_grid by bicubic
    interpolation (align_corners=False, no antialiasing).

    (1, 1 + gh·gw, D) -> (1, 1 + gh'·gw', D)

    Source: Dosovitskiy et al. 2021, section 3.2 ("Fine-tuning and higher resolution").
    """
    gh, gw = grid
    cls_row = positions[:, :1]                                      # (1, 1, D)
    patch_rows = positions[:, 1:]                                   # (1, gh·gw, D)
    x = rearrange(patch_rows, "1 (gh gw) D -> 1 D gh gw", gh=gh, gw=gw)             # (1, D, gh, gw)
    x = F.interpolate(x, size=new_grid, mode="bicubic", align_corners=False)        # (1, D, gh', gw')
    patch_rows = rearrange(x, "1 D gh gw -> 1 (gh gw) D")           # (1, gh'·gw', D)
    return torch.cat([cls_row, patch_rows], dim=1)                  # (1, 1 + gh'·gw', D)
