"""How axes move through an einops pattern: the names in the pattern are its own, the symbols come from the tensor."""

import re
from collections.abc import Mapping
from typing import Any

from vitcourse.trace.symbols import ONE, Scope, Size, constant, size_of


def einops_axes(
    scope: Scope, axes: tuple[Size, ...], pattern: str, lengths: Mapping[str, Any]
) -> tuple[Size, ...] | None:
    """The axes of what a pattern makes of a tensor with these axes; None when the pattern says too little."""
    left, _, right = pattern.partition("->")
    before, after = _groups(left), _groups(right)
    around = len(axes) - (len(before) - 1)
    bound: dict[str, list[Size]] = {}
    position = 0
    for group in before:
        if group == ["..."]:
            bound["..."] = list(axes[position : position + around])
            position += around
            continue
        if "..." in group or position >= len(axes):
            return None
        _split(scope, axes[position], group, lengths, bound)
        position += 1
    result: list[Size] = []
    for group in after:
        if group == ["..."]:
            result.extend(bound.get("...", []))
            continue
        sizes = []
        for name in group:
            if name in bound:
                sizes.extend(bound[name])
            elif name in lengths:
                sizes.append(size_of(lengths[name]))
            elif name.isdigit():
                sizes.append(constant(int(name)))
            else:
                return None
        size = scope.product(*sizes)
        if size.coefficient != 1 and len(group) > 1 and not any(name.isdigit() for name in group):
            # A number that came without a name, P·P say, is no part of one.
            size = scope.fresh(int(size.value))
        result.append(size)
    return tuple(result)


def _groups(side: str) -> list[list[str]]:
    found = re.findall(r"\(([^)]*)\)|(\.\.\.|…|\w+)", side)
    return [
        inner.replace("…", "...").split() if not single else [single.replace("…", "...")] for inner, single in found
    ]


def _split(
    scope: Scope, size: Size, group: list[str], lengths: Mapping[str, Any], bound: dict[str, list[Size]]
) -> None:
    known: dict[str, Size] = {}
    for name in group:
        if name.isdigit():
            known[name] = constant(int(name))
        elif name in lengths:
            known[name] = size_of(lengths[name])
    unknown = [name for name in group if name not in known]
    product = scope.product(*(known[name] for name in group if name in known))
    if unknown:
        rest = scope.quotient(size, product)
        if rest.coefficient.denominator != 1:
            # Divided by a number that has no name: so the rest has none either.
            rest = scope.fresh(int(rest.value)) if rest.value.denominator == 1 else ONE
        known[unknown[0]] = rest
    elif size.value == product.value:
        better = scope.equal(size, product)
        if len(group) == 1:
            known[group[0]] = better
    for name in group:
        bound[name] = [known[name]]
