"""What a learner's folder is given: the stubs, made by `vitcourse init`, and a note of how the course had them then.

`vitcourse update` compares with the note, and it tells an older course's stub from something written.
"""

import json
from importlib import resources
from pathlib import Path

import vitcourse
from vitcourse.course import chapters, exercises
from vitcourse.errors import RequestError
from vitcourse.files import read_json, write_atomically, writing
from vitcourse.places import CHAPTERS, holds_chapters, workplace
from vitcourse.stubs import pristine, write_stubs

_IGNORED = "runs/\n_build/\n__pycache__/\n"


def init(folder: Path) -> str:
    """Make a new folder in which every command works, and say what to type next. Nothing there is replaced.

    Raises RequestError where there are chapters already, or where it can't be made.
    """
    if holds_chapters(folder / CHAPTERS):
        raise RequestError(f"{folder} holds chapters already; for newer stubs, type there: vitcourse update")
    n = len(chapters())
    readme = resources.files("vitcourse").joinpath("learner_readme.md").read_text(encoding="utf-8").format(n=n)
    with writing(folder, "type another folder's name"):
        write_stubs(folder / CHAPTERS)
        for name, text in (("README.md", readme), (".gitignore", _IGNORED)):
            if not (folder / name).exists():
                (folder / name).write_text(text, encoding="utf-8", newline="\n")
        note({entry.module: pristine(entry.module) for entry in chapters()}, folder)
    typed = f'"{folder}"' if " " in str(folder) else folder
    there = "" if folder.resolve() == Path.cwd() else f"cd {typed}\n"
    return (
        f"{folder}: {len(exercises())} exercises in {n} chapters, of vitcourse {vitcourse.__version__}\n"
        f"next, type:\n{there}vitcourse check"
    )


def given() -> dict[str, str]:
    """By chapter's module, the stub that the learner's folder was given last; empty when nobody noted it."""
    noted = read_json(_file(workplace())).get("stubs")
    return {module: str(text) for module, text in noted.items()} if isinstance(noted, dict) else {}


def note(stubs: dict[str, str], folder: Path) -> None:
    """Keep what the folder is given, whole or not at all."""
    _file(folder).parent.mkdir(exist_ok=True)
    write_atomically(_file(folder), json.dumps({"version": vitcourse.__version__, "stubs": stubs}, indent=1))


def _file(folder: Path) -> Path:
    return folder / ".vitcourse" / "given.json"
