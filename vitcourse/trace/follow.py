"""What a finished instance leaves unknown: its own sizes, followed from step to step.

The widths of a finished module can't be changed, so no other run tells them apart. But each of its steps can be asked
alone. What the answers say of single steps is put together here; the two functions whose sizes are written as numbers,
reshapes, and the kernels that cut patches, are read.
"""

from collections.abc import Callable, Container, Mapping
from typing import Any

from torch import Tensor

from vitcourse.trace.ask import Grown, Question, answer, frozen
from vitcourse.trace.atoms import DEEPEST, Atoms, Size, number, regrouped

RESHAPES = {"reshape", "view", "unflatten", "view_as", "reshape_as"}
NORMS = {"layer_norm", "rms_norm"}
Axes = tuple[Size, ...]


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

    def axes(self, tensor: Tensor) -> Axes:
        """What is known of a tensor's axes."""
        entry = self._axes.get(id(tensor))
        if entry is not None:
            return entry[1]
        axes = tuple([self.atoms.fresh(n) for n in tensor.shape])
        if id(tensor) in self.kept:
            self.atoms.fixed.update(axes)
        return self.note(tensor, axes)

    def forget(self) -> None:
        """Let go of the tensors: only sizes are asked for from now on."""
        self._axes.clear()

    def note(self, tensor: Tensor, axes: Axes) -> Axes:
        """Remember a tensor's axes; those that don't fit its shape are not believed."""
        atoms, sizes = self.atoms, tensor.shape
        if len(axes) != len(sizes):
            axes = tuple([atoms.fresh(n) for n in sizes])
        axes = tuple([
            (atoms.same(a) if a.how else a) if a.value == n else atoms.fresh(n)
            for a, n in zip(axes, sizes, strict=True)
        ])  # fmt: skip
        self._axes[id(tensor)] = (tensor, axes)
        return axes

    def step(
        self, name: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], results: list[Tensor]
    ) -> None:
        """Follow one call of a function of torch."""
        if name in RESHAPES and args:
            known = [tuple(regrouped(self.atoms, self.axes(args[0]), results[0].shape))]
        else:
            known = self._asked(name, func, args, kwargs, results)
        self.steps.append([self.note(tensor, axes) for tensor, axes in zip(results, known, strict=True)])

    def _asked(
        self, name: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], results: list[Tensor]
    ) -> list[Axes]:
        found: list[Any] = []
        sizes: list[Size] = []
        kinds: list[int] = []
        # Axes of one size, counted through; plain numbers can't change.
        seen: dict[int, int] = {}

        def pattern(tensor: Tensor) -> Any:
            axes = self.axes(tensor)
            sizes.extend(axes)
            new = [-1 if a.code == a.value else seen.setdefault(a.code, len(seen)) for a in axes]
            kinds.extend(new)
            return tensor.dtype, tensor.shape, tuple(new)

        key = (func, frozen(args, pattern, found), frozen(kwargs, pattern, found) if kwargs else None)
        inside = [t for t in results for operand in found if t is operand]
        if name == "__setitem__":
            return [self.axes(tensor) for tensor in results]
        said = answer(key, kinds, lambda: Question(name, func, args, kwargs, found, results))
        if said.stuck:
            # Others that can't change alone may with what is written in the code; of one channel there are no two.
            self.atoms.fixed.update(sizes[place] for place in said.stuck if sizes[place].value == 1)
        for one, two in said.equal:
            self.atoms.equal(sizes[one], sizes[two])
        if inside:
            return [self.axes(tensor) for tensor in results]
        if name in NORMS:
            self.normed.append(sizes[args[0].ndim - 1])
        known = [
            tuple(
                [
                    sizes[g] if isinstance(g, int) else self._size(g, sizes, n)
                    for g, n in zip(axes, tensor.shape, strict=True)
                ]
            )
            for axes, tensor in zip(said.results, results, strict=True)
        ]
        if name in ("conv1d", "conv2d", "conv3d"):
            known = [
                self._patches(args, kwargs, [t for t in found if isinstance(t, Tensor)], results[0], list(known[0]))
            ]
        return known

    def _size(self, growth: Grown, sizes: list[Size], value: int) -> Size:
        if growth is None:
            return self.atoms.fresh(value)
        rest, terms = growth
        total: Any = rest
        for times, places in terms:
            part: Any = times
            for place in places:
                part = sizes[place] * part
            total = part + total
        if not isinstance(total, Size):
            return number(total)
        return total if total.depth < DEEPEST else self.atoms.fresh(value)

    def _patches(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], operands: list[Tensor], result: Tensor, axes: list[Size]
    ) -> Axes:
        """A kernel that steps by its own width over an image cuts it into patches: its width is what P means."""
        image, weight = (self.axes(tensor) for tensor in operands[:2])
        given = dict(zip(("stride", "padding", "dilation"), args[3:6], strict=False)) | kwargs
        count = len(axes) - 2
        stride: Any
        for place in range(2, len(axes)):
            stride, padding, dilation = (  # each a number, a word, or one number for each axis
                v if type(v := given.get(k, d)) is int or type(v) is str else v[place - 2] if len(v) == count else v[0]
                for k, d in (("stride", 1), ("padding", 0), ("dilation", 1))
            )
            kernel, whole = weight[place], image[place].resolved()
            if padding in (0, "valid") and dilation == 1 and kernel.value == stride > 1:
                if self.atoms.unnamed(kernel) is not None and whole.name in ("H", "W"):
                    self.atoms.equal(kernel, self.atoms.fresh(stride, "P"))
                if whole.value // stride == result.shape[place]:
                    axes[place] = whole / kernel
        return tuple(axes)
