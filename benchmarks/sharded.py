"""The model of chapter 5 under FSDP beside the same in one process: do the losses agree? Into results/sharded.json.

In the course's folder, type: torchrun --nproc-per-node=2 benchmarks/sharded.py
"""

import json

import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard

from benchmarks.shared import keep
from vitcourse.codesets import load_code

STEPS = 5
SIZES = {
    "image_size": 8,
    "patch_size": 2,
    "in_channels": 1,
    "n_classes": 10,
    "d_model": 64,
    "n_layers": 3,
    "n_heads": 4,
}


def main() -> None:
    """Take the same steps both ways, on random images; rank 0 prints and writes what came of it."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank, ranks = dist.get_rank(), dist.get_world_size()
    mesh = dist.init_device_mesh("cpu", (ranks,))
    chapter = load_code("solutions").module("ch05_vit")

    def make() -> torch.nn.Module:
        torch.manual_seed(0)
        model: torch.nn.Module = chapter.VisionTransformer(**SIZES)
        return model

    whole, sharded = make(), make()
    for block in sharded.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(sharded, mesh=mesh)
    optimizers = [torch.optim.AdamW(model.parameters(), lr=1e-3) for model in (whole, sharded)]
    images, labels = torch.rand(16, 1, 8, 8), torch.randint(10, (16,))
    losses: dict[str, list[float]] = {"one_process": [], "sharded": []}
    for _ in range(STEPS):
        losses["one_process"].append(float(chapter.train_step(whole, images, labels, optimizers[0])))
        loss = chapter.train_step(sharded, images[rank::ranks], labels[rank::ranks], optimizers[1])
        dist.all_reduce(loss)
        losses["sharded"].append(float(loss / ranks))
    if rank == 0:
        result = keep(
            "sharded",
            f"{STEPS} steps of a small ViT on random images, in one process and in {ranks} under FSDP, on CPUs",
            start=f"torchrun --nproc-per-node={ranks}",
            ranks=ranks,
            losses=losses,
            parameters=sum(p.numel() for p in whole.parameters()),
            parameters_on_rank_0=sum(p.to_local().numel() for p in sharded.parameters()),
        )
        print(json.dumps(result, indent=2))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
