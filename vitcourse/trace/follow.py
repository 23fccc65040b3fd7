"""What a finished instance leaves unknown: its own sizes, followed from step to step.

The widths of a finished module can't be changed, so no other run tells them apart. But each of its steps can be asked
alone, at other sizes: an axis of the result that changes with an axis of an operand comes
from it, and two axes that can only change together are one size, which is a proof. No function of torch needs a rule;
the two exceptions are those whose sizes are written as numbers, reshapes, and the kernels that cut patches.
"""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from vitcourse.trace.recorder import Sizes, tensors_in, tensors_of
from vitcourse.trace.sizes import PRODUCTS, place_of

# A sum of products of atoms: {((atom, power), …): number}. Atoms are numbers, given to axes as they turn up.
Monomial = tuple[tuple[int, int], ...]
Poly = dict[Monomial, int | Fraction]
# Places of axes that can change, together; their size; and the results' shapes at twice and three
# times that. And whether some axes can't.
Answer = tuple[list[tuple[list[int], int, list[list[Sizes]]]], bool]
# Functions that look at their operands' sizes before they look at the numbers. Others, a recurrent network's say, read
# past the end of a tensor that is too short: they are asked on tensors without numbers, which takes longer.
_CAREFUL = frozenset(
    [
        "linear",
        "matmul",
        "mm",
        "bmm",
        "addmm",
        "conv1d",
        "conv2d",
        "conv3d",
        "layer_norm",
        "rms_norm",
        "batch_norm",
        "group_norm",
        "softmax",
        "log_softmax",
        "mean",
        "sum",
        "var",
        "std",
        "amax",
        "amin",
        "max",
        "min",
        "argmax",
        "cat",
        "stack",
        "transpose",
        "permute",
        "flatten",
        "unsqueeze",
        "squeeze",
        "expand",
        "chunk",
        "split",
        "unbind",
        "__getitem__",
        "dropout",
        "relu",
        "gelu",
        "silu",
        "sigmoid",
        "tanh",
        "mul",
        "add",
        "sub",
        "div",
        "pow",
        "sqrt",
        "rsqrt",
        "exp",
        "log",
        "erf",
        "neg",
        "scaled_dot_product_attention",
        "multi_head_attention_forward",
        "__matmul__",
        "max_pool2d",
        "avg_pool2d",
        "adaptive_avg_pool2d",
        "pad",
        "einsum",
        "roll",
        "contiguous",
        "__add__",
        "__sub__",
        "__mul__",
        "__truediv__",
        "__radd__",
        "__rsub__",
        "__rmul__",
        "__rtruediv__",
        "__pow__",
        "__rpow__",
        "__neg__",
        "clone",
        "detach",
        "to",
        "float",
        "masked_fill",
        "logsumexp",
        "cross_entropy",
        "mse_loss",
        "eq",
        "_native_multi_head_attention",
        "hardswish",
        "relu6",
    ]
)
RESHAPES = {"reshape", "view", "unflatten", "view_as", "reshape_as"}


