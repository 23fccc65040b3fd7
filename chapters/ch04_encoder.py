"""Chapter 4: one encoder block.

Attention lets tokens exchange information; an MLP then works on each token alone. Each has a normalisation
before it and a residual connection around it. The transformer encoder is this block, repeated.

B batch size · T tokens · D = d_model · h heads · M = ratio·D, the hidden width of the MLP

Sources: Dosovitskiy et al. 2021 (arXiv:2010.11929), equations 2 and 3; Ba et al. 2016, "Layer Normalization"
(arXiv:1607.06450); Hendrycks & Gimpel 2016, "Gaussian Error Linear Units" (arXiv:1606.08415).
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .ch03_attention import MultiHeadAttention

# Exercise 4.1


class LayerNorm(nn.Module):
    """Give every token mean 0 and variance 1 over its D features; then scale and shift each feature.

    The variance is the biased one: the sum of the squared deviations, divided by D and not by D - 1.

    (…, D) -> (…, D)

    Holds the parameters `weight` (D), all ones at the start, and `bias` (D), all zeros. eps is added to the variance,
    under the root; the one that is passed is used.

    Not to be called here: nn.LayerNorm, F.layer_norm, nor another ready-made norm (batch, group, instance, RMS).

    Source: Ba et al. 2016, section 3, equations 3 and 4; eps=1e-6 as in the published ViT.
    """

    def __init__(self, d_model: int, eps: float = 1e-6) -> None:
        super().__init__()
        # self.weight, self.bias
        raise NotImplementedError("exercise 4.1 is yours to write; for a hint: vitcourse hint 4.1")

    def forward(self, x: Float[Tensor, "... D"]) -> Float[Tensor, "... D"]:
        # 1. the mean of each token:               (…, 1)
        # 2. the deviations from it:               (…, D)
        # 3. the biased variance:                  (…, 1)
        # 4. normalise, with eps under the root:   (…, D)
        # 5. scale and shift each feature:         (…, D)
        raise NotImplementedError("exercise 4.1 is yours to write; for a hint: vitcourse hint 4.1")


# Exercise 4.2


def gelu(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The Gaussian error linear unit, x·Φ(x), in its exact form: Φ(x) = (1 + erf(x / √2)) / 2.

    Any shape -> the same shape

    Not to be called here: nn.GELU, F.gelu.

    Source: Hendrycks & Gimpel 2016, section 2.
    """
    raise NotImplementedError("exercise 4.2 is yours to write; for a hint: vitcourse hint 4.2")


# Exercise 4.3


class MLP(nn.Module):
    """Two linear layers with a GELU between them, applied to every token alone.

    (…, D) -> (…, M) -> (…, D)

    Holds `fc1`, an nn.Linear from D to M = ratio·D, and `fc2`, one from M to D. Dropout follows the GELU and fc2.

    Source: Dosovitskiy et al. 2021, section 3.1 ("two layers with a GELU non-linearity") and appendix B.1 (dropout).
    """

    def __init__(self, d_model: int, ratio: int = 4, dropout: float = 0.0) -> None:
        super().__init__()
        # self.fc1, self.fc2, and the dropout
        raise NotImplementedError("exercise 4.3 is yours to write; for a hint: vitcourse hint 4.3")

    def forward(self, x: Float[Tensor, "... D"]) -> Float[Tensor, "... D"]:
        # 1. wider:           (…, D) -> (…, M)
        # 2. GELU, dropout:   (…, M)
        # 3. back:            (…, M) -> (…, D)
        # 4. dropout:         (…, D)
        raise NotImplementedError("exercise 4.3 is yours to write; for a hint: vitcourse hint 4.3")


# Exercise 4.4


class EncoderBlock(nn.Module):
    """One block of the transformer encoder, pre-norm: each branch reads normalised tokens and adds to the stream.

    z' = MSA(LN(z)) + z        (equation 2)
    z  = MLP(LN(z')) + z'      (equation 3)

    (B, T, D) -> (B, T, D)

    Holds `norm1`, `attention`, `norm2` and `mlp`. The norms are yours from 4.1 or nn.LayerNorm, with an eps of 1e-5 or
    of 1e-6. Dropout also comes at the end of the attention branch, before its residual addition, as in torchvision.

    Not to be called here: nn.MultiheadAttention, nn.TransformerEncoderLayer.

    Source: Dosovitskiy et al. 2021, equations 2 and 3.
    """

    def __init__(self, d_model: int, n_heads: int, mlp_ratio: int = 4, dropout: float = 0.0) -> None:
        super().__init__()
        # self.norm1, self.attention, self.norm2, self.mlp, and the dropout of the attention branch
        raise NotImplementedError("exercise 4.4 is yours to write; for a hint: vitcourse hint 4.4")

    def forward(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        # 1. the attention branch, added to its input (equation 2):   (B, T, D)
        # 2. the MLP branch, added to its input (equation 3):         (B, T, D)
        raise NotImplementedError("exercise 4.4 is yours to write; for a hint: vitcourse hint 4.4")
