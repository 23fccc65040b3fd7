"""A trace as plain text, as JSON, and as a table in the terminal."""

import json
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vitcourse.trace.record import Row, Steps, said_by

WIDTH = 30
LONGEST = 58
WIDE = 100


def cell(row: Row, column: str) -> str:
    """What a column says of a row."""
    if column == "expression":
        return "  " * row.depth + row.label
    if column == "shape":
        return row.cell
    if column == "line":
        return str(row.line or "")
    if column == "parameters":
        return f"{row.parameters:,}" if row.parameters else ""
    return str(getattr(row, column))


def to_text(trace: Steps, columns: tuple[str, ...] = ("expression", "shape"), legend: bool = False) -> str:
    """The rows as plain text, a line each, with the columns under one another."""
    table = [[cell(row, column) for column in columns] for row in trace.rows]
    parts = ["\n".join(_wrapped(table, columns.index("expression") if "expression" in columns else None))]
    if legend:
        parts += [",  ".join(trace.definitions()), "\n".join(trace.findings)]
    if trace.failure is not None:
        parts.append(str(trace.failure))
    return "\n\n".join(filter(None, parts))


def _wrapped(table: list[list[str]], place: int | None) -> list[str]:
    """The table's lines; what follows an expression that is too long for its column stands on the next line."""
    widths = [max(len(part) + 2 for part in column) for column in zip(*table, strict=True)]
    if place is not None and table:
        fitting = [len(line[place]) + 2 for line in table if len(line[place]) <= LONGEST]
        widths[place] = max([WIDTH, *fitting])
    lines = []
    for line in table:
        parts = [part.ljust(width) for part, width in zip(line, widths, strict=True)]
        if place is not None and len(line[place]) + 2 > widths[place] and line[place + 1 :]:
            parts[place] = line[place] + "\n" + " " * sum(widths[: place + 1])
        lines.append("".join(parts).rstrip())
    return lines


def to_dict(trace: Steps) -> dict[str, Any]:
    """The trace as JSON has it."""
    failure = trace.failure
    error: dict[str, Any] | None = None
    if failure is not None:
        error = {"type": type(failure.exception).__name__, "message": said_by(failure.exception)}
        error |= {name: getattr(failure, name) for name in ("file", "line", "expression")}
        error["operands"] = {name: [asdict(axis) for axis in shape] for name, shape in failure.operands}
    return {
        "name": trace.name,
        "rows": [row.to_dict() for row in trace.steps],
        "error": error,
        "findings": list(trace.findings),
    }


def to_json(trace: Steps) -> str:
    """Every row, whatever its depth, as JSON."""
    return json.dumps(to_dict(trace), ensure_ascii=False, indent=2)


def print_trace(trace: Steps, console: Console | None = None, parameters: bool = False) -> None:
    """The rows as a table in the terminal."""
    console = console or Console()
    columns = ["line", "expression", *(["op"] if console.width >= WIDE else []), "shape"]
    columns += ["parameters"] if parameters else []
    legend = ",  ".join(trace.definitions())
    table = Table(title=trace.name, caption=legend or None, title_justify="left", caption_justify="left")
    for column in columns:
        table.add_column(
            "operation" if column == "op" else column,
            justify="right" if column in ("line", "parameters") else "left",
            style="dim" if column in ("line", "op") else None,
            overflow="fold",
            # The name of an operation stays in one piece.
            no_wrap=column == "op",
        )
    for row in trace.rows:
        table.add_row(
            *(Text.from_ansi(row.marked) if column == "shape" else Text(cell(row, column)) for column in columns)
        )
    console.print(table)
    for finding in trace.findings:
        console.print(Text(finding, style="yellow"), soft_wrap=True)
    if trace.failure is not None:
        console.print(Text(str(trace.failure), style="bold red"), soft_wrap=True)
