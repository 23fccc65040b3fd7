"""Symbols of a module's parameters, read in the source of its constructors.

`self.qkv = nn.Linear(d_model, 3 * d_model)` says what the axes of `qkv.weight` are, (3·D, D), long after the numbers
were passed. The module is not made again and its source not run: what can't be read for certain is left without a name.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from torch import Tensor, nn

from vitcourse.trace.contracts import HYPERPARAMETERS

Words = tuple[str | None, ...]
# What a constructor may call the width of a token besides; as a function's argument, `dim` is an axis.
_ONLY_HERE = {"dim": "D"}
_MAKERS = {"zeros", "ones", "randn", "rand", "empty"}


@dataclass
class Readings:
    """What the constructors say: of a tensor's axes, and of the numbers that their arguments had."""

    tensors: dict[int, tuple[Tensor, Words]] = field(default_factory=dict)
    values: dict[str, int] = field(default_factory=dict)
    _doubtful: set[int] = field(default_factory=set)
    _contradicted: set[str] = field(default_factory=set)

    def note(self, tensor: Any, words: Words) -> None:
        """Remember what one line says of a tensor; two lines that differ say nothing."""
        if not isinstance(tensor, Tensor) or tensor.ndim != len(words):
            return
        known = self.tensors.get(id(tensor))
        if known is not None and known[1] != words:
            self._doubtful.add(id(tensor))
        self.tensors[id(tensor)] = (tensor, words)

    def settle(self) -> None:
        """Work out the numbers behind the words."""
        for key in self._doubtful:
            self.tensors.pop(key, None)
        pairs = [
            (word, size)
            for tensor, words in self.tensors.values()
            for word, size in zip(words, tensor.shape, strict=True)
            if word is not None
        ]
        for word, size in pairs:
            if word.isidentifier() and self.values.setdefault(word, size) != size:
                self._contradicted.add(word)
        for word in self._contradicted:
            del self.values[word]
        for word, size in pairs:
            names = re.findall(r"[A-Za-z_]\w*", word)
            unknown = [name for name in names if name not in self.values and name not in self._contradicted]
            if len(unknown) != 1 or "+" in word or "/" in word:
                continue
            rest = 1
            for part in word.split("*"):
                rest *= 1 if part == unknown[0] else int(part) if part.isdigit() else self.values.get(part, 0)
            if rest and size % rest == 0:
                self.values[unknown[0]] = size // rest


def read(module: nn.Module) -> Readings:
    """The symbols of every parameter of which the constructors, from this module's own down, say them for certain."""
    readings = Readings()
    parameters = _parameters(type(module))
    symbols = {**HYPERPARAMETERS, **_ONLY_HERE}
    env: dict[str, str | None] = {}
    for name in parameters:
        word = symbols.get(name)
        env[name] = word if isinstance(word, str) else None
    _module(module, env, readings)
    readings.settle()
    return readings


def _parameters(kind: type[nn.Module]) -> list[str]:
    try:
        return list(inspect.signature(kind).parameters)
    except (TypeError, ValueError):
        return []


def _module(module: nn.Module, env: Mapping[str, str | None], readings: Readings) -> None:
    """One module whose constructor's arguments are these words."""
    if _ready_made(module, env, readings):
        return
    constructor = type(module).__init__
    tree = _tree(constructor)
    if tree is not None:
        _Reader(module, dict(env), getattr(constructor, "__globals__", {}), readings).body(tree.body, certain=True)


@cache
def _tree(constructor: Callable[..., Any]) -> ast.FunctionDef | None:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(constructor))).body[0]
    except (OSError, TypeError, SyntaxError):
        return None
    return tree if isinstance(tree, ast.FunctionDef) else None


def _ready_made(module: nn.Module, env: Mapping[str, str | None], readings: Readings) -> bool:
    """The layers of torch itself, by what their arguments mean."""

    def word(name: str) -> str | None:
        return env.get(name)

    if isinstance(module, nn.Linear):
        readings.note(module.weight, (word("out_features"), word("in_features")))
        readings.note(module.bias, (word("out_features"),))
    elif isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        kernel = (word("kernel_size"),) * (module.weight.ndim - 2)
        inner = word("in_channels") if module.groups == 1 else None
        readings.note(module.weight, (word("out_channels"), inner, *kernel))
        readings.note(module.bias, (word("out_channels"),))
    elif isinstance(module, nn.LayerNorm):
        readings.note(module.weight, (word("normalized_shape"),))
        readings.note(module.bias, (word("normalized_shape"),))
    elif isinstance(module, nn.Embedding):
        readings.note(module.weight, (word("num_embeddings"), word("embedding_dim")))
    elif isinstance(module, nn.MultiheadAttention):
        width = word("embed_dim")
        if module.in_proj_weight is not None and width is not None:
            readings.note(module.in_proj_weight, (f"3*{width}", width))
            readings.note(module.in_proj_bias, (f"3*{width}",))
            readings.note(module.out_proj.weight, (width, width))
            readings.note(module.out_proj.bias, (width,))
    else:
        return False
    return True


