"""Check again at every save: what changed is told by the system's file events, by looking where there are none.

Events may be lost (on network drives, in containers), come in bursts, and speak of files that an editor has put aside
for a moment. So an event only says "look now"; what counts is whether a chapter's file is another than at the last
look. And a look is taken every second in any case.
"""

import _thread
import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import watchfiles
from rich.console import Console

from vitcourse.checking.grading import up_to_first_not_done
from vitcourse.checking.judge import Judge, Verdict, load_checks
from vitcourse.checking.keys import pressed
from vitcourse.checking.report import print_hints, print_next, print_verdicts
from vitcourse.checking.state import at, checked, standing
from vitcourse.checking.wall import Overtaken
from vitcourse.checking.workers import Workers
from vitcourse.codesets import CodeSet
from vitcourse.course import Exercise, chapters, exercise, exercises
from vitcourse.errors import RequestError
from vitcourse.progress import is_started
from vitcourse.signals import handling
from vitcourse.worker.chapters import UNREADABLE
from vitcourse.worker.started import definitions

KEYS = "keys: h hint, t trace, n next, q quit"

# The command in a process of its own, which names commands as this one does.
AGAIN = "import sys; del sys.argv[0]; from vitcourse.cli import main; main()"
_STEP = 20  # milliseconds without a change that end a burst of saves
_POLL = 100  # milliseconds between two looks where there are no events
_AWAY = 0.9  # seconds for which an editor may have put a file aside
_LOOK = 1000  # milliseconds after which to look, whatever the events say


def watch(code: CodeSet, only: Sequence[Exercise] | None, console: Console) -> None:
    """Check at every save of a chapter, until Ctrl-C; only is what to check, None what the saved file is about."""
    ends = handling(signal.default_int_handler, "SIGTERM", "SIGHUP")  # as Ctrl-C does, and so ends its child too
    with ends, contextlib.suppress(KeyboardInterrupt), Workers() as workers:
        files = Saves(code)  # from here on no save is missed
        workers.look = files.look
        console.print("loading torch and the checks …", soft_wrap=True)
        workers.begin()
        load_checks()
        desk = Desk(code, only, Judge(workers), console)
        with pressed(desk.key) as has_keys:
            desk.begin()
            keys = f"; {KEYS}" if has_keys else ""
            console.print(f"watching {code.folder.name}/; save a file to check it, Ctrl-C to end{keys}", soft_wrap=True)
            for modules in files.each():
                if saved := [module for module in modules if files.seen[module]]:
                    desk.saved(saved)
                desk.gone([module for module in modules if module not in saved])
    console.print("\nno longer watching", soft_wrap=True)


