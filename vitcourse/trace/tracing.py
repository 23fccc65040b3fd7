"""`trace`: a call, and its steps as rows."""

import inspect
import re
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vitcourse.trace.constructors import read
from vitcourse.trace.contracts import HYPERPARAMETERS, Naming, contract_of, symbol, words
from vitcourse.trace.folding import folded
from vitcourse.trace.record import Axis, Failure, Row, Shape, Trace
from vitcourse.trace.recorder import (
    CompiledCodeError,
    Node,
    Recorder,
    name_numbers,
    named_attributes,
    refuse_compiled,
    signature_of,
    tensors_in,
)
from vitcourse.trace.rules import Axes
from vitcourse.trace.source import Place, place_of, readable
from vitcourse.trace.symbols import ONE, NamedInt, Scope

Names = Mapping[str, str] | Sequence[str] | str | None

# For modules that `build` made: the symbols of their parameters' axes, and of the numbers that they keep.
_BUILT: "weakref.WeakKeyDictionary[nn.Module, dict[str, str]]" = weakref.WeakKeyDictionary()


def trace(
    function: Callable[..., Any], *args: Any, names: Names = None, depth: int | None = None, **kwargs: Any
) -> Trace:
    """Call a function or module and return the trace of its steps: every tensor's shape, by name.

    The axes of the inputs get their names from `names` (`{"images": "B C H W"}`, or the string alone for the first
    tensor), else from the jaxtyping annotations of the signature; parameters can be named too
    (`{"projection.weight": "D C P P"}`), and numbers (`{"patch_size": "P"}`). Every other name follows from these,
    and an axis whose name isn't certain shows its number.

    `depth` is how many levels of calls the rows go down to; without it, as deep as fits on a screen. When the traced
    code raises, the trace ends there and its `error` says why. Compiled code raises CompiledCodeError.
    """
    refuse_compiled(function)
    modules = [value for value in (function, *args, *kwargs.values()) if isinstance(value, nn.Module)]
    for module in modules[1:] if isinstance(function, nn.Module) else modules:
        refuse_compiled(module)
    recorder = Recorder(_own_files(function))
    values = _arguments(function, args, kwargs)
    _name_inputs(recorder, function, values, names)
    args, kwargs = _renamed(function, args, kwargs, values)
    inputs = list(_input_rows(recorder, values, modules))
    result, failure = None, None
    contract = contract_of(function.forward if isinstance(function, nn.Module) else function)
    with named_attributes(recorder.scope, modules):
        try:
            result = recorder.run(function, args, kwargs)
        except CompiledCodeError:
            raise
        except Exception as error:
            failure = error
    if failure is None:
        naming = Naming(recorder.scope, contract, given=True)
        naming.arguments(values, recorder.axes)
        recorder.ruled(lambda: naming.results(result, recorder.axes))
    return _trace_of(recorder, function, inputs, result, failure, depth)


def build(kind: Callable[..., nn.Module], *args: Any, **kwargs: Any) -> nn.Module:
    """Make a module, so that traces of it know the symbols of all its parameters.

    The module is what `kind(*args, **kwargs)` makes, nothing else. A module made without this has its symbols read in
    the source of its constructors, which says less when a constructor is written in an unusual way.
    """
    recorder = Recorder()
    signature = signature_of(kind)
    values = _arguments(kind, args, kwargs)
    if signature is not None:
        # A default is a number with a name, as an argument is.
        for name, parameter in signature.parameters.items():
            if name not in values and type(parameter.default) is int:
                kwargs[name] = values[name] = parameter.default
    _name_inputs(recorder, kind, values, None)
    args, kwargs = _renamed(kind, args, kwargs, values)
    module: nn.Module = recorder.run(kind, args, kwargs)
    symbols: dict[str, str] = {}
    for path, tensor in [*module.named_parameters(), *module.named_buffers()]:
        axes = recorder.axes(tensor)
        symbols[path] = " ".join(recorder.scope.text(size) or "_" for size in axes)
    for path, child in module.named_modules():
        for name, value in list(vars(child).items()):
            plain, text = _plain(recorder.scope, value)
            if plain is not value:
                vars(child)[name] = plain
                symbols[f"{path}.{name}".lstrip(".")] = text
    _BUILT[module] = symbols
    return module


def name_module(module: nn.Module, names: Mapping[str, str]) -> nn.Module:
    """Remember the symbols of a finished module's parameters: {"weight": "D C P P"}."""
    _BUILT[module] = {path: text.replace("*", "·") for path, text in names.items()}
    return module


