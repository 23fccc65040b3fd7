"""Chapter 5: the model and its training.

Patches, tokens, a stack of encoder blocks, one more normalisation, and a linear layer that reads the class off the CLS
token. Then all that its training needs: a loss, a schedule, a step, a measure.

B batch size · C, H, W image channels, height, width · P patch size · N patches · T = N + 1 tokens · D = d_model ·
L encoder layers · K classes

Sources: Dosovitskiy et al. 2021 (arXiv:2010.11929), equations 1 to 4 and appendix B.1; Szegedy et al. 2016, "Rethinking
the Inception Architecture" (arXiv:1512.00567), section 7, for label smoothing; Loshchilov & Hutter 2017, "SGDR"
(arXiv:1608.03983), equation 5, for the cosine; Goyal et al. 2017 (arXiv:1706.02677), section 2.2, for the warm-up.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from .ch01_patches import PatchEmbedding, patch_grid
from .ch02_tokens import PositionalEncoding
from .ch04_encoder import EncoderBlock, LayerNorm

# Exercise 5.1


class VisionTransformer(nn.Module):
    """The Vision Transformer: images to logits, one per class, before any softmax.

    image_size is H = W as one number, or the pair (H, W).

    (B, C, H, W) -> (B, N, D) -> (B, T, D) -> (B, D) -> (B, K)

    Holds `patch_embedding`, `positional_encoding`, `blocks` (L encoder blocks), `norm` and `head` (an nn.Linear from D
    to K that reads the CLS token). Dropout follows the addition of the positions, and is handed on to every block.

    Raises ValueError, when the model is made, for sizes that don't fit: H or W not divisible by patch_size, or d_model
    not by n_heads.

    Not to be called here: nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerEncoder.

    Source: Dosovitskiy et al. 2021, figure 1, equations 1 to 4, appendix B.1 (dropout).
    """

    def __init__(
        self,
        image_size: int | tuple[int, int],
        patch_size: int,
        in_channels: int,
        n_classes: int,
        d_model: int,
        n_layers: int,
        n_heads: int,
        mlp_ratio: int = 4,
        positions: str = "sinusoidal",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        # 1. H and W, from image_size; gh and gw, from patch_grid, which raises the error; N
        # 2. self.patch_embedding, self.positional_encoding, and the dropout
        # 3. self.blocks, an nn.ModuleList of n_layers encoder blocks
        # 4. self.norm, self.head
        raise NotImplementedError("exercise 5.1 is yours to write; for a hint: vitcourse hint 5.1")

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        # 1. patches:                   (B, C, H, W) -> (B, N, D)
        # 2. CLS, positions, dropout:   (B, N, D) -> (B, T, D)
        # 3. block after block, norm:   (B, T, D)
        # 4. CLS alone:                 (B, T, D) -> (B, D)
        # 5. logits:                    (B, D) -> (B, K)
        raise NotImplementedError("exercise 5.1 is yours to write; for a hint: vitcourse hint 5.1")


# Exercise 5.2


def cross_entropy(
    logits: Float[Tensor, "B K"], labels: Int[Tensor, "B"], label_smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """The mean, over the batch, of -log p(label), where p is the softmax of the logits.

    log p comes from log-sum-exp, and so stays finite for logits of ±10,000. Label smoothing ε takes the share ε of the
    target from the label and spreads it evenly over all K classes, the label among them. The loss is in the logits'
    dtype or in float32.

    (B, K), (B) -> ()

    Not to be called here: nn.CrossEntropyLoss, F.cross_entropy. logsumexp and log_softmax may be.

    Source: Szegedy et al. 2016, section 7, for the smoothing.
    """
    # 1. log p of every class, from logsumexp:               (B, K)
    # 2. log p of the label:                                 (B, 1)
    # 3. the loss with all of the target on the label:       (B)
    # 4. the loss with the target spread over all classes:   (B)
    # 5. mix the two by label_smoothing:                     (B)
    # 6. the mean over the batch:                            ()
    raise NotImplementedError("exercise 5.2 is yours to write; for a hint: vitcourse hint 5.2")


# Exercise 5.3


def warmup_cosine(step: int, warmup_steps: int, total_steps: int) -> float:
    """The factor on the peak learning rate at a step: a linear rise, then half a cosine down.

    0 at step 0, 1 at warmup_steps, 0 at total_steps and after it. With warmup_steps=0 it starts at 1. A Python float.

    Source: Loshchilov & Hutter 2017, equation 5 (the cosine); Goyal et al. 2017, section 2.2 (the warm-up).
    """
    # three cases: at or after the end, before warmup_steps, between them
    raise NotImplementedError("exercise 5.3 is yours to write; for a hint: vitcourse hint 5.3")


# Exercise 5.4


def train_step(
    model: nn.Module,
    images: Float[Tensor, "B C H W"],
    labels: Int[Tensor, "B"],
    optimizer: torch.optim.Optimizer,
    amp_dtype: torch.dtype | None = None,
) -> Float[Tensor, ""]:
    """One step of optimisation: forward, loss, backward, update.

    In training mode. With amp_dtype (torch.bfloat16, say) the forward pass runs under autocast on the images' device,
    and the loss is computed from float32 logits. Returns the mean loss over the batch, from before the update, as a
    detached 0-d tensor on its device: nothing here waits for the GPU.

    (B, C, H, W), (B) -> ()

    Source: Dosovitskiy et al. 2021, section 4.1 and appendix B.1, for how the paper trains.
    """
    # 1. training mode
    # 2. forward, under torch.autocast when amp_dtype is given; its logits then as float32
    # 3. the loss
    # 4. clear the old gradients, compute the new; one optimizer step
    # 5. the loss, cut off from the graph
    raise NotImplementedError("exercise 5.4 is yours to write; for a hint: vitcourse hint 5.4")


# Exercise 5.5


@torch.no_grad()
def evaluate(
    model: nn.Module, images: Float[Tensor, "n C H W"], labels: Int[Tensor, "n"], batch_size: int
) -> float:
    """The accuracy of the model on n labelled images: the share, in [0, 1], whose largest logit is the label's.

    Batch by batch; the last one may be smaller. In evaluation mode and without gradients; the mode in which the model
    came is restored.

    (n, C, H, W), (n) -> a float

    Source: Dosovitskiy et al. 2021, section 4.1 ("Metrics").
    """
    # 1. remember the mode; switch to evaluation
    # 2. batch by batch: the class of the largest logit; count those that are right
    # 3. restore the mode
    # 4. divide by the number of images, not of batches
    raise NotImplementedError("exercise 5.5 is yours to write; for a hint: vitcourse hint 5.5")