class Atoms:
    """The sizes of one instance: what number each has, which are equal, and what those with a name are called."""

    def __init__(self, given: Mapping[str, int]) -> None:
        self.given = given
        self.values: list[int] = []
        self.names: dict[int, str] = {}
        # Names that follow from others.
        self.derived: set[str] = set()
        self._links: dict[int, Poly] = {}

    def fresh(self, value: int, name: str | None = None) -> Poly:
        """An axis of which only the number is known. Size 1 stays a number: it is what broadcasting fills up."""
        if value == 1 and name is None:
            return number(1)
        known = next((atom for atom, other in self.names.items() if other == name), None) if name else None
        if known is None:
            known = len(self.values)
            self.values.append(value)
            if name:
                self.names[known] = name
        return {((known, 1),): 1}

    def value(self, poly: Poly) -> int | Fraction:
        """What a size comes to."""
        total: int | Fraction = 0
        for monomial, times in poly.items():
            if times == 1 and len(monomial) == 1 and monomial[0][1] == 1 and len(poly) == 1:
                return self.values[monomial[0][0]]
            for atom, power in monomial:
                times *= self.values[atom] ** power if power > 0 else Fraction(1, self.values[atom] ** -power)
            total += times
        return total

    def resolve(self, poly: Poly) -> Poly:
        """The size with everything put in that was proved since it was made."""
        links = self._links
        if all(atom not in links for monomial in poly for atom, _ in monomial):
            return poly
        total: Poly = {}
        for monomial, times in poly.items():
            term: Poly = {(): times}
            for atom, power in monomial:
                link = self._links.get(atom)
                part: Poly = {((atom, 1),): 1}
                if link is not None:
                    part = self._links[atom] = self.resolve(link)
                if power < 0:
                    part = inverse(part)
                for _ in range(abs(power)):
                    term = product(term, part)
            total = plus(total, term)
        return total

    def called(self, poly: Poly) -> Poly:
        """The size with the course's own symbols for the products and the sum that they mean: N for gh·gw."""
        poly = self.resolve(poly)
        if len(poly) == 1 and len(next(iter(poly))) < 2:
            return poly
        total: Poly = {}
        for monomial, times in poly.items():
            powers = {self.names.get(atom, f"_{atom}"): power for atom, power in monomial}
            values = {self.names.get(atom, f"_{atom}"): self.values[atom] for atom, _ in monomial}
            changed = True
            while changed:
                changed = False
                for whole, left, right in PRODUCTS:
                    for new, one, two, sign in (
                        (whole, left, right, 1),
                        (left, whole, right, -1),
                        (right, whole, left, -1),
                    ):
                        if new in self.given or powers.get(one, 0) < 1 or sign * powers.get(two, 0) < 1:
                            continue
                        values[new], rest = (
                            (values[one] * values[two], 0) if sign > 0 else divmod(values[one], values[two])
                        )
                        if rest:
                            continue
                        self.derived.add(new)
                        for name, power in ((one, -1), (two, -sign), (new, 1)):
                            powers[name] = powers.get(name, 0) + power
                        changed = True
            term = number(times)
            for name, power in powers.items():
                atom: Poly = {((int(name[1:]), 1),): 1} if name[0] == "_" else self.fresh(values[name], name)
                for _ in range(abs(power)):
                    term = product(term, atom if power > 0 else inverse(atom))
            total = plus(total, term)
        if "T" not in self.given and self.text(total) == "N+1":
            self.derived.add("T")
            return self.fresh(int(self.value(total)), "T")
        return total

    def equal(self, one: Poly, two: Poly) -> None:
        """Note that an operation needs these two sizes to be one."""
        one, two = self.resolve(one), self.resolve(two)
        # What is a product of more is said by what is one of fewer: 3·D by D.
        for poly, target in sorted(((one, two), (two, one)), key=lambda pair: -max(map(len, pair[0]), default=0)):
            if one != two and self._solve(poly, target):
                return

    def _solve(self, poly: Poly, target: Poly) -> bool:
        """Read `poly = target` as what an unnamed atom in poly is."""
        if len(poly) != 1:
            return False
        ((monomial, times),) = poly.items()
        unnamed = [atom for atom, power in monomial if atom not in self.names and power == 1]
        if not unnamed or not any(target):
            return False
        atom = max(unnamed, key=lambda a: self.values[a])
        if any(other == atom for terms in target for other, _ in terms):
            return False
        rest: Poly = {tuple(pair for pair in monomial if pair[0] != atom): times}
        self._links[atom] = product(target, inverse(rest))
        return True

    def text(self, poly: Poly) -> str | None:
        """The size in symbols; None for a number, and for what has a part that nobody named."""
        poly = self.resolve(poly)
        terms: list[str] = []
        for monomial, times in sorted(poly.items(), key=lambda item: not item[0]):
            if any(atom not in self.names for atom, _ in monomial):
                return None
            words = sorted(((self.names[a], p) for a, p in monomial), key=lambda pair: place_of(pair[0]))
            above = [name for name, power in words for _ in range(power)]
            below = [name for name, power in words for _ in range(-power)]
            if abs(times.numerator) != 1 or not above:
                above.insert(0, str(abs(times.numerator)))
            if times.denominator != 1:
                below.append(str(times.denominator))
            sign = "-" if times < 0 else "+" if terms else ""
            terms.append(sign + "·".join(above) + "".join(f"/{word}" for word in below))
        return "".join(terms) if any(poly) else None

    def unnamed(self, poly: Poly) -> int | None:
        """The atom, where a size is one atom without a name."""
        poly = self.resolve(poly)
        if len(poly) == 1:
            ((monomial, times),) = poly.items()
            if times == 1 and len(monomial) == 1 and monomial[0][1] == 1 and monomial[0][0] not in self.names:
                return monomial[0][0]
        return None


