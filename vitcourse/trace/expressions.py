"""Expressions of sizes, `⌈H/P⌉·dim+1`: how they are written, and what they come to."""

import operator
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from vitcourse.checking.sizes import worth as worth

# What a size was in each run.
Vector = tuple[int, ...]
# How many heads there are: of queries, and of the keys and values that these share.
HEADS = ("h", "n_kv_heads")
# The order in which a product names its factors.
ORDER = ("ratio", "B", "n", *HEADS, "gh", "gw", "N", "T", "Tq", "Tk", "C", "H", "W", "P", "D", "dh", "dv", "M", "K")


def place_of(name: str) -> tuple[int, str]:
    """Where a factor stands in a product."""
    return (ORDER.index(name) if name in ORDER else len(ORDER)), name


def closed(text: str) -> str:
    """An expression as a factor of another."""
    return text if re.fullmatch(r"⌈[^⌈⌉]*⌉|[\w'·\[\]]+", text) else f"({text})"


def flat(text: str | None) -> str | None:
    """A half that is rounded, and halved and rounded again in the same way, as a quarter."""
    text = text and re.sub(r"⌈⌈([^⌈⌉/]+)/(\d+)⌉/(\d+)⌉", lambda m: f"⌈{m[1]}/{int(m[2]) * int(m[3])}⌉", text)
    once = r"\(([\w'\[\]]+|\([^()]+\))//(\d+)\)//(\d+)"
    return text and re.sub(once, lambda m: f"{m[1]}//{int(m[2]) * int(m[3])}", text)


def symbols_of(text: str) -> set[str]:
    """The symbols of an expression."""
    return {*re.findall(r"[^\W\d][\w'\[\]]*", text)}


def of_one(text: str, symbol: str) -> Callable[[int], int]:
    """An expression of one symbol as a function of its size."""
    text = text.replace(symbol, "n").replace("·", "*")
    while "⌈" in text:
        text = re.sub(r"⌈([^⌈⌉]*)/(\d+)⌉", r"(-(-(\1)//\2))", text)
    made: Callable[[int], int] = eval(f"lambda n: {text}")
    return made


def worth_all(text: str, sizes: Mapping[str, Vector]) -> Vector:
    """What an expression comes to in each run."""
    return tuple(worth(text, {name: v[k] for name, v in sizes.items()}) for k in range(len(next(iter(sizes.values())))))


def holds(text: str | None, runs: dict[str, Vector], number: int) -> bool:
    """Whether a name is right in another run, as far as its sizes tell."""
    if text is None or "⌈" in text or "//" in text:
        return True
    sizes = {name: size for name, (size,) in runs.items()}
    divided = re.findall(r"(?<![\w\]])([\w\[\]]+)/([\w\[\]]+)", text)
    try:
        # A plain / has no rest.
        rests = any(sizes.get(a, 0) % sizes.get(b, int(b) if b.isdigit() else 1) for a, b in divided)
        return not rests and worth(text, sizes) == number
    except (KeyError, ZeroDivisionError):
        return True


def quotient(whole: Any, part: Any) -> Any:
    """One size by another, as an int where it is one: ints are quick."""
    found = Fraction(whole) / part
    return found.numerator if found.denominator == 1 else found


def times(one: Vector, two: Vector) -> Vector:
    """One size by another, in each run."""
    return tuple(a * b for a, b in zip(one, two, strict=True))


def divided(v: Vector, size: Vector) -> Vector | None:
    """A size by another that leaves no rest in any run."""
    fits = min(size) > 0 and not any(map(operator.mod, v, size))
    return tuple(map(operator.floordiv, v, size)) if fits else None


def minus(one: Vector, two: Vector) -> Vector:
    """One size less another, in each run."""
    return tuple(a - b for a, b in zip(one, two, strict=True))
