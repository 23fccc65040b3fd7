"""In a notebook: values by name, and text in which they stand. In the book Jupyter Book's own `glue` does this."""

import re
from typing import Any

_GLUED = re.compile(r"\{glue(?::\w+)?\}`([^`:]+)(?::([^`]*))?`")
_values: dict[str, Any] = {}


def glue(name: str, value: Any, display: bool = True) -> None:
    """Keep a value under a name, and show it."""
    _values[name] = value
    if display:
        from IPython.display import display as show

        show(value)


def say(text: str) -> Any:
    """The Markdown in which each {glue:text}`name:.2f` is the value that was kept under that name."""
    from IPython.display import Markdown

    only = _GLUED.fullmatch(text.strip())
    if only and not only[2] and not isinstance(_values[only[1]], str | int | float):
        return _values[only[1]]
    return Markdown(_GLUED.sub(_formatted, text))


def _formatted(match: re.Match[str]) -> str:
    value = _values[match[1]]
    return format(value, match[2]) if match[2] else str(value)
