"""An autograder for Gradescope: the course as it is here, and the two scripts that Gradescope runs."""

import subprocess
import zipfile
from importlib.metadata import files, requires
from pathlib import Path

from vitcourse.course import select
from vitcourse.errors import RequestError
from vitcourse.places import is_installed, package, root

_PARTS = ("vitcourse", "solutions", "chapters", "tests", "pyproject.toml", "hatch_build.py", "README.md", "LICENSE")

# Run once, when Gradescope builds the image.
SETUP = """\
#!/usr/bin/env bash
set -euo pipefail
apt-get update -qq
apt-get install -qq -y bubblewrap python3-pip curl
python3 -m pip install --quiet --break-system-packages uv || python3 -m pip install --quiet uv
cd /autograder/source/course
{install}
"""

_OF_A_CLONE = "uv sync --no-dev --no-default-groups --compile-bytecode"
_OF_A_WHEEL = """\
uv venv
uv pip install --compile-bytecode --requirements requirements.txt
cp -r site/. .venv/lib/python3*/site-packages/
printf '#!/bin/sh\\nexec "%s" -m vitcourse "$@"\\n' "$PWD/.venv/bin/python" > .venv/bin/vitcourse
chmod +x .venv/bin/vitcourse"""

# Run for each submission. Where Gradescope's container lets no box be made, the row says so.
RUN = """\
#!/usr/bin/env bash
set -uo pipefail
place=${{AUTOGRADER:-/autograder}}
vitcourse=${{VITCOURSE:-$place/source/course/.venv/bin/vitcourse}}
box=auto
bwrap --unshare-all --ro-bind / / true 2>/dev/null || box=none
mkdir -p "$place/results"
"$vitcourse" grade "$place/submission" {what}--one --jobs 1 --box "$box" --gradescope "$place/results"
"""


def make_autograder(output: Path, what: str | None) -> str:
    """Write the zip that Gradescope takes as an autograder; what to say of it."""
    select(what)
    if output.suffix != ".zip":
        raise RequestError(f"{output} would be a zip file's name; type: vitcourse grade --make {output.stem}.zip")
    try:
        with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
            run = RUN.format(what=f"--what {what} " if what else "")
            setup = SETUP.format(install=_OF_A_WHEEL if is_installed() else _OF_A_CLONE)
            for name, text in (("setup.sh", setup), ("run_autograder", run)):
                info = zipfile.ZipInfo(name)
                info.external_attr = 0o755 << 16
                archive.writestr(info, text)
            if is_installed():
                needed = (line for line in requires("vitcourse") or () if "extra ==" not in line)
                archive.writestr("course/requirements.txt", "\n".join(needed) + "\n")
            for file in _installed() if is_installed() else _files():
                base, below = (package().parent, "course/site") if is_installed() else (root(), "course")
                archive.write(base / file, f"{below}/{file}")
    except OSError as error:
        raise RequestError(f"can't write {output}: {error.strerror}; name another file") from error
    return f"{output}: choose it as the autograder of a programming assignment in Gradescope"


def _installed() -> list[str]:
    """The files of the installed course, and what its installer noted of it."""
    known = [file.as_posix() for file in files("vitcourse") or () if file.suffix != ".pyc" and ".." not in file.parts]
    return [name for name in known if (package().parent / name).is_file()]


def _files() -> list[str]:
    """The course's own files: those that git knows, or all where it doesn't."""
    asked = ["git", "-C", str(root()), "ls-files", "-z", *_PARTS]
    try:
        known = [name for name in subprocess.run(asked, capture_output=True, text=True).stdout.split("\0") if name]
    except OSError:
        known = []
    if not known:
        found = (file for part in _PARTS for file in [root() / part, *(root() / part).rglob("*")] if file.is_file())
        known = [file.relative_to(root()).as_posix() for file in found if "__pycache__" not in file.parts]
    return [name for name in known if (root() / name).is_file()]
