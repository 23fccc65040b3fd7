"""The model that lives in the book's pages: trained from the digits while the book is built, and told as one file."""

import base64
import io
import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from vitcourse.book.cells import seven
from vitcourse.codesets import load_code
from vitcourse.files import write_atomically

# A grid of 4 × 4 patches is enough to look around in; learned positions are there to be looked at. No shift, and some
# dropout, as in chapter 6, where patches of so few pixels are looked into too.
SETTINGS: dict[str, Any] = {
    **{"patch_size": 2, "positions": "learned", "epochs": 15, "device": "cpu"},
    **{"shift": 0, "dropout": 0.1},
}
PHOTOGRAPH, SIDE, QUALITY = "china.jpg", 224, 72  # the size of the paper's images; JPEG, about 20 kB


def place(app: Any) -> Path:
    """Where a build keeps it: in the folder of the cells' outputs."""
    return Path(app.config["nb_execution_cache_path"]) / "living.json"


def told(app: Any) -> dict[str, Any]:
    """What the file tells; the first page that shows the model has it made."""
    file = place(app)
    if not file.is_file():
        write_atomically(file, json.dumps(make()))
    return _read(file)


@cache
def _read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def make() -> dict[str, Any]:
    """Train, and tell: `page` is what the pages' scripts read, `seen` what the static pictures draw."""
    from rich.console import Console

    from vitcourse.training.configuration import make_config
    from vitcourse.training.runs import RunFolder
    from vitcourse.training.train import train
    from vitcourse.training.trained import load_trained

    with tempfile.TemporaryDirectory() as folder:
        train(make_config("digits", **SETTINGS), RunFolder(Path(folder) / "run"), Console(quiet=True))
        trained = load_trained(Path(folder) / "run")
        return tell(trained)


def tell(trained: Any) -> dict[str, Any]:
    """A trained model, and with it the images that every page knows."""
    from vitcourse.book import explore

    pixels = seven().flatten().tolist()
    return {
        "page": {**explore.spec(trained, None), "seven": pixels, "photograph": photograph()},
        "seen": _seen(trained),
    }


def photograph() -> str:
    """A photograph, its middle square, as a data: address."""
    import numpy as np
    from PIL import Image, ImageOps
    from sklearn.datasets import load_sample_image

    picture = Image.fromarray(np.asarray(load_sample_image(PHOTOGRAPH)))
    file = io.BytesIO()
    ImageOps.fit(picture, (SIDE, SIDE), Image.Resampling.LANCZOS).save(file, "JPEG", quality=QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def _seen(trained: Any) -> dict[str, Any]:
    """What the model computes on the way from the seven to its answer.

    flows, (L, T, T): how much of what CLS has in the end came from token to token, with a residual stream of one half.
    """
    import torch

    from vitcourse.training.batches import standardised

    image = standardised(seven(), trained.mean, trained.std)
    weights = load_code("solutions").module("ch06_inside").attention_maps(trained.model, image)[:, 0]  # (L, h, T, T)
    with torch.no_grad():
        logits = trained.model(image)[0]
    reach = torch.eye(weights.shape[-1])[0]
    flows: list[Any] = []
    for layer in weights.flip(0):
        mixed = layer.mean(0)  # (T, T)
        flows.insert(0, mixed * reach[:, None])
        reach = 0.5 * reach + 0.5 * reach @ mixed
    return {
        "flows": [layer.tolist() for layer in flows],
        "weights": [[[[round(w, 4) for w in row] for row in head] for head in layer.tolist()] for layer in weights],
        "shares": logits.softmax(0).tolist(),
        "positions": _likenesses(),
    }


def _likenesses() -> dict[str, list[float]]:
    """Of one place of a grid of 7 × 7: how its position agrees with all others, the cosine, for two tables."""
    import torch.nn.functional as F

    tokens = load_code("solutions").module("ch02_tokens")
    tables = {"1-d": tokens.sinusoidal_positions(49, 64), "2-d": tokens.sinusoidal_positions_2d((7, 7), 64)}
    return {
        name: [round(value, 3) for value in F.cosine_similarity(table[16:17], table).tolist()]
        for name, table in tables.items()
    }
