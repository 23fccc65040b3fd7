"""What the book is made of, as hashes: what tells that there is nothing to build, and that cells must run again."""

import hashlib
import os
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from vitcourse.places import package

# What cells import of this folder. Editing any other module of it doesn't change what a cell prints.
FOR_CELLS = frozenset(("__init__", "example", "measured", "on_gpu", "style", "tables"))
# The packages whose release changes the pages.
PACKAGES = ("jupyter-book", "myst-nb", "pydata-sphinx-theme", "sphinx", "sphinx-book-theme", "sphinx-mathjax-offline")


def code(root: Path) -> str:
    """All that a cell can read: the package, the solutions, the results, and torch's release."""
    own = [path for path in _files(package(), ("*.py", "*.toml", "*.mplstyle")) if not _is_machinery(path)]
    rest = [*_files(root / "solutions", ("*.py",)), *_files(root / "benchmarks" / "results", ("*.json",))]
    return _hash(root, [*own, *rest], _versions(("matplotlib", "torch")))


def machinery(root: Path) -> str:
    """All that turns a source into a page, and the list of pages, which stands on every one."""
    files = [path for path in _files(package() / "book", ("*.py",)) if _is_machinery(path)]
    drawn = _files(root / "book" / "explorables", ("*.html",))
    return _hash(root, [*files, *drawn, root / "_toc.yml"], _versions(PACKAGES))


def everything(root: Path) -> str:
    """All that the site is made of."""
    sources = [path for path in _files(root / "book", ("*",)) if path.is_file()]
    return _hash(root, [root / "_config.yml", *sources], (code(root), machinery(root)))


def record(output: Path) -> Path:
    """The file beside the site that says of what it was made; there is none where a build didn't end well."""
    return output.parent / "built.txt"


def is_current(root: Path, output: Path) -> bool:
    """Whether the site stands there, made without a warning from what is there now."""
    made = record(output)
    whole = made.is_file() and (output / "book" / "index.html").is_file()
    return whole and made.read_text(encoding="utf-8") == everything(root)


def _is_machinery(path: Path) -> bool:
    return path.parent.name == "book" and path.suffix == ".py" and path.stem not in FOR_CELLS


def _files(folder: Path, patterns: Iterable[str]) -> list[Path]:
    return sorted(path for pattern in patterns for path in folder.rglob(pattern) if "__pycache__" not in path.parts)


def _versions(packages: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"{package} {metadata.version(package)}" for package in packages)


def _hash(root: Path, files: Iterable[Path], more: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for path in files:
        if path.is_file():
            digest.update(f"{Path(os.path.relpath(path, root)).as_posix()}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    for word in more:
        digest.update(f"\0{word}".encode())
    return digest.hexdigest()[:16]
