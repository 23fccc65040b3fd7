"""From recorded steps to rows: what returned no tensor is left out, and the turns of a loop are folded."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod

import torch

from vitcourse.trace.node import Node
from vitcourse.trace.record import Row, Shape, shape_words
from vitcourse.trace.recorder import SPREADING, Ref
from vitcourse.trace.source import receiver

ShapeOf = Callable[[Ref], Shape]
# A turn of a loop that has more steps of its own than this is not looked for.
LONGEST_TURN = 64


@dataclass
class Fold:
    """A step, or a step that stands for several turns of a loop."""

    node: Node
    children: list["Fold"]
    shapes: tuple[Shape, ...]
    kind: int
    repeat: int = 1
    modules: int = 0


def folded(nodes: list[Node], shape: ShapeOf) -> Iterator[Row]:
    """The rows of a trace."""
    folds = _folds(nodes, shape, {})
    own = [fold for fold in folds if fold.node.key != (0, 0)]
    if len(own) == 1 and own[0].node.module is None and own[0].children:
        inside = own[0].children
        if own[0].repeat == 1 and inside[-1].node.results == own[0].node.results:
            # A forward that only hands on to another method shows what that one does.
            folds[folds.index(own[0]) :] = inside
    yield from _rows(folds, shape, 0, nodes)


def _folds(nodes: list[Node], shape: ShapeOf, kinds: dict[object, int]) -> list[Fold]:
    result = []
    for node in nodes:
        children = _folds(node.children, shape, kinds)
        if not node.shown and not children:
            continue
        if len(children) == 1 and children[0].children and children[0].node.results == node.results:
            # A wrapper that only passes on shows what it wraps.
            children = children[0].children
        shapes = tuple(shape(ref) for ref in node.results)
        # An element of a Sequential has no line of its own; the same class in it again is its loop.
        text = node.place.text if node.place.line or node.module is None else node.op
        inner = tuple((child.kind, child.repeat) for child in children)
        # What two turns of a loop have in common, as one number: a loop may have thousands of turns.
        kind = kinds.setdefault((node.key, text, tuple(map(id, shapes)), node.kind and node.kind[0], inner), len(kinds))
        result.append(Fold(node, children, shapes, kind, modules=0 if node.module is None else 1))
    return _loops(result)


def _loops(folds: list[Fold]) -> list[Fold]:
    """Fold every run of equal turns: the shortest turn first, so that a loop in a loop folds too."""
    for width in range(1, LONGEST_TURN + 1):
        if 2 * width > len(folds):
            break
        # With a letter for each kind of step, a loop is a word that comes again and again.
        letters: dict[tuple[int, int], str] = {}
        word = "".join(letters.setdefault((fold.kind, fold.repeat), chr(len(letters))) for fold in folds)
        result: list[Fold] = []
        after = 0
        for loop in re.finditer(rf"(.{{{width}}})\1+", word, re.DOTALL):
            result += folds[after : loop.start()]
            after = loop.end()
            for start in range(loop.start(), loop.start() + width):
                turns = folds[start : loop.end() : width]
                fold = turns[0]
                fold.repeat *= len(turns)
                fold.modules = len({id(turn.node.module) for turn in turns if turn.node.module is not None})
                fold.node.end = max(turn.node.end for turn in turns)
                result.append(fold)
        folds = result + folds[after:]
    return folds


def _rows(folds: list[Fold], shape: ShapeOf, depth: int, whole: list[Node]) -> Iterator[Row]:
    texts: list[str] = []
    for fold in folds:
        node = fold.node
        place = node.place
        earlier = receiver(place.text)
        link = f"…{place.text.removeprefix(earlier).strip()}" if earlier and earlier in texts else None
        texts.append(place.text)
        before = next(iter(node.uses().values()), (torch.float32, torch.device("cpu")))
        dtype, device = node.kind or before
        sources = [maker for maker in node.uses() if maker >= 0]
        spread = {shape(ref): ref for ref in node.spread()}
        warning = _spread(node.op, list(spread))
        yield Row(
            expression=place.text,
            op=node.op,
            shapes=fold.shapes,
            file=place.file,
            line=place.line,
            depth=depth,
            dtype=str(dtype).removeprefix("torch.") if dtype != before[0] else None,
            device=str(device) if device != before[1] else None,
            repeat=fold.repeat,
            unit="layers" if fold.repeat > 1 and fold.modules == fold.repeat else "",
            link=link,
            inputs=tuple(sources),
            span=(node.start, node.end),
            warning="" if warning and _meant(list(spread.values()), whole) else warning,
            before=tuple(shape((source, 0)) for source in sources),
            parameters=sum(p.numel() for p in node.module.parameters()) * fold.modules
            if node.module is not None
            else 0,
        )
        yield from _rows(fold.children, shape, depth + 1, whole)


def _meant(refs: list[Ref], whole: list[Node]) -> bool:
    """Whether a tensor is set against itself, turned, or places against places, which are made of nothing."""
    steps = [step for node in whole for step in (*node.inside(), node) if step.operands]
    made = {step.start: [ref for _, ref, _ in step.operands] for step in steps}
    if any(ref in made.get(other[0], []) for ref in refs for other in refs):
        return True
    makers = {ref[0] for ref in refs}
    while -1 not in makers and (more := {ref[0] for maker in makers for ref in made.get(maker, [])} - makers):
        makers |= more
    return -1 not in makers


def _spread(op: str, operands: list[Shape]) -> str:
    """What to say of two shapes that broadcast to one that nobody meant: (B, 1) and (B) to (B, B)."""
    if len(operands) != 2 or len(operands[0]) == len(operands[1]) or op not in SPREADING:
        return ""
    few, many = sorted(operands, key=len)
    whole = [*many[: len(many) - len(few)]]
    whole += [b if a.size == 1 else a for a, b in zip(few, many[len(whole) :], strict=True)]
    words = [axis.word for axis in whole if axis.size != 1]
    square = any(len(set(own)) < len(own) for own in ([a.word for a in shape if a.size != 1] for shape in operands))
    if square or len(set(words)) == len(words) or any(prod(a.size for a in shape) == prod(a.size for a in whole)
                                                      for shape in operands):  # fmt: skip
        return ""
    return f"! {shape_words(operands[0])} and {shape_words(operands[1])} were spread to {shape_words(tuple(whole))}"
