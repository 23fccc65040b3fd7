"""The page parts in book/explorables: plain modules, put together into one script for a page.

A module can't import another from file://, so the parts are put one after the other, each after those that it imports.
"""

import json
import re
from pathlib import Path
from typing import Any

from vitcourse.places import root

IMPORT = re.compile(r'^import \{[^}]*\} from "\./(\w+)\.js";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?=const |class |function|async )", re.MULTILINE)
LEFT = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)


def folder() -> Path:
    """Where the parts lie."""
    return root() / "book" / "explorables"


def script(*names: str) -> str:
    """These parts and all that they import, as one script without imports.

    Parts use one form of import, `import { a, b } from "./part.js";`, and export what they declare, where they declare
    it. Raises ValueError for any other form, which a script can't hold. Two parts can't declare the same name.
    """
    texts: dict[str, str] = {}
    for name in names:
        _add(name, texts)
    return "\n".join(texts.values())


def _add(name: str, texts: dict[str, str]) -> None:
    if name in texts:
        return
    text = (folder() / f"{name}.js").read_text(encoding="utf-8")
    for other in IMPORT.findall(text):
        _add(other, texts)
    text = EXPORT.sub("", IMPORT.sub("", text))
    other_form = LEFT.search(text)
    if other_form:
        raise ValueError(f'{name}.js: "{other_form[0]}" is not a form of import or export that parts use')
    texts[name] = f"// {name}.js\n{text}"


def as_script(value: Any) -> str:
    """A value as JavaScript within a page: nothing in it can end the script."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
