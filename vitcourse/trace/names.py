"""The names that a call brings along: what its caller says, jaxtyping's shapes, the words of hyper-parameters."""

import inspect
import re
import types
import typing
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from torch import Tensor, nn

# What the course, and the papers' own codes, call their numbers. Only names that always mean the same are here.
HYPERPARAMETERS: dict[str, str | tuple[str, str]] = {
    word: symbol
    for symbol, words in {
        "B": "batch_size",
        "P": "patch_size",
        "C": "channels in_channels in_chans n_channels num_channels",
        "N": "n_patches num_patches",
        "T": "n_tokens num_tokens",
        "D": "d_model embed_dim hidden_dim hidden_size n_embd",
        "h": "n_heads num_heads heads nhead num_attention_heads n_head",
        "n_kv_heads": "n_kv_heads num_kv_heads kv_heads n_kv_head num_key_value_heads",
        "dh": "d_head head_dim dim_head attention_head_size",
        "M": "mlp_dim dim_feedforward intermediate_size n_inner",
        "ratio": "ratio mlp_ratio",
        "L": "n_layers num_layers depth num_hidden_layers n_layer",
        "K": "n_classes num_classes",
    }.items()
    for word in words.split()
} | {
    "image_size": ("H", "W"),
    "img_size": ("H", "W"),
    "grid": ("gh", "gw"),
    "grid_size": ("gh", "gw"),
    "new_grid": ("gh'", "gw'"),
}

# Beside one of these hidden_dim isn't the width of a token.
_WIDTHS = """
    dim d_model embed_dim n_embd emb_dim embedding_dim model_dim dim_model in_dim input_dim d_in input_size in_features
"""
WIDTHS = frozenset(_WIDTHS.split())


def symbol(word: str) -> str:
    """A name from a signature, as the course writes it: new_gh is gh'."""
    return f"{word.removeprefix('new_')}'" if word.startswith("new_") else word


def words(text: str) -> tuple[str, ...]:
    """`"B C*P*P"` and `"(B, C·P·P)"` as ("B", "C·P·P")."""
    parts = re.sub(r"[(),]", " ", text).replace("*", "·").split()
    return tuple(re.sub(r"[A-Za-z_]\w*", lambda match: symbol(match[0]), part) for part in parts)


def is_symbol(word: str) -> bool:
    """Whether a word is one name, and no number and no expression."""
    return word != "_" and re.fullmatch(r"[^\W\d]\w*'*(\[\d+\])*", word) is not None


# What a signature promises


@dataclass(frozen=True)
class Contract:
    """The shapes that a function promises, each as the words of a jaxtyping string."""

    arguments: dict[str, tuple[str, ...]] = field(default_factory=dict)
    results: tuple[tuple[tuple[str, ...] | None, ...], ...] = ()


def contract_of(function: Callable[..., Any]) -> Contract:
    """What a function's, or a module's, annotations promise."""
    if isinstance(function, nn.Module):
        function = function.forward
    kept = getattr(function, "__func__", function)
    try:
        return _contracts[kept]
    except (KeyError, TypeError):
        found = _promised(function)
    if isinstance(kept, types.FunctionType):
        _contracts[kept] = found
    return found


_contracts: "weakref.WeakKeyDictionary[Callable[..., Any], Contract]" = weakref.WeakKeyDictionary()


def _promised(function: Callable[..., Any]) -> Contract:
    try:
        plain = inspect.unwrap(function)
        annotations = inspect.get_annotations(plain, eval_str=True)
    except Exception:
        # An annotation that can't be evaluated promises nothing.
        return Contract()
    shapes = {name: _shape(annotation) for name, annotation in annotations.items()}
    arguments = {name: shape for name, shape in shapes.items() if shape is not None and name != "return"}
    return Contract(arguments, tuple(_results(annotations.get("return"))))


def _shape(annotation: Any) -> tuple[str, ...] | None:
    text = getattr(annotation, "dim_str", None)
    return words(text) if isinstance(text, str) else None


def _results(annotation: Any) -> Iterator[tuple[tuple[str, ...] | None, ...]]:
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        for choice in typing.get_args(annotation):
            yield from _results(choice)
    elif typing.get_origin(annotation) is tuple:
        yield tuple(_shape(item) for item in typing.get_args(annotation))
    elif (shape := _shape(annotation)) is not None:
        yield (shape,)


def aligned(shape: tuple[str, ...], count: int) -> tuple[str, ...] | None:
    """The words of so many axes, with "_" for what dots stand for; None where the shape has another number."""
    dots = [i for i, word in enumerate(shape) if word.startswith("...") or (word[0] in "*·" and len(word) > 1)]
    if dots and len(shape) - 1 <= count:
        return (*shape[: dots[0]], *["_"] * (count - len(shape) + 1), *shape[dots[0] + 1 :])
    return shape if len(shape) == count else None


# What is passed


def signature_of(function: Callable[..., Any]) -> inspect.Signature | None:
    """The parameters that a callable takes; None when Python doesn't know them."""
    try:
        return inspect.signature(function.forward if isinstance(function, nn.Module) else function)
    except (TypeError, ValueError):
        return None


