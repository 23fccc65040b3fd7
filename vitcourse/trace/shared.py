"""What no copy can have of its own: attributes of classes, what their methods find outside of them, states of chance.

As it is when the runs begin, it is put back when they have ended.
"""

import functools
import logging
import random
import types
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from typing import Any

import numpy
import torch
from numpy.random import MT19937
from numpy.random.mtrand import get_bit_generator, set_bit_generator
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.overrides import _get_current_function_mode_stack

from vitcourse.trace.recorder import Watch, quietly
from vitcourse.trace.source import readable

_CACHED = functools._lru_cache_wrapper
_CONTAINERS = (dict, list, set, deque)
_NOTHING = object()
# What holds nothing that a run could change.
_UNCHANGED = frozenset((type(None), bool, int, float, str, types.FunctionType, types.ModuleType, type, object))
# Numpy's generator in the place of the caller's.
_SPARE = MT19937(0)


def _nothing(record: logging.LogRecord) -> bool:
    """A filter that lets nothing through."""
    return False


@contextmanager
def unnoticed() -> Iterator[None]:
    """Runs leave nothing in what is printed or logged, in torch's modes and states of chance, or in a trace around."""
    stack = _get_current_function_mode_stack()  # type: ignore[no-untyped-call]
    around = [mode for mode in stack if isinstance(mode, Watch) and not mode.busy]
    for mode in around:
        mode.busy = True
    state, grad = random.getstate(), torch.is_grad_enabled()
    # There are few handlers: logging.disable() goes through all loggers there are.
    known = [handler for ref in logging._handlerList if (handler := ref()) is not None]  # type: ignore[attr-defined]
    handlers = [handler for handler in known if _nothing not in handler.filters]
    # Numpy's own stands aside: its state takes longer to read than a short call takes.
    numbers = get_bit_generator()
    set_bit_generator(_SPARE)
    _SPARE._legacy_seeding(0)
    random.seed(0)
    for handler in handlers:
        handler.addFilter(_nothing)
    with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        warnings.simplefilter("ignore")
        try:
            with torch.random.fork_rng(devices=[]):
                # A trace says the same each time that it is made.
                torch.default_generator.manual_seed(0)
                yield
        finally:
            for mode in around:
                mode.busy = False
            for handler in handlers:
                handler.removeFilter(_nothing)
            random.setstate(state)
            torch.set_grad_enabled(grad)
            set_bit_generator(numbers)


class Shared:
    """Entered, it notes all that is there; left, it puts it back."""

    def __init__(self) -> None:
        self._kinds: dict[type, None] = {}
        self._seen: set[Any] = set()
        self._inside: dict[int, Any] = {}
        self._undo: list[Callable[[], None]] = []

    def keep(self, kind: type) -> None:
        """Put a class on the list, and those that it is made from."""
        if kind not in self._seen:
            self._seen.add(kind)
            own = (base for base in kind.__mro__ if base.__module__.partition(".")[0] not in ("torch", "builtins"))
            self._kinds.update(dict.fromkeys(own))

    def __enter__(self) -> None:
        for kind in self._kinds:
            names = dict(vars(kind))
            self._undo.append(functools.partial(_class_back, kind, names))
            for name, value in names.items():
                self._keep(value)
                if isinstance(value, types.FunctionType):
                    self._around(value)
                elif isinstance(value, _CACHED):
                    quietly(setattr, kind, name, _fresh(value))

    def _around(self, function: types.FunctionType) -> None:
        """Keep what a function, and those of its file that it calls, find outside of them."""
        if function in self._seen or not readable(function.__code__.co_filename):
            return
        self._seen.add(function)
        outside = function.__globals__
        for word in names_of(function.__code__):
            value = outside.get(word, _NOTHING)
            self._undo.append(functools.partial(_name_back, outside, word, value))
            if isinstance(value, _CACHED):
                outside[word] = _fresh(value)
            self._keep(value)
            if isinstance(value, types.FunctionType) and value.__globals__ is outside:
                self._around(value)
        for cell in function.__closure__ or ():
            if cell != types.CellType():
                value = cell.cell_contents
                self._undo.append(functools.partial(setattr, cell, "cell_contents", value))
                if isinstance(value, _CACHED):
                    cell.cell_contents = _fresh(value)
                self._keep(value)

    def _keep(self, value: Any) -> None:
        """Keep what is in something: its attributes, or, of a container, its items and what is in them."""
        found = [value]
        for item in found:
            if type(item) in _UNCHANGED or isinstance(item, type):
                continue
            if isinstance(item, Tensor) and not is_lazy(item):
                self._undo.append(functools.partial(_put_back, item, item.detach().clone()))
                continue
            if isinstance(item, numpy.ndarray):
                self._undo.append(functools.partial(_put_back, item, item.copy()))
            for part in item.modules() if isinstance(item, nn.Module) else ():
                found += [part._parameters, part._buffers]
            inside = item if isinstance(item, _CONTAINERS) else getattr(item, "__dict__", None)
            # A dict of somebody's own kind may give, or take, other things than it holds.
            if not isinstance(inside, _CONTAINERS) or type(inside).__module__ not in ("builtins", "collections"):
                continue
            if id(inside) not in self._inside:
                self._inside[id(inside)] = inside
                self._undo.append(functools.partial(_refill, inside, inside.copy()))
                parts = () if inside is not item else inside.values() if isinstance(inside, dict) else inside
                found += [part for part in parts if type(part) not in _UNCHANGED]

    def __exit__(self, *error: Any) -> None:
        for back in reversed(self._undo):
            quietly(back)
        for kept in (self._undo, self._seen, self._inside):
            kept.clear()


def _class_back(kind: type, names: dict[str, Any]) -> None:
    for name in vars(kind).keys() - names.keys():
        quietly(delattr, kind, name)
    for name, value in names.items():
        # A class that is written to loses what Python remembers of it, which costs time.
        if vars(kind).get(name) is not value:
            quietly(setattr, kind, name, value)


def _name_back(outside: dict[str, Any], word: str, value: Any) -> None:
    if value is _NOTHING:
        outside.pop(word, None)
    elif outside.get(word) is not value:
        outside[word] = value


def _fresh(cached: Any) -> Any:
    """A cached function that remembers nothing: what is remembered can't be put back."""
    return functools.lru_cache(**cached.cache_parameters())(cached.__wrapped__)


def _refill(inside: Any, content: Any) -> None:
    if _held(inside) != _held(content):
        inside.clear()
        (inside.extend if isinstance(inside, (list, deque)) else inside.update)(content)


def _held(container: Any) -> list[int]:
    return [id(item) for item in (*container, *(container.values() if isinstance(container, dict) else ()))]


def _put_back(numbers: Any, content: Any) -> None:
    if not bool((numbers == content).all()):
        with torch.no_grad():
            numbers[...] = content


def names_of(code: types.CodeType) -> set[str]:
    """The names that a function, and those inside it, may look up outside."""
    inner = [const for const in code.co_consts if isinstance(const, types.CodeType)]
    return set(code.co_names).union(*map(names_of, inner))
