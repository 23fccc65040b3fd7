"""What the magics do: write an answer, check it, show verdict and trace; and the command's own words, in a cell."""

import contextlib
import importlib
import io
import os
import re
import shlex
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cache, partial
from html import escape
from pathlib import Path
from typing import Any

from vitcourse.checking.judge import Judge, load_checks
from vitcourse.checking.state import at, checked, kept_folder
from vitcourse.checking.workers import Workers
from vitcourse.codesets import CodeSet, load_code
from vitcourse.course import Exercise, chapters, exercise
from vitcourse.errors import RequestError, RunError
from vitcourse.jupyter.cells import Cell, read_cell, with_cell
from vitcourse.jupyter.page import Curve, show, show_verdict
from vitcourse.keeping import put
from vitcourse.signals import handling
from vitcourse.stubs import init, pristine
from vitcourse.worker.started import started

COMMANDS = (
    "check", "doctor", "explore", "hint", "predict", "reset", "runs", "solution", "status", "trace", "undo",
)  # fmt: skip
USE_TORCH = ("check", "explore", "predict", "trace")
_left: defaultdict[str, list[str]] = defaultdict(list)  # by exercise, its chapter as cells of this notebook left it
_TYPED = re.compile(rf"(?:uv run |python -m )?vitcourse (?=(?:{'|'.join((*COMMANDS, 'train'))})\b)")


def register(shell: Any) -> None:
    """Give the magics to a notebook's shell; where there are no chapters yet, make a folder with the stubs."""
    _said(_have_chapters)

    def answer(line: str, cell: str) -> None:
        _said(write_exercise, shell, line, cell)

    shell.register_magic_function(answer, "cell", "exercise")
    shell.register_magic_function(partial(_said, train), "line", "train")
    for name in COMMANDS:
        shell.register_magic_function(partial(_said, command, name), "line", name)
    shell.register_magic_function(partial(_said, trace), "line", "trace")  # in the place of the command's


def _have_chapters() -> None:
    try:
        load_code("chapters")
    except RequestError:
        elsewhere = "type %cd and a folder that can be written, then %reload_ext vitcourse"
        print(as_typed_here(init(Path("my-vit"), elsewhere).partition("\n")[0]))
        os.chdir("my-vit")


def write_exercise(shell: Any, line: str, text: str) -> None:
    """`%%exercise 1.3`: put the cell's answer into chapters/, check it, show what came out, and take it into use here.

    A cell that still holds the stub changes nothing. What the answer replaces is kept, and `%undo` brings it back.
    """
    entry = exercise(line.strip() or "without a number")
    code = load_code("chapters")
    cell = read_cell(text, entry.names)
    if not started(text, [pristine(entry.module)], [name for name in entry.names if name in cell.names]):
        print(f"{entry.id} is still the stub: write your answer into this cell, and run it; a hint: %hint {entry.id}")
    else:
        source, file = code.text(entry.module), code.shown_as(entry.module)
        after = with_cell(source, cell, entry.names, file)
        others = started(source, [pristine(entry.module), after, *_left[entry.id]], entry.names)
        put(code, entry.module, after, f"answer to {entry.id}", kept_folder())
        _left[entry.id].append(after)
        if others:
            print(f"{file} held another answer to {entry.id}; %undo brings it back")
        _check(code, entry)
    take_into_use(shell, code, entry.module, cell)


def take_into_use(shell: Any, code: CodeSet, module: str, cell: Cell) -> None:
    """The chapter's names in the notebook, as the file has them now, and then what else the cell does."""
    _forget(module)
    chapter = code.module(module)
    shell.user_ns.update({name: getattr(chapter, name) for name in cell.names})
    if cell.rest.strip():
        own = [line for line in cell.imports if not line.startswith("from .")]
        shell.run_cell("\n".join([*own, cell.rest]))


def _forget(module: str) -> None:
    """Let this chapter and the later ones, which hold its names, be read anew when they are next wanted."""
    importlib.invalidate_caches()
    order = [chapter.module for chapter in chapters()]
    for later in order[order.index(module) :]:
        sys.modules.pop(f"chapters.{later}", None)


