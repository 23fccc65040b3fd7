"""Verdicts and standings as text: every word that matters is written, colour only repeats it."""

from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console
from rich.text import Text

from vitcourse.checking.grading import FAILURES, place
from vitcourse.checking.judge import Verdict
from vitcourse.checking.state import read_state, write_state
from vitcourse.codesets import CodeSet
from vitcourse.course import Exercise, chapters, exercise

_STYLES: dict[str, str] = {
    "passed": "green",
    **dict.fromkeys(FAILURES, "bold red"),
    **dict.fromkeys(("blocked", "stale", "unchecked"), "yellow"),
}
_WIDTH = 11


def print_verdicts(console: Console, code: CodeSet, verdicts: Sequence[Verdict]) -> None:
    """A line for each exercise; below it, for what failed, what is wrong, where, and what to type next."""
    for verdict in verdicts:
        entry = exercise(verdict.exercise)
        told = verdict.status in (*FAILURES, "blocked")
        _print_line(console, verdict.status, entry, "" if told else code.label_for(entry.module))
        if verdict.status in FAILURES:
            _print_indented(console, verdict.headline, style="bold")
            _print_indented(console, verdict.diagnosis)
        elif verdict.status == "blocked":
            _print_indented(console, verdict.headline)
        if verdict.status != "passed":
            where = f"{verdict.file}, line {verdict.line}" if verdict.line else verdict.file
            if verdict.status in ("failed", "error") and verdict.seed:
                again = f"vitcourse check {verdict.exercise}{code.options} --seed {verdict.seed}"
                _print_indented(console, f"the same inputs again: {again}")
            told = not verdict.line and verdict.headline.startswith(f"{verdict.file}, line ")  # with a nearer line
            _print_indented(console, f"{'' if told else where}\n{next_step(verdict, code)}".strip())
    console.print()
    console.print(_summary(verdicts, code), soft_wrap=True)


def print_next(console: Console, code: CodeSet, here: Exercise | None) -> None:
    """Where to go on."""
    if here is None:
        done = "every exercise has passed; to train what you wrote: vitcourse train --code chapters"
        console.print(done, soft_wrap=True)
        return
    file, line = place(code, here)
    if code.source(here.module) is None:
        where = f"{file}, which is missing; for its stubs: vitcourse reset {here.id[0]}"
    else:
        where = f"{file}, line {line}" if line else file
    console.print(f"next: {here.id} {here.title}, in {where}", soft_wrap=True)


def print_where(
    console: Console, code: CodeSet, standing: Sequence[tuple[Exercise, str]], here: Exercise | None
) -> None:
    """What stands on the first screen: how far one is, where one is, what to type."""
    done = sum(status == "passed" for _, status in standing)
    console.print(f"{done} of {len(standing)} exercises passed", soft_wrap=True)
    print_next(console, code, here)
    if here is not None:
        for what, typed in (
            ("check it at every save", "vitcourse watch"),
            ("check it once", f"vitcourse check {here.id}"),
            ("a hint", f"vitcourse hint {here.id}"),
        ):
            console.print(f"  {what:<22}  {typed}", soft_wrap=True)
    console.print(f"  {'every command':<22}  vitcourse --help", soft_wrap=True)


def print_hints(console: Console, entry: Exercise) -> None:
    """One hint more than last time, and that it was the last one when it was."""
    shown = read_state("hints.json")
    so_far = shown.get(entry.id, 0)
    so_far = so_far if isinstance(so_far, int) else 0
    count = len(entry.hints)
    number = min(so_far + 1, count)
    write_state("hints.json", {**shown, entry.id: number})
    for index, text in enumerate(entry.hints[:number], start=1):
        which = f"hint {index} of {count}" if index < count else "the last hint"
        console.print(f"{entry.id}, {which}: {text}", soft_wrap=not console.file.isatty())
    if so_far >= count:
        answer = f"vitcourse solution {entry.id} --give-up"
        console.print(f"there are no more; for the answer, type: {answer}", soft_wrap=True)


def print_standing(
    console: Console, code: CodeSet, standing: Sequence[tuple[Exercise, str]], here: Exercise | None
) -> None:
    """The whole course, chapter by chapter, and how far one is."""
    for chapter in chapters():
        own = [(entry, status) for entry, status in standing if entry.module == chapter.module]
        done = sum(status == "passed" for _, status in own)
        console.print(
            f"\nChapter {chapter.number}: {chapter.title} ({done} of {len(own)} passed)", style="bold", soft_wrap=True
        )
        for entry, status in own:
            _print_line(console, status, entry)
    done = sum(status == "passed" for _, status in standing)
    cells = round(30 * done / len(standing))
    console.print(f"\n[{'#' * cells}{'-' * (30 - cells)}] {done} of {len(standing)} passed", soft_wrap=True)
    if any(status in ("stale", "unchecked") for _, status in standing):
        console.print("what changed since the last check is checked by: vitcourse check", soft_wrap=True)
    print_next(console, code, here)


def next_step(verdict: Verdict, code: CodeSet) -> str:
    """What to type after a verdict that isn't "passed"."""
    if verdict.status == "missing" and code.is_own:
        return f"next: vitcourse reset {verdict.exercise[0]}, for its stubs"
    if code.is_own and verdict.headline.endswith(f" is missing from {verdict.file}") and not verdict.diagnosis:
        return f"next: vitcourse reset {verdict.exercise}, for its stub"
    if verdict.status == "error" and not verdict.seed:  # the file can't even be loaded, and no hint is about that
        return f"next: mend that, then vitcourse check {verdict.exercise}{code.options}"
    if verdict.status == "blocked":
        first = exercise(verdict.stub)
        step = f"next: vitcourse check {first.id}{code.options}"
        if first.module == exercise(verdict.exercise).module:
            return step
        skipping = replace(code, use_solution=(*code.use_solution, first.module)).options
        return f"{step}, or, as if that chapter were done, vitcourse check {verdict.exercise}{skipping}"
    commands = [f"vitcourse hint {verdict.exercise}"]
    if verdict.status in FAILURES and verdict.seed:  # else nothing could be run
        commands.append(f"vitcourse trace {verdict.exercise}{replace(code, use_solution=()).options}")
    return f"next: {', or '.join(commands)}"


def print_code(console: Console, text: str) -> None:
    """Python code, in colours on a terminal and as it is elsewhere; no line is cut or wrapped."""
    if console.is_terminal and not console.no_color:
        from rich.syntax import Syntax

        highlighted = Syntax(text, "python", theme="ansi_dark", background_color="default").highlight(text)
        highlighted.rstrip()
        console.print(highlighted, soft_wrap=True)
    else:
        print(text, file=console.file)


def said(status: str) -> str:
    """A status in plain words."""
    return "changed since the last check" if status == "stale" else status.replace("-", " ")


def _print_line(console: Console, status: str, entry: Exercise, label: str = "") -> None:
    word = "changed" if status == "stale" else said(status)
    title = f"{entry.title} ({label})" if label else entry.title
    line = Text.assemble((f"{word:<{_WIDTH}}", _STYLES.get(status, "")), f"  {entry.id}  {title}")
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
