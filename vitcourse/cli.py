"""The command `vitcourse`: reads the request, calls what does the work, and turns errors into one line.

Nothing here imports torch: a command imports what it needs when it runs.
"""

import sys

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


def main() -> None:
    """Run the command line; a wrong request ends in one line on stderr and exit code 2."""
    try:
        app()
    except RequestError as error:
        print(f"vitcourse: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
