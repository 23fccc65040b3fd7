"""`vitcourse submit`: a learner's chapters, what the last checks said, and versions, in one zip."""

import json
import zipfile
from importlib.metadata import version
from pathlib import Path
from platform import python_version

from vitcourse.checking.record import standing
from vitcourse.codesets import CodeSet
from vitcourse.files import writing

_SAME_DAY = (1980, 1, 1, 0, 0, 0)  # so that the same chapters make the same file


def pack(code: CodeSet, output: Path) -> str:
    """Write the zip; what to say of it. Raises RequestError when it can't be written."""
    statuses = {asked.id: status for asked, status in standing(code)}
    versions = {"vitcourse": version("vitcourse"), "torch": version("torch"), "python": python_version()}
    files = sorted(file for file in code.folder.glob("*.py") if file.is_file())
    about = json.dumps({"statuses": statuses, "versions": versions}, indent=1)
    parts = {**{f"chapters/{file.name}": file.read_bytes() for file in files}, "submission.json": f"{about}\n".encode()}
    with writing(output, "name another with --output"), zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(zipfile.ZipInfo(name, _SAME_DAY), content)
    done = sum(status == "passed" for status in statuses.values())
    return f"{output}: {len(files)} files, {done} of {len(statuses)} passed at your last check; hand in this file"
