"""Names of sizes, from sizes: the smallest expression of the symbols that comes to the right number in every run.

A size is known by what it was in each run of the same call, a vector of numbers. The symbols are known in the same
way. An expression is a name only when it fits every run, and is spelt by these runs alone: the sizes that the caller
chose don't decide it, so that no coincidence among them can.
"""

import operator
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import combinations, combinations_with_replacement
from math import prod
from typing import Any

from vitcourse.checking.sizes import worth as worth

Vector = tuple[int, ...]
# At sizes below it is asked whether two expressions are one.
MOST_TOLD = 300

# What the course's symbols mean, where nobody says otherwise: the first is the product of the other two.
PRODUCTS = (
    ("h", "n_kv_heads", "n_rep"), ("D", "h", "dh"), ("M", "ratio", "D"),
    ("H", "gh", "P"), ("W", "gw", "P"), ("N", "gh", "gw"),
)  # fmt: skip
# How many heads there are: of queries, and of the keys and values that these share.
HEADS = ("h", "n_kv_heads")
# The order in which a product names its factors.
ORDER = ("ratio", "B", "n", *HEADS, "gh", "gw", "N", "T", "Tq", "Tk", "C", "H", "W", "P", "D", "dh", "dv", "M", "K")


@dataclass
class Names:
    """The names of one trace: what each symbol was in each run, and the expressions found so far.

    The first run is the one that is shown; the others decide. Symbols whose name begins with "_" are axes that nobody
    named. Where some sizes could not be changed (`fixed`), a number in an expression may be one of them: then only
    small numbers are believed; and none that may come from a size which was tried in vain (`doubted`), nor is anything
    divided by one of these that the caller has named (`given`). Of made-up sizes (`exact`) none is rounded.
    """

    sizes: dict[str, Vector]
    fixed: bool = False
    exact: bool = False
    doubted: frozenset[int] = frozenset()
    given: frozenset[int] = frozenset()
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
                text = _flat(next(self._expressions(size), None))
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
        products = sorted(self._products(v, 4, ""), key=lambda p: (len(p[1]) + (p[0] != 1), _all_places(p[1])))
        products = [p for p in products if self._written(p[0])]
        texts = ["·".join([str(n)] * (n != 1) + sorted(factors, key=place_of)) for n, factors in products]
        rounded = [t for t, p in zip(texts, products, strict=True) if not self._composed.keys().isdisjoint(p[1])]
        # Of several products of what is rounded one fits by chance, but where they are the same.
        apart = self._apart(rounded)
        chance = len(rounded) > 1 and (apart is None or any(apart))
        rest = [] if chance else [min(rounded, key=len)] if rounded else []
        yield from (text for text in texts if text not in rounded or text in rest)
        yield from self._quotients(v)
        yield from self._sums(v)
        yield from self._brackets(v)
        if not self.exact:
            by_numbers = [] if chance else [*self._floors(v)]
            by_sizes, others = self._rounded(v)
            if not by_sizes and not others:
                yield from by_numbers
            elif len(by_sizes) == 1 and not others and not by_numbers:
                yield from by_sizes
            else:
                # Of those that fit all but one do by chance.
                self._apart([*dict.fromkeys([*by_numbers, *by_sizes.values(), *others])])

    def _products(self, v: Vector, depth: int, after: str) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Ways to write a size as a number times symbols."""
        if len(set(v)) == 1:
            yield v[0], ()
            return
        names = {**self._varied, **self._composed}
        for name, size in names.items() if depth else ():
            if name >= after and (rest := _divided(v, size)):
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
        products = [("·".join(sorted((a, b), key=place_of)), _times(x, y)) for a, x, b, y in pairs]
        for name, size in names + products:
            times, plus = self._line(v, size)
            many = times > 1 and len(set(v)) > 3 and self._written(times)
            if (times == 1 or many) and (not self.fixed or self._small(plus)):
                yield f"{times}·{name}{plus:+d}" if times > 1 else f"{name}{plus:+d}"
        for a, x in names:
            rest = _minus(v, x)
            found = sorted(self._products(rest, 2, ""), key=lambda p: len(p[1])) if min(rest) > 0 else []
            for number, factors in found:
                if rest == x and factors not in ((), (a,)) and 2 not in self.doubted:
                    yield f"2·{a}"  # D + h·dh
                elif rest != x and factors not in ((), (a,)) and self._written(number):
                    both = [a, "·".join([str(number)] * (number != 1) + sorted(factors, key=place_of))]
                    yield "+".join(sorted(both, key=place_of))
        two = [(f"{a}+{b}", tuple(map(operator.add, x, y))) for a, x, b, y in pairs if a != b]
        two += [(f"{a}-{b}", _minus(x, y)) for a, x in names for b, y in names]
        for name, size in two if len(set(v)) > 3 else ():
            times, plus = self._line(v, size)
            if times == 1 and (not self.fixed or self._small(plus)):
                yield f"{name}{plus:+d}" if plus else name

    def _brackets(self, v: Vector) -> Iterator[str]:
        """Products of one sum or two, C·(H+2)·(W+2), and how many pairs there are, D·(D-1)/2."""
        names = [] if self.fixed else self._varied.items()
        for name, size in names:
            for plus in (-1, 1):
                if v == tuple(n * (n + plus) // 2 for n in size):
                    yield f"{name}·({name}{plus:+d})/2"
        sums = [(f"({name}{p:+d})", tuple(n + p for n in size)) for name, size in names for p in range(-4, 5) if p]
        sums += [(f"(2·{name}{p:+d})", tuple(2 * n + p for n in size)) for name, size in names for p in (-1, 1)]
        fits = [(text, size) for text, size in sums if min(size) > 1 and _divided(v, size)]
        for picked in (*combinations(fits, 1), *combinations_with_replacement(fits, 2)):
            brackets, sizes = zip(*picked, strict=True)
            rest = _divided(v, tuple(map(prod, zip(*sizes, strict=True))))
            for number, factors in self._products(rest, 2, "") if rest else ():
                if number == 1 or (len(set(v)) > 3 and self._written(number)):
                    yield "·".join([*[str(number)] * (number != 1), *sorted(factors, key=place_of), *brackets])

    def _written(self, number: int) -> bool:
        """Whether a factor may be believed to be a number of the code's, and not of a size that stayed as it is."""
        return number == 1 or not (self.fixed or self._doubtful(number))

    def _doubtful(self, number: int) -> bool:
        """Whether a number may be what a size comes to, or a part of it, that no run changed."""
        return any(number % n == 0 or n % number == 0 for n in self.doubted)

    def _small(self, number: int) -> bool:
        """Whether a number is likely to be written as such."""
        return abs(number) < 4 and abs(number) not in self._stuck

    @staticmethod
    def _line(v: Vector, size: Vector) -> tuple[int, int]:
        """The whole numbers with v = times·size + plus in every run; (0, 0) when there are none."""
        i = next((k for k in range(1, len(v)) if size[k] != size[0]), None)
        if i is None:
            return 0, 0
        times, rest = divmod(v[i] - v[0], size[i] - size[0])
        plus = v[0] - times * size[0]
        fits = not rest and 0 < times < 65 and all(a == times * b + plus for a, b in zip(v, size, strict=True))
        return (times, plus) if fits else (0, 0)

    def _rounded(self, v: Vector) -> tuple[dict[str, str], list[str]]:
        """Sizes divided by another and rounded, or filled up or cut to a multiple; each also with the other's number.

        And what else fits: less of the size, a window or a few, is divided; or no run has shown one without a rest, at
        which one more than rounded down is not rounded up.
        """
        proved, others = {}, []
        divisors = [(by, size) for by, size in self._varied.items() if min(size) > 0]
        pairs = [(one, other) for one in (self._varied | self._composed).items() for other in divisors]
        # What is a multiple of the other already, by how it is written, is no other way to say it.
        pairs = [pair for pair in pairs if pair[1][0] not in _symbols(pair[0][0])] if len(set(v)) > 3 else []
        for (name, size), (by, divisor) in pairs:
            floor = tuple(map(operator.floordiv, size, divisor))
            rests = tuple(map(operator.mod, size, divisor))
            forms = {
                f"{closed(name)}//@": floor,
                f"⌈{name}/@⌉": tuple(n + (rest > 0) for n, rest in zip(floor, rests, strict=True)),
                f"{closed(name)}//@+1": tuple(n + 1 for n in floor),
            }
            for text, part in forms.items():
                if v not in (part, _times(part, divisor)):
                    continue
                text = text if v == part else f"@·{closed(text)}"
                known = text.replace("@", str(divisor[0]))
                if min(rests) > 0:
                    others.append(known)
                    self._doubt(name, [n > 0 and n % divisor[0] == 0 for n in range(MOST_TOLD)])
                else:
                    proved[text.replace("@", by)] = known
                if v == part:
                    others += [rival for rival in self._less(v, name, size, divisor) if not self._same(rival, known)]
        return proved, others

    def _less(self, v: Vector, name: str, size: Vector, divisor: Vector) -> Iterator[str]:
        """Other ways to divide a size: without as much as another, or a few, and one more; with their numbers."""
        for other in [(0,) * len(v), *(o for o in self._varied.values() if o not in (size, divisor))]:
            for few in range(-4, 5) if not any(other) else (0,):
                left = tuple(a - b + few for a, b in zip(size, other, strict=True))
                floor = tuple(map(operator.floordiv, left, divisor))
                for more in (0, 1):
                    if v == tuple(n + more for n in floor):
                        yield f"({name}{few - other[0]:+d})//{divisor[0]}+{more}"

    def _same(self, one: str, other: str) -> bool:
        """Whether two expressions of one symbol are the same at all sizes."""
        symbol = _symbols(one)
        return len(symbol) == 1 and all(_of_one(one, *symbol)(n) == _of_one(other, *symbol)(n) for n in range(8, 200))

    def _floors(self, v: Vector) -> Iterator[str]:
        """Sizes divided and rounded, and multiples of such, where the runs leave one choice of all numbers."""
        plain = [("", *fit) for fit in self._fits(v)]
        numbers = [n for n in range(2, 65) if all(x % n == 0 for x in v) and not self._doubtful(n)]
        many = [(f"{n}·", *fit) for n in numbers for fit in self._fits(tuple(x // n for x in v))]
        # A number, another and a third fit much by chance; and so does a multiple of what may be none.
        known = {name for _, name, _, _ in plain}
        many = [fit for fit in many if fit[3] in (0, fit[2] - 1) and fit[1] not in known]
        # Of small sizes so many parts are as good as some share that is no fraction.
        many = [fit for fit in many if max({**self._varied, **self._composed}[fit[1]]) > 16 * fit[2]]
        for found in (plain, many):
            count = Counter(name for _, name, _, _ in found)
            # A line goes through a few sizes easily, if it may lie anywhere.
            fits = [fit for fit in found if not any(fit[2] % n == 0 for n in self.given) and abs(fit[3]) <= 3 * fit[2]]
            # Nor is much known of what is rounded twice by a few places.
            fits = [fit for fit in fits if max(self._composed.get(fit[1], (8 * fit[2] + 1,))) > 8 * fit[2]]
            texts = [_rounded_text(*fit) for fit in fits if count[fit[1]] == 1]
            simple = [text for text in texts if text.count("⌈") + text.count("//") == 1]
            # Of those that are rounded twice and differ at other sizes all but one fit by chance.
            all_apart, apart = self._apart([_rounded_text(*fit) for fit in fits]), self._apart(texts)
            if simple or not (all_apart and apart and any(apart)):
                yield from texts

    def _apart(self, texts: list[str]) -> list[int] | None:
        """How many of some expressions differ at each size of their one symbol, which is noted; None of several."""
        symbols = {symbol for text in texts for symbol in _symbols(text)}
        if len(texts) < 2 or len(symbols) > 1:
            return None
        # No size is 0, by which another would be divided.
        values = [[*map(_of_one(text, *symbols), (1, *range(1, MOST_TOLD)))] for text in texts]
        apart = [sum(one != other for one, other in combinations(at, 2)) for at in zip(*values, strict=True)]
        self._doubt(symbols.pop(), apart)
        return apart

    def _doubt(self, symbol: str, apart: Iterable[int]) -> None:
        """Note how many expressions differ at each size of a symbol."""
        if symbol in self.sizes:
            self._doubts[symbol] = [*map(operator.add, self._doubts.get(symbol, [0] * MOST_TOLD), apart)]

    def telling(self) -> dict[str, int]:
        """Sizes of symbols at which the most expressions differ that fit all runs so far."""
        found = {}
        for symbol, apart in self._doubts.items():
            sizes = self.sizes[symbol]
            near = [size for size in range(sizes[0] + 1, min(2 * sizes[0] + 8, MOST_TOLD)) if size not in sizes]
            best = max(near, key=apart.__getitem__, default=0)
            if apart[best]:
                found[symbol] = best
        return found

    def _fits(self, v: Vector) -> Iterator[tuple[str, int, int]]:
        """(size + plus) // by."""
        composed = [(text, size) for text, size in self._composed.items() if len(_symbols(text)) == 1]
        for name, size in [*self._varied.items(), *composed]:
            low, high = min(zip(size, v, strict=True)), max(zip(size, v, strict=True))
            if high[1] <= low[1]:
                continue
            guess = (high[0] - low[0]) // (high[1] - low[1])
            for by in range(max(2, guess - 1), guess + 3):
                least = max(b * by - a for a, b in zip(size, v, strict=True))
                most = min(b * by - a for a, b in zip(size, v, strict=True)) + by - 1
                yield from ((name, by, plus) for plus in range(least, most + 1))


def _rounded_text(times: str, name: str, by: int, plus: int) -> str:
    """So many times a size and a number more, divided and rounded, as it is written."""
    text = f"⌈{name}/{by}⌉" if plus == by - 1 else f"{name}//{by}" if not plus else f"({name}{plus:+d})//{by}"
    return times + closed(text) if times else text


def _symbols(text: str) -> set[str]:
    """The symbols of an expression."""
    return {*re.findall(r"[^\W\d][\w'\[\]]*", text)}


def _of_one(text: str, symbol: str) -> Callable[[int], int]:
    """An expression of one symbol as a function of its size."""
    text = text.replace(symbol, "n").replace("·", "*")
    while "⌈" in text:
        text = re.sub(r"⌈([^⌈⌉]*)/(\d+)⌉", r"(-(-(\1)//\2))", text)
    made: Callable[[int], int] = eval(f"lambda n: {text}")
    return made


def quotient(whole: Any, part: Any) -> Any:
    """One size by another, as an int where it is one: ints are quick."""
    found = Fraction(whole) / part
    return found.numerator if found.denominator == 1 else found


def worth_all(text: str, sizes: Mapping[str, Vector]) -> Vector:
    """What an expression comes to in each run."""
    return tuple(worth(text, {name: v[k] for name, v in sizes.items()}) for k in range(len(next(iter(sizes.values())))))


def _times(one: Vector, two: Vector) -> Vector:
    return tuple(a * b for a, b in zip(one, two, strict=True))


def _divided(v: Vector, size: Vector) -> Vector | None:
    """A size by another that leaves no rest in any run."""
    fits = min(size) > 0 and not any(map(operator.mod, v, size))
    return tuple(map(operator.floordiv, v, size)) if fits else None


def _minus(one: Vector, two: Vector) -> Vector:
    return tuple(a - b for a, b in zip(one, two, strict=True))


def closed(text: str) -> str:
    """An expression as a factor of another."""
    return text if re.fullmatch(r"⌈[^⌈⌉]*⌉|[\w'·\[\]]+", text) else f"({text})"


def _flat(text: str | None) -> str | None:
    """A half that is rounded, and halved and rounded again in the same way, as a quarter."""
    text = text and re.sub(r"⌈⌈([^⌈⌉/]+)/(\d+)⌉/(\d+)⌉", lambda m: f"⌈{m[1]}/{int(m[2]) * int(m[3])}⌉", text)
    once = r"\(([\w'\[\]]+|\([^()]+\))//(\d+)\)//(\d+)"
    return text and re.sub(once, lambda m: f"{m[1]}//{int(m[2]) * int(m[3])}", text)


def place_of(name: str) -> tuple[int, str]:
    """Where a factor stands in a product."""
    return (ORDER.index(name) if name in ORDER else len(ORDER)), name


def _all_places(names: tuple[str, ...]) -> list[tuple[int, str]]:
    return sorted(map(place_of, names))
