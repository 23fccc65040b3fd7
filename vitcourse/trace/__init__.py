"""Shape traces: what every line of your code does to its tensors, in the course's own symbols.

    from vitcourse.trace import trace
    trace(PatchEmbedding(9, 16), images)

One idea a file: `symbols` sizes that know their names · `rules` how axes move through torch's functions · `patterns`
through einops · `contracts` names from signatures · `source` the expression as written · `recorder` watching a call ·
`folding` steps into rows · `record` what a trace is · `render`, `html`, `flow` showing it · `diff` comparing two.
"""

from vitcourse.trace.diff import Diff, diff
from vitcourse.trace.flow import flow_svg
from vitcourse.trace.record import Axis, Failure, Row, Trace
from vitcourse.trace.tracing import build, trace

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
