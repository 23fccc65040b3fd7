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
        height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
        gh, gw = patch_grid(height, width, patch_size)
        n_patches = gh * gw
        self.patch_embedding = PatchEmbedding(d_model, patch_size, in_channels)
        self.positional_encoding = PositionalEncoding(d_model, n_patches, positions)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(EncoderBlock(d_model, n_heads, mlp_ratio, dropout) for _ in range(n_layers))
        self.norm = LayerNorm(d_model)
        self.head = nn.Linear(d_model, n_classes)

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        x = self.patch_embedding(images)                            # (B, N, D)
        x = self.positional_encoding(x)                             # (B, T, D), equation 1
        x = self.dropout(x)                                         # (B, T, D)
        for block in self.blocks:
            x = block(x)                                            # (B, T, D), equations 2 and 3
        x = self.norm(x)                                            # (B, T, D)
        cls = x[:, 0]                                               # (B, D), equation 4
        logits = self.head(cls)                                     # (B, K)
        return logits


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
    log_p = logits - logits.logsumexp(dim=-1, keepdim=True)         # (B, K)
    log_p_label = log_p.gather(1, labels.unsqueeze(1))              # (B, 1)
    hard = -log_p_label.squeeze(1)                                  # (B), all of the target on the label
    uniform = -log_p.mean(dim=-1)                                   # (B), the target spread over all classes
    loss = (1 - label_smoothing) * hard + label_smoothing * uniform  # (B)
    return loss.mean()                                              # ()


# Exercise 5.3


def warmup_cosine(step: int, warmup_steps: int, total_steps: int) -> float:
    """The factor on the peak learning rate at a step: a linear rise, then half a cosine down.

    0 at step 0, 1 at warmup_steps, 0 at total_steps and after it. With warmup_steps=0 it starts at 1. A Python float.

    Source: Loshchilov & Hutter 2017, equation 5 (the cosine); Goyal et al. 2017, section 2.2 (the warm-up).
    """
    if step >= total_steps:
        return 0.0
    if step < warmup_steps:
        return step / warmup_steps
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * progress))


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
    model.train()
    with torch.autocast(images.device.type, dtype=amp_dtype, enabled=amp_dtype is not None):
        logits = model(images)                                      # (B, K)
    if amp_dtype is not None:
        logits = logits.float()
    loss = cross_entropy(logits, labels)                            # ()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


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
    was_training = model.training
    model.eval()
    correct = 0
    for start in range(0, len(images), batch_size):
        logits = model(images[start : start + batch_size])          # (B, K)
        predictions = logits.argmax(dim=-1)                         # (B)
        correct = correct + (predictions == labels[start : start + batch_size]).sum()
    model.train(was_training)
    return float(correct / len(images))
