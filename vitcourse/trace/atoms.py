"""Sizes as expressions of one another: what follows from what, in one run of a finished instance.

An expression is known by what it comes to at a few made-up sizes of what it is made of. Two that come to the same at
all of them are one size, and what they are called is found as it is for runs at other sizes.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import reduce
from itertools import count
from random import Random
from typing import Any

from vitcourse.trace.expressions import quotient
from vitcourse.trace.sizes import Names

# At how many sizes what is named is looked at.
MADE_UP = 4
# What is made of more than so many steps of arithmetic is a size of its own.
DEEPEST = 60
# Whether two are the same is asked of numbers modulo this prime, which are quick.
PRIME = 2**61 - 1
EXACT: dict[str, Callable[[Any, Any], Any]] = {"+": operator.add, "·": operator.mul, "/": quotient}
MODULO: dict[str, Callable[[int, int], int]] = {
    "+": lambda a, b: (a + b) % PRIME,
    "·": lambda a, b: a * b % PRIME,
    "/": lambda a, b: a * pow(b, -1, PRIME) % PRIME,
}


_serials = count()


class Size:
    """A size: what it is in the run, and how it is made of two others, if it is.

    The seed of one of its own is a number at random: what it comes to modulo the prime, and at the made-up sizes.
    """

    __slots__ = ("code", "depth", "how", "name", "of", "proved", "serial", "unit", "used_in", "value", "weight")

    def __init__(self, value: Any, seed: int = 0, how: str = "", of: tuple["Size", ...] = ()) -> None:
        self.value, self.how, self.of = value, how, of
        # What it comes to modulo the prime: two sizes of the same are one.
        self.code = seed
        self.name: str | None = None
        self.proved: Size | None = None
        self.used_in: list[Size] = []
        self.serial = next(_serials)
        # How many sizes are multiplied in it, and how many steps it takes.
        self.weight, self.depth = 1, 0
        # Whether one of them is 1, and no plain number: it has a name.
        self.unit = value == 1 and seed != value
        if how:
            one, two = of
            self.unit = one.unit or two.unit
            for part in of:
                # A plain number stays one.
                if part.weight:
                    part.used_in.append(self)
            self.code = MODULO[how](one.code, two.code)
            self.weight = max(one.weight, two.weight) if how == "+" else one.weight + two.weight
            self.depth = 1 + max(one.depth, two.depth)

    def prove(self, target: "Size") -> None:
        """Note that this size, one of its own so far, is another."""
        self.proved = target
        target.used_in.append(self)
        self._change(target.code)

    def _change(self, code: int) -> None:
        if code != self.code:
            self.code = code
            for size in self.used_in:
                size._change(code if size.proved is self else MODULO[size.how](size.of[0].code, size.of[1].code))

    @property
    def constant(self) -> bool:
        """Whether it is only a number."""
        return bool(self.code == self.value)

    def resolved(self) -> "Size":
        """The size that this one was proved to be."""
        return self if self.proved is None else self.proved.resolved()

    def exact(self, known: "dict[Size, tuple[Any, ...]] | None" = None) -> tuple[Any, ...]:
        """What it comes to in the run and at the made-up sizes."""
        size, known = self.resolved(), {} if known is None else known
        if size not in known and size.how:
            known[size] = tuple(map(EXACT[size.how], *(part.exact(known) for part in size.of)))
        elif size not in known:
            places = range(0, 15 * MADE_UP, 15)
            known[size] = (size.value, *(2 + (size.code >> i) % 2**15 if size.weight else size.value for i in places))
        return known[size]

    def own(self) -> set["Size"]:
        """The sizes of their own that it is made of."""
        if not (size := self.resolved()).how:
            return {size} if size.weight else set()
        found: set[Size] = set()
        left: list[Size] = [size]
        while left:
            size = left.pop().resolved()
            if size not in found:
                found.add(size)
                left.extend(size.of)
        return {size for size in found if size.weight and not size.how}

    def __add__(self, other: Any) -> "Size":
        return self._made("+", other, 0)

    def __mul__(self, other: Any) -> "Size":
        return self._made("·", other, 1)

    def __truediv__(self, other: Any) -> "Size":
        return self._made("/", other, 1)

    def __neg__(self) -> "Size":
        return self * -1

    __radd__, __rmul__, __floordiv__ = __add__, __mul__, __truediv__

    def _made(self, how: str, other: Any, nothing: int) -> "Size":
        if not isinstance(other, Size):
            if other == nothing:
                return self
            other = number(other)
        if (self.how, how) in (("/", "·"), ("·", "/")) and self.of[1] is other:
            return self.of[0]
        return Size(EXACT[how](self.value, other.value), 0, how, (self, other))


def number(value: int | Fraction) -> Size:
    """A size that is only a number."""
    modulo = value % PRIME if type(value) is int else MODULO["/"](value.numerator, value.denominator)
    size = Size(value, modulo)
    size.weight = 0
    return size


ONE = number(1)


class Atoms:
    """The sizes of one instance, which of them are equal, and what those with a name are called."""

    def __init__(self, given: Mapping[str, int]) -> None:
        self._chance = Random(0)
        self.named: dict[str, Size] = {}
        # Those that no run can change.
        self.fixed: set[Size] = set()
        self._names = Names({}, exact=True)
        self._texts: dict[int, str | None] = {}
        self._known: dict[int, Size] = {}
        for name, size in given.items():
            if not name.startswith("_"):
                self.fresh(size, name)

    def fresh(self, value: int, name: str | None = None) -> Size:
        """An axis of which only the number is known. Size 1 stays a number: it is what broadcasting fills up."""
        if name in self.named:
            return self.named[name]
        if value == 1 and name is None:
            return ONE
        size = Size(value, self._chance.getrandbits(60))
        if name is not None:
            self.name(size, name)
        return size

    def name(self, size: Size, name: str) -> None:
        """Give a size of its own a name."""
        size.name, self.named[name] = name, size
        self._names.sizes[name] = size.exact()

    def equal(self, one: Size, two: Size) -> None:
        """Note that an operation needs these two sizes to be one."""
        one, two = one.resolved(), two.resolved()
        if one.code == two.code or one.value != two.value:
            return
        if one.unit != two.unit and one.value != 1:
            # A factor of 1 in one of them is in the other too, as a plain 1: where, nobody sees.
            return
        for size, other in ((one, two), (two, one)):
            if size in self.fixed:
                self.fixed.add(other)
        # What is a product of more is said by what is one of fewer, else what is newer by what is older.
        target, size = sorted((one, two), key=lambda size: (size.weight, size.serial))
        if not self._solve(size, target):
            self._solve(target, size)

    def _solve(self, size: Size, target: Size) -> bool:
        """Read `size = target` as what an unnamed size of its own in it is."""
        size = size.resolved()
        if size.how == "·":
            pairs = sorted((size.of, size.of[::-1]), key=lambda pair: pair[0].value, reverse=True)
            return any(self._solve(part, target / rest) for part, rest in pairs)
        if size.how == "/":
            whole, part = size.of
            return self._solve(whole, target * part) or self._solve(part, whole / target)
        if size.how:
            return False
        if size.name is not None or size.constant or target.constant or size in target.own():
            return False
        size.prove(target)
        return True

    def bound(self) -> set[str]:
        """The symbols to which what is fixed leaves no choice."""
        own = {atom for size in self.fixed if size.proved is None for atom in size.own()}
        return {atom.name for atom in own if atom.name is not None}

    def same(self, size: Size) -> Size:
        """The size that was known first of those that this one is proved to be."""
        return self._known.setdefault(size.code, size.resolved())

    def text(self, size: Size) -> str | None:
        """The size in symbols; None for a number, and for what has a part that nobody named."""
        if size.code not in self._texts:
            if any(atom.name is None for atom in size.own()):
                return None
            numbers = tuple([n.numerator if n.denominator == 1 else n for n in size.exact()])
            self._texts[size.code] = self._names.text(numbers)
        return self._texts[size.code]

    def unnamed(self, size: Size) -> Size | None:
        """The size, where it is one of its own without a name."""
        size = size.resolved()
        return size if not size.how and size.name is None and not size.constant else None


def regrouped(atoms: Atoms, axes: Sequence[Size], sizes: Sequence[int]) -> list[Size]:
    """The axes of a reshape: runs of axes that hold the same numbers are merged or split; the others are new.

    Of axes of size 1 only those with a name, one channel say, count as merged with others.
    """
    result: list[Size] = []
    axes = [axis for axis in axes if axis.value != 1 or not axis.constant]
    i, j, spare = 0, 0, False
    while j < len(sizes):
        if sizes[j] == 1:
            paired = i < len(axes) and axes[i].value == 1
            i, spare = i + paired, spare or not paired
            result.append(ONE)
            j += 1
            continue
        if i == len(axes):
            return result + [atoms.fresh(n) for n in sizes[j:]]
        a, b, first, start = axes[i].value, sizes[j], i, j
        while a != b and i < len(axes) and j < len(sizes):
            if a < b:
                i += 1
                a *= axes[i].value if i < len(axes) else 1
            else:
                j += 1
                b *= sizes[j] if j < len(sizes) else 1
        if j + 1 >= len(sizes) and all(axis.value == 1 for axis in axes[i + 1 :]):
            # A channel that comes last is merged as well.
            i = len(axes) - 1
        merged, split = axes[first : i + 1], sizes[start : j + 1]
        own = [axis for axis in merged if axis.value != 1]
        if len(split) == 1:
            result.append(reduce(operator.mul, merged if len(own) > 1 else own))
        else:
            pieces = [atoms.fresh(n) for n in split]
            # A factor of 1, one channel say, may have gone to an axis of 1, or to none.
            if len(own) == 1 and not spare and not own[0].unit:
                pieces[-1] = reduce(operator.truediv, pieces[:-1], own[0])
            result += pieces
        i, j = i + 1, j + 1
    return result
