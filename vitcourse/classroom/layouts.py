"""Which files are whose chapters: by their names, as systems for teaching change them, or by what they define."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path, PurePosixPath
from sys import stdlib_module_names

from vitcourse.classroom.reading import ARCHIVES, PYTHON, Entry, entries, without_suffix
from vitcourse.course import Chapter, chapters
from vitcourse.errors import listed
from vitcourse.stubs import pristine

# Modules that are the course's, Python's or torch's: a file of that name is nobody's helper.
_TAKEN = {"vitcourse", "solutions", "tests", "conftest", "chapters", "sitecustomize", "usercustomize"}
_TAKEN |= {"torch", "torchvision", "numpy", "einops", "jaxtyping", "safetensors", "worker", *stdlib_module_names}
_ASIDE = ("solutions", "tests", "test", "old", "backup", "alternatives", "independent")
_PREFIXES = (  # what Canvas and Moodle put before a file's name, or make a folder's name of
    re.compile(r"^(?P<student>[^_]+)_(?:LATE_)?(?P<number>\d+_\d+)_(?P<file>.+)$", re.IGNORECASE),
    re.compile(r"^(?P<student>.+?)_(?P<number>\d+)_assignsubmission_(?:file|onlinetext)_?(?P<file>.*)$"),
)
_PART = re.compile(r"^(ch|chap|chapter|week|unit|exercise|part|task)s?[ _.-]*\d", re.IGNORECASE)


@dataclass
class Submission:
    """What one person handed in: the texts by module, what each file is called, and what there is to say of the rest.

    missing and unreadable tell of a chapter why it can't be judged; notes is what was taken for what, and what wasn't.
    """

    name: str
    found: dict[str, str] = field(default_factory=dict)
    helpers: dict[str, str] = field(default_factory=dict)
    shown: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    use_solution: tuple[str, ...] = ()

    @property
    def student(self) -> str:
        """Whose it is, as far as the name tells."""
        match = _prefixed(self.name)
        return match["student"] if match else re.sub(r"(_\d{2,})+$", "", without_suffix(self.name))

    @property
    def hash(self) -> str:
        """The same for the same texts, taken for the same."""
        parts = (self.found, self.helpers, self.shown, self.missing, self.unreadable)
        text = repr([sorted(part.items()) for part in parts])
        return sha256(text.encode("utf-8", "backslashreplace")).hexdigest()

    def texts(self) -> tuple[dict[str, str], dict[str, str]]:
        """By module's name, the texts of the chapters and of what lies beside them, and what each file is called.

        In place of a chapter that isn't there stands its stub: later ones import it, and may need nothing of it.
        """
        stubs = {module: pristine(module) for module in (*self.missing, *self.unreadable)}
        texts = {**self.helpers, **stubs, **self.found}
        return texts, {module: self.shown_as(module) for module in texts}

    def shown_as(self, module: str) -> str:
        """What a chapter's file is called."""
        return self.shown.get(module, f"{module}.py")


def submissions(place: Path, one: bool = False) -> list[Submission]:
    """One for each person who handed something in at this place: a folder, a zip, or a folder of them.

    With one, all of it is one person's, whatever it looks like.
    """
    name, found = place.resolve().name, entries(place)
    if not place.is_dir():
        found = [replace(entry, path=_rest(entry.path)) for entry in found]
    if one:
        return [submission(name, found)]
    groups: dict[str, list[Entry]] = {}
    for entry in found:
        groups.setdefault(entry.path.parts[0], []).append(entry)
    apart = {first: [entry.kept_in() for entry in own] for first, own in groups.items()}
    if _are_prefixed(groups):
        people: dict[str, list[Entry]] = {}
        for first, own in apart.items():
            match = _prefixed(first)
            person = f"{match['student']}_{match['number']}" if match else first
            if match:
                own = [replace(e, path=PurePosixPath(match["file"] or "files", *e.path.parts[1:])) for e in own]
            people.setdefault(person, []).extend(own)
        return [submission(person, own) for person, own in people.items() if _is_somebodys(own)]
    if _is_class(groups):
        return [
            submission(first, [replace(entry, path=_rest(entry.path)) for entry in own])
            for first, own in apart.items()
            if _is_somebodys(own)
        ]
    return [submission(name, found)]


def _rest(path: PurePosixPath) -> PurePosixPath:
    return PurePosixPath(*path.parts[1:]) if len(path.parts) > 1 else path


def _prefixed(name: str) -> re.Match[str] | None:
    return next((match for pattern in _PREFIXES if (match := pattern.match(name))), None)


def _are_prefixed(groups: Mapping[str, Sequence[Entry]]) -> bool:
    somebodys = [name for name, own in groups.items() if _is_somebodys(own)]
    return bool(somebodys) and 2 * sum(_prefixed(name) is not None for name in somebodys) > len(somebodys)


def _is_somebodys(own: Sequence[Entry]) -> bool:
    """Whether what has one name in a class's folder is somebody's work, and no list of marks or the like."""
    return len(own) > 1 or bool(own[0].fault) or len(own[0].path.parts) > 1 or own[0].is_called(PYTHON)


