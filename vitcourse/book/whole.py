"""The whole course as one notebook: its exercises, or its answers, and then a model that is trained with them."""

import ast
from pathlib import Path
from typing import Any

import jupytext

from vitcourse.codesets import CodeSet, load_code
from vitcourse.course import Chapter, chapters
from vitcourse.definitions import definition
from vitcourse.progress import is_started
from vitcourse.stubs import pristine
from vitcourse.worker.chapters import UNREADABLE

_MODEL = 5  # the chapter that ends with a model to train
_TITLE = "# Build a Vision Transformer, from pixels to a trained model\n\n"
_TO_WRITE = (
    "Each exercise is a cell: write the answer in the place of `raise NotImplementedError`, and run the cell. It puts "
    "your answer into `chapters/`, checks it, and shows what came out. `%hint`, `%status` and `%trace` help."
)
_SOLVED = (
    "Every exercise of the course is answered here, one of many right ways. Run all cells: in about a minute the model "
    "that they build reads handwritten digits. Nothing else is needed beside this notebook."
)
_INSTALL = """\
# On Colab: Runtime, Change runtime type, T4 GPU. Elsewhere a CPU will do.
import importlib.util

if any(importlib.util.find_spec(name) is None for name in {needed}):
    %pip install --quiet {packages}
import torch

print("GPU:", torch.cuda.get_device_name() if torch.cuda.is_available() else "none, and none is needed")"""


def whole_course(solved: bool) -> list[tuple[str, str]]:
    """The cells, each as its kind ("code" or "markdown") and its source."""
    packages = ["einops", "jaxtyping", "torch", "scikit-learn", "matplotlib"] if solved else ["vitcourse"]
    needed = ("einops", "jaxtyping", "torch", "sklearn", "matplotlib") if solved else ("vitcourse",)
    install = _INSTALL.format(needed=list(needed), packages=" ".join(packages))
    cells = [("markdown", _TITLE + (_SOLVED if solved else _TO_WRITE)), ("code", install)]
    if not solved:
        cells.append(("code", "%load_ext vitcourse"))
    solutions = load_code("solutions")
    own = None if solved else load_code("chapters")
    for chapter in chapters():
        cells += _chapter(chapter, solutions, own)
        if chapter.number == _MODEL:
            cells += _training(solved)
    return cells


def answer_cell(asked: Any, code: CodeSet) -> str:
    """A cell to write an answer in: with what the learner has, where something is begun, else with the stub."""
    stub = pristine(asked.module)
    try:
        answer = definition(code.text(asked.module) if is_started(code, asked) else stub, *asked.names)
    except (KeyError, *UNREADABLE):
        answer = definition(stub, *asked.names)
    return f"%%exercise {asked.id}\n{answer}"


def _chapter(chapter: Chapter, solutions: CodeSet, own: CodeSet | None) -> list[tuple[str, str]]:
    text = solutions.text(chapter.module)
    about = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[2].strip()
    cells = [("markdown", f"## {chapter.number} {chapter.title}\n\n{about}")]
    if own is None:
        cells.append(("code", _opening(text, {name for exercise in chapter.exercises for name in exercise.names})))
    for asked in chapter.exercises:
        cells.append(("markdown", f"### {asked.id} {asked.title}"))
        if own is None:
            cells.append(("code", definition(text, *asked.names)))
        else:
            cells.append(("code", answer_cell(asked, own)))
    return cells


def _opening(text: str, answers: set[str]) -> str:
    """What a chapter's exercises stand on: its imports, but for those of other chapters, and what it gives."""
    parts: list[str] = []
    given: list[str] = []
    for node in ast.parse(text).body:
        if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and not node.level):
            parts.append(ast.unparse(node))
        elif isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name not in answers:
            given.append(definition(text, node.name))
    return "\n\n\n".join(["\n".join(parts), *given])


def _training(solved: bool) -> list[tuple[str, str]]:
    text = Path(__file__).with_name("training.md").read_text(encoding="utf-8")
    cells = [(cell.cell_type, cell.source) for cell in jupytext.reads(text, fmt="md:myst").cells]
    if not solved:
        names = "VisionTransformer, evaluate, train_step, warmup_cosine"
        cells.insert(1, ("code", f"import torch\n\nfrom chapters.ch05_vit import {names}"))
    return cells
