"""`vitcourse update`: a newer course's stubs come into the learner's chapters, and what was written stays.

Three texts decide: the stub that the folder was given, the learner's file, and the stub as it is now. A definition is
one unit: untouched, it is replaced; written, it stays to the letter, and what has changed of what it asks is said. So
are the lines around the definitions; where both sides changed them the learner's stay, and get the imports they lack.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import vitcourse
from vitcourse.codesets import CodeSet
from vitcourse.course import Chapter, Exercise, chapters
from vitcourse.definitions import definitions, fault_in, with_imports
from vitcourse.files import plain_text
from vitcourse.keeping import content, near, put
from vitcourse.places import workplace
from vitcourse.stubs import given, note, pristine
from vitcourse.worker.chapters import UNREADABLE
from vitcourse.worker.started import started


@dataclass
class Merged:
    """A chapter's new text, and a line for each thing to say of it; left tells that nothing could be done."""

    text: str
    said: list[str] = field(default_factory=list)
    left: bool = False


def update(code: CodeSet, kept: Path) -> tuple[str, bool]:
    """Bring every chapter up to date; what was done, in lines, and whether all could be.

    Each file that is replaced goes into the folder `kept` first, so that undo brings it back.
    """
    before, now = given(), {chapter.module: pristine(chapter.module) for chapter in chapters()}
    lines: list[str] = []
    noted, replaced = dict(now), False
    for chapter in chapters():
        module = chapter.module
        merged = merge(chapter, content(code.file(module)), before.get(module), now[module])
        if merged.left:
            noted[module] = before.get(module, "")  # what it is merged with the next time
        elif put(code, module, merged.text, f"update to {vitcourse.__version__}", kept):
            replaced = True
        if merged.said:
            lines += [f"{code.shown_as(module)}:", *(f"  {line}" for line in merged.said)]
    note({module: text for module, text in noted.items() if text}, workplace())
    whole = noted == now
    if not lines:
        return f"nothing to do: the stubs are those of vitcourse {vitcourse.__version__} already", whole
    if replaced:
        lines += [f"your files as they were are in {near(kept)}; vitcourse undo brings them back"]
    return "\n".join([f"the stubs of vitcourse {vitcourse.__version__}:", *lines]), whole


def merge(chapter: Chapter, content: bytes | None, base: str | None, new: str) -> Merged:
    """The learner's file of a chapter with the new stubs. base is the stub that it was made from, where it's known."""
    if content is None:
        return Merged(new, ["its stubs are there again" if base else "this chapter is new"])
    try:
        mine = plain_text(content)
        if new in (mine, base):
            return Merged(mine)
        merged = _Chapter(chapter, base or new, mine, new, known=base is not None).merged()
        ast.parse(merged.text)
    except UNREADABLE as error:
        where = "it is not a UTF-8 text file" if isinstance(error, UnicodeDecodeError) else fault_in(mine, error)
        return Merged("", [f"left as it is ({where}); mend that, then type vitcourse update again"], left=True)
    return merged


class _Text:
    """A chapter's text in parts: its definitions by name, and the lines around them, with a mark for each."""

    def __init__(self, text: str) -> None:
        self.frame = text.split("\n")
        self.units: dict[str, str] = {}
        for name, (start, end) in sorted(definitions(text).items(), key=lambda item: item[1], reverse=True):
            self.units[name] = "\n".join(self.frame[start:end])
            self.frame[start:end] = [_mark(name)]


