"""A table of computed figures for a page of the book."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

# A cell that reads as a quantity: it stands on the right of its column, so that digits are below digits.
_NUMBER = re.compile(r"[-−+]?[\d,]*\.?\d+%?")

SHORT = 16  # characters that stand on one line


class Link(str):
    """The text of a cell that leads to an address."""

    address: str

    def __new__(cls, text: str, address: str) -> "Link":
        """The text, which knows its address."""
        made = super().__new__(cls, text)
        made.address = address
        return made


@dataclass(frozen=True)
class Table:
    """Rows of text under the names of their columns. A notebook shows it as a table that scrolls where it is wide."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    label: str = ""

    def _repr_html_(self) -> str:
        right = [all(_NUMBER.fullmatch(row[k]) for row in self.rows) for k in range(len(self.columns))]
        head = "".join(
            f'<th scope="col" style="text-align: {_side(numbers)}">{escape(name)}</th>'
            for name, numbers in zip(self.columns, right, strict=True)
        )
        body = "".join(
            "<tr>" + "".join(_cell(text, numbers) for text, numbers in zip(row, right, strict=True)) + "</tr>"
            for row in self.rows
        )
        # What scrolls must be reached by the keyboard too, and then says what it is.
        name = escape(self.label or f"Table: {', '.join(self.columns)}", quote=True)
        return (
            f'<div class="pst-scrollable-table-container" role="region" tabindex="0" aria-label="{name}">'
            f'<table class="table dataframe"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        )

    def __repr__(self) -> str:
        return "\n".join(" | ".join(cells) for cells in (self.columns, *self.rows))


def _side(numbers: bool) -> str:
    return "right" if numbers else "left"


def _cell(text: str, numbers: bool) -> str:
    # A name or a date is not broken at its hyphens.
    whole = "" if len(text) > SHORT else "; white-space: nowrap"
    shown = escape(text)
    if isinstance(text, Link):
        shown = f'<a href="{escape(text.address, quote=True)}">{shown}</a>'
    return f'<td style="text-align: {_side(numbers)}{whole}">{shown}</td>'


def table(rows: Sequence[Mapping[str, object]], label: str = "") -> Table:
    """A table of rows that all have the same columns; label says what it shows to who can't see it."""
    columns = tuple(rows[0]) if rows else ()
    cells = ((row[column] for column in columns) for row in rows)
    return Table(columns, tuple(tuple(c if isinstance(c, Link) else str(c) for c in row) for row in cells), label)