def _is_class(groups: Mapping[str, Sequence[Entry]]) -> bool:
    """Whether the names in a folder are those of people, and not the parts of one submission."""
    if "chapters" in map(str.lower, groups):
        return False
    loose = [name for name, own in groups.items() if any(len(e.path.parts) == 1 and _is_named(e) for e in own)]
    folders = [n for n, own in groups.items() if n not in (*loose, *_ASIDE) and any(map(_is_named, own))]
    if loose and len(loose) >= len(folders):  # fewer are strays among many people's folders
        return False
    holding = [name for name, own in groups.items() if any(_is_named(entry) for entry in own)]
    if not holding:
        holding = [n for n, own in groups.items() if any(e.is_called(PYTHON) and len(e.path.parts) > 1 for e in own)]
    if len(holding) > 1:
        return not all(_PART.match(name) for name in holding)
    others = [own for name, own in groups.items() if name not in holding and _is_somebodys(own)]
    return bool(others) and len(groups) > 1 and all(entry.fault for own in others for entry in own)


def _is_named(entry: Entry) -> bool:
    """Whether a chapter's number or name is in a file's name."""
    return entry.is_called(PYTHON) and any(_likeness(entry.path, chapter) for chapter in chapters())


def submission(name: str, found: Sequence[Entry]) -> Submission:
    """The chapters and helpers among these entries."""
    made = Submission(name)
    files = [entry for entry in found if entry.is_called(PYTHON)]
    chosen: dict[str, Entry] = {}
    for chapter in chapters():
        ranked = _ranked(chapter, files)
        if ranked:
            chosen[chapter.module] = ranked[0]
            others = [str(entry.path) for entry in ranked[1:] if not _set_aside(entry.path)]
            if others:
                made.notes.append(f"{ranked[0].path} is graded; also there: {listed(others)}")
        elif faulty := [entry for entry in found if entry.is_called(ARCHIVES) and entry.fault]:
            made.unreadable[chapter.module] = f"{faulty[0].path} {faulty[0].fault}"
        else:
            made.missing[chapter.module] = f"there is no {chapter.module}.py; {_instead(found)}"
    for module, entry in chosen.items():
        made.shown[module] = str(entry.path)
        if entry.fault:
            made.unreadable[module] = f"{entry.path} {entry.fault}"
        else:
            made.found[module] = entry.text
        if entry.path.name != f"{module}.py":
            made.notes.append(f"{entry.path} was taken for {module}.py")
    _add_helpers(made, files, list(chosen.values()))
    return made


def _ranked(chapter: Chapter, files: Sequence[Entry]) -> list[Entry]:
    """What may be a chapter's file, the likeliest first."""
    ranks: dict[Entry, tuple[float, ...]] = {}
    named = [entry for entry in files if any(_likeness(entry.path, other) for other in chapters())]
    crowds = Counter(entry.path.parent for entry in named)
    for entry in files:
        like = _likeness(entry.path, chapter)
        if like < _SURE and not entry.fault:
            names = [name for exercise in chapter.exercises for name in exercise.names]
            defined = sum(bool(re.search(rf"^(def|class) {name}\b", entry.text, re.MULTILINE)) for name in names)
            if like and not defined:
                like = 0
            elif not like and 2 * defined >= len(names) and entry not in named:
                like = 1
        if like:
            place = entry.path.parent
            ranks[entry] = (
                *(not entry.fault, not _set_aside(entry.path), like, place.name.lower() == "chapters"),
                *(crowds[place], -len(place.parts)),
            )
    return sorted(ranks, key=lambda entry: ranks[entry], reverse=True)


_SURE = 6


def _likeness(path: PurePosixPath, chapter: Chapter) -> float:
    """How surely a file's name means this chapter: 0, it doesn't; from _SURE on, whatever is in it."""
    stem = re.sub(r"(\.py|\.txt)+$", "", path.name.lower())
    words, word = re.sub(r"[^a-z0-9]+", "_", stem).strip("_"), chapter.module.partition("_")[2]
    if words.startswith("test_"):
        return 0
    if words == chapter.module:
        return 10 if path.name == f"{chapter.module}.py" else 9
    number = f"(ch|chap|chapter|kapitel|chapitre)_?0?{chapter.number}"
    if re.search(rf"(^|_){number}_?{word}(_|$)", words):
        return _SURE + 1 - ("old" in words or "backup" in words or "draft" in words)
    if re.search(rf"(^|_){number}(?!\d)", words) or re.fullmatch(rf"0?{chapter.number}_?{word}|{word}", words):
        return 3
    return 0


def _set_aside(path: PurePosixPath) -> bool:
    return any(part.lower() in _ASIDE for part in path.parts[:-1])


def _instead(found: Sequence[Entry]) -> str:
    names = [str(entry.path) for entry in found if entry.fault != "is a folder"]
    if not names:
        return "nothing was handed in"
    return f"there is {listed(names, most=5)}"


def _add_helpers(made: Submission, files: Sequence[Entry], chosen: Sequence[Entry]) -> None:
    """The modules beside the chapters, as `check` finds them; a chapter's file under its own name, too."""
    folders, refused = {entry.path.parent for entry in chosen}, []
    modules = {"__init__", *(chapter.module for chapter in chapters())}
    for entry in files:
        name = entry.path.with_suffix("").name
        if entry.path.parent not in folders or not name.isidentifier() or name in {*modules, *made.helpers}:
            continue
        if name in _TAKEN:
            refused.append(str(entry.path))
        elif entry.fault:
            made.notes.append(f"{entry.path} {entry.fault}")
        else:
            made.helpers[name], made.shown[name] = entry.text, str(entry.path)
    if refused:
        made.notes.append(f"not used, since Python or the course has modules of these names: {listed(refused, most=5)}")
