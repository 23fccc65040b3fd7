"""The stubs, made from the solutions: each body gives way to its outline and to the line that raises.

There is one source for what a stub, its pristine text and its solution share: the solution. `outlines.toml` adds the
steps that a learner is told. `vitcourse init` makes a folder of them, and a note of how the course had them then: by it
`vitcourse update` tells an older course's stub from something written.
"""

import ast
import json
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import resources
from pathlib import Path

import vitcourse
from vitcourse.course import Exercise, chapter, chapters, exercises
from vitcourse.errors import RequestError
from vitcourse.files import read_json, write_atomically, writing
from vitcourse.places import CHAPTERS, holds_chapters, root, workplace

_PACKAGE = (
    '"""Your code: the exercises of the course, one module per chapter. Each stub tells what is to be written."""\n'
)

_BESIDE = {
    ".gitignore": "runs/\n_build/\n__pycache__/\n",
    "pytest.ini": "[pytest]\naddopts = -ra -p vitcourse.checking.pytest_plugin\ntestpaths = chapters\n",
}


@cache
def pristine(module: str) -> str:
    """The text of a chapter's stub, as the course gives it: the solution's without the answers."""
    solution = (root() / "solutions" / f"{module}.py").read_text(encoding="utf-8")
    lines, tree, outline = solution.splitlines(), ast.parse(solution), outlines().get(module, {})
    bodies = [body for exercise in chapter(module).exercises for body in _bodies(tree, exercise, outline)]
    for start, end, stub in sorted(bodies, reverse=True):
        lines[start:end] = stub
    return "\n".join(lines) + "\n"


def write_stubs(folder: Path, modules: Iterable[str] | None = None) -> None:
    """Put the stubs of these chapters, or of all, into a folder, which is made where it isn't there."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "__init__.py").exists():
        (folder / "__init__.py").write_text(_PACKAGE, encoding="utf-8", newline="\n")
    for module in (entry.module for entry in chapters()) if modules is None else modules:
        (folder / f"{module}.py").write_text(pristine(module), encoding="utf-8", newline="\n")


@cache
def outlines() -> dict[str, dict[str, str]]:
    """By chapter and by function's name, the steps that its stub tells."""
    text = resources.files("vitcourse").joinpath("outlines.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def _bodies(tree: ast.Module, exercise: Exercise, outline: dict[str, str]) -> Iterator[tuple[int, int, list[str]]]:
    """The lines that answer an exercise, counted from 0, and what stands there in the stub."""
    for name, function in _functions(tree, exercise.names):
        kept = int(ast.get_docstring(function) is not None)
        kept += ast.unparse(function.body[kept]) == "super().__init__()"
        own, last = function.body[kept], function.body[-1]
        start = function.body[kept - 1].end_lineno if kept else own.lineno - 1
        indent = " " * own.col_offset
        steps = [f"{indent}# {step}".rstrip() for step in outline.get(name, "").splitlines()]
        raised = f"exercise {exercise.id} is yours to write; for a hint: vitcourse hint {exercise.id}"
        yield start or 0, last.end_lineno or 0, [*steps, f'{indent}raise NotImplementedError("{raised}")']


def _functions(tree: ast.Module, names: tuple[str, ...]) -> Iterator[tuple[str, ast.FunctionDef]]:
    """The functions and methods of these definitions, with their names: "gelu", "MLP.forward"."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name in names:
            yield node.name, node
        elif isinstance(node, ast.ClassDef) and node.name in names:
            yield from ((f"{node.name}.{part.name}", part) for part in node.body if isinstance(part, ast.FunctionDef))


def init(folder: Path, instead: str = "type another folder's name") -> str:
    """Make a new folder in which every command works, and say what to type next. Nothing there is replaced.

    Raises RequestError where there are chapters already, or, with what to do instead, where it can't be made.
    """
    if holds_chapters(folder / CHAPTERS) or holds_chapters(folder):
        raise RequestError(f"{folder} holds chapters already; for newer stubs, type there: vitcourse update")
    n = len(chapters())
    readme = resources.files("vitcourse").joinpath("learner_readme.md").read_text(encoding="utf-8").format(n=n)
    with writing(folder, instead):
        write_stubs(folder / CHAPTERS)
        for name, text in {"README.md": readme, **_BESIDE}.items():
            if not (folder / name).exists():
                (folder / name).write_text(text, encoding="utf-8", newline="\n")
        note({entry.module: pristine(entry.module) for entry in chapters()}, folder)
    typed = f'"{folder}"' if " " in str(folder) else folder
    there = "" if folder.resolve() == Path.cwd() else f"cd {typed}\n"
    return (
        f"{folder}: {len(exercises())} exercises in {n} chapters, of vitcourse {vitcourse.__version__}\n"
        f"next, type:\n{there}vitcourse check"
    )


def given() -> dict[str, str]:
    """By chapter's module, the stub that the learner's folder was given last; empty when nobody noted it."""
    noted = read_json(_note_file(workplace())).get("stubs")
    return {module: str(text) for module, text in noted.items()} if isinstance(noted, dict) else {}


def note(stubs: dict[str, str], folder: Path) -> None:
    """Keep what the folder is given, whole or not at all."""
    _note_file(folder).parent.mkdir(exist_ok=True)
    write_atomically(_note_file(folder), json.dumps({"version": vitcourse.__version__, "stubs": stubs}, indent=1))


def _note_file(folder: Path) -> Path:
    return folder / ".vitcourse" / "given.json"