class Desk:
    """What one works at while watching: what is checked, where one is, what the keys do."""

    def __init__(self, code: CodeSet, only: Sequence[Exercise] | None, judge: Judge, console: Console) -> None:
        self.code, self.only, self.judge, self.console = code, only, judge, console
        self.here: Exercise | None = None
        self._bodies = self._read()
        self._due: Sequence[Exercise] = ()  # what was being checked when a newer save came
        self._busy = threading.Lock()  # a key waits for the verdict, a save for the key

    def begin(self) -> None:
        """The first verdicts, on all that is begun."""
        first = self.only or [exercise for exercise in exercises() if is_started_or_broken(self.code, exercise)]
        with self._busy:
            if first:
                self.check(first)
            else:
                self.here = at(self.code)
                print_next(self.console, self.code, self.here)

    def saved(self, modules: Sequence[str]) -> None:
        """The verdicts on what was saved: first on what was edited in it."""
        with self._busy:
            asked = [e for e in exercises() if e.module in modules or e in self._due]
            chosen = self.only or [e for e in asked if is_started_or_broken(self.code, e)]
            if self.console.is_terminal and not self.console.is_dumb_terminal:
                self.console.clear()
            names = ", ".join(self.code.shown(self.code.file(module)) for module in modules)
            self.console.print(f"\n{names} saved", soft_wrap=True)
            if chosen:
                self.check(chosen)
            else:
                self.console.print("no exercise is started there yet", soft_wrap=True)

    def gone(self, modules: Sequence[str]) -> None:
        """One line on each chapter whose file was there."""
        with self._busy:
            for module in modules:
                try:
                    self.code.text(module)
                except (RequestError, OSError) as error:
                    self.console.print(str(error), soft_wrap=True)

    def key(self, key: str) -> None:
        """Do what a key stands for."""
        if key == "q":
            _thread.interrupt_main()
            return
        with self._busy:
            if self.here is None or key not in "htn":
                self.console.print(KEYS, soft_wrap=True)
            elif key == "h":
                print_hints(self.console, self.here)
            elif key == "t":
                subprocess.run([sys.executable, "-c", AGAIN, sys.argv[0], "trace", self.here.id])
            else:
                self._go_on(after=self.here)

    def check(self, chosen: Sequence[Exercise]) -> list[Verdict]:
        """Check, remember, show the verdicts and the time; those after the first that is not done only if wanted.

        The verdicts on what was edited since the last come first; then, of the others, only what is wrong is shown.
        None are shown when a newer save comes meanwhile, with which the same is checked again.
        """
        since, bodies = time.monotonic(), self._read()
        try:
            verdicts = checked(self.code, chosen, self.judge)
        except Overtaken:
            self._due = chosen
            return []
        except (RequestError, OSError) as error:  # a file that is no text, or gone just now: the next save will tell
            self.console.print(f"could not check: {error}", soft_wrap=True)
            return []
        edited = [verdict for verdict in verdicts if bodies.get(verdict.exercise) != self._bodies.get(verdict.exercise)]
        self._due, self._bodies = (), bodies
        others = [verdict for verdict in verdicts if verdict not in edited]
        shown = up_to_first_not_done(others) if self.only is None else others
        if edited:
            shown = edited + [verdict for verdict in shown if verdict.status != "passed"]
        print_verdicts(self.console, self.code, shown)
        took = time.monotonic() - since
        self.console.print(f"verdict at {datetime.now():%H:%M:%S}, after {took:.1f} s", soft_wrap=True)
        failed = next((verdict for verdict in shown if verdict.status != "passed"), None)
        if failed is not None:
            self.here = exercise(failed.exercise)
        elif shown:
            self._go_on()
        return shown

    def _go_on(self, after: Exercise | None = None) -> None:
        """Where to go when all is passed, or, without that, when one wants to go on."""
        if after is None:
            self.here = at(self.code)
        else:
            open_ones = [each for each, status in standing(self.code) if status != "passed"]
            order = exercises()
            later = [each for each in open_ones if order.index(each) > order.index(after)]
            self.here = next(iter(later or open_ones), None)
        print_next(self.console, self.code, self.here)
        if self.only is not None and self.here is not None:
            self.only = [self.here]

    def _read(self) -> dict[str, str]:
        """By exercise, what its definitions say; nothing of a file that can't be read."""
        found = {}
        for each in exercises():
            with contextlib.suppress(RequestError, OSError, *UNREADABLE):
                own = definitions(self.code.source(each.module) or "")
                found[each.id] = "\n".join(own.get(name, "") for name in each.names)
        return found


def is_started_or_broken(code: CodeSet, exercise: Exercise) -> bool:
    """Whether there is something to say of it: it is started, or its file can't even be read."""
    try:
        return is_started(code, exercise)
    except (RequestError, OSError):
        return True


class Saves:
    """The chapters whose files are saved, from the moment at which this is made."""

    def __init__(self, code: CodeSet) -> None:
        self.code = code
        self.seen = {chapter.module: _mark(code.file(chapter.module)) for chapter in chapters()}

    def each(self) -> Iterator[list[str]]:
        """The chapters of each burst of saves, in order; and those whose files are gone, and not for a moment."""
        missed: dict[str, float] = {}
        for _ in self._looks():
            changed = []
            for module, before in self.seen.items():
                now = _mark(self.code.file(module))
                if now:
                    missed.pop(module, None)
                elif time.monotonic() - missed.setdefault(module, time.monotonic()) < _AWAY:
                    continue
                if now != before:
                    self.seen[module] = now
                    changed.append(module)
            if changed:
                yield changed

    def look(self) -> None:
        """Raise Overtaken once a file is another than at the last look."""
        if any((now := _mark(self.code.file(module))) and now != before for module, before in self.seen.items()):
            raise Overtaken

    def _looks(self) -> Iterator[object]:
        with contextlib.suppress(RuntimeError, OSError):
            yield from watchfiles.watch(
                self.code.folder,
                watch_filter=None,
                step=_STEP,
                debounce=10 * _STEP,
                rust_timeout=_LOOK,
                yield_on_timeout=True,
                poll_delay_ms=_POLL,
                recursive=False,
            )
            return
        while True:  # events fail, for want of inotify's watches, say: look by ourselves
            time.sleep(_POLL / 1000)
            yield None


def _mark(file: Path) -> tuple[int, int, int] | None:
    """What differs between a file and the same file saved again; None while there is no file."""
    try:
        stat = file.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
