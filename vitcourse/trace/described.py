"""A call as its caller describes it: the symbols of the sizes that it has, and how what it uses was made."""

import inspect
import re
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from vitcourse.trace.copies import Call, Recipe
from vitcourse.trace.expressions import HEADS, worth
from vitcourse.trace.names import (
    HYPERPARAMETERS,
    aligned,
    arguments_of,
    contract_of,
    hidden,
    hyperparameter,
    is_symbol,
    of_owner,
    one_of,
    parts,
    signature_of,
    word_of,
    words,
)
from vitcourse.trace.recorder import Sizes, sizes_of

NamesGiven = Mapping[str, str] | Sequence[str] | str | None
# Numbers that are no sizes, or that change which steps there are.
_NO_SIZE = "dim axis dim0 dim1 start_dim end_dim seed index layer head step n_layers"
_NO_SIZES = frozenset(_NO_SIZE.split())

# How modules that `build` made were made, and the parts of such modules.
_RECIPES: "weakref.WeakKeyDictionary[nn.Module, Recipe]" = weakref.WeakKeyDictionary()


def build(kind: Callable[..., nn.Module], *args: Any, **kwargs: Any) -> nn.Module:
    """Make a module, so that traces of it can make it anew at other sizes: then they know every axis.

    The module is what `kind(*args, **kwargs)` makes, nothing else. Raises TypeError for a module that is made already.
    """
    if isinstance(kind, nn.Module):
        raise TypeError(f"build makes a module from its class: build({type(kind).__name__}, ...); this one is made")
    return built(kind, args, kwargs, {})


def built(
    kind: Callable[..., nn.Module], args: tuple[Any, ...], kwargs: dict[str, Any], symbols: Mapping[str, str]
) -> nn.Module:
    """Make a module and remember how; some of its constructor's numbers have symbols that its words don't tell."""
    module: nn.Module = kind(*args, **kwargs)
    signature = signature_of(kind)
    given = arguments_of(kind, args, kwargs)
    if signature is not None:
        # A default is a number with a name, as an argument is; one of 1, groups or a stride, is something left out.
        defaults = {name: p.default for name, p in signature.parameters.items() if name not in given}
        kwargs = kwargs | {n: v for n, v in defaults.items() if type(v) in (int, float, tuple, list) and v != 1}
    paths = arguments_of(kind, args, kwargs)
    numbers: dict[str, str] = {}
    values: dict[str, int] = {}
    known: dict[str, int] = {}
    for path, symbol, value in _numbers(paths, [*args, *kwargs.values()], {"n_layers": "L", **symbols}, made=True):
        # Of two of one symbol the second is called by its own word, where they differ.
        word = symbol if known.setdefault(symbol, value) == value else word_of(path)
        if is_symbol(word) and known.setdefault(word, value) == value:
            numbers[path], values[path] = word, value
    leaves = [leaf for p, v in zip(paths, [*args, *kwargs.values()], strict=True) for leaf in parts(v, p, objects=True)]
    alike = Counter(word_of(path) for path, number in leaves if type(number) is int)
    # Fractions, and sizes of one word.
    nameless = {path: n for path, n in leaves if type(n) is float and n % 1}
    nameless |= {p: n for p, n in leaves if type(n) is int and n > 1 and alike[word_of(p)] > 1 and p not in numbers}
    for path, part in module.named_modules():
        _RECIPES[part] = Recipe(kind, args, kwargs, paths, numbers, values, nameless, path)
    return module


