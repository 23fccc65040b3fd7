"""`vitcourse submit`: a learner's chapters, what the last checks said, and versions, in one zip."""

import json
import zipfile
from importlib.metadata import version
from pathlib import Path
from platform import python_version

from vitcourse.checking.record import standing
from vitcourse.codesets import CodeSet
from vitcourse.errors import RequestError

_SAME_DAY = (1980, 1, 1, 0, 0, 0)  # so that the same chapters make the same file


def pack(code: CodeSet, output: Path) -> str:
    """Write the zip; what to say of it. Raises RequestError when it can't be written."""
    statuses = {asked.id: status for asked, status in standing(code)}
    versions = {"vitcourse": version("vitcourse"), "torch": version("torch"), "python": python_version()}
    files = sorted(file for file in code.folder.glob("*.py") if file.is_file())
    try:
        with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in files:
                archive.writestr(zipfile.ZipInfo(f"chapters/{file.name}", _SAME_DAY), file.read_bytes())
            about = json.dumps({"statuses": statuses, "versions": versions}, indent=1)
            archive.writestr(zipfile.ZipInfo("submission.json", _SAME_DAY), about + "\n")
    except OSError as error:
        raise RequestError(f"can't write {output}: {error.strerror}; name another with --output") from error
    done = sum(status == "passed" for status in statuses.values())
    return f"{output}: {len(files)} files, {done} of {len(statuses)} passed at your last check; hand in this file"
