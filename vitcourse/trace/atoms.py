"""Sizes as expressions of one another: what follows from what, in one run of a finished instance."""

from collections.abc import Mapping
from fractions import Fraction

from vitcourse.trace.sizes import PRODUCTS, place_of

# A sum of products of atoms: {((atom, power), …): number}. Atoms are numbers, given to axes as they turn up.
Monomial = tuple[tuple[int, int], ...]
Poly = dict[Monomial, int | Fraction]


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

    def proved(self) -> int:
        """How many sizes are known to be others."""
        return len(self._links)

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
        if len(poly) == 1:
            ((only, times),) = poly.items()
            if not only or (len(only) == 1 and only[0][0] not in links):
                return poly
            if times == 1 and len(only) == 1 and only[0][1] == 1:
                found = links[only[0][0]] = self.resolve(links[only[0][0]])
                return found
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
        if poly == {((atom, 1),): 1}:
            self._links[atom] = target
            return True
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
