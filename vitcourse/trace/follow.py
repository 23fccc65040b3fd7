"""What a finished instance leaves unknown: its own sizes, followed from step to step.

The widths of a finished module can't be changed, so no other run tells them apart. But each of its steps can be asked
alone. What the answers say of single steps is put together here; the two functions whose sizes are written as numbers,
reshapes, and the kernels that cut patches, are read.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

from torch import Tensor

from vitcourse.trace.ask import Answer, Growth, Question, answer
from vitcourse.trace.atoms import Atoms, Size, number, plus, product, regrouped
from vitcourse.trace.recorder import tensors_of

RESHAPES = {"reshape", "view", "unflatten", "view_as", "reshape_as"}
NORMS = {"layer_norm", "rms_norm"}
Axes = Sequence[Size]


class Follower:
    """Gives the axes of every step's results their sizes, as expressions of the sizes that were there before."""

    def __init__(self, given: Mapping[str, int], kept: Container[int]) -> None:
        self.atoms, self.kept = Atoms(given), kept
        self.steps: list[list[Axes]] = []
        # Whether the names that the call brings along are given.
        self.told = False
        # What is normalised, token by token.
        self.normed: list[Size] = []
        self._axes: dict[int, tuple[Tensor, Axes]] = {}
        # What came of steps that told nothing new, a loop's turns say: they are the same again.
        self._again: dict[Any, list[Axes]] = {}

    def axes(self, tensor: Tensor) -> Axes:
        """What is known of a tensor's axes."""
        entry = self._axes.get(id(tensor))
        if entry is None:
            entry = self._axes[id(tensor)] = (tensor, [self.atoms.fresh(n) for n in tensor.shape])
            if id(tensor) in self.kept:
                self.atoms.fixed.update(entry[1])
        return entry[1]

    def forget(self) -> None:
        """Let go of the tensors: only sizes are asked for from now on."""
        self._axes.clear()

    def note(self, tensor: Tensor, axes: Axes) -> Axes:
        """Remember a tensor's axes; those that don't fit its shape are not believed."""
        atoms, sizes = self.atoms, tensor.shape
        if len(axes) != len(sizes):
            axes = [atoms.fresh(n) for n in sizes]
        else:
            axes = [atoms.called(a) for a in axes]
            axes = [a if atoms.values[a] == n else atoms.fresh(n) for a, n in zip(axes, sizes, strict=True)]
        self._axes[id(tensor)] = (tensor, axes)
        return axes

    def step(
        self, name: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], results: list[Tensor]
    ) -> None:
        """Follow one call of a function of torch."""
        operands = tensors_of((*args, *kwargs.values()) if kwargs else args)
        if len(operands) > 1:
            operands = list({id(tensor): tensor for tensor in operands}.values())
        if name in RESHAPES and operands:
            self.note(results[0], regrouped(self.atoms, self.axes(operands[0]), results[0].shape))
        elif not (name == "__setitem__" or any(t is operand for operand in operands for t in results)) or (
            name in ("__setitem__", "copy_") and len(operands) == 2
        ):
            self._ask(Question(name, func, args, kwargs, operands, results), results)
        self.steps.append([self.axes(tensor) for tensor in results])

    def _ask(self, question: Question, results: list[Tensor]) -> None:
        atoms, operands = self.atoms, question.operands
        sizes = tuple([atoms.resolve(size) for tensor in operands for size in self.axes(tensor)])
        key = (question.number, sizes)
        known = self._again.get(key)
        if known is None:
            # Plain numbers can't change.
            seen: dict[Size, int] = {}
            pattern = [-1 if atoms.constant(size) else seen.setdefault(size, len(seen)) for size in sizes]
            count, found = len(atoms.values), answer(question, tuple(pattern))
            # Others that can't change alone may with what is written in the code; of one channel there are no two.
            stuck = [sizes[place] for place in found.stuck if atoms.values[sizes[place]] == 1]
            atoms.fixed.update(stuck)
            known = self._sizes(found, sizes, results)
            if question.name in ("conv1d", "conv2d", "conv3d"):
                known = [self._patches(question.args, question.kwargs, results[0], list(known[0]))]
            elif not found.equal and not stuck and count == len(atoms.values):
                self._again[key] = known
        if question.name in NORMS:
            self.normed.append(self.axes(operands[0])[-1])
        for tensor, axes in zip(results, known, strict=True):
            self.note(tensor, axes)

    def _sizes(self, found: Answer, sizes: Axes, results: list[Tensor]) -> list[Axes]:
        for one, two in found.equal:
            self.atoms.equal(sizes[one], sizes[two])
        sizes = [self.atoms.resolve(size) for size in sizes]
        return [
            [self._size(growth, sizes, n) for growth, n in zip(axes, tensor.shape, strict=True)]
            for axes, tensor in zip(found.results, results, strict=True)
        ]

    def _size(self, growth: Growth, sizes: Axes, value: int) -> Size:
        if growth is None:
            return self.atoms.fresh(value)
        rest, terms = growth
        if rest == 0 and len(terms) == 1 and terms[0][0] == 1 and len(terms[0][1]) == 1:
            return sizes[terms[0][1][0]]
        total = number(rest)
        for times, places in terms:
            total = plus(total, product(number(times), *(self.atoms.polys[sizes[place]] for place in places)))
        return self.atoms.size(total)

    def _patches(self, args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor, axes: list[Size]) -> Axes:
        """A kernel that steps by its own width over an image cuts it into patches: its width is what P means."""
        image, weight = (self.axes(tensor) for tensor in tensors_of((*args, *kwargs.values()))[:2])
        given = dict(zip(("stride", "padding", "dilation"), args[3:6], strict=False)) | kwargs
        count = result.ndim - 2
        stride: Any
        for place in range(2, result.ndim):
            stride, padding, dilation = (  # each a number, a word, or one number for each axis
                v if type(v := given.get(k, d)) is int or type(v) is str else v[place - 2] if len(v) == count else v[0]
                for k, d in (("stride", 1), ("padding", 0), ("dilation", 1))
            )
            kernel, whole = self.atoms.resolve(weight[place]), self.atoms.resolve(image[place])
            if padding in (0, "valid") and dilation == 1 and self.atoms.values[kernel] == stride > 1:
                if self.atoms.unnamed(kernel) is not None and self.atoms.text(whole) in ("H", "W"):
                    self.atoms.equal(kernel, self.atoms.fresh(stride, "P"))
                size = self.atoms.quotient(whole, [kernel])
                if size is not None and self.atoms.values[size] == result.shape[place]:
                    axes[place] = size
        return axes
