"""A trace and the ways to show it: as text, as a table, as a page, as a picture."""

from copy import copy

from vitcourse.trace.flow import flow_svg
from vitcourse.trace.html import to_html
from vitcourse.trace.record import Steps
from vitcourse.trace.render import print_trace, to_json, to_text


class Trace(Steps):
    """The steps that a call took, and its result or its error."""

    def at(self, depth: int | None) -> "Trace":
        """The same trace, shown to another depth."""
        other = copy(self)
        other.depth = depth
        return other

    def to_text(self, columns: tuple[str, ...] = ("expression", "shape"), legend: bool = False) -> str:
        """The rows as plain text."""
        return to_text(self, columns, legend)

    def to_json(self) -> str:
        """Every row, whatever its depth, as JSON."""
        return to_json(self)

    def to_html(self) -> str:
        """A table for a page: no scripts, light and dark."""
        return to_html(self)

    def to_svg(self) -> str:
        """The flow of the tensors as a picture."""
        return flow_svg(self)

    def print(self) -> None:
        """The rows as a table in the terminal."""
        print_trace(self)

    def _repr_html_(self) -> str:
        return self.to_html()

    def __str__(self) -> str:
        return self.to_text(legend=True)

    __repr__ = __str__
