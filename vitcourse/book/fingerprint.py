"""What the book is made of, as hashes: what tells that there is nothing to build, and that cells must run again."""

import hashlib
import os
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from vitcourse.places import package

# The packages whose release changes what a cell prints, or the pages.
PACKAGES = (
    *("jupyter-book", "matplotlib", "myst-nb", "pydata-sphinx-theme", "sphinx", "sphinx-book-theme"),
    *("sphinx-mathjax-offline", "torch"),
)


def code(root: Path) -> str:
    """All that makes pages of their sources: the package, what cells read beside it, and what stands on every page."""
    own = _files(package(), ("*.py", "*.toml", "*.mplstyle"))
    read = [*_files(root / "solutions", ("*.py",)), *_files(root / "benchmarks" / "results", ("*.json",))]
    drawn = _files(root / "book" / "explorables", ("*.html",))
    versions = (f"{name} {metadata.version(name)}" for name in PACKAGES)
    return _hash(root, [*own, *read, *drawn, root / "_toc.yml"], versions)


def everything(root: Path) -> str:
    """All that the site is made of."""
    sources = [path for path in _files(root / "book", ("*",)) if path.is_file()]
    return _hash(root, [root / "_config.yml", *sources], [code(root)])


def record(output: Path) -> Path:
    """The file beside the site that says of what it was made; there is none where a build didn't end well."""
    return output.parent / "built.txt"


def is_current(root: Path, output: Path) -> bool:
    """Whether the site stands there, made without a warning from what is there now."""
    made = record(output)
    whole = made.is_file() and (output / "book" / "index.html").is_file()
    return whole and made.read_text(encoding="utf-8") == everything(root)


def _files(folder: Path, patterns: Iterable[str]) -> list[Path]:
    return sorted(path for pattern in patterns for path in folder.rglob(pattern) if "__pycache__" not in path.parts)


def _hash(root: Path, files: Iterable[Path], more: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for path in files:
        if path.is_file():
            digest.update(f"{Path(os.path.relpath(path, root)).as_posix()}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    for word in more:
        digest.update(f"\0{word}".encode())
    return digest.hexdigest()[:16]
