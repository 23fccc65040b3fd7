"""A step of the traced code, and the steps inside it."""

from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn

from vitcourse.trace.recorder import Entry, Kind, Ref
from vitcourse.trace.source import Place

NOWHERE = Place("", 0, "")
# Where torch is called, and what tells the place from others.
Site = tuple[Place, tuple[int, int]]
# A function of torch: what it is called, where, its number, and what it took, so many, and gave.
Noted = tuple[str, Site, int, list[Entry], int]


class Node:
    """A step of the traced code: from which step of torch to which, on what, and the steps inside it.

    The operands are there for a function of torch: which step made them (-1: none did), and of what kind they are.
    """

    results: tuple[Ref, ...] = ()
    kind: Kind | None = None
    module: nn.Module | None = None
    _uses: dict[int, Kind] | None = None

    def __init__(
        self, place: Place, op: str, start: int, key: tuple[int, int], operands: Sequence[Entry] = (),
        shown: bool = False,
    ) -> None:  # fmt: skip
        self.place, self.op, self.start, self.end, self.key = place, op, start, start, key
        self.operands, self.shown = operands, shown
        # As they are noted down, which has to be quick, until somebody looks at them.
        self.steps: list[Node | Noted] = []

    @property
    def children(self) -> list["Node"]:
        """The steps in here."""
        children = [step if isinstance(step, Node) else _node(*step) for step in self.steps]
        self.steps = [*children]
        return children

    def calls(self) -> Iterator["Node"]:
        """All those in here that have steps of their own, the outermost first."""
        for step in self.steps:
            if isinstance(step, Node):
                yield step
                yield from step.calls()

    def noted(self, above: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Noted]]:
        """The functions of torch in here, each with the lines that lead to it, while they are as they were noted."""
        for step in self.steps:
            if isinstance(step, Node):
                yield from step.noted((*above, step.key))
            else:
                yield above, step

    def inside(self) -> Iterator["Node"]:
        """All steps in here, the innermost first."""
        for child in self.children:
            yield from child.inside()
            yield child

    def uses(self) -> dict[int, Kind]:
        """What was there before and is used in here: the step that made it (-1: none did), and of what kind it is."""
        if self._uses is None:
            self._uses = {}
            for _, ref, kind in self.operands:
                self._uses.setdefault(ref[0], kind)
            for child in self.children:
                for maker, kind in child.uses().items():
                    if maker < self.start:
                        self._uses.setdefault(maker, kind)
        return self._uses

    def spread(self) -> list[Ref]:
        """The operands of one step, which may have been spread to one shape."""
        last = next((child for child in reversed(self.children) if not child.shown and child.operands), self)
        refs = [ref for _, ref, _ in last.operands if ref[0] >= 0]
        return refs if len(refs) == len(last.operands) else []


def _node(name: str, site: Site, serial: int, entries: list[Entry], taken: int) -> Node:
    place, key = site
    node = Node(place, name.strip("_") or name, serial, key, entries[:taken], place is not NOWHERE)
    if node.shown and len(entries) > taken:
        node.results, node.kind = tuple([(serial, i) for i in range(len(entries) - taken)]), entries[taken][2]
    return node
