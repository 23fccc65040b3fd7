"""Two traces side by side: the learner's beside the reference's, and the first row where their shapes part."""

from dataclasses import dataclass
from itertools import product, zip_longest
from operator import itemgetter
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vitcourse.trace.fault import ordinal
from vitcourse.trace.record import Axis, Row, Shape, shape_words, together
from vitcourse.trace.recorder import named_results
from vitcourse.trace.render import cell, to_dict
from vitcourse.trace.tracing import Trace

Shapes = tuple[Shape, ...]
Pair = tuple[Row | None, Row | None]


@dataclass(frozen=True)
class Parting:
    """Where two traces part: a row of each (None at the end of one), the shapes, and what is different."""

    mine: Row | None
    reference: Row | None
    yours: Shapes
    expected: Shapes
    difference: str

    def __str__(self) -> str:
        line = f"line {self.mine.line}: " if self.mine is not None and self.mine.line else ""
        yours, expected = together(self.yours, shape_words) or "no tensor", together(self.expected, shape_words)
        return f"{line}yours {yours}, expected {expected or 'no tensor'}: {self.difference}"


@dataclass(repr=False)
class Diff:
    """Two traces, aligned row by row."""

    mine: Trace
    reference: Trace
    pairs: list[Pair]
    parting: Parting | None

    @property
    def same(self) -> bool:
        """Whether both end in the same shapes."""
        return self.parting is None and self.mine.error is None

    @property
    def verdict(self) -> str:
        """The difference in one line."""
        if self.mine.failure is not None:
            before = f"\nalready before, {self.parting}" if self.parting is not None else ""
            return f"your code raised, {self.mine.failure}{before}"
        if self.parting is not None:
            return str(self.parting)
        shapes = f"the same shapes: {together(self.mine.outcome, shape_words) or 'no tensor'}"
        return shapes if self.values else f"{shapes}; but other numbers: {self.apart}"

    @property
    def apart(self) -> str:
        """How far the numbers of the results are from the reference's."""
        pairs = list(zip(named_results(self.mine.result), named_results(self.reference.result), strict=False))
        worst = max((float((a - b.to(a.dtype)).abs().max()) for a, b in pairs if a.numel()), default=0.0)
        return f"up to {worst:.2g} apart"

    @property
    def values(self) -> bool:
        """Whether the numbers are the reference's too, as far as parameters of the same names tell."""
        if self.mine.weights != self.reference.weights:
            return True
        pairs = zip(named_results(self.mine.result), named_results(self.reference.result), strict=False)
        return all(a.shape != b.shape or torch.allclose(a.double(), b.double(), rtol=1e-3, atol=1e-4) for a, b in pairs)

    def to_text(self, reference_code: bool = True) -> str:
        """The two traces side by side, as plain text."""
        sides = [(self._mark(a, b), _side(a, True), _side(b, reference_code)) for a, b in self.pairs]
        lines = [("", "yours", "expected"), *sides]
        width = max(len(left) for _, left, _ in lines) + 2
        table = [f"{mark:2}{left.ljust(width)}{right}".rstrip() for mark, left, right in lines]
        return "\n".join([*table, "", self.verdict])

    def __repr__(self) -> str:
        return self.to_text()

    def to_dict(self, reference_code: bool = True) -> dict[str, Any]:
        """Both traces and the parting, as JSON has them."""
        parting = self.parting and {
            "line": self.parting.mine.line if self.parting.mine else None,
            "yours": [[axis.word for axis in shape] for shape in self.parting.yours],
            "expected": [[axis.word for axis in shape] for shape in self.parting.expected],
            "difference": self.parting.difference,
        }
        reference = to_dict(self.reference)
        if not reference_code:
            reference["rows"] = [{**row, "expression": None, "op": None} for row in reference["rows"]]
        return {"yours": to_dict(self.mine), "reference": reference, "parting": parting, "verdict": self.verdict}

    def print(self, console: Console | None = None, reference_code: bool = True) -> None:
        """The two traces side by side, in the terminal."""
        console = console or Console()
        table = Table(title=self.mine.name, title_justify="left")
        for heading in ("line", "yours", "shape", *(["reference"] if reference_code else []), "expected"):
            table.add_column(heading, overflow="fold", justify="right" if heading == "line" else "left")
        for mine, reference in self.pairs:
            row = [cell(mine, column) if mine else "" for column in ("line", "expression", "shape")]
            row += [cell(reference, "expression") if reference else ""] if reference_code else []
            row += [reference.cell if reference else ""]
            style = "bold red" if self._mark(mine, reference) else None
            table.add_row(*(Text(text) for text in row), style=style)
        console.print(table)
        console.print(Text(self.verdict, style="green" if self.same and self.values else "bold red"), soft_wrap=True)

    def _mark(self, mine: Row | None, reference: Row | None) -> str:
        parting = self.parting
        if parting is None:
            return ""
        here = reference is parting.reference if parting.reference is not None else mine is parting.mine
        return "▶ " if here else ""


def _side(row: Row | None, code: bool) -> str:
    if row is None:
        return ""
    return f"{row.label}  {row.cell}" if code else row.cell


