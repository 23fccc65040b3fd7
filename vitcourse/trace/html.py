"""A trace as a table for a page: no scripts, the page's own colours, and every level behind a <details>."""

from dataclasses import replace
from html import escape

from vitcourse.trace.record import NEW, OLD, Row, Steps, nested

# The colours are those of the page, light or dark; only the lines are drawn, in a faint shade of its text.
STYLE = """
.shape-trace { overflow-x: auto; }
.shape-trace table { border-collapse: collapse; width: 100%; min-width: 44em; table-layout: fixed; font-size: 0.9em;
  color: inherit; background: none; }
.shape-trace caption { text-align: left; font-weight: bold; padding: 0.25em 0.5em; color: inherit; }
.shape-trace th, .shape-trace td { text-align: left; vertical-align: top; padding: 0.2em 0.5em; color: inherit;
  background: none; font-weight: normal; border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent); }
.shape-trace thead th { font-weight: bold; }
.shape-trace table table { font-size: 1em; min-width: 0; }
.shape-trace col.line { width: 3em; }
.shape-trace col.operation { width: 15em; }
.shape-trace col.shape { width: 36%; }
.shape-trace details caption, .shape-trace details thead { position: absolute; width: 1px; height: 1px; padding: 0;
  overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.shape-trace code, .shape-trace table code { color: inherit; background: none; white-space: pre-wrap;
  overflow-wrap: break-word; word-break: normal; border: 0; }
.shape-trace b.new { font-weight: bold; text-decoration: underline; text-underline-offset: 0.2em; }
.shape-trace details { margin: 0.2em 0 0.4em 1em; }
.shape-trace summary { cursor: pointer; }
.shape-trace summary:focus-visible { outline: 2px solid currentColor; outline-offset: 2px; }
.shape-trace .shape-trace-error { border-left: 3px solid currentColor; padding-left: 0.75em; }
"""


DEEPEST = 99
COLUMNS = ("line", "expression", "operation", "shape")


def to_html(trace: Steps) -> str:
    """A table for a page: no scripts, light and dark; the levels below the trace's own depth, or the first, closed."""
    depth = trace.depth or 1
    # Python, and browsers, put only so many tables into one another.
    rows = [row if row.depth < DEEPEST else replace(row, depth=DEEPEST) for row in trace.steps]
    body = _table(rows, f"Shapes in {trace.name}", depth)
    legend = trace.definitions(depth=99)
    parts = [f"<style>{STYLE}</style>", body]
    if legend:
        parts.append(f"<p>{escape(', '.join(legend))}</p>")
    parts += [f"<p>{escape(finding)}</p>" for finding in trace.findings]
    if trace.failure is not None:
        parts.append(f'<div class="shape-trace-error" role="note"><p>{_lines(str(trace.failure))}</p></div>')
    return f'<div class="shape-trace">{"".join(parts)}</div>'


def _lines(text: str) -> str:
    return "<br>".join(f"<code>{escape(line.strip())}</code>" for line in text.splitlines())


def _table(rows: list[Row], caption: str, open_to: int) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in COLUMNS)
    columns = "".join(f'<col class="{name}">' for name in COLUMNS)
    lines = [_row(row, inner, open_to) for row, inner in nested(rows)]
    return (
        f"<table><caption>{escape(caption)}</caption><colgroup>{columns}</colgroup>"
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    )


def _marked(row: Row) -> str:
    return escape(row.marked).replace(NEW, '<b class="new">').replace(OLD, "</b>")


def _row(row: Row, inner: list[Row], open_to: int) -> str:
    cells = (
        f"<td>{row.line or ''}</td>"
        f'<th scope="row"><code>{escape(row.label)}</code></th>'
        f"<td>{escape(row.op)}</td>"
        f"<td><code>{_marked(row)}</code></td>"
    )
    line = f"<tr>{cells}</tr>"
    if not inner:
        return line
    steps = sum(other.depth == row.depth + 1 for other in inner)
    state = " open" if row.depth + 1 < open_to else ""
    table = _table(inner, f"Inside {row.label}", open_to)
    summary = f"<summary>inside <code>{escape(row.label)}</code>: {steps} step{'s' if steps > 1 else ''}</summary>"
    return f'{line}<tr><td colspan="4"><details{state}>{summary}{table}</details></td></tr>'