class _Chapter:
    """One chapter's three texts; known tells whether the first is what the learner was given."""

    def __init__(self, chapter: Chapter, base: str, mine: str, new: str, known: bool) -> None:
        self.chapter, self.known = chapter, known
        self.base, self.mine, self.new = _Text(base), _Text(mine), _Text(new)
        self.exercise_of = {name: exercise for exercise in chapter.exercises for name in exercise.names}
        self.begun = {one.id for one in chapter.exercises if started(mine, [new, base], one.names)}

    def merged(self) -> Merged:
        base, mine, new = self.base.frame, self.mine.frame, self.new.frame
        frame = list(new if mine == base else mine)
        units = {name: unit for name in self._names() if (unit := self._chosen(name)) is not None}
        said = [line for exercise in self.chapter.exercises for line in self._on_exercise(exercise, units)]
        said += [line for name in self._names() if (line := self._on_other(name, units))]
        frame += [line for name in units if _mark(name) not in frame for line in ("", "", _mark(name))]
        marks: dict[str, str | None] = {_mark(name): units.get(name) for name in self._names()}
        text = "\n".join(own for part in frame if (own := marks.get(part, part)) is not None).rstrip() + "\n"
        fresh = [line for line in new if line.strip() and line not in [*base, *mine]]
        if fresh and mine != base:
            now, then = ("\n".join(line for line in frame if line[:1] != _SIGN) for frame in (new, base))
            text = with_imports(text, now, before=then)
        lost = [line for line in fresh if line[0] != _SIGN and line not in text.split("\n")]
        said += [f"your lines stay where the course has this now: {line}" for line in lost]
        return Merged(text, said or ["the lines around the exercises are new"])

    def _names(self) -> list[str]:
        return list(dict.fromkeys([*self.mine.units, *self.new.units, *self.base.units]))

    def _chosen(self, name: str) -> str | None:
        """What a name stands for from now on."""
        base, mine, new = (text.units.get(name) for text in (self.base, self.mine, self.new))
        if mine is None:
            return new if base is None else None  # it is new; or the learner took it out
        if new is None:
            return None if mine == base else mine
        if name in self.exercise_of:
            unchanged = self.known and base == new  # then notes in a stub's comments stay
            return mine if unchanged or self.exercise_of[name].id in self.begun else new
        return new if mine == base else mine

    def _on_exercise(self, exercise: Exercise, units: dict[str, str]) -> Iterator[str]:
        if exercise.id not in self.begun:
            if any(self.mine.units.get(name) != units.get(name) for name in exercise.names):
                yield f"{exercise.id} has a new stub"
            return
        old = self.base if self.known else self.mine
        changes = [line for name in exercise.names for line in _changes(name, old.units, self.new.units)]
        if changes:
            yield f"{exercise.id} stays as you wrote it, and what it asks has changed:"
            yield from (f"  {line}" for line in changes)

    def _on_other(self, name: str, units: dict[str, str]) -> str:
        base, mine, new = (text.units.get(name) for text in (self.base, self.mine, self.new))
        if name in self.exercise_of or base == new:
            return ""
        if new is None:
            return f"{name} is no longer part of the course{'; yours stays' if name in units else ''}"
        return f"{name} stays as you changed it; the course's has changed too" if mine not in (base, new) else ""


def _changes(name: str, old: dict[str, str], new: dict[str, str]) -> Iterator[str]:
    """What has changed of what a definition asks: signatures, and the text."""
    before, after = (_asked(units[name]) if name in units else {} for units in (old, new))
    for part in after.keys() | before.keys():
        (was, told), (now, tells) = before.get(part, ("", "")), after.get(part, ("", ""))
        if was != now:
            yield f"{now or f'{part} is gone'}{f' (it was {was})' if was and now else ''}"
        if told != tells:
            added = [line.strip() for line in tells.splitlines() if line.strip() and line not in told.splitlines()]
            yield f"{part} now says: {' '.join(added)}" if added else f"{part} says less than it did"


def _asked(text: str) -> dict[str, tuple[str, str]]:
    """By part, its signature and its docstring."""
    found = {}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            arguments = node.args if isinstance(node, ast.FunctionDef) else ast.Tuple(node.bases, ast.Load())
            found[node.name] = (f"{node.name}({ast.unparse(arguments).strip('(,)')})", ast.get_docstring(node) or "")
    return found


_SIGN = "\0"


def _mark(name: str) -> str:
    return f"{_SIGN}{name}"