@cache
def _judge() -> Any:
    """One judge for the notebook's life: its workers are warm."""
    return Judge(Workers())


def _load() -> None:
    """In one piece: of torch, half imported, nothing would work until the notebook is started anew."""
    stops: list[int] = []
    with handling(lambda number, _: stops.append(number), "SIGINT"):
        load_checks()
    if stops:
        raise KeyboardInterrupt


def _check(code: CodeSet, entry: Exercise) -> None:
    _load()
    (verdict,) = checked(code, [entry], _judge())
    traces: list[Any] = []
    if verdict.status in ("passed", "failed", "error"):
        from vitcourse.trace.exercises import trace_exercise

        with contextlib.suppress(RequestError):  # it has no tensors
            traces = trace_exercise(entry.id, code.folder)
    show_verdict(entry, verdict, traces, at(code))


def trace(line: str) -> None:
    """`%trace 1.3`: the shapes of your code, as a table to open; and how they compare with what is expected."""
    from vitcourse.trace.exercises import trace_exercise

    words, here = _words(line), at(load_code("chapters"))
    if here is not None and (not words or words[0].startswith("-")):
        words = [here.id, *words]
    compared = _printed("trace", words)
    if len(words) > 1:
        print(compared, end="")
        return
    shapes = "".join(traced.to_html() for traced in trace_exercise(words[0], load_code("chapters").folder))
    verdict = re.sub(r"\x1b\[[0-9;]*m", "", "".join(compared.rstrip().splitlines()[-1:]))
    show(f"{shapes}<p>{escape(verdict)}</p>", compared)


def command(name: str, line: str) -> None:
    """A word of the command line, in this process; commands that it names are named as they are typed here."""
    print(_printed(name, _words(line)), end="")


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError as error:
        raise RequestError(f"{line}: {error}; close what is quoted, or leave the quotes out") from error


def _printed(name: str, words: Sequence[str]) -> str:
    from vitcourse.cli import UsageError, app

    screen, first = io.StringIO(), chapters()[0].module
    if name in USE_TORCH:
        _load()
    _forget(first)  # an editor may have changed them
    try:
        with contextlib.redirect_stdout(screen):
            app([name, *words], standalone_mode=False)
    except UsageError as error:
        raise RequestError(" ".join(error.format_message().split())) from error
    finally:
        _forget(first)  # and so may this command
    return as_typed_here(screen.getvalue())


def as_typed_here(text: str) -> str:
    """The command's words as magics."""
    return _TYPED.sub("%", text)


def train(line: str) -> None:
    """`%train`: a run in a process of its own, its words and its curve in this cell; the stop button ends it tidily."""
    program = [sys.executable, "-u", "-m", "vitcourse", "train", *_words(line)]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    runs: list[subprocess.Popen[str]] = []
    curve, said, stops = Curve(), "", 0

    def stop(number: int, _: object) -> None:
        nonlocal stops
        stops += 1
        for run in runs:  # before its first line it has learned nothing; a second stop is meant
            run.send_signal(number) if said and stops == 1 else run.kill()

    with (
        handling(stop, "SIGINT"),
        subprocess.Popen(
            program, stdout=-1, stderr=-2, text=True, encoding="utf-8", env=environment, start_new_session=True
        ) as run,
    ):
        runs.append(run)
        if stops:
            run.kill()
        assert run.stdout is not None
        for said in run.stdout:
            print(as_typed_here(said), end="")
            curve.read(said)
    if stops > 1 or (stops and not said):
        raise KeyboardInterrupt
    if run.returncode and not stops:  # else it has said what it kept
        raise RunError("the run did not succeed; its last line says why")


def _said(do: Callable[..., None], *words: Any) -> None:
    """What is wrong with a request is one line in the cell, without a traceback; so is that the cell was stopped."""
    try:
        do(*words)
    except (RequestError, RunError) as error:
        print(as_typed_here(str(error)), file=sys.stderr)
    except KeyboardInterrupt:
        print("stopped; run the cell again to have it done", file=sys.stderr)
