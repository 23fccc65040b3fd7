"""Where things are: the course's own files, and the folder in which somebody works on it.

The course's files (solutions, checks, the book's sources, results) lie beside this package in a clone, and in its
folder `_course` where it was installed. What a learner writes (chapters/, runs/, .vitcourse/) lies in the clone too, or
in a folder that `vitcourse init` made.
"""

import shlex
from pathlib import Path

from vitcourse.errors import RequestError

CHAPTERS = "chapters"


def package() -> Path:
    """The folder of this package."""
    return Path(__file__).resolve().parent


def root() -> Path:
    """The folder in which solutions/, tests/, book/ and benchmarks/results/ are. Raises RequestError without one."""
    folder = package() / "_course" if is_installed() else package().parent
    if (folder / "solutions").is_dir():
        return folder
    raise RequestError("the course's own files are missing; in a clone, type: uv sync; else install vitcourse again")


def clone() -> Path:
    """The same for those who change the course. Raises RequestError where it was installed."""
    if is_installed():
        raise RequestError("that works on the course's own files, and this course was installed; type it in a clone")
    return root()


def is_installed() -> bool:
    """Whether this is an installed package, and no clone."""
    return (package() / "_course").is_dir()


def workplace() -> Path:
    """The folder in which the learner's chapters/ is: the current one, one above it, or else the clone.

    Raises RequestError, and says how to make one, when there is none.
    """
    try:
        here = Path.cwd()
    except OSError:  # it was deleted meanwhile
        here = None
    for folder in (here, *here.parents) if here else ():
        if folder == root():
            break
        if holds_chapters(folder / CHAPTERS):
            return folder
        if (folder / ".vitcourse").is_dir():  # init made it
            again = f"vitcourse init {shlex.quote(str(folder))}"
            raise RequestError(f"{folder} has no chapters/ any more; to have the stubs there again, type: {again}")
    if not is_installed():
        return root()
    raise RequestError("there is no folder chapters/ of yours here; type: vitcourse init my-vit; then: cd my-vit")


def holds_chapters(folder: Path) -> bool:
    """Whether any of the course's chapters is in this folder."""
    from vitcourse.course import chapters

    return any((folder / f"{chapter.module}.py").is_file() for chapter in chapters())
