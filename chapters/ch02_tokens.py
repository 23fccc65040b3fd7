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
    # 1. one CLS for each image:   (1, 1, D) -> (B, 1, D)
    # 2. in front of the tokens:   (B, 1, D), (B, N, D) -> (B, T, D)
    raise NotImplementedError("exercise 2.1 is yours to write; for a hint: vitcourse hint 2.1")


# Exercise 2.2


def sinusoidal_positions(n_positions: int, d_model: int) -> Float[Tensor, "n_positions D"]:
    """The sinusoidal position table, in float32: row p encodes position p by sines and cosines of D/2 frequencies.

    Column 2i is sin(p / 10000^(2i/D)); column 2i+1 is the cosine of the same angle. When D is odd, the last cosine is
    missing and the exponent still divides by D.

    -> (n_positions, D)

    Source: Vaswani et al. 2017, section 3.5.
    """
    # 1. the positions p as a column:   (n_positions, 1)
    # 2. the numbers 2i as a row:       (⌈D/2⌉)
    # 3. the angles:                    (n_positions, ⌈D/2⌉)
    # 4. sines into the even columns, cosines into the odd ones (one fewer when D is odd)
    raise NotImplementedError("exercise 2.2 is yours to write; for a hint: vitcourse hint 2.2")


# Exercise 2.3


def sinusoidal_positions_2d(grid: tuple[int, int], d_model: int) -> Float[Tensor, "gh*gw D"]:
    """The sinusoidal table of a grid of patches, row by row: half of the columns encode the row, half the column.

    The first D/2 columns are sinusoidal_positions, at width D/2, of the patch's row; the last D/2 those of its column.

    -> (gh·gw, D)

    Raises ValueError when D is not divisible by 4 (sine and cosine, of row and column).

    Source: Vaswani et al. 2017, section 3.5, once per axis; two-dimensional positions are compared with others in
    Dosovitskiy et al. 2021, appendix D.4.
    """
    # 1. the error for a d_model that doesn't fit
    # 2. a table for the rows, one for the columns:   (gh, D/2), (gw, D/2)
    # 3. from each table, one entry per patch:        (gh·gw, D/2) twice
    # 4. put them side by side:                       (gh·gw, D)
    raise NotImplementedError("exercise 2.3 is yours to write; for a hint: vitcourse hint 2.3")


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
        # 1. self.cls_token, a parameter:                            (1, 1, D)
        # 2. self.positions, a buffer or a parameter as asked for:   (1, T, D)
        # 3. the error for any other word
        raise NotImplementedError("exercise 2.4 is yours to write; for a hint: vitcourse hint 2.4")

    def forward(self, tokens: Float[Tensor, "B N D"]) -> Float[Tensor, "B T D"]:
        # 1. prepend:             (B, N, D) -> (B, T, D)
        # 2. add the positions:   (B, T, D)
        raise NotImplementedError("exercise 2.4 is yours to write; for a hint: vitcourse hint 2.4")


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
    # 1. the row of CLS apart from the rest:   (1, 1, D), (1, gh·gw, D)
    # 2. the rest as an image of D channels:   (1, gh·gw, D) -> (1, D, gh, gw)
    # 3. resize (F.interpolate):               (1, D, gh, gw) -> (1, D, gh', gw')
    # 4. back to rows:                         (1, D, gh', gw') -> (1, gh'·gw', D)
    # 5. CLS in front again:                   (1, 1 + gh'·gw', D)
    raise NotImplementedError("exercise 2.5 is yours to write; for a hint: vitcourse hint 2.5")
