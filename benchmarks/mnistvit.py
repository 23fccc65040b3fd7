"""The recipe of another package for MNIST, mnistvit 1.5.0 on PyPI, written anew from its documented defaults.

11 million parameters and 60 epochs, image by image on the CPU. In float32, where the package takes bfloat16: on a CPU
without units for it a step takes eight times as long with it.
"""

from collections.abc import Iterator
from typing import Any

import torch
from contenders import mnist_pictures, tutorial_loop
from torch import Tensor, nn
from torch.utils.data import DataLoader

EPOCHS, BATCH_SIZE, RESTART = 60, 32, 22
PATCH_SIZE, N_HEADS, D_HEAD, N_LAYERS, HIDDEN, HEAD, DROPOUT = 4, 28, 15, 9, 615, 88, 0.06


class MnistVit(nn.Module):
    """Its model: torch's own encoder, pre-norm, between patches cut by Unfold and a head of two layers."""

    def __init__(self) -> None:
        super().__init__()
        d_model, n_patches = N_HEADS * D_HEAD, (28 // PATCH_SIZE) ** 2
        self.unfold = nn.Unfold(PATCH_SIZE, stride=PATCH_SIZE)
        self.projection = nn.Linear(PATCH_SIZE**2, d_model)
        self.cls_token = nn.Parameter(torch.randn(1, 1, d_model))
        self.positions = nn.Parameter(torch.randn(1, n_patches + 1, d_model))
        self.dropout = nn.Dropout(DROPOUT)
        layer = nn.TransformerEncoderLayer(
            d_model, N_HEADS, HIDDEN, DROPOUT, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, N_LAYERS, nn.LayerNorm(d_model), enable_nested_tensor=False)
        self.head = nn.Sequential(nn.Linear(d_model, HEAD), nn.GELU(), nn.Dropout(DROPOUT), nn.Linear(HEAD, 10))

    def forward(self, images: Tensor) -> Tensor:
        """(B, 1, 28, 28) -> (B, K)."""
        x = self.projection(self.unfold(images).transpose(1, 2))  # (B, N, D)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)  # (B, T, D)
        x = self.encoder(self.dropout(x + self.positions))  # (B, T, D)
        logits: Tensor = self.head(x[:, 0])  # (B, K)
        return logits


def mnistvit_loader(n_images: int | None) -> DataLoader[Any]:
    """Its batches: each image turned, moved and scaled while it is a picture, then a tensor."""
    from torchvision.transforms import v2

    transform = v2.Compose([
        v2.RandomAffine(degrees=16, translate=(0.1, 0.1), scale=(0.9, 1.1)),
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize((0.1307,), (0.3081,)),
    ])  # fmt: skip
    return DataLoader(mnist_pictures(transform, n_images), BATCH_SIZE, shuffle=True)


def mnistvit_loop(model: nn.Module, loader: DataLoader[Any]) -> Iterator[None]:
    """Its loop: AdamW, and a cosine that starts anew after 22 epochs, moved on at each step."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, RESTART)
    return tutorial_loop(model, loader, optimizer, schedule)
