"""A table of computed figures for a page of the book."""

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

# A cell that reads as a quantity: it stands on the right of its column, so that digits are below digits.
_NUMBER = re.compile(r"[-−+]?[\d,]*\.?\d+%?")

SHORT = 16  # characters that stand on one line


def table(rows: Sequence[Mapping[str, object]], label: str = "") -> Any:
    """A table of rows that all have the same columns, which scrolls where it is wide.

    A cell is shown as its text; a pair leads with the first as its text to the second as an address. label says what it
    shows to who can't see it.
    """
    from IPython.display import HTML

    columns = tuple(rows[0]) if rows else ()
    cells = [[cell if isinstance(cell, tuple) else (str(cell), "") for cell in row.values()] for row in rows]
    sides = ["right" if all(_NUMBER.fullmatch(row[k][0]) for row in cells) else "left" for k in range(len(columns))]
    heads = zip(columns, sides, strict=True)
    head = "".join(f'<th scope="col" style="text-align: {side}">{escape(name)}</th>' for name, side in heads)
    body = "".join(f"<tr>{''.join(map(_cell, row, sides))}</tr>" for row in cells)
    # What scrolls must be reached by the keyboard too, and then says what it is.
    name = escape(label or f"Table: {', '.join(columns)}", quote=True)
    return HTML(
        f'<div class="pst-scrollable-table-container" role="region" tabindex="0" aria-label="{name}">'
        f'<table class="table dataframe"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _cell(content: tuple[str, str], side: str) -> str:
    text, address = content
    # A name or a date is not broken at its hyphens.
    whole = "" if len(text) > SHORT else "; white-space: nowrap"
    shown = f'<a href="{escape(address, quote=True)}">{escape(text)}</a>' if address else escape(text)
    return f'<td style="text-align: {side}{whole}">{shown}</td>'
