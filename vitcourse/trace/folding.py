"""From recorded steps to rows: what returned no tensor is left out, and the turns of a loop are folded."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from vitcourse.trace.record import Row, Shape
from vitcourse.trace.recorder import Node
from vitcourse.trace.rules import Axes

ShapeOf = Callable[[Axes], Shape]


@dataclass
class Fold:
    """A step, or a step that stands for several turns of a loop."""

    node: Node
    children: list["Fold"]
    shapes: tuple[Shape, ...]
    repeat: int = 1
    modules: int = 0

    @property
    def signature(self) -> object:
        """What two turns of a loop have in common."""
        children = tuple(child.signature for child in self.children)
        place = self.node.place
        # An element of a Sequential has no line of its own; the same class in it again is its loop.
        return (
            self.node.key,
            place.text if place.line else place.callee,
            self.shapes,
            self.repeat,
            self.node.dtype,
            children,
        )


def folded(nodes: list[Node], shape: ShapeOf) -> Iterator[Row]:
    """The rows of a trace."""
    folds = _folds(nodes, shape)
    numbers: list[tuple[int, int]] = []
    yield from _rows(folds, 0, numbers)


def _folds(nodes: list[Node], shape: ShapeOf) -> list[Fold]:
    result = []
    for node in nodes:
        children = _folds(node.children, shape)
        if not node.tensors and not children:
            continue
        shapes = tuple(shape(axes) for axes in node.axes)
        result.append(Fold(node, children, shapes, modules=0 if node.module is None else 1))
    return _loops(result)


def _loops(folds: list[Fold]) -> list[Fold]:
    """Fold every run of equal turns: the shortest turn first, so that a loop in a loop folds too."""
    width = 1
    while width <= len(folds) // 2:
        start = 0
        while start + 2 * width <= len(folds):
            turn = [fold.signature for fold in folds[start : start + width]]
            times = 1
            while [f.signature for f in folds[start + times * width : start + (times + 1) * width]] == turn:
                times += 1
            # An expression stands in a loop when it comes again; `input` rows and the like have no place and don't.
            if times > 1 and folds[start].node.key != (0, 0):
                for offset in range(width):
                    fold = folds[start + offset]
                    turns = [folds[start + offset + k * width] for k in range(times)]
                    fold.repeat *= times
                    fold.modules = len({f.node.module for f in turns if f.node.module is not None})
                    fold.node.end = max(f.node.end for f in turns)
                del folds[start + width : start + times * width]
            start += 1
        width += 1
    return folds


def _rows(folds: list[Fold], depth: int, numbers: list[tuple[int, int]]) -> Iterator[Row]:
    texts: list[str] = []
    for fold in folds:
        node = fold.node
        place = node.place
        link = None
        if place.receiver and place.receiver in texts and place.text.startswith(place.receiver):
            link = f"…{place.text[len(place.receiver) :].strip()}"
        texts.append(place.text)
        changed = node.dtype is not None and node.dtype != node.dtype_before and (node.dtype_before or not _usual(node))
        moved = (
            node.device is not None
            and node.device != node.device_before
            and (node.device_before is not None or node.device.type != "cpu")
        )
        numbers.append((node.start, node.end))
        yield Row(
            expression=place.text,
            op=node.op,
            shapes=fold.shapes,
            file=place.file,
            line=place.line,
            depth=depth,
            dtype=str(node.dtype).removeprefix("torch.") if changed else None,
            device=str(node.device) if moved else None,
            repeat=fold.repeat,
            unit="layers" if fold.repeat > 1 and fold.modules == fold.repeat else "",
            link=link,
            inputs=tuple(node.sources),
            span=(node.start, node.end),
        )
        yield from _rows(fold.children, depth + 1, numbers)


def _usual(node: Node) -> bool:
    return str(node.dtype) == "torch.float32"
