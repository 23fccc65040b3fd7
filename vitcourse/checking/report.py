"""Verdicts and standings as text: every word that matters is written, colour only repeats it."""

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from vitcourse.checking.grading import FAILURES, place
from vitcourse.checking.judge import Verdict
from vitcourse.codesets import CodeSet
from vitcourse.course import Exercise, chapters, exercise

_STYLES = {
    "passed": "green",
    "failed": "bold red",
    "error": "bold red",
    "timeout": "bold red",
    "missing": "bold red",
    "blocked": "yellow",
    "stale": "yellow",
    "unchecked": "yellow",
}
_WIDTH = 11


def print_verdicts(console: Console, code: CodeSet, verdicts: Sequence[Verdict]) -> None:
    """A line for each exercise; below it, for what failed, what is wrong, where, and what to type next."""
    for verdict in verdicts:
        asked = exercise(verdict.exercise)
        told = verdict.status in (*FAILURES, "blocked")
        _print_line(console, verdict.status, asked, "" if told else code.label_for(asked.module))
        if verdict.status in FAILURES:
            _print_indented(console, verdict.headline, style="bold")
            _print_indented(console, verdict.diagnosis)
        elif verdict.status == "blocked":
            _print_indented(console, verdict.headline)
        if verdict.status != "passed":
            where = f"{verdict.file}, line {verdict.line}" if verdict.line else verdict.file
            if verdict.status in ("failed", "error") and verdict.seed:
                again = f"vitcourse check {verdict.exercise} --seed {verdict.seed}"
                _print_indented(console, f"the same inputs again: {again}")
            _print_indented(console, f"{where}\nnext: {_next(verdict)}")
    console.print()
    console.print(_summary(verdicts, code), soft_wrap=True)


def print_standing(console: Console, code: CodeSet, standing: Sequence[tuple[Exercise, str]]) -> None:
    """The whole course, chapter by chapter, and how far one is."""
    for chapter in chapters():
        own = [(asked, status) for asked, status in standing if asked.module == chapter.module]
        done = sum(status == "passed" for _, status in own)
        console.print(
            f"\nChapter {chapter.number}: {chapter.title} ({done} of {len(own)} passed)", style="bold", soft_wrap=True
        )
        for asked, status in own:
            _print_line(console, status, asked)
    done = sum(status == "passed" for _, status in standing)
    cells = round(30 * done / len(standing))
    console.print(f"\n[{'#' * cells}{'-' * (30 - cells)}] {done} of {len(standing)} passed", soft_wrap=True)
    left = next((asked for asked, status in standing if status != "passed"), None)
    if any(status in ("stale", "unchecked") for _, status in standing):
        console.print("stale or unchecked: changed since the last check; type: vitcourse check", soft_wrap=True)
    if left is not None:
        file, line = place(code, left)
        console.print(f"next: {left.id} {left.title}, in {file}, line {line}", soft_wrap=True)


def _next(verdict: Verdict) -> str:
    commands = [f"vitcourse hint {verdict.exercise}"]
    if verdict.status in FAILURES:
        commands.append(f"vitcourse trace {verdict.exercise}")
    return ", or ".join(commands)


def print_code(console: Console, text: str) -> None:
    """Python code, in colours on a terminal and as it is elsewhere; no line is cut or wrapped."""
    if console.is_terminal and not console.no_color:
        from rich.syntax import Syntax

        highlighted = Syntax(text, "python", theme="ansi_dark", background_color="default").highlight(text)
        highlighted.rstrip()
        console.print(highlighted, soft_wrap=True)
    else:
        print(text, file=console.file)


def _print_line(console: Console, status: str, asked: Exercise, label: str = "") -> None:
    word = status.replace("-", " ")
    title = f"{asked.title} ({label})" if label else asked.title
    line = Text.assemble((f"{word:<{_WIDTH}}", _STYLES.get(status, "")), f"  {asked.id}  {title}")
    console.print(line, soft_wrap=True)


def _print_indented(console: Console, text: str, style: str = "") -> None:
    for line in text.splitlines():
        console.print(Text(f"{'':<{_WIDTH}}  {line}", style=style), soft_wrap=True)


def _summary(verdicts: Sequence[Verdict], code: CodeSet) -> str:
    counts = {status: sum(v.status == status for v in verdicts) for status in ("passed", *FAILURES)}
    failed = sum(counts[status] for status in FAILURES)
    waiting = len(verdicts) - counts["passed"] - failed
    words = [f"{counts['passed']} passed", f"{failed} failed"]
    if waiting:
        words.append(f"{waiting} not done")
    if not code.use_solution:
        return f"{code.name}: {', '.join(words)}"
    return f"{code.name}, {code.label} (not checked, not counted, and this result is not kept): {', '.join(words)}"
