"""Files that a user asked for by name, and files that may hold anything."""

import json
from pathlib import Path
from typing import Any

from vitcourse.errors import RequestError


def write_file(path: Path, content: str | bytes) -> None:
    """Write a text or bytes. Raises RequestError when the folder isn't there or can't be written."""
    try:
        path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    except OSError as error:
        raise RequestError(f"can't write {path}: {error.strerror}; name a file in another folder") from error


def printable(text: object) -> str:
    """A path or name as one printable line, whatever the bytes of the name are."""
    return "".join(character if character.isprintable() else "?" for character in str(text))


def parse_json(text: str | bytes) -> Any:
    """What a JSON text says. Raises ValueError for all that can't be read, absurdly nested texts among it."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
