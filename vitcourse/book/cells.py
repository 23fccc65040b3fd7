"""What the cells of pages and notebooks use: the running example, figures that were measured, values in the text."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vitcourse.data import load_dataset
from vitcourse.errors import RequestError
from vitcourse.places import root

if TYPE_CHECKING:
    from torch import Tensor

_GLUED = re.compile(r"\{glue:text\}`([^`:]+)(?::([^`]*))?`")
_values: dict[str, Any] = {}


def seven() -> "Tensor":
    """The seven, (1, 1, 8, 8), in [0, 1]: the first one of the digits' test images, so no model has trained on it."""
    digits = load_dataset("digits")
    position = int((digits.test_labels == 7).nonzero()[0])
    return digits.test_images[position : position + 1].clone()


def folder() -> Path:
    """Where the results files are."""
    return root() / "benchmarks" / "results"


def results(name: str) -> dict[str, Any]:
    """What `benchmarks/results/<name>.json` holds. Raises RequestError, with the names there are, for another name."""
    file = folder() / f"{name}.json"
    if not file.is_file():
        known = ", ".join(sorted(path.stem for path in folder().glob("*.json")))
        raise RequestError(f"there are no results called {name!r}; there are {known}")
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def glue(name: str, value: Any, display: Literal[False]) -> None:
    """In a notebook, keep a value to be shown where the text asks for it. In the book Jupyter Book's own does this."""
    _values[name] = value


def say(text: str) -> Any:
    """The Markdown in which each {glue:text}`name:.2f` is the value that was kept under that name."""
    from IPython.display import Markdown

    return Markdown(_GLUED.sub(lambda match: format(_values[match[1]], match[2] or ""), text))