def number(value: int | Fraction) -> Poly:
    """A size that is only a number."""
    return {(): exact(value)} if value else {}


def exact(value: int | Fraction) -> int | Fraction:
    """The number as an int, when it is one: ints are quick."""
    return value.numerator if value.denominator == 1 else value


def plus(one: Poly, two: Poly) -> Poly:
    """Sizes added."""
    total = dict(one)
    for monomial, times in two.items():
        total[monomial] = total.get(monomial, 0) + times
    return {monomial: times for monomial, times in total.items() if times}


def product(*polys: Poly) -> Poly:
    """Sizes multiplied."""
    total: list[tuple[dict[int, int], int | Fraction]] = [({}, 1)]
    for poly in polys:
        step = []
        for left, a in total:
            for right, b in poly.items():
                powers = dict(left)
                for atom, power in right:
                    powers[atom] = powers.get(atom, 0) + power
                step.append((powers, a * b))
        total = step
    result: Poly = {}
    for powers, times in total:
        monomial = tuple(sorted(pair for pair in powers.items() if pair[1]))
        result[monomial] = exact(result.get(monomial, 0) + times)
    return {monomial: times for monomial, times in result.items() if times} if len(result) > 1 else result


def inverse(poly: Poly) -> Poly:
    """One divided by a size that is no sum."""
    ((monomial, times),) = poly.items()
    return {tuple((atom, -power) for atom, power in monomial): exact(Fraction(1) / times)}


class Follower:
    """Gives the axes of every step's results their sizes, as expressions of the sizes that were there before."""

    def __init__(self, given: Mapping[str, int]) -> None:
        self.atoms = Atoms(given)
        self.steps: list[list[list[Poly]]] = []
        self._axes: dict[int, tuple[Tensor, list[Poly]]] = {}
        self._asked: dict[Any, Answer] = {}

    def axes(self, tensor: Tensor) -> list[Poly]:
        """What is known of a tensor's axes."""
        entry = self._axes.get(id(tensor))
        return entry[1] if entry is not None else self.note(tensor, [self.atoms.fresh(n) for n in tensor.shape])

    def note(self, tensor: Tensor, axes: list[Poly] | None) -> list[Poly]:
        """Remember a tensor's axes; those that don't fit its shape are not believed."""
        sizes = tensor.shape
        if axes is None or len(axes) != len(sizes):
            axes = [self.atoms.fresh(n) for n in sizes]
        else:
            axes = [self.atoms.called(a) for a in axes]
            axes = [a if self.atoms.value(a) == n else self.atoms.fresh(n) for a, n in zip(axes, sizes, strict=True)]
        self._axes[id(tensor)] = (tensor, axes)
        return axes

    def step(
        self, name: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
    ) -> None:
        """Follow one call of a function of torch."""
        results = tensors_in(result)
        operands = list(dict.fromkeys([*tensors_of(args), *tensors_of(kwargs.values())]))
        if name in RESHAPES and operands:
            self.note(results[0], regrouped(self.atoms, self.axes(operands[0]), list(results[0].shape)))
            return
        in_place = name == "__setitem__" or any(t is operand for operand in operands for t in results)
        if in_place and (name not in ("__setitem__", "copy_") or len(operands) != 2):
            return
        found = self._answer(Question(name, func, args, kwargs, operands, results))
        if name in ("conv1d", "conv2d", "conv3d"):
            self._patches(args, kwargs, results[0], found[0])
        for tensor, axes in zip(results, found, strict=True):
            self.note(tensor, axes)

    def _answer(self, question: "Question") -> list[list[Poly]]:
        """The sizes of each result's axes; a question in other words, a layer of the same sizes say, is asked once."""
        atoms = self.atoms
        polys = [atoms.resolve(poly) for tensor in question.operands for poly in self.axes(tensor)]
        kinds: list[Poly] = []
        for poly in polys:
            if poly not in kinds:
                kinds.append(poly)
        # Plain numbers can't change.
        pattern = tuple(kinds.index(poly) if any(poly) else -1 for poly in polys)
        key = (question.key, pattern)
        if key not in self._asked:
            with torch.no_grad():
                self._asked[key] = question.answer(pattern)
        told, stuck = self._asked[key]
        for places, _, _ in told:
            for kind in {pattern[place] for place in places} - {pattern[places[0]]}:
                atoms.equal(polys[places[0]], kinds[kind])
        causes = [(atoms.resolve(polys[places[0]]), size, seen) for places, size, seen in told]
        return [
            [self._axis(causes, i, j, n, stuck or not told or n in question.written) for j, n in enumerate(shape)]
            for i, shape in enumerate(question.results)
        ]

    def _axis(self, told: list[tuple[Poly, int, list[list[Sizes]]]], i: int, j: int, size: int, stuck: bool) -> Poly:
        atoms = self.atoms
        causes = [(poly, n, [shapes[i][j] for shapes in seen]) for poly, n, seen in told]
        causes = [cause for cause in causes if any(s != size for s in cause[2])]
        if not causes:
            return atoms.fresh(size) if stuck else number(size)
        if any(s[1] < 0 for _, _, s in causes):
            # It doesn't grow evenly: a floor, whose rest these sizes hide.
            return atoms.fresh(size)
        powers = [{(2 * size, 3 * size): 1, (4 * size, 9 * size): 2}.get((s[0], s[1]), 0) for _, _, s in causes]
        if all(powers):
            result = product(*(poly for (poly, _, _), power in zip(causes, powers, strict=True) for _ in range(power)))
            return product(number(Fraction(size) / atoms.value(result)), result)
        if all(s[1] - size == 2 * (s[0] - size) for _, _, s in causes):
            result = number(0)
            for poly, n, s in causes:
                result = plus(result, product(number(Fraction(s[0] - size, n)), poly))
            rest = size - atoms.value(result)
            return atoms.fresh(size) if stuck and rest else plus(result, number(rest))
        return atoms.fresh(size)

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


