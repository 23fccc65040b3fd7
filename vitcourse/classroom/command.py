"""`vitcourse grade`: looks at what was handed in, grades it, shows a table and writes what was asked for."""

import json
import os
import shlex
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from vitcourse.checking.judge import plain
from vitcourse.classroom.box import box
from vitcourse.classroom.grading import Order, rows
from vitcourse.classroom.layouts import Submission, submissions
from vitcourse.classroom.rows import Row, as_csv, as_gradescope, as_junit, file_names
from vitcourse.errors import RequestError, RunError
from vitcourse.files import require_output, unwritable, write_atomically, writing
from vitcourse.signals import handling

_FEW = 12  # columns of exercises that fit on a terminal


@dataclass(frozen=True)
class Outputs:
    """The files and folders that were asked for."""

    csv: Path | None = None
    json: Path | None = None
    gradescope: Path | None = None
    junit: Path | None = None

    def require_writable(self) -> None:
        """Raise RequestError now where writing would fail at the end. Nothing is made yet."""
        require_output(self.csv, ".csv", "--csv")
        require_output(self.json, ".json", "--json")
        if self.csv is not None and self.csv == self.json:
            raise RequestError(f"--csv and --json name one file, {self.csv}; name two")
        for folder in filter(None, (self.gradescope, self.junit)):
            if fault := unwritable(folder):
                raise RequestError(f"can't write {folder}: {fault}; name a place in another folder")

    def write(self, made: Sequence[Row]) -> None:
        """Write them all, each whole or not at all. Raises RequestError when one can't be written."""
        for place, text in self._files(made):
            with writing(place, "name another place: what is graded is kept"):
                place.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(place, text)

    def _files(self, made: Sequence[Row]) -> Iterator[tuple[Path, str]]:
        if self.csv is not None:
            yield self.csv, as_csv(made)
        if self.json is not None:
            yield self.json, json.dumps(made, indent=1, ensure_ascii=False) + "\n"
        for entry, name in zip(made, file_names(made), strict=True):
            if self.gradescope is not None:
                yield self.gradescope / ("" if len(made) == 1 else name) / "results.json", as_gradescope(entry)
            if self.junit is not None:
                yield self.junit / f"{name}.xml", as_junit(entry)


def grade_class(
    places: Sequence[Path],
    ids: Sequence[str],
    outputs: Outputs,
    console: Console,
    jobs: int | None = None,
    kind: str = "auto",
    seed: int | None = None,
    one: bool = False,
) -> None:
    """Grade all that lies at these places. Raises RequestError, and RunError when it was stopped."""
    if kind not in ("auto", "none"):
        raise RequestError(f"there is no box {kind!r}; type --box auto or --box none")
    for place in places:
        if not os.path.lexists(place):
            raise RequestError(f"there is no {place}; name a folder or a zip that was handed in")
    outputs.require_writable()
    order = Order(tuple(ids), box(kind), seed)
    handed = _own_names([own for place in places for own in submissions(place, one)])
    if len(handed) == len(places) == 1 and not one and _could_be_class(places[0]):
        each = f"vitcourse grade {shlex.quote(str(places[0]))}/*"
        console.print(f"{places[0]} is taken for one submission; for a row each, type: {each}", soft_wrap=True)
    if not order.box:
        console.print("without a box: what was handed in runs as you, with your files and your network", soft_wrap=True)
    done = _until_stopped(console, len(handed), rows(handed, order, jobs or os.cpu_count() or 1))
    _print_table(console, done)
    outputs.write(done)
    if len(done) < len(handed):
        raise RunError(f"stopped: {len(done)} of {len(handed)} are graded and kept; the same command goes on")


def _until_stopped(console: Console, total: int, coming: Iterable[tuple[int, Row]]) -> list[Row]:
    """The rows in their order, as many as there were before Ctrl-C, or before the system asked to end."""
    made: dict[int, Row] = {}
    ends = handling(signal.default_int_handler, "SIGTERM")
    with ends, suppress(KeyboardInterrupt), _progress(console) as progress:
        task = progress.add_task("grading", total=total)
        for number, entry in coming:
            made[number] = entry
            progress.update(task, advance=1, description=entry["submission"][:30])
    return [made[number] for number in sorted(made)]


def _could_be_class(place: Path) -> bool:
    """Whether there are several folders in it, none of which is what a submission's is called."""
    inside = place.iterdir() if place.is_dir() and os.access(place, os.R_OK | os.X_OK) else ()
    folders = [each.name.lower() for each in inside if each.is_dir() and each.name[0] not in "._"]
    return len(folders) > 1 and "chapters" not in folders


def _own_names(handed: Sequence[Submission]) -> list[Submission]:
    """The submissions, each with a name of its own: class lists may be put together from several places."""
    names: set[str] = set()
    for one in handed:
        given, number = one.name, 1
        while one.name in names:
            number += 1
            one.name = f"{given} ({number})"
        names.add(one.name)
    return list(handed)


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True, disable=not console.is_terminal)


def _print_table(console: Console, made: Sequence[Row]) -> None:
    """A line for each: points, and what isn't passed."""
    heads = ("submission", "points", "passed", "not passed", "notes")
    table = Table(*(Column(head, overflow="fold") for head in heads), box=None, pad_edge=False)
    for entry in made:
        open_ones = [verdict for verdict in entry["verdicts"] if verdict["status"] != "passed"]
        words = [f"{status}: {', '.join(ids)}" for status, ids in _by_status(open_ones).items()]
        notes = list(entry["notes"])
        if all(verdict["status"] in ("missing", "unreadable") for verdict in entry["verdicts"]):
            notes.append(entry["verdicts"][0]["headline"])  # nothing of it could be read
        if entry["integrity"]:
            notes.append(f"integrity, to look at: {len(entry['integrity'])}")
        if entry["box"] != "bubblewrap":
            notes.append("no box")
        table.add_row(
            *(plain(entry["submission"]), f"{entry['points']:g}/{entry['max_points']:g}"),
            *(f"{len(entry['verdicts']) - len(open_ones)}", "; ".join(words), "; ".join(notes)),
        )
    console.print(table)


def _by_status(verdicts: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for verdict in verdicts:
        found.setdefault(verdict["status"], []).append(verdict["exercise"])
    return {status: ids if len(ids) <= _FEW else [f"{len(ids)} exercises"] for status, ids in found.items()}
