"""What a finished instance leaves unknown: its own sizes, followed from step to step.

The widths of a finished module can't be changed, so no other run tells them apart. But each of its steps can be asked
alone. What the answers say of single steps is put together here; the two functions whose sizes are written as numbers,
reshapes, and the kernels that cut patches, are read.
"""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from vitcourse.trace.ask import Grown, Question, answer, frozen
from vitcourse.trace.atoms import DEEPEST, ONE, Atoms, Size, number, regrouped
from vitcourse.trace.choice import LENGTHS
from vitcourse.trace.copies import Call, Copies
from vitcourse.trace.expressions import worth
from vitcourse.trace.names import HYPERPARAMETERS, aligned, contract_of, is_symbol
from vitcourse.trace.node import Node
from vitcourse.trace.recorder import RESHAPES, quietly

NORMS = {"layer_norm", "rms_norm"}
# What a finished module seldom has a width of.
ROWS = {"B", "n", *LENGTHS}
Axes = tuple[Size, ...]


class Follower:
    """Gives the axes of every step's results their sizes, as expressions of the sizes that were there before."""

    def __init__(self, call: Call, copies: Copies, inputs: list[Tensor]) -> None:
        self.atoms, self.kept = Atoms(copies.sizes), copies.kept
        self.steps: list[list[Axes]] = []
        # In which step which symbol has to be the size of which other, or of which number.
        self.met: list[tuple[int, str, str]] = []
        # Symbols that a width of the module's own binds, after it was in other steps.
        self._late: set[Size] = set()
        # What is normalised, token by token.
        self.normed: list[Size] = []
        self._axes: dict[int, tuple[Tensor, Axes, Sequence[int]]] = {}
        self._promises: set[Any] = set()
        given = [(tensor, call.words[path]) for path, tensor in zip(call.tensors, inputs, strict=True)]
        held = [(tensor, shape) for old, shape in call.held if isinstance(tensor := copies.of(old), Tensor)]
        for tensor, shape in given + [(t, aligned(shape, t.ndim) or ["_"] * t.ndim) for t, shape in held]:
            self.note(tensor, tuple(map(self._word, shape, tensor.shape)))

    def _word(self, word: str, size: int) -> Size:
        if word.isdigit():
            return number(int(word))
        if is_symbol(word) and not word.startswith("_"):
            return self.atoms.fresh(size, word)
        try:
            found: Size = worth(word, self.atoms.named)
        except KeyError:
            return self.atoms.fresh(size)
        return found

    def axes(self, tensor: Tensor) -> Axes:
        """What is known of a tensor's axes."""
        entry = self._axes.get(id(tensor))
        # One that was turned or spread in place has others.
        if entry is not None and entry[2] == tensor.shape:
            return entry[1]
        axes = tuple([self.atoms.fresh(n) for n in tensor.shape])
        if id(tensor) in self.kept:
            self.atoms.fixed.update(axes)
        return self.note(tensor, axes)

    def ended(self, results: list[Tensor]) -> list[Axes]:
        """The axes of what a run gave; what it made is let go of, but for what it found ready."""
        axes = [self.axes(tensor) for tensor in results]
        self._axes = {key: entry for key, entry in self._axes.items() if key in self.kept}
        return axes

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
        self._axes[id(tensor)] = (tensor, axes, sizes)
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
        try:
            called = (func, frozen(args, found), frozen(kwargs, found) if kwargs else None)
        except RuntimeError:
            # A parameter that is still to be made has no shape.
            return [self.axes(tensor) for tensor in results]
        given = {*map(id, found)}
        if name == "__setitem__" or (name[-1] != "_" and any(id(tensor) in given for tensor in results)):
            # What only changes numbers, or gives what it was given, changes no size.
            return [self.axes(tensor) for tensor in results]
        sizes = [size for operand in found if type(operand) is not int for size in self.axes(operand)]
        # Axes of one size, counted through; plain numbers can't change.
        seen: dict[int, int] = {}
        kinds = [-1 if a.code == a.value else seen.setdefault(a.code, len(seen)) for a in sizes]
        said = answer((called, *kinds), kinds, lambda: Question(name, func, args, kwargs, found, results))
        # Others that can't change alone may with what is written in the code; of one channel there are no two.
        self.atoms.fixed.update(sizes[place] for place in said.stuck if sizes[place].value == 1)
        either: set[int] = set()
        for one, two in said.equal:
            a, b = sizes[one].resolved(), sizes[two].resolved()
            if b is ONE:
                self.atoms.fixed.add(a)
            if a.name is not None and b.name is not None:
                # What comes of two symbols that have to be one here, or 1, is neither.
                either.add(one)
                self.met.append((len(self.steps), a.name, b.name))
            elif not self._bound_late(a, b):
                self.atoms.equal(a, b)
        if name in NORMS:
            self.normed.append(sizes[args[0].ndim - 1])
        known = [
            tuple(
                [
                    self.atoms.fresh(n) if g in either else sizes[g] if isinstance(g, int) else self._size(g, sizes, n)
                    for g, n in zip(axes, tensor.shape, strict=True)
                ]
            )
            for axes, tensor in zip(said.results, results, strict=True)
        ]
        if name[:4] == "conv" and name[-1] == "d":
            tensors = [t for t in found if isinstance(t, Tensor)]
            known = [self._kernels("transpose" in name, args, kwargs, tensors, results[0], known[0])]
        return known

    def _bound_late(self, *pair: Size) -> bool:
        """Whether how many there are in a row, free until now, meets a width of the module's own from steps before.

        These would have had that width however many there were: they aren't called by it.
        """
        atoms = self.atoms
        for size, other in (pair, pair[::-1]):
            if size.name not in ROWS or (size in atoms.fixed and size not in self._late):
                continue
            own = atoms.unnamed(other) if other in atoms.fixed else None
            if own is not None and any(own is a.resolved() for step in self.steps for axes in step for a in axes):
                atoms.fixed.add(size)
                self._late.add(size)
                self.met.append((len(self.steps), str(size.name), str(size.value)))
                return True
        return False

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

    def _kernels(
        self, turned: bool, args: tuple[Any, ...], kwargs: dict[str, Any], operands: list[Tensor], result: Tensor,
        known: Axes,
    ) -> Axes:  # fmt: skip
        """A kernel that steps by its own width over an image cuts it into patches: its width is what P means."""
        axes = list(known)
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
            if turned or kernel.value != stride:
                # It cuts nothing: a width of the module's own, which may not be P, is a number.
                atom, patch = self.atoms.unnamed(kernel), self.atoms.named.get("P")
                if atom in self.atoms.fixed and atom is not None and (patch is None or patch.value != kernel.value):
                    atom.prove(number(kernel.value))
            elif padding in (0, "valid") and dilation == 1 and stride > 1:
                if self.atoms.unnamed(kernel) is not None and whole.name in ("H", "W"):
                    self.atoms.equal(kernel, self.atoms.fresh(stride, "P"))
                if whole.value // stride == result.shape[place]:
                    axes[place] = whole / kernel
        return tuple(axes)

    # What sizes of its own are called

    def call_all(self, call: Call, function: Any, results: list[Axes], root: Node) -> None:
        """Give sizes of the instance's own the names that signatures promise, and under which a module keeps them."""
        quietly(self._promised, function, results)
        quietly(self._modules, root)
        quietly(self._kept, call.kept)

    def _promised(self, function: Any, results: list[Axes]) -> None:
        """Name the axes of results as a signature does, if it is right in everything that is known of them."""
        promises = contract_of(function).results
        if not promises:
            return
        asked = promises, tuple([size.code for axes in results for size in axes])
        # Equal layers promise the same.
        for promise in promises if asked not in self._promises else ():
            shapes = [aligned(s, len(r)) for s, r in zip(promise, results, strict=False) if s is not None]
            if len(promise) != len(results) or None in shapes or len(shapes) != len(promise):
                continue
            self._promises.add(asked)
            found = [size.resolved() for axes in results for size in axes]
            pairs = list(zip([word for shape in shapes for word in shape or ()], found, strict=True))
            if all(self._agrees(word, size) for word, size in pairs):
                for word, size in pairs:
                    self._call(size, word)
            return

    def _modules(self, root: Node) -> None:
        """The same for the modules inside."""
        for call in root.calls():
            if call.module is not None and call.results and call.results[-1][0] < len(self.steps):
                self._promised(call.module, [self.steps[s][i] for s, i in call.results])

    def _agrees(self, word: str, size: Size) -> bool:
        known = self.atoms.text(size)
        if size.constant:
            return word in ("_", str(size.value))
        return known is None or word in ("_", known)

    def _call(self, size: Size, word: str) -> None:
        atom = self.atoms.unnamed(size)
        if atom is not None and is_symbol(word) and word not in self.atoms.named:
            self.atoms.name(atom, word)

    def _kept(self, numbers: list[tuple[nn.Module, str, Any]]) -> None:
        """Name the widths that a finished module keeps under their words, where one size alone has that number.

        The width of a token, D, may also be the one of several that tokens are normalised over.
        """
        atoms, fixed = self.atoms, self.atoms.bound()
        sizes = {size.code: size for step in self.steps for axes in step for size in axes if not size.constant}
        # Those that are all of symbols that can change, the batch say, aren't the module's own.
        sizes = {code: n for code, n in sizes.items() if not {a.name for a in n.own()} <= {*atoms.named} - fixed}
        normed = {size.code for size in self.normed}
        bound = {atoms.named[word].value for word in fixed & {"D", "M", "K", "C"} & atoms.named.keys()}
        kept: dict[str, set[int]] = {}
        for _, name, value in numbers:
            word = HYPERPARAMETERS.get(name)
            pair = value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value
            if word in ("D", "M", "K", "C", "P") and type(pair) is int:
                kept.setdefault(str(word), set()).add(pair)
        for word, values in kept.items():
            alone = {code for code, size in sizes.items() if size.value in values}
            if len(alone) > 1 and word == "D":
                alone &= normed
            if len(values) == 1 and len(alone) == 1 and values.isdisjoint(bound):
                self._call(sizes[alone.pop()], word)