def regrouped(atoms: Atoms, axes: list[Poly], sizes: list[int]) -> list[Poly]:
    """The axes of a reshape: runs of axes that hold the same numbers are merged or split; the others are new."""
    result: list[Poly] = []
    values = [int(atoms.value(poly)) for poly in axes]
    i = j = 0
    while j < len(sizes):
        if sizes[j] == 1:
            result.append(number(1))
            j += 1
            continue
        while i < len(values) and values[i] == 1:
            i += 1
        if i == len(values):
            return result + [atoms.fresh(n) for n in sizes[j:]]
        a, b, first, start = values[i], sizes[j], i, j
        while a != b and i < len(values) and j < len(sizes):
            if a < b:
                i += 1
                a *= values[i] if i < len(values) else 1
            else:
                j += 1
                b *= sizes[j] if j < len(sizes) else 1
        merged, split = axes[first : i + 1], sizes[start : j + 1]
        whole = product(*merged)
        if len(split) == 1:
            result.append(whole)
        elif len([n for n, v in zip(merged, values[first : i + 1], strict=True) if v > 1]) == 1 and len(whole) == 1:
            pieces = [atoms.fresh(n) for n in split[:-1]]
            result += [*pieces, product(whole, *(inverse(piece) for piece in pieces))]
        else:
            result += [atoms.fresh(n) for n in split]
        i, j = i + 1, j + 1
    return result


