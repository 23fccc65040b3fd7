"""A trace and the ways to show it: as text, as a table, as a page, as a picture."""

from copy import copy

from vitcourse.trace.flow import flow_svg
from vitcourse.trace.html import to_html
from vitcourse.trace.record import Steps
from vitcourse.trace.render import print_trace, to_json, to_text


class Trace(Steps):
    """The steps that a call took, and its result or its error."""

    to_text, to_json, to_html, to_svg, print = to_text, to_json, to_html, flow_svg, print_trace
    _repr_html_ = to_html

    def at(self, depth: int | None) -> "Trace":
        """The same trace, shown to another depth."""
        other = copy(self)
        other.depth = depth
        return other

    def __str__(self) -> str:
        return to_text(self, legend=True)

    __repr__ = __str__
