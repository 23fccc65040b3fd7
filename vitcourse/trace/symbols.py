"""Sizes that know their names: the algebra behind `N = gh·gw`, `T = N+1`, `dh = D/h`.

An axis has a size, and a size is a product of atoms: `C·P·P`, `3·D`, `H/P`. An atom is a symbol (`B`), or something
whose name is not known (an axis of a parameter, say), or a sum (`N+1`) or a floored quotient (`D//2`) of sizes. Two
atoms are the same only when something proved it: a residual addition, a contraction. That two numbers are equal proves
nothing, and nothing here compares numbers to find a name.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

# What COURSE.md says of its symbols: the first is the product of the other two.
PRODUCTS = (("N", "gh", "gw"), ("H", "gh", "P"), ("W", "gw", "P"), ("D", "h", "dh"), ("M", "ratio", "D"))
# The first is the second and one more (CLS).
SUCCESSORS = (("T", "N"),)
# The order in which a product names its factors.
ORDER = ("ratio", "B", "h", "gh", "gw", "N", "T", "Tq", "Tk", "C", "H", "W", "P", "D", "dh", "dv", "M", "K")


Number = int | Fraction


def _exact(number: Number) -> Number:
    """The number as an int, when it is one."""
    return number.numerator if number.denominator == 1 else number


class Atom:
    """One factor of a size. Unnamed until someone names it, separate until someone proves it equal to another size."""

    __slots__ = ("link", "name", "parts", "serial", "value")

    def __init__(self, value: int, serial: int, name: str | None = None, parts: "Sum | Floor | None" = None) -> None:
        self.value = value
        self.serial = serial
        self.name = name
        self.parts = parts
        self.link: Size | None = None


class Size:
    """A coefficient times atoms to integer powers."""

    __slots__ = ("coefficient", "factors", "value")

    def __init__(self, coefficient: Number, factors: tuple[tuple[Atom, int], ...] = ()) -> None:
        self.coefficient = coefficient
        self.factors = factors
        # The number that this size has here. An atom's value never changes, so neither does this.
        value = coefficient
        for atom, power in factors:
            value = value * atom.value**power if power > 0 else _exact(Fraction(value) * Fraction(atom.value) ** power)
        self.value: Number = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Size) and self.coefficient == other.coefficient and self.factors == other.factors

    def __hash__(self) -> int:
        return hash((self.coefficient, self.factors))

    @property
    def constant(self) -> bool:
        """Whether this is a bare number."""
        return not self.factors

    @property
    def unknown(self) -> Atom | None:
        """The atom, when this size is nothing but one atom whose name isn't known."""
        if self.coefficient == 1 and len(self.factors) == 1:
            atom, power = self.factors[0]
            if power == 1 and atom.name is None and atom.parts is None:
                return atom
        return None


@dataclass(frozen=True, slots=True)
class Sum:
    """Sizes with different atoms, and a number, added up."""

    terms: tuple[Size, ...]
    plus: int


@dataclass(frozen=True, slots=True)
class Floor:
    """(size + plus) // by, for a size that `by` need not divide."""

    size: Size
    plus: int
    by: Size


ONE = Size(1)


def constant(number: int) -> Size:
    """A size that is only a number."""
    return Size(number)


@dataclass
class Scope:
    """The symbols of one trace: a name stands for one size, whoever uses it."""

    atoms: dict[str, Atom] = field(default_factory=dict)
    given: set[str] = field(default_factory=set)
    proved: set[tuple[str, ...]] = field(default_factory=set)
    definitions: dict[str, str] = field(default_factory=dict)
    _composed: dict[Any, Atom] = field(default_factory=dict)
    _serial: int = 0

    # Atoms

    def fresh(self, value: int) -> Size:
        """An axis of which only the number is known. Size 1 stays a number: it is what broadcasting fills up."""
        if value == 1:
            return ONE
        return Size(1, ((self._atom(value), 1),))

    def _atom(self, value: int, name: str | None = None, parts: Sum | Floor | None = None) -> Atom:
        self._serial += 1
        return Atom(value, self._serial, name, parts)

    def named(self, name: str, value: int, given: bool = True) -> Size | None:
        """The size called `name`; None when that name already stands for another number."""
        atom = self.atoms.get(name)
        if atom is None:
            atom = self.atoms[name] = self._atom(value, name)
        if atom.value != value:
            return None
        if given:
            self.given.add(name)
        return Size(1, ((atom, 1),))

    def name(self, atom: Atom, name: str) -> bool:
        """Give an unnamed atom its name, if nothing else has it."""
        if name in self.atoms or atom.name is not None or atom.link is not None:
            return False
        atom.name = name
        self.atoms[name] = atom
        return True

    # Arithmetic

    def product(self, *sizes: Size) -> Size:
        """Sizes multiplied."""
        if len(sizes) == 1:
            return self.resolve(sizes[0])
        coefficient: Number = 1
        powers = dict[Atom, int]()
        for size in sizes:
            coefficient *= self._gather(size, 1, powers)
        return self._simplified(coefficient, powers)

    def quotient(self, size: Size, by: Size) -> Size:
        """One size divided by another, for divisions that leave no rest."""
        powers = dict[Atom, int]()
        coefficient = self._gather(size, 1, powers)
        coefficient *= self._gather(by, -1, powers)
        return self._simplified(coefficient, powers)

    def total(self, sizes: Iterable[Size]) -> Size:
        """Sizes added."""
        plus: Number = 0
        terms = dict[tuple[tuple[Atom, int], ...], Number]()
        for size in sizes:
            for term, number in self._terms(size):
                if term.constant:
                    plus += term.coefficient * number
                else:
                    terms[term.factors] = terms.get(term.factors, 0) + term.coefficient * number
        parts = [Size(coefficient, factors) for factors, coefficient in terms.items() if coefficient]
        if not parts:
            return Size(_exact(plus))
        if len(parts) == 1 and not plus:
            return self._simplified(parts[0].coefficient, dict(parts[0].factors))
        if len(parts) == 1 and parts[0].coefficient == 1:
            successor = self._successor(parts[0], plus)
            if successor is not None:
                return successor
        parts.sort(key=lambda part: [(atom.serial, power) for atom, power in part.factors])
        return self._compose(Sum(tuple(parts), int(plus)), sum((part.value for part in parts), plus))

    def floor(self, size: Size, by: Size, plus: int = 0) -> Size:
        """(size + plus) // by."""
        size, by = self.resolve(size), self.resolve(by)
        value = (size.value + plus) // by.value
        if size.constant and by.constant:
            return Size(_exact(value))
        exact = self.quotient(size, by)
        if exact.value == value and (not by.constant or exact.coefficient.denominator == 1):
            return exact
        inner = size.factors[0][0].parts if size.coefficient == 1 and len(size.factors) == 1 else None
        if isinstance(inner, Floor) and not plus and inner.by.constant and by.constant:
            return self.floor(inner.size, constant(int(inner.by.coefficient * by.coefficient)), inner.plus)
        return self._compose(Floor(size, plus, by), value)

    def resolve(self, size: Size) -> Size:
        """The size with everything put in that was proved or named since it was made."""
        if not size.factors or (len(size.factors) == 1 and self._follow(size.factors[0][0]) is None):
            return size
        powers = dict[Atom, int]()
        coefficient = self._gather(size, 1, powers)
        return self._simplified(coefficient, powers)

    def _gather(self, size: Size, sign: int, powers: dict[Atom, int]) -> Number:
        coefficient = size.coefficient if sign > 0 else Fraction(1, 1) / size.coefficient
        for atom, power in size.factors:
            found = self._follow(atom)
            if found is None:
                powers[atom] = powers.get(atom, 0) + sign * power
            else:
                for _ in range(abs(power)):
                    coefficient *= self._gather(found, sign if power > 0 else -sign, powers)
        return coefficient

    def _follow(self, atom: Atom) -> Size | None:
        if atom.link is not None:
            return atom.link
        if isinstance(atom.parts, Sum) and atom.name is None:
            again = self.total([*atom.parts.terms, constant(atom.parts.plus)])
            return None if again.factors == ((atom, 1),) else again
        return None

    def _terms(self, size: Size) -> Iterator[tuple[Size, Number]]:
        size = self.resolve(size)
        if len(size.factors) == 1 and size.factors[0][1] == 1 and isinstance(size.factors[0][0].parts, Sum):
            parts = size.factors[0][0].parts
            for term in parts.terms:
                yield self.resolve(term), size.coefficient
            yield constant(parts.plus), size.coefficient
        else:
            yield size, 1

    def _compose(self, parts: Sum | Floor, value: Number) -> Size:
        atom = self._composed.get(parts)
        if atom is None:
            atom = self._composed[parts] = self._atom(int(value), None, parts)
        return Size(1, ((atom, 1),))

    # What the course's symbols mean

    def _factors(self, name: str) -> tuple[tuple[Atom, int], ...]:
        atom = self.atoms.get(name)
        return () if atom is None else ((atom, 1),)

    def _allowed(self, relation: tuple[str, ...]) -> bool:
        # Someone who names all of N, gh and gw may mean an N that isn't gh·gw; then only a proof makes it so.
        return not self.given.issuperset(relation) or relation in self.proved

    def _successor(self, size: Size, plus: Number) -> Size | None:
        for following, before in SUCCESSORS:
            if not self._allowed((following, before)):
                continue
            if plus == 1 and size.factors == self._factors(before):
                derived = self.named(following, int(size.value) + 1, given=False)
                # A parameter may have brought the name already, the positions T, say; its meaning shows only here.
                if derived is not None and following not in self.given:
                    self.definitions.setdefault(following, f"{before}+1")
                return derived
            if plus == -1 and size.factors == self._factors(following) and before in self.atoms:
                return self.named(before, int(size.value) - 1, given=False)
        return None

    def _simplified(self, coefficient: Number, powers: dict[Atom, int]) -> Size:
        names = {atom.name: atom for atom, power in powers.items() if power and atom.name}
        changed = len(names) > 1
        while changed:
            changed = False
            for relation in PRODUCTS:
                whole, left, right = relation
                for result, plus, other, sign in (
                    (whole, left, right, 1),
                    (left, whole, right, -1),
                    (right, whole, left, -1),
                ):
                    if plus not in names or other not in names:
                        continue
                    one, two = names[plus], names[other]
                    if powers.get(one, 0) < 1 or sign * powers.get(two, 0) < 1 or not self._allowed(relation):
                        continue
                    value = Fraction(one.value) * Fraction(two.value) ** sign
                    fresh = result not in self.atoms
                    derived = self.named(result, int(value), given=False) if value.denominator == 1 else None
                    if derived is None:
                        continue
                    if fresh:
                        self.definitions[result] = f"{plus}{'·' if sign > 0 else '/'}{other}"
                    powers[one] -= 1
                    powers[two] -= sign
                    made = derived.factors[0][0]
                    powers[made] = powers.get(made, 0) + 1
                    names = {atom.name: atom for atom, power in powers.items() if power and atom.name}
                    changed = True
        for atom, power in list(powers.items()):
            # Twice D//2 is D when D is even; a table of sines beside one of cosines is that.
            if power == 1 and isinstance(atom.parts, Floor) and atom.parts.by.constant:
                by, inner = atom.parts.by.coefficient, atom.parts.size
                if coefficient % by == 0 and inner.value % by == 0 and atom.value * by == inner.value:
                    del powers[atom]
                    coefficient = Fraction(coefficient) / by * self._gather(inner, 1, powers)
                    return self._simplified(coefficient, powers)
        factors = sorted(((atom, power) for atom, power in powers.items() if power), key=lambda pair: pair[0].serial)
        return Size(_exact(coefficient), tuple(factors))

    # Proofs

    def equal(self, one: Size, two: Size) -> Size:
        """Note that an operation needs these two sizes to be one, and return the one that is better known."""
        one, two = self.resolve(one), self.resolve(two)
        if one.factors == two.factors and one.coefficient == two.coefficient:
            return one
        if one.constant or two.constant:
            return two if one.constant else one
        if one.value != two.value:
            return one
        if not self._linked(two, one) and not self._linked(one, two):
            self._prove(one, two)
        first, second = self.resolve(one), self.resolve(two)
        return first if self.text(first) is not None or self.text(second) is None else second

    def _linked(self, size: Size, target: Size) -> bool:
        """Solve `size = target` for the one unnamed atom in `size`, when there is exactly one."""
        unknown = [(atom, power) for atom, power in size.factors if atom.name is None and atom.parts is None]
        if len(unknown) != 1 or unknown[0][1] != 1:
            return False
        atom = unknown[0][0]
        if self._mentions(target, atom):
            return False
        rest = Size(size.coefficient, tuple(pair for pair in size.factors if pair[0] is not atom))
        solved = self.quotient(target, rest)
        if solved.value != atom.value or (solved.coefficient.denominator != 1 and len(size.factors) > 1):
            return False
        atom.link = solved
        return True

    def _mentions(self, size: Size, atom: Atom) -> bool:
        for other, _ in size.factors:
            if other is atom:
                return True
            if isinstance(other.parts, Sum) and any(self._mentions(term, atom) for term in other.parts.terms):
                return True
            if isinstance(other.parts, Floor) and self._mentions(other.parts.size, atom):
                return True
        return False

    def _prove(self, one: Size, two: Size) -> None:
        names = [
            sorted(atom.name or "" for atom, power in size.factors for _ in range(abs(power))) for size in (one, two)
        ]
        for relation in PRODUCTS:
            sides = [[relation[0]], sorted(relation[1:])]
            if names in (sides, sides[::-1]) and one.coefficient == two.coefficient == 1:
                self.proved.add(relation)
        for following, before in SUCCESSORS:
            for size, other in ((one, two), (two, one)):
                parts = other.factors[0][0].parts
                if size.factors != self._factors(following) or not isinstance(parts, Sum) or parts.plus != 1:
                    continue
                if len(parts.terms) == 1 and self.resolve(parts.terms[0]).factors == self._factors(before):
                    self.proved.add((following, before))

    # Words

    def text(self, size: Size) -> str | None:
        """The size in symbols, `C·P·P`; None when it is a bare number or has a part that nobody named."""
        return self._text(size, alone=True)

    def _text(self, size: Size, alone: bool) -> str | None:
        size = self.resolve(size)
        if size.constant:
            return None
        above: list[str] = []
        below: list[str] = []
        for atom, power in sorted(size.factors, key=_place):
            word = self._word(atom, alone and len(size.factors) == 1 and abs(power) == 1 and size.coefficient == 1)
            if word is None:
                return None
            (above if power > 0 else below).extend([word] * abs(power))
        if size.coefficient.numerator != 1 or not above:
            above.insert(0, str(size.coefficient.numerator))
        if size.coefficient.denominator != 1:
            below.append(str(size.coefficient.denominator))
        return "·".join(above) + "".join(f"/{word}" for word in below)

    def _word(self, atom: Atom, alone: bool) -> str | None:
        if atom.name is not None:
            return atom.name
        match atom.parts:
            case Sum(terms, plus):
                words = [self.text(term) for term in terms]
                if any(word is None for word in words):
                    return None
                text = "+".join(word or "" for word in words).replace("+-", "-") + (f"{plus:+d}" if plus else "")
            case Floor(size, plus, by):
                word, divisor = (
                    self._text(size, alone=len(size.factors) > 1),
                    str(by.coefficient) if by.constant else self.text(by),
                )
                if word is None or divisor is None:
                    return None
                if by.constant and plus and plus == by.coefficient - 1:
                    return f"⌈{word}/{divisor}⌉"
                text = f"({word}{plus:+d})//{divisor}" if plus else f"{word}//{divisor}"
            case _:
                return None
        return text if alone else f"({text})"

    def parse(self, text: str, given: bool) -> Size | None:
        """The size that a text such as `1+gh*gw` or `C·P·P` means; None when it has a name that nothing is called."""
        terms = []
        for term in text.replace("·", "*").split("+"):
            size = ONE
            for sign, word in re.findall(r"([*/]?)([^*/]+)", term):
                if word.isdigit():
                    factor: Size | None = constant(int(word))
                elif word in self.atoms:
                    factor = self.named(word, self.atoms[word].value, given)
                else:
                    factor = None
                if factor is None:
                    return None
                size = self.quotient(size, factor) if sign == "/" else self.product(size, factor)
            terms.append(size)
        return self.total(terms)


def _place(factor: tuple[Atom, int]) -> tuple[int, int]:
    atom = factor[0]
    return (ORDER.index(atom.name) if atom.name in ORDER else len(ORDER)), atom.serial


class NamedInt(int):
    """An int that remembers which size it is, so that `x.shape[1] // patch_size` is known to be gh."""

    size: Size
    scope: Scope

    def __new__(cls, size: Size, scope: Scope) -> "NamedInt":
        self = super().__new__(cls, int(size.value))
        self.size = size
        self.scope = scope
        return self

    def __reduce__(self) -> tuple[type[int], tuple[int]]:
        # A copy or a pickle outlives the trace; it is the plain number.
        return int, (int(self),)

    def __mul__(self, other: Any) -> Any:
        return self._with(other, int.__mul__(self, other), lambda a, b: self.scope.product(a, b))

    def __rmul__(self, other: Any) -> Any:
        return self._with(other, int.__rmul__(self, other), lambda a, b: self.scope.product(b, a))

    def __add__(self, other: Any) -> Any:
        return self._with(other, int.__add__(self, other), lambda a, b: self.scope.total((a, b)))

    def __radd__(self, other: Any) -> Any:
        return self._with(other, int.__radd__(self, other), lambda a, b: self.scope.total((b, a)))

    def __sub__(self, other: Any) -> Any:
        return self._with(other, int.__sub__(self, other), lambda a, b: self.scope.total((a, negative(b))))

    def __rsub__(self, other: Any) -> Any:
        return self._with(other, int.__rsub__(self, other), lambda a, b: self.scope.total((b, negative(a))))

    def __floordiv__(self, other: Any) -> Any:
        return self._with(other, int.__floordiv__(self, other), lambda a, b: self.scope.floor(a, b))

    def __rfloordiv__(self, other: Any) -> Any:
        return self._with(other, int.__rfloordiv__(self, other), lambda a, b: self.scope.floor(b, a))

    def __pow__(self, other: Any, modulo: Any = None) -> Any:
        number = int.__pow__(self, other) if modulo is None else int.__pow__(self, other, modulo)
        if modulo is None and type(other) is int and 0 < other < 5:
            return named_int(self.scope.product(*[self.size] * other), self.scope, number)
        return number

    def _with(self, other: Any, number: Any, combine: Any) -> Any:
        if number is NotImplemented or not isinstance(other, int) or isinstance(other, bool):
            return number
        return named_int(combine(self.size, size_of(other)), self.scope, number)

    __hash__ = int.__hash__


def negative(size: Size) -> Size:
    """The size to add when it is to be taken away."""
    return Size(-size.coefficient, size.factors)


def size_of(number: int) -> Size:
    """What is known of a number as a size."""
    return number.size if isinstance(number, NamedInt) else constant(int(number))


def named_int(size: Size, scope: Scope, number: int) -> int:
    """The number, with its size if it has one that fits; the plain number otherwise."""
    size = scope.resolve(size)
    if size.constant or size.value != number or number < 0:
        return number
    return NamedInt(size, scope)