class Question:
    """One step, asked alone: what happens to its results when its operands have other sizes."""

    def __init__(
        self, name: str, func: Callable[..., Any], args: Any, kwargs: dict[str, Any],
        operands: list[Tensor], results: list[Tensor],
    ) -> None:  # fmt: skip
        self.careful = name in _CAREFUL
        self.func, self.args, self.kwargs, self.operands = func, args, kwargs, operands
        self.results = [tuple(tensor.shape) for tensor in results]
        self.sizes = [n for tensor in operands for n in tensor.shape]
        self.written: set[int] = set()
        self.key = (func, self._frozen(args), self._frozen(kwargs))

    def _frozen(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            place = next(i for i, operand in enumerate(self.operands) if operand is value)
            return ("tensor", place, tuple(value.shape), value.dtype)
        if isinstance(value, (tuple, list)):
            return tuple(self._frozen(item) for item in value)
        if isinstance(value, dict):
            return tuple((key, self._frozen(item)) for key, item in value.items())
        if isinstance(value, slice):
            return ("slice", *(self._frozen(part) for part in (value.start, value.stop, value.step)))
        if type(value) is int:
            self.written.add(value)
        return value if isinstance(value, (int, float, str, type(None), torch.dtype)) else repr(value)

    def answer(self, pattern: tuple[int, ...]) -> Answer:
        """The axes that can change, those that only change together as one, and what the results' shapes do then."""
        classes = {kind: [i for i, other in enumerate(pattern) if other == kind] for kind in pattern if kind >= 0}
        told: list[tuple[list[int], int, list[list[Sizes]]]] = []
        stuck = False
        while classes:
            places = classes.pop(next(iter(classes)))
            size = self.sizes[places[0]]
            seen = self._seen(places, size)
            same = [kind for kind, others in classes.items() if self.sizes[others[0]] == size]
            if seen is None:
                some, seen = self._together(places, size, {kind: classes[kind] for kind in same})
                places += [place for kind in some for place in classes.pop(kind)]
            if seen is None:
                stuck = True
            else:
                told.append((places, size, seen))
        return told, stuck

    def _together(
        self, places: list[int], size: int, others: dict[int, list[int]]
    ) -> tuple[list[int], list[list[Sizes]] | None]:
        """The fewest others with which axes can change, which are one size with them, and the results' shapes then."""

        def seen(some: Sequence[int]) -> list[list[Sizes]] | None:
            return self._seen([*places, *(place for kind in some for place in others[kind])], size)

        few = len(others) if len(others) < 5 else 1
        for some in (some for count in range(1, few + 1) for some in combinations(others, count)):
            if (found := seen(some)) is not None:
                return list(some), found
        # Of many, a stack of patches say, all but those that aren't needed: trying all choices would take too long.
        needed = list(others)
        if few == len(others) or (found := seen(needed)) is None:
            return [], None
        for kind in others:
            rest = [other for other in needed if other != kind]
            if (fewer := seen(rest)) is not None:
                needed, found = rest, fewer
        return needed, found

    def _seen(self, places: list[int], size: int) -> list[list[Sizes]] | None:
        """The results' shapes at twice and three times the size; None where it can't change."""
        for numbers in (False, True):
            seen: list[list[Sizes]] = []
            for one_more, new in ((False, 2 * size), (True, size + 1), (False, 3 * size)):
                sizes = list(self.sizes)
                for place in places:
                    sizes[place] = new
                # A size that is written too, normalized_shape say, changes where it is written.
                shapes = self._at(sizes, {size: new} if numbers else {})
                if shapes is None and not one_more:
                    break
                # What grows evenly to one more needs no third size; what must divide can't be one more.
                if shapes is not None:
                    seen.append(shapes if not one_more else self._even(shapes, seen[0], size))
                if len(seen) == 2:
                    return seen
        return None

    def _even(self, more: list[Sizes], twice: list[Sizes], size: int) -> list[Sizes]:
        """What the results are at three times the size, if they grow as they do to one more; else no sizes at all."""

        def grown(n: int, m: int, t: int) -> int:
            if (m - n) * size == t - n:
                return n + 2 * (t - n)
            # Two axes of one size, the sides of a patch, in one.
            return 9 * n if t == 4 * n and m * size**2 == n * (size + 1) ** 2 else -1

        return [
            tuple(grown(n, m, t) for n, m, t in zip(*shapes, strict=True))
            for shapes in zip(self.results, more, twice, strict=True)
        ]

    def _at(self, sizes: list[int], numbers: Mapping[int, int]) -> list[Sizes] | None:
        position = 0
        changed: dict[int, Tensor] = {}
        for tensor in self.operands:
            shape = sizes[position : position + tensor.ndim]
            position += tensor.ndim
            kind = torch.empty if tensor.is_floating_point() else torch.zeros
            device = tensor.device if self.careful else torch.device("meta")
            changed[id(tensor)] = kind(shape, dtype=tensor.dtype, device=device)

        def put(value: Any) -> Any:
            if isinstance(value, Tensor):
                return changed.get(id(value), value)
            if type(value) is int:
                return numbers.get(value, value)
            return type(value)(put(item) for item in value) if type(value) in (tuple, list) else value

        try:
            result = self.func(*put(self.args), **{key: put(value) for key, value in self.kwargs.items()})
            shapes = [tuple(tensor.shape) for tensor in tensors_in(result)]
        except Exception:
            return None
        same = [len(shape) for shape in shapes] == [len(shape) for shape in self.results]
        return shapes if same else None
