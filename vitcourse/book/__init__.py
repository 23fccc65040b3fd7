"""The book: what its cells import (`seven`, `style`, `results`), and what builds, serves and converts it.

What is asked for is what is loaded: building and serving need no torch, a cell needs no Sphinx.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vitcourse.book import style
    from vitcourse.book.example import seven
    from vitcourse.book.measured import results

__all__ = ["results", "seven", "style"]

_PLACES = {"seven": "vitcourse.book.example", "results": "vitcourse.book.measured"}


def __getattr__(name: str) -> Any:
    if name == "style":
        return import_module("vitcourse.book.style")
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
