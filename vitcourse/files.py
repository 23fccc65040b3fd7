"""Files that a user asked for by name."""

from pathlib import Path

from vitcourse.errors import RequestError


def write_file(path: Path, text: str) -> None:
    """Write a text. Raises RequestError when the folder isn't there or can't be written."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RequestError(f"can't write {path}: {error.strerror}; name a file in another folder") from error