def failed(name: str, error: Exception) -> Trace:
    """The trace of what could not even be made."""
    place = None
    current = error.__traceback__
    while current is not None:
        if readable(current.tb_frame.f_code.co_filename):
            place = place_of(current.tb_frame, current.tb_lasti)
        current = current.tb_next
    where = (place.file, place.line, place.text) if place is not None else ("", 0, "")
    return Trace(name, [], failure=Failure(error, *where))


def _plain(scope: Scope, value: Any) -> tuple[Any, str]:
    if isinstance(value, NamedInt):
        return int(value), scope.text(value.size) or "_"
    if isinstance(value, (tuple, list)) and any(isinstance(item, NamedInt) for item in value):
        parts = [_plain(scope, item) for item in value]
        return type(value)(part[0] for part in parts), " ".join(part[1] for part in parts)
    return value, "_"


# Before the call


def _own_files(function: Callable[..., Any]) -> set[str]:
    """The file of what is traced: its steps are shown, even when it is torch's own."""
    plain = inspect.unwrap(function.forward if isinstance(function, nn.Module) else function)
    code = getattr(getattr(plain, "__func__", plain), "__code__", None)
    return {code.co_filename} if code is not None else set()


def _arguments(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    signature = signature_of(function)
    if signature is not None:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError:
            signature = None
        else:
            values: dict[str, Any] = {}
            for name, value in bound.arguments.items():
                kind = signature.parameters[name].kind
                if kind is kind.VAR_POSITIONAL:
                    values.update({f"{name}[{i}]": item for i, item in enumerate(value)})
                elif kind is kind.VAR_KEYWORD:
                    values.update(value)
                else:
                    values[name] = value
            return values
    return {**{f"argument {i}": value for i, value in enumerate(args, start=1)}, **kwargs}


def _renamed(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], values: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments again, with the numbers that now know their symbols in place of the plain ones."""
    each = list(values.values())
    return tuple(each[: len(args)]), {name: values.get(name, value) for name, value in kwargs.items()}


def _name_inputs(recorder: Recorder, function: Callable[..., Any], values: dict[str, Any], names: Names) -> None:
    contract = contract_of(function.forward if isinstance(function, nn.Module) else function)
    tensors = {name: value for name, value in values.items() if isinstance(value, Tensor)}
    if isinstance(names, str):
        names = [names]
    given = dict(names) if isinstance(names, Mapping) else dict(zip(tensors, names or (), strict=False))
    modules = {name: value for name, value in values.items() if isinstance(value, nn.Module)}
    held = _held(function, modules)
    for name, text in given.items():
        if name not in values and name not in held:
            known = ", ".join([*values, *list(held)[:3]]) or "none"
            raise ValueError(f"names has {name!r}, which is no input here; the inputs are {known}")
        if name in values and name not in tensors:
            shape = words(text)
            values[name] = name_numbers(recorder.scope, shape if len(shape) > 1 else shape[0], values[name])
    for name, value in values.items():
        if name not in given:
            values[name] = _hyperparameter(recorder.scope, name, value)
    for name, text in given.items():
        value = values.get(name, held.get(name))
        if isinstance(value, Tensor):
            _name_tensor(recorder, name, value, words(text), certain=True)
    for name, tensor in tensors.items():
        if name not in given and name in contract.arguments:
            _name_tensor(recorder, name, tensor, contract.arguments[name], certain=False)
    for name, module in {"": function, **modules}.items():
        if isinstance(module, nn.Module):
            own = {path.removeprefix(f"{name}.") for path in given}
            if module in _BUILT:
                _name_built(recorder, module, _BUILT[module], own)
            else:
                _name_read(recorder, module, own)


def _hyperparameter(scope: Scope, name: str, value: Any) -> Any:
    # An image size that is one number gets no symbol: whether it stands for H or W where it is used, nobody knows.
    symbols = HYPERPARAMETERS.get(name, symbol(name))
    return name_numbers(scope, symbols, value) if type(value) in (int, tuple) else value


def _held(function: Callable[..., Any], modules: Mapping[str, nn.Module]) -> dict[str, Any]:
    held: dict[str, Any] = {}
    for prefix, module in (("", function), *((f"{name}.", module) for name, module in modules.items())):
        if isinstance(module, nn.Module):
            held |= {f"{prefix}{path}": p for path, p in (*module.named_parameters(), *module.named_buffers())}
    return held


def _name_built(recorder: Recorder, module: nn.Module, symbols: Mapping[str, str], given: set[str]) -> None:
    for path, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if path in symbols and path not in given:
            _name_tensor(recorder, path, tensor, tuple(symbols[path].replace("·", "*").split()), False, given=False)


def _name_read(recorder: Recorder, module: nn.Module, given: set[str]) -> None:
    readings = read(module)
    for word, value in readings.values.items():
        recorder.scope.named(word, value, given=False)
    named = {id(tensor) for path, tensor in _held(module, {}).items() if path in given}
    for tensor, shape in readings.tensors.values():
        if id(tensor) not in named:
            known = tuple(word if word and _settled(word, readings.values) else "_" for word in shape)
            _name_tensor(recorder, "", tensor, known, certain=False, given=False)


def _settled(word: str, values: Mapping[str, int]) -> bool:
    return all(name in values for name in re.findall(r"[A-Za-z_]\w*", word))


def _name_tensor(
    recorder: Recorder, name: str, tensor: Tensor, shape: tuple[str, ...], certain: bool, given: bool = True
) -> None:
    """Give a tensor's axes their names; a shape that doesn't fit is the caller's mistake, or else is not believed."""
    scope = recorder.scope
    sizes = list(tensor.shape)
    dots = [i for i, word in enumerate(shape) if word.startswith("...") or (word.startswith("*") and len(word) > 1)]
    if dots:
        missing = len(sizes) - len(shape) + 1
        shape = (*shape[: dots[0]], *["_"] * missing, *shape[dots[0] + 1 :])
    if len(shape) != len(sizes):
        if certain:
            raise ValueError(
                f"{name} has {len(sizes)} axes {tuple(sizes)}, and names calls {len(shape)}: {' '.join(shape)}"
            )
        return
    axes = []
    for word, size in zip(shape, sizes, strict=True):
        found = None
        if (word.isidentifier() and word != "_") or word.endswith("'"):
            found = scope.named(word, size, given)
            if found is None and certain:
                raise ValueError(f"{word} is {scope.atoms[word].value} elsewhere, and {size} in {name} {tuple(sizes)}")
        elif word == "1":
            found = ONE
        elif word != "_":
            # An expression of sizes that nothing has alone, C·P·P of patches that came as such, is a name as well.
            found = scope.parse(word, given) or scope.named(word.replace("*", "·"), size, given)
        axes.append(found if found is not None and found.value == size else scope.fresh(size))
    recorder.note(tensor, tuple(axes))


def _input_rows(recorder: Recorder, values: Mapping[str, Any], modules: list[nn.Module]) -> Iterator[Node]:
    for module in modules:
        prefix = next((f"{name}." for name, value in values.items() if value is module), "self.")
        for path, parameter in (*module.named_parameters(), *module.named_buffers()):
            recorder.module_names[id(parameter)] = f"{prefix}{path}"
        for path, child in module.named_modules():
            recorder.module_names[id(child)] = f"{prefix}{path}".rstrip(".")
    for name, value in values.items():
        tensors = [(name, value)] if isinstance(value, Tensor) else []
        if isinstance(value, (tuple, list)):
            tensors = [(f"{name}[{i}]", item) for i, item in enumerate(value) if isinstance(item, Tensor)]
        for word, tensor in tensors:
            serial = recorder.next_serial()
            node = Node(Place("", 0, word), "input", serial, tensors=True, end=serial)
            node.axes = (recorder.note(tensor, recorder.axes(tensor), serial),)
            node.dtype, node.device = tensor.dtype, tensor.device
            default = torch.get_default_dtype()
            node.dtype_before = default
            node.device_before = torch.device("cpu")
            yield node


# After the call


def _trace_of(
    recorder: Recorder,
    function: Callable[..., Any],
    inputs: list[Node],
    result: Any,
    error: BaseException | None,
    depth: int | None,
) -> Trace:
    scope = recorder.scope

    shapes: dict[int, Shape] = {}

    def shape(axes: Axes) -> Shape:
        if id(axes) not in shapes:
            shapes[id(axes)] = tuple(Axis(int(size.value), scope.text(size)) for size in axes)
        return shapes[id(axes)]

    rows = list(folded([*inputs, *recorder.root.children], shape))
    failure = None
    if error is not None:
        failure = Failure(error)
        if recorder.failed is not None and recorder.failed[3] is error:
            place, op, operands, _ = recorder.failed
            failure = Failure(
                error, place.file, place.line, place.text, op, tuple((name, shape(axes)) for name, axes in operands)
            )
    outcome = tuple(shape(recorder.axes(tensor)) for tensor in tensors_in(result))
    name = type(function).__name__ if isinstance(function, nn.Module) else getattr(function, "__name__", repr(function))
    if outcome and not recorder.root.children:
        # Nothing of it is written in Python: it is one step.
        rows.append(Row(f"{name}({', '.join(row.expression for row in rows)})", name, outcome))
    return Trace(name, rows, result, failure, depth, dict(scope.definitions), outcome)
