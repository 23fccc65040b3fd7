"""Check again at every save: what changed is told by the system's file events, by polling where there are none.

Events may be lost (on network drives, in containers), come in bursts, and speak of files that an editor has put aside
for a moment. So an event only says "look now"; what counts is whether a chapter's file is another than at the last
look. And a look is taken every second in any case.
"""

import contextlib
import signal
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from types import FrameType

from rich.console import Console

from vitcourse.checking.grading import grade, up_to_first_not_done
from vitcourse.checking.judge import Judge, Verdict, load_checks
from vitcourse.checking.record import fingerprints, keep
from vitcourse.checking.report import print_verdicts
from vitcourse.checking.workers import Workers
from vitcourse.codesets import CodeSet
from vitcourse.course import Exercise, chapters, exercises
from vitcourse.errors import RequestError
from vitcourse.progress import is_started

_STEP = 20  # milliseconds without a change that end a burst of saves
_POLL = 100  # milliseconds between two looks where events have to be replaced by polling
_LOOK = 1000  # milliseconds after which to look, whatever the events say


def watch(code: CodeSet, asked: Sequence[Exercise] | None, console: Console) -> None:
    """Check at every save of a chapter, until Ctrl-C; asked is what to check, None what the saved file is about.

    Raises RequestError when the package that watches files is missing.
    """
    with _ended_by_signals(), contextlib.suppress(KeyboardInterrupt), Workers() as workers:
        files = Saves(code)  # from here on no save is missed
        console.print("loading torch and the checks …", soft_wrap=True)
        workers.begin()
        load_checks()
        judge = Judge(workers)
        first = asked or [exercise for exercise in exercises() if is_started_or_broken(code, exercise)]
        if first:
            check_and_show(code, first, asked is None, judge, console)
        console.print(f"watching {code.folder.name}/; save a file to check it, Ctrl-C to end", soft_wrap=True)
        for modules in files.each():
            chosen = asked or [e for e in exercises() if e.module in modules and is_started_or_broken(code, e)]
            if console.is_terminal and not console.is_dumb_terminal:
                console.clear()
            names = ", ".join(code.shown(code.file(module)) for module in modules)
            console.print(f"\n{names} saved", soft_wrap=True)
            if chosen:
                check_and_show(code, chosen, asked is None, judge, console)
            else:
                console.print("no exercise is started there yet", soft_wrap=True)
    console.print("\nno longer watching", soft_wrap=True)


def check_and_show(
    code: CodeSet, asked: Sequence[Exercise], only_to_first: bool, judge: Judge, console: Console
) -> list[Verdict]:
    """Check, remember, show the verdicts and the time; those after the first that is not done only if wanted."""
    since = time.monotonic()
    try:
        before = fingerprints(code)
        verdicts = grade(code, asked, judge)
        keep(code, verdicts, before)
    except (RequestError, OSError) as error:  # a file that is no text, or gone just now: the next save will tell
        console.print(f"could not check: {error}", soft_wrap=True)
        return []
    shown = up_to_first_not_done(verdicts) if only_to_first else verdicts
    print_verdicts(console, code, shown)
    took = time.monotonic() - since
    console.print(f"verdict at {datetime.now():%H:%M:%S}, after {took:.1f} s", soft_wrap=True)
    return shown


def is_started_or_broken(code: CodeSet, exercise: Exercise) -> bool:
    """Whether there is something to say of it: it is started, or its file can't even be read."""
    try:
        return is_started(code, exercise)
    except (RequestError, OSError):
        return True


class Saves:
    """The chapters whose files are saved, from the moment at which this is made."""

    def __init__(self, code: CodeSet, poll: bool | None = None) -> None:
        try:
            import watchfiles  # noqa: F401
        except ImportError as error:
            raise RequestError(f"watch needs the package watchfiles ({error}); type: uv sync") from error
        self.code = code
        self.poll = poll
        self.seen = {chapter.module: _mark(code.file(chapter.module)) for chapter in chapters()}

    def each(self) -> Iterator[list[str]]:
        """The chapters of each burst of saves, in order; a file that is gone is waited for."""
        for _ in self._looks():
            changed = []
            for module, before in self.seen.items():
                now = _mark(self.code.file(module))
                if now not in (None, before):
                    self.seen[module] = now
                    changed.append(module)
            if changed:
                yield changed

    def _looks(self) -> Iterator[object]:
        from watchfiles import watch as events

        # None leaves the choice to WATCHFILES_FORCE_POLLING; where events fail, the second try polls.
        for poll in (self.poll, True):
            with contextlib.suppress(RuntimeError, OSError):
                yield from events(
                    self.code.folder,
                    watch_filter=None,
                    step=_STEP,
                    debounce=10 * _STEP,
                    rust_timeout=_LOOK,
                    yield_on_timeout=True,
                    force_polling=poll,
                    poll_delay_ms=_POLL,
                    recursive=False,
                )
                return
        while True:  # not even that: look by ourselves
            time.sleep(_POLL / 1000)
            yield None


def _mark(file: Path) -> tuple[int, int, int] | None:
    """What differs between a file and the same file saved again; None while there is no file."""
    try:
        stat = file.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """A closed terminal or a polite kill ends the watch as Ctrl-C does, and so its child too."""

    def end(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    try:
        before = {number: signal.signal(number, end) for number in numbers}
    except ValueError:  # not in the main thread
        before = {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
