"""What a wheel holds besides the package: the course's own files, in vitcourse/_course (see vitcourse/places.py)."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

WHOLE = ("solutions", "book", "benchmarks/results", "_config.yml", "_toc.yml")


class Course(BuildHookInterface[Any]):
    """Puts them in; an editable install has them beside the package already."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """What hatch calls."""
        if version == "editable":
            return
        root = Path(self.root)
        checks = [path.relative_to(root).as_posix() for path in sorted(root.glob("tests/test_ch[0-9]*.py"))]
        build_data["force_include"].update(
            {str(root / name): f"vitcourse/_course/{name}" for name in (*WHOLE, *checks)}
        )
