"""A table of computed figures for a page of the book."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

# A cell that reads as a quantity: it stands on the right of its column, so that digits are below digits.
_NUMBER = re.compile(r"[-−+]?[\d,]*\.?\d+%?")


@dataclass(frozen=True)
class Table:
    """Rows of text under the names of their columns. A notebook shows it as a table that scrolls where it is wide."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    label: str = ""

    def _repr_html_(self) -> str:
        right = [all(_NUMBER.fullmatch(row[k]) for row in self.rows) for k in range(len(self.columns))]
        styles = [' style="text-align: right"' if numbers else ' style="text-align: left"' for numbers in right]
        head = "".join(
            f'<th scope="col"{style}>{escape(name)}</th>' for name, style in zip(self.columns, styles, strict=True)
        )
        body = "".join(
            "<tr>"
            + "".join(f"<td{style}>{escape(text)}</td>" for text, style in zip(row, styles, strict=True))
            + "</tr>"
            for row in self.rows
        )
        # What scrolls must be reached by the keyboard too, and then says what it is.
        name = escape(self.label or f"Table: {', '.join(self.columns)}", quote=True)
        return (
            f'<div class="pst-scrollable-table-container" role="region" tabindex="0" aria-label="{name}">'
            f'<table class="table"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        )

    def __repr__(self) -> str:
        return "\n".join(" | ".join(cells) for cells in (self.columns, *self.rows))


def table(rows: Sequence[Mapping[str, object]], label: str = "") -> Table:
    """A table of rows that all have the same columns; label says what it shows to who can't see it."""
    columns = tuple(rows[0]) if rows else ()
    return Table(columns, tuple(tuple(str(row[column]) for column in columns) for row in rows), label)