def described(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], names: NamesGiven) -> Call:
    """The call, with the symbols of its sizes. Raises ValueError for names that don't fit."""
    paths = arguments_of(function, args, kwargs)
    values = [*args, *kwargs.values()]
    call = Call(function, args, kwargs, paths)
    leaves = [leaf for path, value in zip(paths, values, strict=True) for leaf in parts(value, path)]
    call.tensors = {path: value for path, value in leaves if isinstance(value, Tensor)}
    given = _given(names, call)
    modules = [("", function), *zip(paths, values, strict=True)]
    modules = [(path, module) for path, module in modules if isinstance(module, nn.Module)]
    call.modules = modules
    others = {path: text for path, text in given.items() if path not in call.tensors}
    inside = [(p, one) for p, m in modules for one in (*m.named_parameters(), *m.named_buffers())] if others else ()
    held = {f"{prefix}.{path}".lstrip("."): tensor for prefix, (path, tensor) in inside}
    numbers = list(_numbers(paths, values, others))
    absent = {path for path, value in zip(paths, values, strict=True) if value is None}
    for path in others.keys() - held.keys() - absent:
        if not any(re.match(re.escape(path) + r"($|[.\[])", leaf) for leaf, _, _ in numbers):
            known = ", ".join(dict.fromkeys([*paths, *dict(leaves), *list(held)[:3]])) or "none"
            what = "which is no tensor and no size" if path in paths else "which is no input here"
            raise ValueError(f"names has {path!r}, {what}; the inputs are {known}")
    for path, symbol, value in numbers:
        if call.sizes.setdefault(symbol, value) == value and word_of(path) not in _NO_SIZES:
            call.numbers[path] = symbol
        elif call.sizes[symbol] != value and symbol in words(" ".join(others.values())):
            raise ValueError(f"{symbol} is {call.sizes[symbol]} elsewhere, and {value} in {path}")
    said = _said(call, given)
    call.recipes = _recipes([module for _, module in modules], call, said)
    made_with = [pair for _, recipe in call.recipes for pair in recipe.numbers.items()]
    call.layers = [symbol for path, symbol in made_with if hyperparameter(path) == "L" and symbol not in said]
    # What one of several numbers is no word tells.
    listed = [s for path, s in made_with if hyperparameter(path, 2) is None or (s[-1] == "]" and not one_of(path))]
    call.listed = [symbol for symbol in dict.fromkeys(listed) if symbol not in said]
    _heads(call)
    contract = contract_of(function)
    told = {path: (words(given[path]), True) for path in call.tensors if path in given}
    told |= {p: (contract.arguments[p], False) for p in call.tensors if p in contract.arguments and p not in told}
    for path, tensor in call.tensors.items():
        call.words[path] = _axis_words(call.sizes, path, sizes_of(tensor), *told.get(path, (("...",), False)))
    for path, tensor in call.tensors.items():
        call.words[path] = _settled(call.sizes, path, sizes_of(tensor), call.words[path], path in given)
    # What stands outside has no say in what the caller's words mean.
    call.recipes += _recipes(_outside(function), call, said)
    call.held = [(held[path], words(given[path])) for path in given if path in held]
    _require_fitting({path: (sizes_of(held[path]), words(given[path])) for path in given if path in held}, call.sizes)
    return call


def _require_fitting(shapes: Mapping[str, tuple[Sizes, tuple[str, ...]]], known: Mapping[str, int]) -> None:
    """Raise ValueError for parameters that have other sizes than their names say."""
    known = dict(known)
    for path, (sizes, shape) in shapes.items():
        _settled(known, path, sizes, _axis_words(known, path, sizes, shape, True), True)


def _given(names: NamesGiven, call: Call) -> dict[str, str]:
    if not isinstance(names, Mapping):
        texts: list[Any] = list(names) if isinstance(names, list | tuple) else [] if names is None else [names]
        if len(texts) > len(call.tensors):
            known = ", ".join(call.tensors) or "none"
            raise ValueError(f"names has {len(texts)} texts, and the tensors are {known}")
        names = dict(zip(call.tensors, texts, strict=False))
    for path, text in names.items():
        if not isinstance(text, str):
            raise ValueError(f"names[{path!r}] is {text!r}; type a text with a word for each axis, such as 'B C H W'")
    return dict(names)


def _said(call: Call, given: Mapping[str, str]) -> dict[str, int]:
    """The sizes of the symbols that the caller gives the inputs."""
    shapes = [(aligned(words(given[path]), t.ndim), t.shape) for path, t in call.tensors.items() if path in given]
    return {word: size for shape, sizes in shapes if shape for word, size in zip(shape, sizes, strict=True)}


def _axis_words(known: dict[str, int], path: str, sizes: Sizes, shape: tuple[str, ...], certain: bool) -> list[str]:
    """A word for each axis of an input; a shape that doesn't fit is the caller's mistake, or else is not believed."""
    fitting = aligned(shape, len(sizes))
    if fitting is None:
        if certain:
            raise ValueError(f"{path} has {len(sizes)} axes {sizes}, and names calls {len(shape)}: {' '.join(shape)}")
        return ["_"] * len(sizes)
    result = list(fitting)
    for place, (word, size) in enumerate(zip(fitting, sizes, strict=True)):
        if is_symbol(word) and known.setdefault(word, size) != size:
            if certain:
                raise ValueError(f"{word} is {known[word]} elsewhere, and {size} in {path} {sizes}")
            result[place] = "_"
    return result


def _settled(known: dict[str, int], path: str, sizes: Sizes, shape: list[str], certain: bool) -> list[str]:
    """Expressions of sizes that nothing has alone, C·P·P of patches that came as such, are names as well."""
    result = []
    for word, size in zip(shape, sizes, strict=True):
        try:
            value = 0 if word == "_" else worth(word, known)
        except KeyError:
            value = known.setdefault(word, size)
        if value != size:
            if certain and word != "_":
                told = word if word == str(value) else f"{word} = {value}"
                raise ValueError(f"{path} {sizes} has {size} where names says {told}")
            word = str(size) if size <= 1 else f"_{len(known)}"
            if size > 1:
                known[word] = size
        result.append(word)
    return result


