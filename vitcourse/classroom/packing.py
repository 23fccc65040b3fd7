"""What is packed into a zip: what a learner hands in, and an autograder for Gradescope, the course with two scripts."""

import json
import zipfile
from importlib.metadata import files, requires, version
from pathlib import Path
from platform import python_version

from vitcourse.checking.state import standing
from vitcourse.codesets import CodeSet
from vitcourse.course import select
from vitcourse.files import require_ending, writing
from vitcourse.places import is_installed, package, root

_PARTS = ("vitcourse", "solutions", "chapters", "tests", "pyproject.toml", "hatch_build.py", "README.md", "LICENSE")
_SAME_DAY = (1980, 1, 1, 0, 0, 0)  # so that the same chapters make the same file


def pack(code: CodeSet, output: Path) -> str:
    """Write a zip of a learner's chapters, what the last checks said, and versions; what to say of it.

    Raises RequestError when it can't be written.
    """
    require_ending(output, ".zip", "vitcourse submit --output")
    statuses = {each.id: status for each, status in standing(code)}
    versions = {"vitcourse": version("vitcourse"), "torch": version("torch"), "python": python_version()}
    chapters = sorted(file for file in code.folder.glob("*.py") if file.is_file())
    about = json.dumps({"statuses": statuses, "versions": versions}, indent=1)
    parts = {
        **{f"chapters/{file.name}": file.read_bytes() for file in chapters},
        "submission.json": f"{about}\n".encode(),
    }
    with writing(output, "name another with --output"), zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(zipfile.ZipInfo(name, _SAME_DAY), content)
    done = sum(status == "passed" for status in statuses.values())
    return f"{output}: {len(chapters)} files, {done} of {len(statuses)} known to pass; hand in this file"


def make_autograder(output: Path, what: str | None) -> str:
    """Write the zip that Gradescope takes as an autograder; what to say of it."""
    select(what)
    require_ending(output, ".zip", "vitcourse grade --make")
    with writing(output, "name another file"), zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, source in (("setup.sh", "gradescope_setup.sh"), ("run_autograder", "gradescope_run.sh")):
            info = zipfile.ZipInfo(name)
            info.external_attr = 0o755 << 16
            text = Path(__file__).with_name(source).read_text(encoding="utf-8")
            archive.writestr(info, text.replace("what=()", f"what=(--what {what})") if what else text)
        if is_installed():
            needed = (line for line in requires("vitcourse") or () if "extra ==" not in line)
            archive.writestr("course/requirements.txt", "\n".join(needed) + "\n")
        for file in _installed() if is_installed() else _files():
            base, below = (package().parent, "course/site") if is_installed() else (root(), "course")
            archive.write(base / file, f"{below}/{file}")
    return f"{output}: choose it as the autograder of a programming assignment in Gradescope"


def _installed() -> list[str]:
    """The files of the installed course, and what its installer noted of it."""
    known = [file.as_posix() for file in files("vitcourse") or () if file.suffix != ".pyc" and ".." not in file.parts]
    return [name for name in known if (package().parent / name).is_file()]


def _files() -> list[str]:
    """The course's own files."""
    found = (file for part in _PARTS for file in [root() / part, *(root() / part).rglob("*")] if file.is_file())
    return [file.relative_to(root()).as_posix() for file in found if "__pycache__" not in file.parts]