def arguments_of(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[str]:
    """What each argument is called, the positional ones first."""
    signature = signature_of(function)
    names = [f"argument {i}" for i in range(1, len(args) + 1)]
    if signature is not None:
        parameters = [p for p in signature.parameters.values() if p.kind is not p.KEYWORD_ONLY]
        for i in range(len(args)):
            rest = next((k for k, p in enumerate(parameters) if p.kind is p.VAR_POSITIONAL), len(parameters))
            if i < rest and i < len(parameters) and parameters[i].kind is not inspect.Parameter.VAR_KEYWORD:
                names[i] = parameters[i].name
            elif rest < len(parameters):
                names[i] = f"{parameters[rest].name}[{i - rest}]"
    return [*names, *kwargs]


def parts(value: Any, path: str, objects: bool = False) -> Iterator[tuple[str, Any]]:
    """The tensors and numbers in an argument or a result, each with the expression that reaches it."""
    if isinstance(value, (tuple, list)):
        named = getattr(value, "_fields", None)
        for i, item in enumerate(value):
            yield from parts(item, f"{path}.{named[i]}" if named else f"{path}[{i}]", objects)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from parts(item, f"{path}[{key!r}]", objects)
    elif is_dataclass(value) and not isinstance(value, type):
        for part in fields(value):
            yield from parts(getattr(value, part.name, None), f"{path}.{part.name}", objects)
    elif objects and (kept := config(value)):
        for name, item in kept.items():
            if type(item) in (int, float, tuple, list):
                yield from parts(item, f"{path}.{name}")
    elif isinstance(value, Tensor) or type(value) in (int, float):
        yield path, value


def config(value: Any) -> dict[str, Any]:
    """What an object or a class keeps, its own and what it inherits, if hyper-parameters are among it."""
    kind = value if isinstance(value, type) else type(value)
    if kind.__module__ == "builtins" or issubclass(kind, (nn.Module, Tensor)):
        return {}
    kept = {name: item for base in kind.__mro__[-2::-1] for name, item in vars(base).items()}
    kept |= getattr(value, "__dict__", {})
    return {} if HYPERPARAMETERS.keys().isdisjoint(kept) else kept


def kept_numbers(module: nn.Module) -> Iterator[tuple[nn.Module, str, Any]]:
    """What a finished module, its parts and their configurations keep under the words of hyper-parameters."""
    known, bare = HYPERPARAMETERS.keys(), vars(nn.Module()).keys()
    for part in module.modules():
        inside = vars(part)
        own = [inside[name] for name in inside.keys() - bare]
        for owner in (inside, *map(config, own)):
            words = [name for name in owner.keys() & known if not hidden(name, owner)]
            yield from ((part, name, owner[name]) for name in words)


def changed(value: Any, path: str, new: Mapping[str, Any], copy: Callable[[Any], Any]) -> Any:
    """The same value, with other parts at some of the paths that `parts` gives, and the rest copied."""
    if path in new:
        return new[path]
    if type(value) in (tuple, list):
        return type(value)(changed(item, f"{path}[{i}]", new, copy) for i, item in enumerate(value))
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        names = value._fields
        return type(value)(*(changed(v, f"{path}.{n}", new, copy) for n, v in zip(names, value, strict=True)))
    if type(value) is dict:
        return {key: changed(item, f"{path}[{key!r}]", new, copy) for key, item in value.items()}
    inside = sorted({re.findall(r"\w+", p[len(path) :])[0] for p in new if p.startswith(f"{path}.")})
    result = type(value.__name__, (value,), {}) if inside and isinstance(value, type) else copy(value)
    for name in inside:
        put = setattr if isinstance(value, type) else object.__setattr__
        put(result, name, changed(getattr(value, name), f"{path}.{name}", new, copy))
    return result


def word_of(path: str) -> str:
    """The word by which a number is passed: that of config.dim and config['dim'] is dim; one of several has none."""
    return next(iter(re.findall(r"([^\W\d]\w*)(?:'\])?$", path)), "")


def one_of(path: str) -> str | None:
    """What one of the numbers in a list is called: that of config.widths[1] is widths[1]; None for others."""
    found = re.search(r"([^\W\d]\w*)(?:'\])?((?:\[\d+\])+)$", path)
    return found and found[1] + found[2]


def of_owner(path: str) -> str | None:
    """What one of several of one word is called: config.encoder.dim is encoder_dim, layers[1].stride is stride[1]."""
    found = re.search(r"(\w+)(?:'\])?(\[\d+\])?(?:\.|\[')(\w+)(?:'\])?$", path)
    return found and (found[3] + found[2] if found[2] else f"{found[1]}_{found[3]}")


def hidden(word: str, words: Iterable[str]) -> bool:
    """Whether a word that may mean D is beside another for a width: hidden_dim beside dim is an MLP's, or a state's."""
    return word.startswith("hidden_") and not WIDTHS.isdisjoint(words)


def hyperparameter(path: str, siblings: int = 1) -> str | None:
    """The symbol of a number by where it is passed: patch_size is P, grid[0] is gh, config.hidden_size is D."""
    found = re.fullmatch(r"(?:.*\.|.*\[')?(\w+)(?:'\])?(?:\[(\d+)\])?", path)
    if found is None:
        return None
    known = HYPERPARAMETERS.get(found[1])
    place = int(found[2] or 0)
    if isinstance(known, str):
        return known
    if known is not None and siblings == len(known):
        return known[place]
    # A grid of one number isn't one of patches; an image of one number is as high as it is wide, and neither's symbol.
    own = known is None or known == ("gh", "gw")
    return symbol(found[1]) if own and found[2] is None else None
