"""What a finished instance leaves unknown: its own sizes, followed from step to step.

The widths of a finished module can't be changed, so no other run tells them apart. But each of its steps can be asked
alone. What the answers say of single steps is put together here; the two functions whose sizes are written as numbers,
reshapes, and the kernels that cut patches, are read.
"""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from vitcourse.trace.ask import Answer, Question, Size, answer
from vitcourse.trace.atoms import Atoms, Poly, inverse, number, plus, product, regrouped
from vitcourse.trace.recorder import tensors_of

RESHAPES = {"reshape", "view", "unflatten", "view_as", "reshape_as"}
NORMS = {"layer_norm", "rms_norm"}


class Follower:
    """Gives the axes of every step's results their sizes, as expressions of the sizes that were there before."""

    def __init__(self, given: Mapping[str, int]) -> None:
        self.atoms = Atoms(given)
        self.steps: list[list[list[Poly]]] = []
        # Whether the names that the call brings along are given.
        self.told = False
        # What is normalised, token by token.
        self.normed: list[Poly] = []
        self._axes: dict[int, tuple[Tensor, list[Poly]]] = {}
        # Lists of the same sizes are one, so that a step of the same operands, in a loop say, is known again.
        self._lists: dict[tuple[int, ...], list[Poly]] = {}
        self._again: dict[Any, list[list[Poly]]] = {}

    def axes(self, tensor: Tensor) -> list[Poly]:
        """What is known of a tensor's axes."""
        entry = self._axes.get(id(tensor))
        return entry[1] if entry is not None else self.note(tensor, [self.atoms.fresh(n) for n in tensor.shape])

    def note(self, tensor: Tensor, axes: list[Poly]) -> list[Poly]:
        """Remember a tensor's axes; those that don't fit its shape are not believed."""
        atoms, sizes = self.atoms, tensor.shape
        if len(axes) != len(sizes):
            axes = [atoms.fresh(n) for n in sizes]
        else:
            axes = [atoms.called(a) for a in axes]
            axes = [a if atoms.value(a) == n else atoms.fresh(n) for a, n in zip(axes, sizes, strict=True)]
        self._axes[id(tensor)] = (tensor, axes)
        return axes

    def step(
        self, name: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], results: list[Tensor]
    ) -> None:
        """Follow one call of a function of torch, or remember that one."""
        others = [a for a in args if not isinstance(a, Tensor)]
        key: Any = None
        if not kwargs and not any(True for _ in tensors_of(others)):
            key = (func, self.atoms.proved(), repr(others), *[id(self.axes(a)) for a in args if isinstance(a, Tensor)])
        if key is not None and key in self._again:
            for tensor, axes in zip(results, self._again[key], strict=True):
                self._axes[id(tensor)] = (tensor, axes)
            return
        before = len(self.atoms.values)
        self._step(name, func, args, kwargs, results)
        if key is not None and before == len(self.atoms.values):
            self._again[key] = [self.axes(tensor) for tensor in results]

    def _step(
        self, name: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], results: list[Tensor]
    ) -> None:
        operands = list({id(t): t for t in (*tensors_of(args), *tensors_of(kwargs.values()))}.values())
        if name in RESHAPES and operands:
            self.note(results[0], regrouped(self.atoms, self.axes(operands[0]), list(results[0].shape)))
            return
        in_place = name == "__setitem__" or any(t is operand for operand in operands for t in results)
        if in_place and (name not in ("__setitem__", "copy_") or len(operands) != 2):
            return
        if name in NORMS:
            self.normed.append(self.axes(operands[0])[-1])
        resolve = self.atoms.resolve
        polys = [resolve(poly) for tensor in operands for poly in self.axes(tensor)]
        kinds: list[Poly] = []
        for poly in polys:
            if poly not in kinds:
                kinds.append(poly)
        # Plain numbers can't change.
        pattern = tuple([kinds.index(poly) if any(poly) else -1 for poly in polys])
        found = answer(Question(name, func, args, kwargs, operands, results), pattern)
        sizes = self._sizes(found, polys, results)
        if name in ("conv1d", "conv2d", "conv3d"):
            self._patches(args, kwargs, results[0], sizes[0])
        for tensor, axes in zip(results, sizes, strict=True):
            # What is an operand's axis fits as it is.
            if all(any(axis is poly for poly in polys) for axis in axes) and not found.equal:
                self._axes[id(tensor)] = (tensor, self._lists.setdefault(tuple(map(id, axes)), axes))
            else:
                self.note(tensor, axes)

    def _sizes(self, found: Answer, polys: list[Poly], results: list[Tensor]) -> list[list[Poly]]:
        for one, two in found.equal:
            self.atoms.equal(polys[one], polys[two])
        if found.equal:
            polys = [self.atoms.resolve(poly) for poly in polys]
        return [
            [self._size(size, polys, n) for size, n in zip(axes, tensor.shape, strict=True)]
            for axes, tensor in zip(found.results, results, strict=True)
        ]

    def _size(self, size: Size, polys: list[Poly], value: int) -> Poly:
        if size is None:
            return self.atoms.fresh(value)
        rest, terms = size
        if rest == 0 and len(terms) == 1 and terms[0][0] == 1 and len(terms[0][1]) == 1:
            return polys[terms[0][1][0]]
        total = number(rest)
        for times, places in terms:
            total = plus(total, product(number(times), *(polys[place] for place in places)))
        return total

    def _patches(self, args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor, axes: list[Poly]) -> None:
        """A kernel that steps by its own width over an image cuts it into patches: its width is what P means."""
        image, weight = (self.axes(tensor) for tensor in list(tensors_of((*args, *kwargs.values())))[:2])
        given = dict(zip(("stride", "padding", "dilation"), args[3:6], strict=False)) | kwargs
        count = result.ndim - 2
        stride: Any
        for place in range(2, result.ndim):
            stride, padding, dilation = (  # each a number, a word, or one number for each axis
                v if type(v := given.get(k, d)) is int or type(v) is str else v[place - 2] if len(v) == count else v[0]
                for k, d in (("stride", 1), ("padding", 0), ("dilation", 1))
            )
            kernel, whole = self.atoms.resolve(weight[place]), self.atoms.resolve(image[place])
            if padding in (0, "valid") and dilation == 1 and self.atoms.value(kernel) == stride > 1:
                atom = self.atoms.unnamed(kernel)
                if atom is not None and self.atoms.text(whole) in ("H", "W"):
                    self.atoms.equal(kernel, self.atoms.fresh(stride, "P"))
                size = product(whole, inverse(self.atoms.resolve(kernel))) if len(kernel) == 1 else None
                if size is not None and self.atoms.value(size) == result.shape[place]:
                    axes[place] = size