def _numbers(
    paths: list[str], values: list[Any], given: Mapping[str, str], made: bool = False
) -> Iterator[tuple[str, str, int]]:
    """The numbers among arguments that are sizes: where they are, their symbols, and what they are.

    Where a module is made of them, dim is a width, and no axis, and those in a list have names.
    """
    found = {
        path: [(p, v) for p, v in parts(value, path, objects=True) if type(v) is int]
        for path, value in zip(paths, values, strict=True)
    }
    beside = Counter(word_of(leaf) for leaves in found.values() for leaf, _ in leaves)
    owned = Counter(of_owner(leaf) for leaves in found.values() for leaf, _ in leaves)
    for path, leaves in found.items():
        for place, (leaf, size) in enumerate(leaves):
            said, word = words(given.get(leaf, given.get(path, ""))), word_of(leaf)
            siblings = sum(re.sub(r"\[\d+\]$", "", other) == re.sub(r"\[\d+\]$", "", leaf) for other, _ in leaves)
            symbol = said[place % len(said)] if said else hyperparameter(leaf, siblings)
            if not said and symbol is not None and (hidden(word, beside) or (symbol != word and beside[symbol])):
                # What is called D itself is no other's symbol.
                symbol = word
            elif made and not said:
                # The sides of a patch are one; of channels or heads in a list each is another.
                several = (own := one_of(leaf)) and isinstance(HYPERPARAMETERS.get(own.partition("[")[0]), str)
                width = word == "dim" and not beside["D"]
                symbol = "D" if width else own if several and symbol != "P" else symbol or own
            if made and word and beside[word] > 1:
                # The dim of an encoder and that of its decoder are two sizes of one word.
                symbol = of_owner(leaf) if owned[of_owner(leaf)] == 1 else None
            if symbol is not None and size > 0 and (said or (made and word == "dim") or word not in _NO_SIZES):
                yield leaf, symbol, size


def _outside(function: Callable[..., Any]) -> Iterator[nn.Module]:
    """The modules that a function finds outside of it."""
    plain = inspect.unwrap(function)
    if not inspect.isroutine(plain):
        # Asked of a model, Python would spell it all out to say that it is no function.
        return
    try:
        found = inspect.getclosurevars(plain)
    except (TypeError, ValueError):
        return
    for value in (*found.nonlocals.values(), *found.globals.values()):
        if isinstance(value, nn.Module):
            yield value


def _recipes(modules: Iterable[nn.Module], call: Call, said: Mapping[str, int]) -> list[tuple[nn.Module, Recipe]]:
    """How those modules were made that `build` made, each once."""
    known = [module for module, _ in call.recipes]
    made = {id(m): (m, _RECIPES[m]) for m in modules if m in _RECIPES and not any(m is other for other in known)}
    return [(module, _fitting(recipe, call, said)) for module, recipe in made.values()]


def _fitting(recipe: Recipe, call: Call, said: Mapping[str, int]) -> Recipe:
    """The recipe; a number whose symbol is another size in this call is called by its own word."""
    numbers = {}
    for path, symbol in recipe.numbers.items():
        size = recipe.values[path]
        own = word_of(path)
        if own and said.get(symbol) == size:
            # What is called as an axis of the input may be another size all the same.
            own = own if own not in {symbol, *call.sizes, *said} else f"_{own}"
            numbers[path], call.sizes[own] = own, size
            if hyperparameter(path) != "L":
                call.ties[own] = symbol
            continue
        for word in (symbol, own) if own else (symbol,):
            if said.get(word, size) == call.sizes.setdefault(word, said.get(word, size)) == size:
                numbers[path] = word
                break
    return replace(recipe, numbers=numbers)


def _heads(call: Call) -> None:
    """Where finished modules keep how many heads they have: they can have others without other parameters."""
    symbols = (*HEADS, "dh")
    built = {id(part) for module, _ in call.recipes for part in module.modules()}
    found = [
        (part, name, HYPERPARAMETERS[name], value)
        for part, name, value in call.kept
        if HYPERPARAMETERS[name] in symbols and type(value) is int and name in vars(part) and id(part) not in built
    ]
    numbers = {symbol: {value for *_, other, value in found if other == symbol} for symbol in HEADS}
    if len(numbers["h"]) == 1 and call.sizes.keys().isdisjoint(HEADS):
        call.sizes.update({symbol: values.pop() for symbol, values in numbers.items() if len(values) == 1})
        call.more = _divisor(found, call.sizes["h"])
        call.heads = [(part, name, symbol == "dh") for part, name, symbol, _ in found]


def _divisor(found: list[tuple[nn.Module, str, Any, int]], count: int) -> int:
    """What the width of a head can be divided by: by two, but where it is odd."""
    widths = [value for *_, symbol, value in found if symbol == "dh"]
    for weight in {part.weight for one, *_ in found for part in one.modules() if isinstance(part, nn.Linear)}:
        widths += [weight.shape[-1] // count] if weight.shape[-1] % count == 0 else []
    return max((2, 3, 5, 7, 11, 13), key=lambda prime: sum(width % prime == 0 for width in widths))
