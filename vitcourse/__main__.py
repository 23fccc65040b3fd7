"""`python -m vitcourse` does what `vitcourse` does."""

from vitcourse.cli import main

main()
