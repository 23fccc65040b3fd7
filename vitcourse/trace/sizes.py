"""Names of sizes, from sizes: the smallest expression of the symbols that comes to the right number in every run.

A size is known by what it was in each run of the same call, a vector of numbers. The symbols are known in the same
way. An expression is a name only when it fits every run, and is spelt by these runs alone: the sizes that the caller
chose don't decide it, so that no coincidence among them can.
"""

import operator
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import combinations, combinations_with_replacement
from math import prod

from vitcourse.trace.expressions import (
    HEADS,
    Vector,
    closed,
    divided,
    flat,
    minus,
    place_of,
    quotient,
    times,
    worth_all,
)
from vitcourse.trace.roundings import Roundings

# What the course's symbols mean, where nobody says otherwise: the first is the product of the other two.
PRODUCTS = (
    ("h", "n_kv_heads", "n_rep"), ("D", "h", "dh"), ("M", "ratio", "D"),
    ("H", "gh", "P"), ("W", "gw", "P"), ("N", "gh", "gw"),
)  # fmt: skip


@dataclass
class Names:
    """The names of one trace: what each symbol was in each run, and the expressions found so far.

    The first run is the one that is shown; the others decide. Symbols whose name begins with "_" are axes that nobody
    named. Where some sizes could not be changed (`fixed`), a number in an expression may be one of them: then only
    small numbers are believed; and none that may come from a size which was tried in vain (`doubted`), nor is anything
    divided by one of these that the caller has named (`given`); nor a multiple of how many tensors there were to put
    together (`counts`), where that is a size's doing. Of made-up sizes (`exact`) none is rounded.
    """

    sizes: dict[str, Vector]
    fixed: bool = False
    exact: bool = False
    doubted: frozenset[int] = frozenset()
    given: frozenset[int] = frozenset()
    counts: frozenset[int] = frozenset()
    meanings: dict[str, str] = field(default_factory=dict)
    _found: dict[Vector, str | None] = field(default_factory=dict)
    _composed: dict[str, Vector] = field(default_factory=dict)
    _doubts: dict[str, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._derive()
        varied = {name: v for name, v in self.sizes.items() if len(set(v)) > 1}
        self._varied = {name: v for name, v in varied.items() if not name.startswith("_")}
        # Numbers that may be sizes which no run could change.
        self._stuck = {v[0] for v in self.sizes.values() if len(set(v)) == 1 and v[0] > 1}
        self._count = len(self.sizes)
        self.hidden = {v for name, v in varied.items() if name.startswith("_")} - set(self._varied.values())
        self.rounded = Roundings(self._varied, self._composed, self.given, self._doubtful, self._doubts)

    def _derive(self) -> None:
        """The course's symbols that the given ones define: N from gh and gw, gh from H and P."""
        found = True
        while found:
            found = False
            for whole, left, right in PRODUCTS:
                for name, one, two, sign in (
                    (whole, left, right, "·"),
                    (left, whole, right, "/"),
                    (right, whole, left, "/"),
                ):
                    if name in self.sizes or one not in self.sizes or two not in self.sizes:
                        continue
                    pairs = list(zip(self.sizes[one], self.sizes[two], strict=True))
                    rests = sign == "/" and any(not b or a % b for a, b in pairs[: 1 if self.exact else None])
                    if rests and (self.exact or name not in ("gh", "gw", "dh") or 0 in self.sizes[two]):
                        continue
                    # Of an image that its patches don't cover, the rest is left out.
                    by = quotient if self.exact else operator.floordiv
                    self.sizes[name] = tuple(a * b if sign == "·" else by(a, b) for a, b in pairs)
                    self.meanings[name] = f"{one}{'//' if rests else sign}{two}"
                    found = True
            if "T" not in self.sizes and "N" in self.sizes:
                self.sizes["T"] = tuple(n + 1 for n in self.sizes["N"])
                self.meanings["T"] = "N+1"

    def text(self, size: Vector) -> str | None:
        """The name of a size; None for one that nothing fits, or that is the same number in all runs."""
        if len(self.sizes) != self._count:
            # Others have got a name since, of which none so far is made.
            self.__post_init__()
        if size not in self._found:
            text = None
            if len(set(size)) > 1 and size not in self.hidden:
                text = flat(next(self._expressions(size), None))
            self._found[size] = text
            if text is not None and text not in self.sizes and ("//" in text or "⌈" in text):
                self._composed[closed(text)] = size
        return self._found[size]

    def say(self, words: Iterable[str]) -> None:
        """Call sizes by the caller's expressions, but those that are one symbol in all runs."""
        for word in [word for word in words if word not in self.sizes and not word.isdigit()]:
            size = worth_all(word, self.sizes)
            if size not in self._varied.values() and size not in self.hidden:
                self._found[size] = word

    @property
    def runs(self) -> int:
        """In how many runs sizes are known."""
        return len(next(iter(self.sizes.values()), ()))

    def forget_nameless(self) -> None:
        """Let go of which sizes have no name."""
        self._found = {size: text for size, text in self._found.items() if text is not None}

    def call(self, size: Vector, text: str) -> None:
        """Call a size by what it is known to be."""
        self._found[size] = text

    def alias(self, word: str) -> str:
        """An expression that the caller gave a size, or the symbol that the runs show to be the same."""
        return (self.text(worth_all(word, self.sizes)) or word) if word not in self.sizes else word

    def _expressions(self, v: Vector) -> Iterator[str]:
        names = self._varied
        # What two runs agree on may be chance; what three agree on as well, where there is something to choose.
        # Of heads alone two are enough: nothing else is changed by changing how many there are.
        yield from (name for name, size in names.items() if size == v and (len(v) > 2 or name in (*HEADS, "dh")))
        if len(set(v)) < 3:
            return
        products = [p for p in self._products(v, 4, "") if self._written(p[0])]
        products.sort(key=lambda p: (len(p[1]) + (p[0] != 1), sorted(map(place_of, p[1]))))
        texts = ["·".join([str(n)] * (n != 1) + sorted(factors, key=place_of)) for n, factors in products]
        rounded = [t for t, p in zip(texts, products, strict=True) if not self._composed.keys().isdisjoint(p[1])]
        # Of several products of what is rounded one fits by chance, but where they are the same.
        apart = self.rounded.apart(rounded)
        chance = len(rounded) > 1 and (apart is None or any(apart))
        rest = [] if chance else [min(rounded, key=len)] if rounded else []
        yield from (text for text in texts if text not in rounded or text in rest)
        yield from self._quotients(v)
        yield from self._sums(v)
        yield from self._brackets(v)
        if not self.exact:
            yield from self.rounded.texts(v, not chance)

    def _products(self, v: Vector, depth: int, after: str) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Ways to write a size as a number times symbols."""
        if len(set(v)) == 1:
            yield v[0], ()
            return
        names = {**self._varied, **self._composed}
        for name, size in names.items() if depth else ():
            if name >= after and (rest := divided(v, size)):
                for number, factors in self._products(rest, depth - 1, name):
                    yield number, (name, *factors)

    def _quotients(self, v: Vector) -> Iterator[str]:
        for name, size in self._varied.items():
            by, rest = divmod(size[0], v[0]) if v[0] else (0, 1)
            doubtful = by > 1 and self._doubtful(by)
            if not rest and not doubtful and all(b * by == a for a, b in zip(size, v, strict=True)):
                yield f"{name}/{by}"
        for other, divisor in self._varied.items():
            whole = tuple(a * b for a, b in zip(v, divisor, strict=True))
            yield from (f"{name}/{other}" for name, size in self._varied.items() if size == whole)

    def _sums(self, v: Vector) -> Iterator[str]:
        names = list(self._varied.items())
        pairs = [(a, x, b, y) for i, (a, x) in enumerate(names) for b, y in names[i:]]
        products = [("·".join(sorted((a, b), key=place_of)), times(x, y)) for a, x, b, y in pairs]
        for name, size in names + products:
            by, plus = self._line(v, size)
            many = by > 1 and len(set(v)) > 3 and self._written(by)
            if (by == 1 or many) and (not self.fixed or self._small(plus)):
                yield (f"{by}·" if by > 1 else "") + name + (f"{plus:+d}" if plus else "")
        for a, x in names:
            rest = minus(v, x)
            found = sorted(self._products(rest, 2, ""), key=lambda p: len(p[1])) if min(rest) > 0 else []
            for number, factors in found:
                if rest == x and factors not in ((), (a,)) and 2 not in self.doubted:
                    yield f"2·{a}"  # D + h·dh
                elif rest != x and factors not in ((), (a,)) and self._written(number):
                    both = [a, "·".join([str(number)] * (number != 1) + sorted(factors, key=place_of))]
                    yield "+".join(sorted(both, key=place_of))
        # N+T, where T is one more, is a number times N.
        apart = [pair for pair in pairs if len(set(minus(pair[1], pair[3]))) > 1]
        two = [(f"{a}+{b}", tuple(map(operator.add, x, y))) for a, x, b, y in apart]
        two += [(f"{a}-{b}", minus(x, y)) for a, x in names for b, y in names]
        for name, size in two if len(set(v)) > 3 else ():
            by, plus = self._line(v, size)
            if by == 1 and (not self.fixed or self._small(plus)):
                yield name + (f"{plus:+d}" if plus else "")

    def _brackets(self, v: Vector) -> Iterator[str]:
        """Products of one sum or two, C·(H+2)·(W+2), and how many pairs there are, D·(D-1)/2."""
        names = [] if self.fixed else self._varied.items()
        for name, size in names:
            for plus in (-1, 1):
                if v == tuple(n * (n + plus) // 2 for n in size):
                    yield f"{name}·({name}{plus:+d})/2"
        sums = [(f"({name}{p:+d})", tuple(n + p for n in size)) for name, size in names for p in range(-4, 5) if p]
        sums += [(f"(2·{name}{p:+d})", tuple(2 * n + p for n in size)) for name, size in names for p in (-1, 1)]
        fits = [(text, size) for text, size in sums if min(size) > 1 and divided(v, size)]
        for picked in (*combinations(fits, 1), *combinations_with_replacement(fits, 2)):
            brackets, sizes = zip(*picked, strict=True)
            rest = divided(v, tuple(map(prod, zip(*sizes, strict=True))))
            for number, factors in self._products(rest, 2, "") if rest else ():
                if number == 1 or (len(set(v)) > 3 and self._written(number)):
                    yield "·".join([*[str(number)] * (number != 1), *sorted(factors, key=place_of), *brackets])

    def _written(self, number: int) -> bool:
        """Whether a factor may be believed to be a number of the code's, and not of a size that stayed as it is."""
        return number == 1 or not (self.fixed or self._doubtful(number) or self.counted(number))

    def _doubtful(self, number: int) -> bool:
        """Whether a number may be what a size comes to, or a part of it, that no run changed."""
        return any(number % n == 0 or n % number == 0 for n in self.doubted)

    def counted(self, number: int) -> bool:
        """Whether a factor may be how many tensors there were."""
        return any(number % n == 0 for n in self.counts)

    def _small(self, number: int) -> bool:
        """Whether a number is likely to be written as such."""
        return abs(number) < 4 and abs(number) not in self._stuck

    @staticmethod
    def _line(v: Vector, size: Vector) -> tuple[int, int]:
        """The whole numbers with v = by·size + plus in every run; (0, 0) when there are none."""
        i = next((k for k in range(1, len(v)) if size[k] != size[0]), None)
        if i is None:
            return 0, 0
        by, rest = divmod(v[i] - v[0], size[i] - size[0])
        plus = v[0] - by * size[0]
        fits = not rest and 0 < by < 65 and all(a == by * b + plus for a, b in zip(v, size, strict=True))
        return (by, plus) if fits else (0, 0)
