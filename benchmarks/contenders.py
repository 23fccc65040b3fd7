"""The Vision Transformers that the benchmarks hold beside the course's: other people's, made to the same measures.

All have a CLS token, learned positions, pre-norm blocks with biases, GELU, an MLP of 4·D, a last normalisation and a
linear head, where they leave the choice; what a library does otherwise, it does here too, and its number of parameters
shows it. No dropout anywhere. Last stands mnistvit, another package's recipe for MNIST, which has measures of its own.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import astuple, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from vitcourse.codesets import load_code
from vitcourse.data import data_root
from vitcourse.training.devices import operations
from vitcourse.training.kernels import PARTS, twin_of
from vitcourse.training.preparation import Setup

RATIO = 4


@dataclass(frozen=True)
class Size:
    """The measures of a model and of the batch that it reads. image_size is H = W."""

    image_size: int
    patch_size: int
    channels: int
    n_classes: int
    d_model: int
    n_layers: int
    n_heads: int
    batch_size: int = 0
    gpu_batch_size: int = 0

    def by(self, names: str) -> dict[str, int]:
        """The measures of a model under a library's names for them, in the order of the fields."""
        return dict(zip(names.split(), astuple(self), strict=False))

    @property
    def n_patches(self) -> int:
        """N, the patches of an image."""
        return (self.image_size // self.patch_size) ** 2

    @property
    def flops(self) -> int:
        """Floating-point operations of a forward and a backward pass, for one image; see FORMULA."""
        n, d = self.n_patches, self.d_model
        embedding = 2 * n * self.channels * self.patch_size**2 * d
        return operations(n + 1, d, self.n_layers, RATIO) + 3 * 2 * d * self.n_classes + 2 * embedding


FORMULA = (
    "3 · (L · (2·T·12·D² + 4·T²·D) + 2·D·K) + 4·N·C·P²·D an image: a multiplication and an addition for each weight "
    "and token (12·D² weights in a block whose MLP is 4·D wide), the two products of attention, the head and the patch "
    "embedding; the backward pass counts twice the forward pass, but for the pixels, whose gradient nobody needs"
)

# What data sheets promise for bf16, dense, in FLOP/s: by a word in the card's name.
DATA_SHEETS = {"H100 PCIe": 756e12, "H100": 989e12, "H200": 989e12, "A100": 312e12, "L4": 121e12, "4090": 165e12}


def data_sheet(card: str) -> float | None:
    """The peak of a card, where it is known."""
    return next((peak for word, peak in DATA_SHEETS.items() if word in card), None)


SIZES = {
    "a": Size(28, 7, 1, 10, 64, 4, 4, batch_size=128, gpu_batch_size=4096),
    "b": Size(32, 4, 3, 10, 192, 6, 3, batch_size=32, gpu_batch_size=1024),
    "c": Size(224, 16, 3, 1000, 768, 12, 12, batch_size=8, gpu_batch_size=256),
}


def size_of(setup: Setup) -> Size:
    """The measures of the model that a run trains."""
    arguments = setup.model_arguments
    names = ("patch_size", "in_channels", "n_classes", "d_model", "n_layers", "n_heads")
    return Size(arguments["image_size"][0], *(arguments[name] for name in names))


def ours(size: Size) -> nn.Module:
    """The reference of this course, with the learned positions that its peers have."""
    vit = load_code("solutions").module("ch05_vit").VisionTransformer
    sizes = size.by("image_size patch_size in_channels n_classes d_model n_layers n_heads")
    model: nn.Module = vit(**sizes, mlp_ratio=RATIO, positions="learned")
    return model


def ours_fused(size: Size, parts: Collection[str] = PARTS) -> nn.Module:
    """The same as `vitcourse train` computes it, if not told otherwise: equal logits and gradients with less work."""
    images = torch.randn(2, size.channels, size.image_size, size.image_size)
    return twin_of(ours(size), images, size.n_heads, 0.0, parts)[0]


def torchvision(size: Size) -> nn.Module:
    """The VisionTransformer of torchvision. Its projection reads three channels, so another takes its place."""
    from torchvision.models import VisionTransformer

    model = VisionTransformer(
        size.image_size,
        size.patch_size,
        size.n_layers,
        size.n_heads,
        size.d_model,
        RATIO * size.d_model,
        num_classes=size.n_classes,
    )
    model.conv_proj = nn.Conv2d(size.channels, size.d_model, size.patch_size, size.patch_size)
    # The head starts at zero there, and a zero gradient might be cheaper than any other.
    nn.init.normal_(model.heads.head.weight, std=0.02)
    return model


def timm(size: Size) -> nn.Module:
    """The VisionTransformer of timm."""
    from timm.models import VisionTransformer

    sizes = size.by("img_size patch_size in_chans num_classes embed_dim depth num_heads")
    model: nn.Module = VisionTransformer(**sizes, mlp_ratio=RATIO)
    return model


def transformers_vit(size: Size) -> nn.Module:
    """The ViTForImageClassification of transformers; only its logits go on."""
    from transformers import ViTConfig, ViTForImageClassification

    sizes = size.by("image_size patch_size num_channels num_labels hidden_size num_hidden_layers num_attention_heads")
    without = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config = ViTConfig(**sizes, **without, intermediate_size=RATIO * size.d_model, layer_norm_eps=1e-6)
    model: nn.Module = ViTForImageClassification(config)
    model.register_forward_hook(lambda _model, _inputs, answer: answer.logits)
    return model


def vit_pytorch(kind: str, size: Size) -> nn.Module:
    """A model of vit-pytorch.

    ViT: normalisations around its patch embedding, no biases for queries, keys and values. SimpleViT: no CLS token but
    the mean over all patches, and fixed positions.
    """
    import vit_pytorch

    sizes = size.by("image_size patch_size channels num_classes dim depth heads")
    model: nn.Module = getattr(vit_pytorch, kind)(
        **sizes, dim_head=size.d_model // size.n_heads, mlp_dim=RATIO * size.d_model
    )
    return model


def torch_encoder(size: Size) -> nn.Module:
    """torch.nn.TransformerEncoder between this course's patches and its head."""
    model: Any = ours(size)
    layer = nn.TransformerEncoderLayer(
        size.d_model,
        size.n_heads,
        RATIO * size.d_model,
        dropout=0.0,
        activation="gelu",
        layer_norm_eps=1e-6,
        batch_first=True,
        norm_first=True,
    )
    norm = nn.LayerNorm(size.d_model, eps=1e-6)
    model.blocks = nn.ModuleList([nn.TransformerEncoder(layer, size.n_layers, norm, enable_nested_tensor=False)])
    model.norm = nn.Identity()
    return model


class TutorialAttention(nn.Module):
    """The heads in a Python loop, one after the other; each is exercise 3.2."""

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        head = load_code("solutions").module("ch03_attention").AttentionHead
        self.heads = nn.ModuleList(head(d_model, d_model // n_heads) for _ in range(n_heads))
        self.out = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        mixed: Tensor = self.out(torch.cat([head(x)[0] for head in self.heads], dim=-1))
        return mixed


def tutorial(size: Size) -> nn.Module:
    """A Vision Transformer as most tutorials write it: its heads in a Python loop, the rest torch's own layers."""
    model: Any = ours(size)
    for block in model.blocks:
        block.norm1, block.norm2 = (nn.LayerNorm(size.d_model, eps=1e-6) for _ in range(2))
        block.attention = TutorialAttention(size.d_model, size.n_heads)
        wide = RATIO * size.d_model
        block.mlp = nn.Sequential(nn.Linear(size.d_model, wide), nn.GELU(), nn.Linear(wide, size.d_model))
    model.norm = nn.LayerNorm(size.d_model, eps=1e-6)
    return model


def mnist_pictures(transform: Any, n_images: int | None = None) -> Subset[Any]:
    """MNIST's training images, or the first of them, as most code has them: each made anew when it is asked for."""
    from torchvision import datasets

    pictures: Any = datasets.MNIST(str(data_root()), train=True, transform=transform)
    return Subset(pictures, range(n_images or len(pictures)))


def tutorial_loop(
    model: nn.Module, loader: DataLoader[Any], optimizer: torch.optim.Optimizer, schedule: Any = None
) -> Iterator[None]:
    """The loop of every tutorial, down to the loss that is read at each step; schedule is told the epoch so far."""
    criterion = nn.CrossEntropyLoss()
    training_loss, steps = 0.0, 0
    while True:
        for images, labels in loader:
            model.train()
            optimizer.zero_grad()
            loss = criterion(model(images), labels)
            loss.backward()
            optimizer.step()
            if schedule is not None:
                schedule.step(steps / len(loader))
            training_loss, steps = training_loss + loss.item(), steps + 1
            yield


class MnistVit(nn.Module):
    """The model of mnistvit 1.5.0 on PyPI, 11 million parameters, and its recipe, written anew from its defaults.

    torch's own encoder, pre-norm, between patches cut by Unfold and a head of two layers. In float32, where the package
    takes bfloat16: on a CPU without units for it a step takes eight times as long with it.
    """

    EPOCHS, BATCH_SIZE, RESTART = 60, 32, 22
    PATCH_SIZE, N_HEADS, D_HEAD, N_LAYERS, HIDDEN, HEAD, DROPOUT = 4, 28, 15, 9, 615, 88, 0.06

    def __init__(self) -> None:
        super().__init__()
        d_model, n_patches = self.N_HEADS * self.D_HEAD, (28 // self.PATCH_SIZE) ** 2
        self.unfold = nn.Unfold(self.PATCH_SIZE, stride=self.PATCH_SIZE)
        self.projection = nn.Linear(self.PATCH_SIZE**2, d_model)
        self.cls_token = nn.Parameter(torch.randn(1, 1, d_model))
        self.positions = nn.Parameter(torch.randn(1, n_patches + 1, d_model))
        self.dropout = nn.Dropout(self.DROPOUT)
        layer = nn.TransformerEncoderLayer(
            d_model, self.N_HEADS, self.HIDDEN, self.DROPOUT, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, self.N_LAYERS, nn.LayerNorm(d_model), enable_nested_tensor=False)
        narrow = nn.Linear(d_model, self.HEAD)
        self.head = nn.Sequential(narrow, nn.GELU(), nn.Dropout(self.DROPOUT), nn.Linear(self.HEAD, 10))

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
    return DataLoader(mnist_pictures(transform, n_images), MnistVit.BATCH_SIZE, shuffle=True)


def mnistvit_loop(model: nn.Module, loader: DataLoader[Any]) -> Iterator[None]:
    """Its loop: AdamW, and a cosine that starts anew after 22 epochs, moved on at each step."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, MnistVit.RESTART)
    return tutorial_loop(model, loader, optimizer, schedule)


CONTENDERS: dict[str, Callable[[Size], nn.Module]] = {
    "this course": ours,
    "this course, fused kernels": ours_fused,
    "torchvision": torchvision,
    "torch.nn.TransformerEncoder": torch_encoder,
    "timm": timm,
    "transformers": transformers_vit,
    "vit-pytorch ViT": partial(vit_pytorch, "ViT"),
    "vit-pytorch SimpleViT": partial(vit_pytorch, "SimpleViT"),
    "a loop over the heads": tutorial,
}
