"""Shape traces: what every line of your code does to its tensors, in the course's own symbols.

    from vitcourse.trace import trace
    trace(PatchEmbedding(9, 16), images)

One idea a file: `tracing` from a call to its trace · `described` what its caller says · `recorder` watching a run,
`steps` the one that is shown, each a `node` · `runs` the same call at other sizes, on `copies` · `turns` of a loop
that need no run · `sizes` names from sizes, `roundings` of what was rounded, `expressions` as they are written ·
`follow` what a finished instance leaves unknown, `ask` of one step, `atoms` of all · `told` what all that says of
an axis · `names` what a call brings along · `failing` the line that failed, `errors` which axes disagree, of a
`fault`, `agreed` one by one · `source` the expression as written · `folding` steps into rows · `record` what a
trace is · `render`, `html`, `flow` showing it · `diff` comparing two · `exercises`, `command` the course's own
examples.
"""

import sys
from types import ModuleType
from typing import Any

from vitcourse.trace.described import build
from vitcourse.trace.diff import Diff, diff
from vitcourse.trace.flow import flow_svg
from vitcourse.trace.record import Axis, Failure, Row
from vitcourse.trace.tracing import Trace, trace

__all__ = [
    "Axis",
    "Diff",
    "Failure",
    "Row",
    "Trace",
    "build",
    "diff",
    "flow_svg",
    "trace",
]


class _Callable(ModuleType):
    """The package, called as its function: `from vitcourse import trace` is both, whichever was imported first."""

    def __call__(self, *args: Any, **kwargs: Any) -> Trace:
        return trace(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable
