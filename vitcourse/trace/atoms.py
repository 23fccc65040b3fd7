"""Sizes as expressions of one another: what follows from what, in one run of a finished instance."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from vitcourse.trace.sizes import PRODUCTS, place_of

# A sum of products of atoms: {((atom, power), …): number}.
Monomial = tuple[tuple[int, int], ...]
Poly = dict[Monomial, int | Fraction]
# A size by its number in the list of all: equal expressions are one size.
Size = int


class Atoms:
    """The sizes of one instance: what number each has, which are equal, and what those with a name are called."""

    def __init__(self, given: Mapping[str, int]) -> None:
        self.given = given
        self.values: list[int | Fraction] = []
        self.polys: list[Poly] = []
        # Names of atoms, the sizes that are no expression of others; and from which others some of them follow.
        self.names: dict[Size, str] = {}
        self.derived: dict[str, tuple[str, ...]] = {}
        self._atoms: set[Size] = set()
        # Those that no run can change, and with a name those that have to be one of them.
        self.fixed: set[Size] = set()
        self._sizes: dict[frozenset[Any], Size] = {}
        # What was proved of atoms; and what follows from it for others, found since the last link.
        self._links: dict[Size, Size] = {}
        self._resolved: dict[Size, Size] = {}
        self._called: dict[Size, Size] = {}
        self._texts: dict[Size, str | None] = {}

    def fresh(self, value: int, name: str | None = None) -> Size:
        """An axis of which only the number is known. Size 1 stays a number: it is what broadcasting fills up."""
        if value == 1 and name is None:
            return self.size(number(1))
        known = next((atom for atom, other in self.names.items() if other == name), None) if name else None
        if known is not None:
            return known
        atom = len(self.values)
        self.values.append(value)
        self.polys.append({((atom, 1),): 1})
        self._sizes[frozenset(((((atom, 1),), 1),))] = atom
        self._atoms.add(atom)
        if name:
            self.name(atom, name)
        return atom

    def name(self, atom: Size, name: str) -> None:
        """Give a size that is an expression of no others a name."""
        self.names[atom] = name
        self._called.clear()
        self._texts.clear()

    def size(self, poly: Poly) -> Size:
        """The size that an expression is."""
        key = frozenset(poly.items())
        found = self._sizes.get(key)
        if found is None:
            found = self._sizes[key] = len(self.values)
            total: int | Fraction = 0
            for monomial, times in poly.items():
                for atom, power in monomial:
                    times *= Fraction(self.values[atom]) ** power
                total += times
            self.values.append(exact(total))
            self.polys.append(poly)
        return found

    def constant(self, size: Size) -> bool:
        """Whether a size is only a number."""
        return not any(self.polys[size])

    def resolve(self, size: Size) -> Size:
        """The size with everything put in that was proved since it was made."""
        if size in self._atoms:
            if size not in self._links:
                return size
            known = self._links[size] = self.resolve(self._links[size])
            return known
        found = self._resolved.get(size)
        if found is None:
            found, poly = size, self.polys[size]
            if not self._links.keys().isdisjoint(atom for monomial in poly for atom, _ in monomial):
                total: Poly = {}
                for monomial, times in poly.items():
                    parts = (
                        power_of(self.polys[self.resolve(self._links[a])] if a in self._links else self.polys[a], p)
                        for a, p in monomial
                    )
                    total = plus(total, product({(): times}, *parts))
                found = self.size(total)
            self._resolved[size] = found
        return found

    def called(self, size: Size) -> Size:
        """The size with the course's own symbols for the products and the sum that they mean: N for gh·gw."""
        size = self.resolve(size)
        if size in self._atoms:
            return size
        known = self._called.get(size)
        if known is None:
            known = self._called[size] = self._named(size)
        return known

    def _named(self, size: Size) -> Size:
        poly = self.polys[size]
        if len(poly) == 1 and len(next(iter(poly))) < 2:
            return size
        total: Poly = {}
        for monomial, times in poly.items():
            total = plus(total, product({(): times}, self._shorter(monomial)))
        result = self.size(total)
        if "T" not in self.given and self.text(result) == "N+1":
            self.derived["T"] = ("N",)
            return self.fresh(int(self.values[result]), "T")
        return result

    def _shorter(self, monomial: Monomial) -> Poly:
        """A product, with the symbols of the products in it."""
        powers = {self.names.get(atom, f"_{atom}"): power for atom, power in monomial}
        values = {self.names.get(atom, f"_{atom}"): int(self.values[atom]) for atom, _ in monomial}
        ways = [way for w, a, b in PRODUCTS for way in ((w, a, b, 1), (a, w, b, -1), (b, w, a, -1))]
        changed = True
        while changed:
            changed = False
            for new, one, two, sign in ways:
                if new in self.given or powers.get(one, 0) < 1 or sign * powers.get(two, 0) < 1:
                    continue
                rest = 0 if sign > 0 else values[one] % values[two]
                values[new] = values[one] * values[two] if sign > 0 else values[one] // values[two]
                if rest:
                    continue
                self.derived[new] = (one, two)
                for name, power in ((one, -1), (two, -sign), (new, 1)):
                    powers[name] = powers.get(name, 0) + power
                changed = True
        atoms = {name: int(name[1:]) if name[0] == "_" else self.fresh(values[name], name) for name in powers}
        return product(*(power_of(self.polys[atoms[name]], power) for name, power in powers.items()))

    def equal(self, one: Size, two: Size) -> None:
        """Note that an operation needs these two sizes to be one."""
        one, two = self.resolve(one), self.resolve(two)
        for size, other in ((one, two), (two, one)):
            if size in self.fixed:
                self.fixed.add(other)
        # What is a product of more is said by what is one of fewer, 3·D by D; else what is newer by what is older.
        size, target = sorted((one, two), key=lambda size: (max(map(len, self.polys[size]), default=0), size))[::-1]
        if one != two and not self._solve(size, target):
            self._solve(target, size)

    def _solve(self, size: Size, target: Size) -> bool:
        """Read `size = target` as what an unnamed atom in size is."""
        if (size in self._atoms and size in self.names) or self.constant(target) or len(self.polys[size]) != 1:
            return False
        ((monomial, times),) = self.polys[size].items()
        unnamed = [atom for atom, power in monomial if atom not in self.names and power == 1]
        if not unnamed:
            return False
        atom = max(unnamed, key=lambda a: self.values[a])
        if any(other == atom for terms in self.polys[target] for other, _ in terms):
            return False
        rest: Poly = {tuple(pair for pair in monomial if pair[0] != atom): times}
        self._links[atom] = target if size == atom else self.size(product(self.polys[target], power_of(rest, -1)))
        self._resolved.clear()
        self._texts.clear()
        return True

    def bound(self) -> set[str]:
        """The symbols to which what is fixed leaves no choice."""
        found: set[str] = set()
        atoms = {atom for size in self.fixed for monomial in self.polys[size] for atom, _ in monomial}
        names = [self.names[atom] for atom in atoms if atom in self.names]
        while names:
            found.add(name := names.pop())
            names += [other for other in self.derived.get(name, ()) if other not in found]
        return found

    def text(self, size: Size) -> str | None:
        """The size in symbols; None for a number, and for what has a part that nobody named."""
        size = self.resolve(size)
        if size not in self._texts:
            self._texts[size] = self._text(self.polys[size])
        return self._texts[size]

    def _text(self, poly: Poly) -> str | None:
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

    def unnamed(self, size: Size) -> Size | None:
        """The size as an atom, where it is one without a name."""
        size = self.resolve(size)
        return size if size in self._atoms and size not in self.names else None

    def quotient(self, whole: Size, parts: list[Size]) -> Size | None:
        """A size divided by others, where those are no sums."""
        polys = [self.polys[self.resolve(size)] for size in parts]
        if any(len(poly) != 1 for poly in polys):
            return None
        return self.size(product(self.polys[whole], *(power_of(poly, -1) for poly in polys)))


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


def power_of(poly: Poly, power: int) -> Poly:
    """A size multiplied by itself; only one that is no sum can be divided by."""
    if power < 0:
        ((monomial, times),) = poly.items()
        poly = {tuple((atom, -p) for atom, p in monomial): exact(Fraction(1) / times)}
    return product(*[poly] * abs(power))


def regrouped(atoms: Atoms, axes: Sequence[Size], sizes: Sequence[int]) -> list[Size]:
    """The axes of a reshape: runs of axes that hold the same numbers are merged or split; the others are new."""
    result: list[Size] = []
    values = [int(atoms.values[size]) for size in axes]
    i = j = 0
    while j < len(sizes):
        if sizes[j] == 1:
            result.append(atoms.fresh(1))
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
        whole = atoms.size(product(*(atoms.polys[size] for size in merged)))
        if len(split) == 1:
            result.append(whole)
        else:
            pieces = [atoms.fresh(n) for n in split]
            if sum(n > 1 for n in values[first : i + 1]) == 1 and len(atoms.polys[whole]) == 1:
                pieces[-1] = atoms.quotient(whole, pieces[:-1]) or pieces[-1]
            result += pieces
        i, j = i + 1, j + 1
    return result
