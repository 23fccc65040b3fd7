"""Chapter 3: tokens look at each other.

Every token asks a question (its query), offers a label (its key) and carries content (its value). Attention compares
each query with every key and mixes the values accordingly. Several heads do this side by side.

B batch size · T tokens, Tq and Tk where queries and keys may differ in number · D = d_model · h heads ·
dh = D/h width of a head, dv the width of a value where it may differ

Sources: Vaswani et al. 2017, "Attention Is All You Need" (arXiv:1706.03762), section 3.2; Dosovitskiy et al. 2021
(arXiv:2010.11929), appendix A.
"""

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

# Exercise 3.1


def scaled_dot_product_attention(
    q: Float[Tensor, "... Tq dh"], k: Float[Tensor, "... Tk dh"], v: Float[Tensor, "... Tk dv"]
) -> tuple[Float[Tensor, "... Tq dv"], Float[Tensor, "... Tq Tk"]]:
    """Attention(Q, K, V) = softmax(Q·Kᵀ / √dh)·V; returns the output and the attention weights.

    Row i of the weights says how much query i takes from each value; it sums to 1.

    (…, Tq, dh), (…, Tk, dh), (…, Tk, dv) -> output (…, Tq, dv), weights (…, Tq, Tk)

    Not to be called here: F.scaled_dot_product_attention, nn.MultiheadAttention.

    Source: Vaswani et al. 2017, section 3.2.1, equation 1.
    """
    # 1. scores, each query with each key:        (…, Tq, Tk)
    # 2. scale them:                              (…, Tq, Tk)
    # 3. weights, a softmax (over which axis?):   (…, Tq, Tk)
    # 4. output, the values mixed:                (…, Tq, dv)
    raise NotImplementedError("exercise 3.1 is yours to write; for a hint: vitcourse hint 3.1")


# Exercise 3.2


class AttentionHead(nn.Module):
    """One head of self-attention: queries, keys and values are three projections of the same tokens.

    (B, T, D) -> output (B, T, dh), weights (B, T, T)

    Holds `query`, `key` and `value`, each an nn.Linear from D to dh with a bias.

    Not to be called here: nn.MultiheadAttention.

    Source: Vaswani et al. 2017, section 3.2.2; Dosovitskiy et al. 2021, appendix A, equations 5 to 7.
    """

    def __init__(self, d_model: int, d_head: int) -> None:
        super().__init__()
        # self.query, self.key, self.value
        raise NotImplementedError("exercise 3.2 is yours to write; for a hint: vitcourse hint 3.2")

    def forward(self, x: Float[Tensor, "B T D"]) -> tuple[Float[Tensor, "B T dh"], Float[Tensor, "B T T"]]:
        # 1. project three times:   (B, T, D) -> three times (B, T, dh)
        # 2. attend (3.1):          (B, T, dh), and the weights (B, T, T)
        raise NotImplementedError("exercise 3.2 is yours to write; for a hint: vitcourse hint 3.2")


# Exercise 3.3


def split_heads(x: Float[Tensor, "B T D"], n_heads: int) -> Float[Tensor, "B h T dh"]:
    """Give every head its slice of the width: head 0 the first dh columns, head 1 the next dh, and so on.

    (B, T, D) -> (B, h, T, dh)

    Source: Vaswani et al. 2017, section 3.2.2.
    """
    raise NotImplementedError("exercise 3.3 is yours to write; for a hint: vitcourse hint 3.3")


def merge_heads(x: Float[Tensor, "B h T dh"]) -> Float[Tensor, "B T D"]:
    """Put the heads side by side again: the exact inverse of split_heads.

    (B, h, T, dh) -> (B, T, D)

    Source: Vaswani et al. 2017, section 3.2.2 (Concat).
    """
    raise NotImplementedError("exercise 3.3 is yours to write; for a hint: vitcourse hint 3.3")


# Exercise 3.4


class MultiHeadAttention(nn.Module):
    """Multi-head self-attention, every head at once: MSA of the paper.

    No Python loop runs over the heads: the number of matrix products and softmaxes doesn't grow with h.

    (B, T, D) -> (B, T, D); with return_weights=True -> output (B, T, D), weights (B, h, T, T)

    Holds `qkv`, an nn.Linear from D to 3·D whose output is all queries, then all keys, then all values, the heads one
    after the other within each; and `out`, an nn.Linear from D to D that mixes the heads. Both have biases.

    Raises ValueError when D is not divisible by n_heads.

    Not to be called here: nn.MultiheadAttention. F.scaled_dot_product_attention may be, where no weights are asked for.

    Source: Vaswani et al. 2017, section 3.2.2; Dosovitskiy et al. 2021, appendix A, equation 8.
    """

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        # 1. the error for a width that the heads can't share
        # 2. self.qkv, self.out
        raise NotImplementedError("exercise 3.4 is yours to write; for a hint: vitcourse hint 3.4")

    def forward(
        self, x: Float[Tensor, "B T D"], return_weights: bool = False
    ) -> Float[Tensor, "B T D"] | tuple[Float[Tensor, "B T D"], Float[Tensor, "B h T T"]]:
        # 1. project:            (B, T, D) -> (B, T, 3·D)
        # 2. cut in three:       (B, T, 3·D) -> three times (B, T, D)
        # 3. split into heads:   three times (B, h, T, dh)
        # 4. attend (3.1):       (B, h, T, dh), and the weights (B, h, T, T)
        # 5. merge the heads:    (B, h, T, dh) -> (B, T, D)
        # 6. mix them:           (B, T, D)
        raise NotImplementedError("exercise 3.4 is yours to write; for a hint: vitcourse hint 3.4")