def diff(mine: Trace, reference: Trace) -> Diff:
    """Compare a trace with the reference's: what both do in their own code, and where the shapes first part.

    Another way to the same shapes is no difference. Both must have been traced on the same inputs.
    """
    own, other = mine.to_depth(1), reference.to_depth(1)
    pairs = _aligned(own, other)
    same = mine.failure is None and _equal(mine.outcome, reference.outcome)
    return Diff(mine, reference, pairs, None if same else _parting(mine, reference, pairs))


def _same_axis(one: Axis, two: Axis) -> bool:
    if one.size != two.size:
        return False
    # Another expression for the same size is no difference; another symbol is another axis.
    names = [name for name in (one.name, two.name) if name is not None and name.isidentifier()]
    return len(names) < 2 or names[0] == names[1]


def _equal(one: Shapes, two: Shapes) -> bool:
    return len(one) == len(two) and all(
        len(a) == len(b) and all(_same_axis(x, y) for x, y in zip(a, b, strict=True))
        for a, b in zip(one, two, strict=True)
    )


def _aligned(own: list[Row], other: list[Row]) -> list[Pair]:
    """Rows of equal shapes beside one another, as many as go in order; between them the rest, as it comes."""
    # From each place of both to their ends: how many rows can be paired, the first two, and those after them.
    best: dict[tuple[int, int], tuple[int, Any]] = {}
    for i, j in product(reversed(range(len(own))), reversed(range(len(other)))):
        ways = [best.get(place, (0, None)) for place in ((i + 1, j), (i, j + 1))]
        if _agree(own[i], other[j]):
            count, after = best.get((i + 1, j + 1), (0, None))
            ways.insert(0, (count + 1, (i, j, after)))
        best[i, j] = max(ways, key=itemgetter(0))
    pairs: list[Pair] = []
    first = second = 0
    _, after = best.get((0, 0), (0, None))
    while after is not None:
        i, j, after = after
        pairs += [*zip_longest(own[first:i], other[second:j]), (own[i], other[j])]
        first, second = i + 1, j + 1
    return [*pairs, *zip_longest(own[first:], other[second:])]


def _parting(mine: Trace, reference: Trace, pairs: list[Pair]) -> Parting | None:
    """Where they part; before an error, that can be only where both have a row."""
    # Steps that only one of the two takes may be a way round; the last place where they agree is where they part.
    agreed = max((k for k, pair in enumerate(pairs, 1) if _agree(*pair)), default=0)
    last = next((own for own, _ in reversed(pairs[:agreed]) if own is not None), None)
    left = [pair for pair in pairs[agreed:] if mine.failure is None or None not in pair]
    if mine.failure is not None and not left:
        return None
    own, other = next((pair for pair in left if (pair[0] or last) is not None), (None, None))
    yours = own.shapes if own is not None else mine.outcome
    expected = other.shapes if other is not None else reference.outcome
    return Parting(own or last, other, yours, expected, explain(yours, expected))


def _agree(mine: Row | None, reference: Row | None) -> bool:
    return mine is not None and reference is not None and _equal(mine.shapes, reference.shapes)


def explain(yours: Shapes, expected: Shapes) -> str:
    """The difference between two shapes, in words."""
    if len(yours) != len(expected):
        return f"{_count(len(yours))} where {_count(len(expected))} should be"
    for mine, other in zip(yours, expected, strict=True):
        if not _equal((mine,), (other,)):
            return _explained(mine, other)
    return "the shapes are the same"


def _count(number: int) -> str:
    return f"{number or 'no'} tensor{'' if number == 1 else 's'}"


def _explained(mine: Shape, other: Shape) -> str:
    if len(mine) == len(other):
        wrong = [k for k in range(len(mine)) if not _same_axis(mine[k], other[k])]
        turned = tuple(other[k] for k in reversed(wrong))
        if len(wrong) == 2 and _equal((tuple(mine[k] for k in wrong),), (turned,)):
            if wrong == [len(mine) - 2, len(mine) - 1]:
                return "the last two axes are swapped"
            return f"the axes {mine[wrong[0]].word} and {mine[wrong[1]].word} are swapped"
        if not _rest(mine, other):
            return "the axes are in another order"
        if len(wrong) == 1:
            return f"the {ordinal(wrong[0], len(mine))} axis is {mine[wrong[0]].word}, not {other[wrong[0]].word}"
        return f"{len(wrong)} of the {len(mine)} axes differ"
    short, long = (mine, other) if len(mine) < len(other) else (other, mine)
    rest = _rest(long, short)
    if len(rest) == len(long) - len(short):
        words = " and ".join(axis.word for axis in rest)
        which = f"ax{'is' if len(rest) == 1 else 'es'} {words}"
        return f"the {which} {'is' if len(rest) == 1 else 'are'} {'missing' if short is mine else 'too many'}"
    return f"{len(mine)} axes where {len(other)} should be"


def _rest(long: Shape, short: Shape) -> list[Axis]:
    """The axes of a shape that another one lacks."""
    left = list(long)
    for axis in short:
        found = next((other for other in left if _same_axis(axis, other)), None)
        if found is not None:
            left.remove(found)
    return left
