"""In a notebook: values by name, and text in which they stand. In the book Jupyter Book's own `glue` does this."""

import re
from typing import Any, Literal

_GLUED = re.compile(r"\{glue:text\}`([^`:]+)(?::([^`]*))?`")
_values: dict[str, Any] = {}


def glue(name: str, value: Any, display: Literal[False]) -> None:
    """Keep a value under a name, to be shown where the text asks for it."""
    _values[name] = value


def say(text: str) -> Any:
    """The Markdown in which each {glue:text}`name:.2f` is the value that was kept under that name."""
    from IPython.display import Markdown

    return Markdown(_GLUED.sub(lambda match: format(_values[match[1]], match[2] or ""), text))
