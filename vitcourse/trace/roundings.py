"""Names of sizes that were divided and rounded, `⌈H/4⌉`, `P·(W//P)`: of which many fit by chance."""

import operator
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import combinations

from vitcourse.trace.expressions import Vector, closed, of_one, symbols_of, times

# At sizes below it is asked whether two expressions are one.
MOST_TOLD = 300


@dataclass
class Roundings:
    """What fits a size in all runs, and what else would: what two expressions differ at, another run can ask.

    Of the symbols that change, and of what these are known to come to when they are rounded once (`composed`). Nothing
    is divided by a number that the caller has named (`given`), nor multiplied by a doubtful one.
    """

    varied: dict[str, Vector]
    composed: dict[str, Vector]
    given: frozenset[int]
    doubtful: Callable[[int], bool]
    doubts: dict[str, list[int]] = field(default_factory=dict)

    def texts(self, v: Vector, by_numbers: bool) -> Iterable[str]:
        """Ways to write a size, where no other than these fits; by numbers of the code too, where so is asked."""
        numbered = [*self._floors(v)] if by_numbers else []
        sized, others = self._rounded(v)
        if not sized and not others:
            return numbered
        if len(sized) == 1 and not others and not numbered:
            return sized
        # Of those that fit all but one do by chance.
        self.apart([*dict.fromkeys([*numbered, *sized.values(), *others])])
        return ()

    def _rounded(self, v: Vector) -> tuple[dict[str, str], list[str]]:
        """Sizes divided by another and rounded, or filled up or cut to a multiple; each also with the other's number.

        And what else fits: less of the size, a window or a few, is divided; or no run has shown one without a rest, at
        which one more than rounded down is not rounded up.
        """
        proved, others = {}, []
        divisors = [(by, size) for by, size in self.varied.items() if min(size) > 0]
        pairs = [(one, other) for one in (self.varied | self.composed).items() for other in divisors]
        # What is a multiple of the other already, by how it is written, is no other way to say it.
        pairs = [pair for pair in pairs if pair[1][0] not in symbols_of(pair[0][0])] if len(set(v)) > 3 else []
        for (name, size), (by, divisor) in pairs:
            floor = tuple(map(operator.floordiv, size, divisor))
            rests = tuple(map(operator.mod, size, divisor))
            forms = {
                f"{closed(name)}//@": floor,
                f"⌈{name}/@⌉": tuple(n + (rest > 0) for n, rest in zip(floor, rests, strict=True)),
                f"{closed(name)}//@+1": tuple(n + 1 for n in floor),
            }
            for text, part in forms.items():
                if v not in (part, times(part, divisor)):
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
        for other in [(0,) * len(v), *(o for o in self.varied.values() if o not in (size, divisor))]:
            for few in range(-4, 5) if not any(other) else (0,):
                left = tuple(a - b + few for a, b in zip(size, other, strict=True))
                floor = tuple(map(operator.floordiv, left, divisor))
                for more in (0, 1):
                    if v == tuple(n + more for n in floor):
                        yield f"({name}{few - other[0]:+d})//{divisor[0]}+{more}"

    def _same(self, one: str, other: str) -> bool:
        """Whether two expressions of one symbol are the same at all sizes."""
        symbol = symbols_of(one)
        return len(symbol) == 1 and all(of_one(one, *symbol)(n) == of_one(other, *symbol)(n) for n in range(8, 200))

    def _floors(self, v: Vector) -> Iterator[str]:
        """Sizes divided and rounded, and multiples of such, where the runs leave one choice of all numbers."""
        plain = [("", *fit) for fit in self._fits(v)]
        numbers = [n for n in range(2, 65) if all(x % n == 0 for x in v) and not self.doubtful(n)]
        many = [(f"{n}·", *fit) for n in numbers for fit in self._fits(tuple(x // n for x in v))]
        # A number, another and a third fit much by chance; and so does a multiple of what may be none.
        known = {name for _, name, _, _ in plain}
        many = [fit for fit in many if fit[3] in (0, fit[2] - 1) and fit[1] not in known]
        # Of small sizes so many parts are as good as some share that is no fraction.
        many = [fit for fit in many if max({**self.varied, **self.composed}[fit[1]]) > 16 * fit[2]]
        for found in (plain, many):
            count = Counter(name for _, name, _, _ in found)
            # A line goes through a few sizes easily, if it may lie anywhere: a kernel takes away, and adds little.
            fits = [fit for fit in found if not any(fit[2] % n == 0 for n in self.given)]
            fits = [fit for fit in fits if -3 * fit[2] <= fit[3] <= 2 * fit[2]]
            # Nor is much known of what is rounded twice by a few places.
            fits = [fit for fit in fits if max(self.composed.get(fit[1], (8 * fit[2] + 1,))) > 8 * fit[2]]
            texts = [_rounded_text(*fit) for fit in fits if count[fit[1]] == 1]
            simple = [text for text in texts if text.count("⌈") + text.count("//") == 1]
            # Of those that are rounded twice and differ at other sizes all but one fit by chance.
            all_apart, apart = self.apart([_rounded_text(*fit) for fit in fits]), self.apart(texts)
            if simple or not (all_apart and apart and any(apart)):
                yield from texts

    def _fits(self, v: Vector) -> Iterator[tuple[str, int, int]]:
        """(size + plus) // by."""
        composed = [(text, size) for text, size in self.composed.items() if len(symbols_of(text)) == 1]
        for name, size in [*self.varied.items(), *composed]:
            low, high = min(zip(size, v, strict=True)), max(zip(size, v, strict=True))
            if high[1] <= low[1]:
                continue
            guess = (high[0] - low[0]) // (high[1] - low[1])
            for by in range(max(2, guess - 1), guess + 3):
                least = max(b * by - a for a, b in zip(size, v, strict=True))
                most = min(b * by - a for a, b in zip(size, v, strict=True)) + by - 1
                yield from ((name, by, plus) for plus in range(least, most + 1))

    def apart(self, texts: list[str]) -> list[int] | None:
        """How many of some expressions differ at each size of their one symbol, which is noted; None of several."""
        symbols = {symbol for text in texts for symbol in symbols_of(text)}
        if len(texts) < 2 or len(symbols) > 1:
            return None
        # No size is 0, by which another would be divided.
        values = [[*map(of_one(text, *symbols), (1, *range(1, MOST_TOLD)))] for text in texts]
        apart = [sum(one != other for one, other in combinations(at, 2)) for at in zip(*values, strict=True)]
        self._doubt(symbols.pop(), apart)
        return apart

    def _doubt(self, symbol: str, apart: Iterable[int]) -> None:
        """Note how many expressions differ at each size of a symbol."""
        if symbol in self.varied:
            self.doubts[symbol] = [*map(operator.add, self.doubts.get(symbol, [0] * MOST_TOLD), apart)]

    def telling(self) -> dict[str, int]:
        """Sizes of symbols at which the most expressions differ that fit all runs so far."""
        found = {}
        for symbol, apart in self.doubts.items():
            sizes = self.varied[symbol]
            near = [size for size in range(sizes[0] + 1, min(2 * sizes[0] + 8, MOST_TOLD)) if size not in sizes]
            best = max(near, key=apart.__getitem__, default=0)
            if apart[best]:
                found[symbol] = best
        return found


def _rounded_text(many: str, name: str, by: int, plus: int) -> str:
    """So many times a size and a number more, divided and rounded, as it is written."""
    more, rest = divmod(plus, by)
    if plus < 0 or 0 < rest < by - 1:
        text = f"({name}{plus:+d})//{by}"
    else:
        text = (f"⌈{name}/{by}⌉" if rest else f"{name}//{by}") + (f"+{more}" if more else "")
    return many + closed(text) if many else text
