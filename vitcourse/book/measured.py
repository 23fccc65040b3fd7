"""Figures that were measured elsewhere, as the pages read them."""

import json
from pathlib import Path
from typing import Any

from vitcourse.errors import RequestError
from vitcourse.places import root


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
