"""`vitcourse init`: a new folder with the stubs, in which every command works."""

from pathlib import Path

import vitcourse
from vitcourse.course import chapters
from vitcourse.errors import RequestError
from vitcourse.given import note
from vitcourse.places import CHAPTERS, holds_chapters
from vitcourse.stubs import pristine, write_stubs

_README = """\
# My Vision Transformer

The stubs of {n} chapters are in `chapters/`. Each tells the shapes, the errors and the steps of what is to be written.
Type these in this folder:

    vitcourse check            checks what you wrote; `vitcourse watch` does at every save
    vitcourse hint 1.1         the next of three hints
    vitcourse trace 1.1        the shapes of your tensors, beside those expected
    vitcourse status           how far you are
    vitcourse notebook 1       the chapter to read, as a Jupyter notebook
    vitcourse book --open      all of the book
    vitcourse train --code chapters    trains the model that you wrote

`vitcourse --help` shows the rest. `vitcourse update` brings the stubs of a newer course, and keeps what you wrote. What
was ever replaced stays in `.vitcourse/kept/`, and `vitcourse undo` brings it back.
"""
_IGNORED = "runs/\n_build/\n__pycache__/\n"


def init(folder: Path) -> str:
    """Make it, and say what to type next. Nothing that stands there is replaced.

    Raises RequestError where there are chapters already, or where it can't be made.
    """
    if holds_chapters(folder / CHAPTERS):
        raise RequestError(f"{folder} holds chapters already; for newer stubs, type there: vitcourse update")
    try:
        write_stubs(folder / CHAPTERS)
        for name, text in (("README.md", _README.format(n=len(chapters()))), (".gitignore", _IGNORED)):
            if not (folder / name).exists():
                (folder / name).write_text(text, encoding="utf-8", newline="\n")
        note({entry.module: pristine(entry.module) for entry in chapters()}, folder)
    except OSError as error:
        raise RequestError(f"can't make {folder}: {error.strerror}; type another folder's name") from error
    there = "" if folder.resolve() == Path.cwd() else f"cd {_quoted(folder)}\n"
    number = sum(len(entry.exercises) for entry in chapters())
    return (
        f"{folder}: {number} exercises in {len(chapters())} chapters, of vitcourse {vitcourse.__version__}\n"
        f"next, type:\n{there}vitcourse check"
    )


def _quoted(folder: Path) -> str:
    return f'"{folder}"' if " " in str(folder) else str(folder)
