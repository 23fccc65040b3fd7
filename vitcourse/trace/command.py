"""What `vitcourse trace` shows: an exercise's trace, the learner's beside the reference's."""

from itertools import zip_longest
from pathlib import Path

from rich.console import Console

from vitcourse.files import write_file
from vitcourse.speech import print_json
from vitcourse.trace.diff import diff
from vitcourse.trace.exercises import trace_exercise
from vitcourse.trace.render import to_dict
from vitcourse.trace.tracing import Trace


def show_exercise(
    id: str,
    code: str,
    depth: int | None,
    as_json: bool,
    html: Path | None = None,
    svg: Path | None = None,
    console: Console | None = None,
    reveal: bool = False,
    parameters: bool = False,
) -> bool:
    """Show an exercise's traces; whether the code ran, and ended in the shapes that the reference has.

    The reference's own lines are shown to whom they give nothing away: once the exercise has passed, or with reveal.
    With html or svg they are written to a file instead, as a page or as a picture of the flow.
    Raises RequestError for what can't be traced, and for a file that can't be written.
    """
    console = console or Console()
    traces = trace_exercise(id, code, depth=depth)
    differences = []
    if code != "solutions":
        references = trace_exercise(id, "solutions", depth=depth)
        differences = [diff(mine, reference) for mine, reference in zip(traces, references, strict=True)]
        reveal = reveal or has_passed(id, code)
    if html is not None:
        write_file(html, page(traces))
    if svg is not None:
        write_file(svg, traces[0].to_svg(depth))
    if as_json:
        values = [difference.to_dict(reveal) for difference in differences] or [to_dict(t) for t in traces]
        print_json(values)
    elif html is not None or svg is not None:
        written = " and ".join(str(path) for path in (html, svg) if path is not None)
        console.print(f"wrote {written}", markup=False, highlight=False, soft_wrap=True)
    else:
        for trace, difference in zip_longest(traces, differences):
            if difference is not None:
                difference.print(console, reference_code=reveal)
            if difference is None or ((depth is not None or parameters) and trace.steps):
                trace.print(console, parameters)
    return all(trace.failure is None for trace in traces) and all(difference.same for difference in differences)


def has_passed(id: str, code: str) -> bool:
    """Whether the learner's exercise has passed, as the last check left it."""
    from vitcourse.checking.state import standing
    from vitcourse.codesets import load_code

    return code == "chapters" and any(asked.id == id and word == "passed" for asked, word in standing(load_code(code)))


def page(traces: list[Trace]) -> str:
    """The traces as a page of their own."""
    title = ", ".join(trace.name for trace in traces)
    body = "".join(trace.to_html() for trace in traces)
    style = ":root { color-scheme: light dark; } body { font-family: sans-serif; margin: 2em auto; max-width: 60em; }"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Shapes in {title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{style}</style></head>'
        f"<body><main>{body}</main></body></html>"
    )
