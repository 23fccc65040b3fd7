"""What a folder was given: the stubs, as the course had them when they were put there, and the course's version.

`vitcourse update` compares with them, and they tell an older course's stub from something written.
"""

import json
import os
from pathlib import Path

import vitcourse
from vitcourse.places import workplace


def given(folder: Path | None = None) -> dict[str, str]:
    """By chapter's module, the stub that the folder was given last; empty when nobody noted it."""
    try:
        noted = json.loads(_file(folder or workplace()).read_text(encoding="utf-8"))["stubs"]
        return {str(module): str(text) for module, text in noted.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def note(stubs: dict[str, str], folder: Path) -> None:
    """Keep what the folder is given, whole or not at all."""
    file = _file(folder)
    file.parent.mkdir(exist_ok=True)
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    draft.write_text(json.dumps({"version": vitcourse.__version__, "stubs": stubs}, indent=1), encoding="utf-8")
    draft.replace(file)


def _file(folder: Path) -> Path:
    return folder / ".vitcourse" / "given.json"
