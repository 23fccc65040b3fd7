"""The commands `vitcourse` and `python -m vitcourse`: Ctrl-C is no traceback, not even while they are still loading."""

import sys


def main() -> None:
    """Run the command line; 130, as a shell has it, where Ctrl-C ended it."""
    try:
        from vitcourse.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