class _Reader:
    """Reads the lines of one constructor, for one module that it made."""

    def __init__(
        self, module: nn.Module, env: dict[str, str | None], scope: Mapping[str, Any], readings: Readings
    ) -> None:
        self.module = module
        self.env = env
        self.scope = scope
        self.readings = readings

    def body(self, statements: list[ast.stmt], certain: bool) -> None:
        for statement in statements:
            if isinstance(statement, (ast.Assign, ast.AnnAssign)) and statement.value is not None:
                targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                for target in targets:
                    self._assign(target, statement.value, certain)
            elif isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Name):
                self.env[statement.target.id] = None
            else:
                for inner in ("body", "orelse"):
                    # Which branch ran is not known, so what a branch assigns has no certain name after it.
                    self.body([s for s in getattr(statement, inner, []) if isinstance(s, ast.stmt)], certain=False)

    def _assign(self, target: ast.expr, value: ast.expr, certain: bool) -> None:
        if isinstance(target, ast.Name):
            self.env[target.id] = self.word(value) if certain else None
        elif isinstance(target, (ast.Tuple, ast.List)):
            for element in target.elts:
                if isinstance(element, ast.Name):
                    self.env[element.id] = None
        elif isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self":
            self.env[f"self.{target.attr}"] = self.word(value) if certain else None
            made = getattr(self.module, target.attr, None)
            if isinstance(made, (nn.Module, nn.Parameter)):
                self.made(value, made)

    def word(self, node: ast.expr) -> str | None:
        """An expression of constructor arguments in symbols: `3*D`; None when it can't be read."""
        match node:
            case ast.Constant(value=int() as number) if not isinstance(number, bool):
                return str(number)
            case ast.Name(id=name):
                return self.env.get(name)
            case ast.Attribute(value=ast.Name(id="self"), attr=name):
                return self.env.get(f"self.{name}")
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                words = self.word(left), self.word(right)
                return None if None in words or "+" in f"{words}" else f"{words[0]}*{words[1]}"
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                words = self.word(left), self.word(right)
                return None if None in words else f"{words[0]}+{words[1]}"
            case ast.BinOp(left=left, op=ast.FloorDiv(), right=ast.Name(id=name)):
                # Only where a constructor that made a module divides one of its numbers by another: no rest is left.
                words = self.word(left), self.env.get(name)
                return None if None in words or "+" in f"{words}" else f"{words[0]}/{words[1]}"
        return None

    def made(self, node: ast.expr, value: Any) -> None:
        """An expression, and the module or parameter that came of it."""
        if isinstance(node, ast.IfExp):
            for branch in (node.body, node.orelse):
                if isinstance(branch, ast.Call) and self._callee(branch) is type(value):
                    self.made(branch, value)
        elif isinstance(value, nn.Parameter):
            for call in ast.walk(node):
                if isinstance(call, ast.Call) and self._name(call.func) in _MAKERS:
                    sizes = call.args
                    if len(sizes) == 1 and isinstance(sizes[0], (ast.Tuple, ast.List)):
                        sizes = sizes[0].elts
                    self.readings.note(value, tuple(self.word(size) for size in sizes))
        elif isinstance(node, ast.Call) and self._callee(node) is type(value):
            self._module(node, value)

    def _module(self, call: ast.Call, module: nn.Module) -> None:
        if isinstance(module, (nn.Sequential, nn.ModuleList)):
            elements = call.args
            if len(elements) == 1 and isinstance(elements[0], (ast.List, ast.Tuple)):
                elements = elements[0].elts
            if len(elements) == 1 and isinstance(elements[0], (ast.GeneratorExp, ast.ListComp)):
                for child in module.children():
                    self.made(elements[0].elt, child)
            elif not any(isinstance(element, ast.Starred) for element in elements):
                for element, child in zip(elements, module.children(), strict=False):
                    self.made(element, child)
            return
        _module(module, dict(self._bound(call, type(module))), self.readings)

    def _bound(self, call: ast.Call, kind: type[nn.Module]) -> Iterator[tuple[str, str | None]]:
        for name, parameter in self._signature(kind).items():
            if type(parameter.default) is int:
                yield name, str(parameter.default)
        if not any(isinstance(argument, ast.Starred) for argument in call.args):
            for name, argument in zip(self._signature(kind), call.args, strict=False):
                yield name, self.word(argument)
        for keyword in call.keywords:
            if keyword.arg is not None:
                yield keyword.arg, self.word(keyword.value)

    @staticmethod
    def _signature(kind: type[nn.Module]) -> Mapping[str, inspect.Parameter]:
        try:
            return inspect.signature(kind).parameters
        except (TypeError, ValueError):
            return {}

    def _callee(self, call: ast.Call) -> Any:
        def resolve(node: ast.expr) -> Any:
            if isinstance(node, ast.Name):
                return self.scope.get(node.id)
            if isinstance(node, ast.Attribute):
                return getattr(resolve(node.value), node.attr, None)
            return None

        return resolve(call.func)

    @staticmethod
    def _name(node: ast.expr) -> str:
        return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
