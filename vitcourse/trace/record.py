"""What a trace is: rows, one per tensor step, and what came out."""

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any

SCREEN = 24
# Round what is new in a shape, in a cell that is to be marked: a terminal's bold and underlined.
NEW, OLD = "\x1b[1;4m", "\x1b[0m"


@dataclass(frozen=True)
class Axis:
    """One axis of a shape: a size, and its symbol where that is certain."""

    size: int
    name: str | None = None

    def __str__(self) -> str:
        return self.word if self.name is None else f"{self.name}={self.size if self.size >= 0 else '?'}"

    @property
    def word(self) -> str:
        """The symbol, or the bare number."""
        if self.name is not None:
            return self.name
        # An axis of a nested tensor whose parts differ has no size.
        return str(self.size) if self.size >= 0 else "?"


Shape = tuple[Axis, ...]


def shape_text(shape: Shape) -> str:
    """`(B=128, N=4, D=9)`."""
    return f"({', '.join(map(str, shape))})"


def shape_words(shape: Shape) -> str:
    """`(B, N, D)`."""
    return f"({', '.join(axis.word for axis in shape)})"


def together(shapes: tuple[Shape, ...], text: Any = shape_text) -> str:
    """Several results in one cell: equal shapes are written once."""
    if len(shapes) > 1 and len(set(shapes)) == 1:
        return f"{text(shapes[0])} each of {len(shapes)}"
    return ", ".join(text(shape) for shape in shapes)


@dataclass(frozen=True)
class Row:
    """One step: an expression as written, what it did, and the shapes that came out."""

    expression: str
    op: str
    shapes: tuple[Shape, ...] = ()
    file: str = ""
    line: int = 0
    depth: int = 0
    dtype: str | None = None
    device: str | None = None
    repeat: int = 1
    unit: str = ""
    link: str | None = None
    inputs: tuple[int, ...] = ()
    span: tuple[int, int] = (0, 0)
    warning: str = ""
    parameters: int = 0
    before: tuple[Shape, ...] = ()

    @property
    def shape(self) -> Shape:
        """The shape of the (first) result."""
        return self.shapes[0] if self.shapes else ()

    @property
    def label(self) -> str:
        """The expression as it stands in a table: a link of a chain without the links before it."""
        return self.link or self.expression or f"<{self.op}>"

    @property
    def notes(self) -> str:
        """What changed beside the shape, and how often the step is repeated."""
        notes = [word for word in (self.dtype, self.device and f"on {self.device}") if word]
        if self.repeat > 1:
            notes.append(f"× {self.repeat} {self.unit}".rstrip())
        if self.warning:
            notes.append(self.warning)
        return "  ".join(notes)

    @property
    def cell(self) -> str:
        """The shape column."""
        return self.marked.replace(NEW, "").replace(OLD, "")

    @property
    def marked(self) -> str:
        """The shape column, with the axes marked that nothing had that the step used."""
        known = {axis.word for shape in self.before for axis in shape} | {"1"}

        def text(shape: Shape) -> str:
            parts = (f"{NEW}{axis}{OLD}" if self.before and axis.word not in known else str(axis) for axis in shape)
            return f"({', '.join(parts)})"

        return "  ".join(part for part in (together(self.shapes, text), self.notes) if part)

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON has it."""
        kept = ("file", "line", "depth", "expression", "op", "shapes", "dtype", "device", "repeat", "warning")
        row = {name: getattr(self, name) for name in (*kept, "parameters")}
        return row | {
            "shapes": [[asdict(axis) for axis in shape] for shape in self.shapes],
            "warning": self.warning or None,
        }


def nested(rows: list[Row]) -> Iterator[tuple[Row, list[Row]]]:
    """The rows of the first level, each with those inside it."""
    start = 0
    while start < len(rows):
        inside = [*takewhile(lambda row: row.depth > rows[0].depth, rows[start + 1 :])]
        yield rows[start], inside
        start += 1 + len(inside)


def said_by(error: BaseException) -> str:
    """What an error says; nothing, where saying it is an error too."""
    try:
        return str(error)
    except Exception:
        return ""


@dataclass(frozen=True)
class Failure:
    """Where and why the traced code stopped."""

    exception: BaseException
    file: str = ""
    line: int = 0
    expression: str = ""
    op: str = ""
    operands: tuple[tuple[str, Shape], ...] = ()
    explanation: str = ""
    elsewhere: bool = False  # in another file than what was traced

    def __str__(self) -> str:
        # What a line raises itself is said by what was raised.
        shown = "" if self.expression.startswith("raise ") else self.expression
        where = f"{Path(self.file).name}, line {self.line}" if self.elsewhere else f"line {self.line}"
        text = ": ".join(part for part in (where if self.line else "", shown) if part)
        message = " ".join(said_by(self.exception).split())
        lines = [text, *([f"  {self.explanation}"] if self.explanation else [])]
        lines += [f"  {type(self.exception).__name__}: {message}"]
        lines += [f"  {name} {shape_text(shape)}" for name, shape in self.operands]
        return "\n".join(lines)


def require_depth(depth: object) -> None:
    """Raise ValueError for what is no number of levels."""
    if depth is not None and not (isinstance(depth, int) and depth >= 1):
        raise ValueError(f"depth is how many levels of calls are shown, 1 or more, and not {depth!r}")


@dataclass(repr=False)
class Steps:
    """The steps that a call took, and its result or its error; they are made into rows when they are looked at."""

    name: str
    made: Callable[[], list[Row]]
    result: Any = None
    failure: Failure | None = None
    depth: int | None = None
    meanings: dict[str, str] = field(default_factory=dict)
    outcome: tuple[Shape, ...] = ()
    runs: int = 1
    findings: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()

    @cached_property
    def steps(self) -> list[Row]:
        """Every row, whatever its depth."""
        before = sys.getrecursionlimit()
        # As deep as the traced code went, which may have been as deep as Python goes.
        sys.setrecursionlimit(4 * before)
        try:
            steps = self.made()
        finally:
            sys.setrecursionlimit(before)
        self.made = list
        return steps

    @property
    def error(self) -> BaseException | None:
        """What the traced code raised, if it did."""
        return self.failure.exception if self.failure is not None else None

    @property
    def rows(self) -> list[Row]:
        """The rows down to the trace's depth."""
        return self.to_depth(self.depth)

    def to_depth(self, depth: int | None = None) -> list[Row]:
        """The rows whose depth is below `depth`; without one, as deep as fits on a screen."""
        require_depth(depth)
        if depth is None:
            # A level is shown whole or not at all: with the first row that the screen has no place for goes its level.
            beyond = sorted(row.depth for row in self.steps)[SCREEN:]
            depth = max(beyond[0], 1) if beyond else sys.maxsize
        return [row for row in self.steps if row.depth < depth]

    def definitions(self, depth: int | None = None) -> list[str]:
        """`N = gh·gw`, for the derived symbols that the rows show."""
        words = {
            word
            for row in self.to_depth(depth if depth is not None else self.depth)
            for shape in row.shapes
            for axis in shape
            for word in re.findall(r"[A-Za-z_]\w*'?", axis.name or "")
        }
        return [f"{word} = {meaning}" for word, meaning in self.meanings.items() if word in words]
