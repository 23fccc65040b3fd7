"""The command `vitcourse`: reads the request, calls what does the work, and turns errors into one line.

Nothing here imports torch: a command imports what it needs when it runs.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from vitcourse.errors import RequestError

app = typer.Typer(
    name="vitcourse",
    help="Learn the Vision Transformer by writing one.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _root() -> None:
    """Learn the Vision Transformer by writing one."""


@app.command()
def trace(
    exercise: Annotated[str, typer.Argument(help="1.3, say")],
    code: Annotated[str, typer.Option(help="chapters, solutions or the path of a folder")] = "chapters",
    depth: Annotated[int | None, typer.Option(min=1, help="levels of calls; without it, what fits on a screen")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="every row, as JSON")] = False,
    html: Annotated[Path | None, typer.Option(help="write the trace as a page to this file")] = None,
) -> None:
    """The shapes of an exercise's tensors, step by step: yours beside what is expected."""
    from vitcourse.trace.command import show_exercise

    if not show_exercise(exercise, code, depth, as_json, html):
        raise typer.Exit(1)


def main() -> None:
    """Run the command line; a wrong request ends in one line on stderr and exit code 2."""
    try:
        app()
    except RequestError as error:
        print(f"vitcourse: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
