"""Other sizes for a call's symbols, at which it is run again: pairwise unlike, but for what the symbols mean."""

import operator
from collections.abc import Iterator, Mapping, Sequence
from math import inf

from vitcourse.trace.expressions import HEADS, ORDER, Vector
from vitcourse.trace.sizes import PRODUCTS, Names

# What may be held to be a product, or one more.
WHOLES = {"T", *(whole for whole, *_ in PRODUCTS)}.difference(HEADS)
PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103)
# Sizes of which no half is ever taken, those first that multiply others.
FEW = ("ratio", "P", *HEADS[::-1], "gh", "gw", "B", "C", "L", "K", "dh", "gh'", "gw'", "kernel_size", "kernel", "k")
# How many there are of what comes in rows: cut to a most, filled up to a least.
LENGTHS = ("T", "N", "Tq", "Tk")
# How wide something is: filled up to a least.
WIDTHS = ("D", "dv", "M", "W", "H")


def chosen(main: Mapping[str, int], ways: Mapping[str, str], turn: int, held: bool) -> dict[str, int]:
    """Other sizes for the symbols that have a way to change; pairwise unlike, but for what symbols mean.

    The ways: "free", primes, and where halves may be rounded one below, at and above multiples of a power of two, which
    tells `//` from `⌈⌉`; "even", such multiples; "times", multiples of what it was; "more", one more than such; "next",
    a little more or less; "less", a little less; "small", small primes; "3", so many times what it was;
    "longer", a few more, or twice as many; "times longer", a multiple; "+3", so many more. With held, sizes that are a
    product, or one more, of others go on being it; else only those of which one factor has no symbol.
    """
    least, best = inf, dict(main)
    for shift in range(18):
        sizes = _chosen(main, ways, turn, shift, held)
        known: dict[str, Vector] = {name: (size,) for name, size in sizes.items() if name in ways or name in FEW}
        others = [size for name, (size, *_) in Names(known).sizes.items() if name in ways or name not in main]
        # Some are alike at every shift: those that are bound to what they were.
        alike = len(others) - len(set(others))
        if alike < least:
            least, best = alike, sizes
        if not alike:
            break
    return best


def _chosen(main: Mapping[str, int], ways: Mapping[str, str], turn: int, shift: int, held: bool) -> dict[str, int]:
    sizes = dict(main)
    # The batch last: it looks at what the others are.
    ordered = sorted(ways, key=lambda name: name == "B")
    smalls = _small([main[name] for name in ordered], turn)
    for place, name in enumerate(ordered):
        small = smalls[place]
        taken = {sizes[other] for other in ways if other != "B"} if name == "B" and turn < 2 else None
        # What is odd stays so: windows have a middle.
        times = ((3, 5, 7, 9, 11) if main[name] % 2 else (2, 3, 5, 4, 7))[turn]
        for free, even in _free(name, main, ways, turn, shift, taken):
            sizes[name] = {
                "free": free,
                "even": even,
                "small": small,
                "next": max(main[name] + (1, -1, 2, -2, 3)[turn], 2),
                "longer": main[name] + (1, main[name], 2, 3, 4)[turn],
                "less": max(main[name] - 1 - turn, 2),
                "times": main[name] * times,
                "times longer": main[name] * (2, 3, 5, 4, 7)[turn],
                "more": main[name] * (2, 3, 5, 4, 7)[turn] + 1,
            }.get(ways[name]) or (main[name] + int(ways[name]) if "+" in ways[name] else main[name] * int(ways[name]))
            if sizes[name] != main[name]:
                break
    _multiply(sizes, main, ways, turn, shift, held)
    return sizes


def _small(main: Sequence[int], turn: int) -> Sequence[int]:
    """Small primes, none where it is already: in each turn in another order, so that no two stay as far apart."""
    # Of so many, a prime number, every second or third goes through all.
    count = next(prime for prime in PRIMES[1:] if prime >= len(main))
    step = 1 + turn % (count - 1)
    for shift in range(count):
        found = [PRIMES[(place * step + turn + shift) % count] for place in range(len(main))]
        if all(map(operator.ne, found, main)):
            return found
    return PRIMES[turn + count :]


def _free(
    name: str, main: Mapping[str, int], ways: Mapping[str, str], turn: int, shift: int, taken: set[int] | None
) -> Iterator[tuple[int, int]]:
    """Sizes for one symbol that may be any, each with one that is even."""
    alike = [few for few in FEW if few in ways] if name in FEW else [other for other in ways if other not in FEW]
    # The order is another in the second turn, so that the smaller of two isn't always the same one.
    rank = alike.index(name) if name in FEW or turn != 1 else len(alike) - alike.index(name)
    own = [PRIMES[(rank + turn) % 3]] if name in FEW and rank < 3 else []
    if taken is not None:
        # A batch: once more than a small one is cut to, once less; beside other sizes, once less than they, then more.
        first = 4 if (main[name] <= 8 and ways.keys() <= {"B", "n", *HEADS}) != (turn == 1) else 1
        own = [prime for prime in PRIMES[first + shift // 3 :] if prime not in taken]
    unit = 32 if name in ("H", "W") else 8
    start = rank + turn + (shift // 3 if name in FEW else shift)
    for extra, prime in enumerate((*own, *PRIMES[start : start + 9])):
        if name in FEW:
            free = prime
        elif turn < 2 and (name in LENGTHS or name not in ORDER):
            # Once more than a sequence is cut to, once less than it is filled up to: widths make room for it.
            few = [other for other in alike[::-1] if other not in WIDTHS]
            # Not 2 where one was even: it would be even in all runs.
            small = few.index(name) + shift // 2 + any(main[other] % 2 == 0 for other in few)
            free = PRIMES[abs(small - extra)] if turn else unit * (prime + max(16, main[name] // unit))
        elif turn == 1 and name in WIDTHS:
            # Once less than a width is filled up to.
            free = PRIMES[1 + [width for width in alike[::-1] if width in WIDTHS].index(name) + shift + extra]
        else:
            free = unit * prime + (0, 1, -1, 2, 5)[turn]
        yield free, unit * prime


def _multiply(
    sizes: dict[str, int], main: Mapping[str, int], ways: Mapping[str, str], turn: int, shift: int, held: bool
) -> None:
    """Make those sizes products, or one more, that mean one."""
    for place, (whole, *factors) in enumerate(PRODUCTS, start=-1):
        if ways.get(whole) not in ("free", "small"):
            continue
        known = [name for name in factors if name in main]
        if len(known) == 2 and held and main[whole] == main[factors[0]] * main[factors[1]]:
            sizes[whole] = sizes[factors[0]] * sizes[factors[1]]
        elif len(known) == 1 and main[whole] % main[known[0]] == 0 and whole != "N":
            free = PRIMES[(turn + place * (1 + shift) + shift) % 5]
            sizes[whole] = sizes[known[0]] * free * (4 if whole == "D" else 1)
    if held and ways.get("N") in ("free", "small") and {"H", "W", "P"} <= main.keys() and main["N"] == _grid(main):
        sizes["N"] = _grid(sizes)
    if held and ways.get("T") in ("free", "small") and "N" in main and main["N"] + 1 == main["T"]:
        sizes["T"] = sizes["N"] + 1


def _grid(sizes: Mapping[str, int]) -> int:
    """How many patches an image has."""
    return (sizes["H"] // sizes["P"]) * (sizes["W"] // sizes["P"])
