"""How axes move through torch's functions: for each function, which axis of the result is which axis of what.

A rule returns the sizes of the result's axes, by the function's meaning alone. What has no rule has a result of which
only the numbers are known, and so has a rule whose sizes turn out not to fit.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from vitcourse.trace.symbols import ONE, NamedInt, Scope, Size, constant, negative, size_of

Axes = tuple[Size, ...]
Rule = Callable[["Call"], "Axes | list[Axes] | None"]
RULES: dict[str, Rule] = {}


@dataclass
class Call:
    """One call of a torch function, with what is known of its tensors."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    result: Any
    scope: Scope
    axes: Callable[[Tensor], Axes]

    def arg(self, position: int, *names: str, default: Any = None) -> Any:
        """An argument, by its position or one of its names."""
        if position < len(self.args):
            return self.args[position]
        for name in names:
            if name in self.kwargs:
                return self.kwargs[name]
        return default

    def sequence(self, position: int, *names: str) -> list[Any]:
        """An argument that may come as one tuple or as several numbers."""
        first = self.arg(position, *names, default=())
        if isinstance(first, (tuple, list)):
            return list(first)
        return list(self.args[position:]) if position < len(self.args) else [first]

    @property
    def first(self) -> Tensor:
        """The tensor that the function works on."""
        return self.arg(0, "input", "self", "tensor", "query")  # type: ignore[no-any-return]

    @property
    def shape(self) -> list[Size]:
        """The axes of that tensor."""
        return list(self.axes(self.first))


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a rule under the names of the functions that it describes."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register


def axes_of_result(call: Call) -> "Axes | list[Axes] | None":
    """What a function's rule says of its result; None when it has no rule."""
    name = plain_name(call.name)
    found = RULES.get(name)
    if found is not None:
        return found(call)
    return elementwise(call) if is_pointwise(name) else None


@cache
def plain_name(name: str) -> str:
    """`__radd__` and `add_` are both `add`."""
    plain = name.strip("_") if name.startswith("__") else name.removesuffix("_")
    if name.startswith("__"):
        if len(plain) > 2 and plain[0] in "ri" and plain[1:] in OPERATORS:
            plain = plain[1:]
        plain = OPERATORS.get(plain, plain)
    return plain


OPERATORS = {
    "add": "add", "sub": "sub", "mul": "mul", "truediv": "div", "floordiv": "floor_divide", "mod": "remainder",
    "pow": "pow", "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor", "matmul": "matmul", "div": "div",
    "lshift": "bitwise_left_shift", "rshift": "bitwise_right_shift", "invert": "bitwise_not",
}  # fmt: skip


@cache
def is_pointwise(name: str) -> bool:
    """Whether torch itself says that the function works number by number."""
    packet = getattr(torch.ops.aten, name, None)
    overloads = packet.overloads() if packet is not None and hasattr(packet, "overloads") else []
    return any(torch.Tag.pointwise in getattr(packet, overload).tags for overload in overloads)


# Number by number


def merged(scope: Scope, one: Size, two: Size) -> Size:
    """The axis that two axes broadcast to."""
    if one == ONE or two == ONE:
        return two if one == ONE else one
    if one.value != two.value:
        return two if one.value == 1 else one
    if one.value == 1:
        # Either may be the one that broadcasts at other sizes: nothing is proved.
        return two if scope.text(one) is None else one
    return scope.equal(one, two)


def broadcast(scope: Scope, *shapes: Sequence[Size]) -> Axes:
    """The axes that shapes broadcast to."""
    result: list[Size] = []
    for shape in shapes:
        longer, shorter = (result, list(shape)) if len(result) >= len(shape) else (list(shape), result)
        offset = len(longer) - len(shorter)
        result = longer[:offset] + [merged(scope, a, b) for a, b in zip(longer[offset:], shorter, strict=True)]
    return tuple(result)


def elementwise(call: Call) -> Axes:
    """Every tensor among the arguments, broadcast together."""
    tensors = [value for value in (*call.args, *call.kwargs.values()) if isinstance(value, Tensor)]
    return broadcast(call.scope, *(call.axes(tensor) for tensor in tensors))


@rule(
    "where", "lerp", "addcmul", "addcdiv", "clamp", "copy", "isclose", "dropout", "relu", "silu", "gelu", "masked_fill",
    "floor_divide", "subtract", "multiply", "divide", "negative", "pos", "positive", "absolute", "fix", "conj",
    "arctan", "special_erf", "polar", "complex", "clip",
)  # fmt: skip
def _elementwise(call: Call) -> Axes:
    return elementwise(call)


@rule(
    "contiguous", "clone", "detach", "to", "type", "type_as", "float", "half", "bfloat16", "double", "int", "long",
    "bool", "cpu", "cuda", "requires_grad", "pin_memory", "data", "grad", "real", "imag",
    "softmax", "log_softmax", "softmin", "cumsum", "cumprod", "logcumsumexp", "flip", "fliplr", "flipud", "roll",
    "msort", "argsort", "tril", "triu",
    "zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like", "bernoulli",
    "normalize", "batch_norm", "group_norm", "instance_norm", "alpha_dropout", "feature_alpha_dropout", "dropout1d",
    "dropout2d", "dropout3d", "relu6", "leaky_relu", "elu", "selu", "celu", "hardswish", "hardsigmoid", "hardtanh",
    "mish", "softplus", "softsign", "tanhshrink", "threshold", "logsigmoid", "gumbel_softmax",
    "scatter", "scatter_add", "scatter_reduce", "index_add", "index_fill", "index_copy", "index_put", "masked_scatter",
    "fill", "zero", "normal", "uniform", "trunc_normal", "constant", "zeros", "ones", "kaiming_uniform",
    "kaiming_normal", "xavier_uniform", "xavier_normal", "orthogonal", "exponential", "random", "alias", "retain_grad",
)  # fmt: skip
def _same(call: Call) -> Axes | list[Axes] | None:
    if isinstance(call.arg(0, "input", "self", "tensor"), Tensor):
        return tuple(call.shape)
    return _made(call)


@rule("sort", "cummax", "cummin")
def _same_twice(call: Call) -> list[Axes]:
    return [tuple(call.shape)] * 2


@rule("layer_norm", "rms_norm")
def _layer_norm(call: Call) -> Axes:
    shape = call.shape
    known = [call.arg(1, "normalized_shape", default=())]
    sizes = [size_of(n) for n in (known[0] if isinstance(known[0], (tuple, list)) else known)]
    tensors = [call.axes(t) for t in (call.arg(2, "weight"), call.arg(3, "bias")) if isinstance(t, Tensor)]
    for end in (sizes, *tensors):
        for back in range(1, min(len(end), len(shape)) + 1):
            shape[-back] = call.scope.equal(shape[-back], end[-back])
    return tuple(shape)


# Made from numbers


@rule("empty", "rand", "randn", "full", "randint", "eye", "randperm", "hann_window")
def _made(call: Call) -> Axes | None:
    if call.name == "randint":
        given = call.kwargs.get("size") or next((a for a in call.args if isinstance(a, (tuple, list))), None)
        return None if given is None else tuple(size_of(n) for n in given)
    if call.name == "eye":
        rows = call.arg(0, "n")
        return size_of(rows), size_of(call.arg(1, "m") or rows)
    sizes = call.sequence(0, "size")
    if call.name == "full":
        sizes = sizes if isinstance(call.arg(0, "size"), (tuple, list)) else [call.arg(0, "size")]
    return tuple(size_of(n) for n in sizes if isinstance(n, int))


@rule("new_zeros", "new_ones", "new_empty", "new_full")
def _made_like(call: Call) -> Axes:
    if call.name == "new_full":
        return tuple(size_of(n) for n in call.arg(1, "size"))
    return tuple(size_of(n) for n in call.sequence(1, "size"))


@rule("arange")
def _arange(call: Call) -> Axes | None:
    numbers = [n for n in call.args if isinstance(n, (int, float))]
    start: Any = 0
    end: Any = call.kwargs.get("end")
    step: Any = call.kwargs.get("step", 1)
    if len(numbers) == 1:
        end = numbers[0]
    elif len(numbers) >= 2:
        start, end = numbers[0], numbers[1]
        step = numbers[2] if len(numbers) > 2 else step
    start = call.kwargs.get("start", start)
    if not all(isinstance(n, int) for n in (start, end, step)) or step < 1:
        return None
    return (stepped(call.scope, call.scope.total((size_of(end), negative(size_of(start)))), step),)


@rule("linspace", "logspace")
def _linspace(call: Call) -> Axes | None:
    steps = call.arg(2, "steps")
    return (size_of(steps),) if isinstance(steps, int) else None


def stepped(scope: Scope, size: Size, step: int) -> Size:
    """How many of `size` things one meets when taking every step-th, from the first."""
    return size if step == 1 else scope.floor(size, size_of(step), step - 1)


# Reduced


@rule(
    "sum", "mean", "var", "std", "amax", "amin", "max", "min", "argmax", "argmin", "any", "all", "prod", "logsumexp",
    "norm", "vector_norm", "median", "nansum", "nanmean", "count_nonzero", "var_mean", "std_mean", "aminmax", "mode",
    "linalg_norm", "linalg_vector_norm",
)  # fmt: skip
def _reduced(call: Call) -> Axes | list[Axes]:
    name = plain_name(call.name)
    if name in ("max", "min") and isinstance(call.arg(1, "other"), Tensor):
        return elementwise(call)
    position = {"norm": 2, "vector_norm": 2, "linalg_norm": 2, "linalg_vector_norm": 2}.get(name, 1)
    dim = call.arg(position, "dim", "axis")
    if name in ("var", "std", "var_mean", "std_mean") and isinstance(dim, bool):
        dim = None
    shape = call.shape
    # A whole reduction and one that keeps its axes differ in the result's rank, which the call's many forms hide.
    results = list(call.result) if isinstance(call.result, tuple) else [call.result]
    keep = results[0].ndim == len(shape)
    dims = range(len(shape)) if dim is None or dim == () or dim == [] else dim
    gone = {d % max(len(shape), 1) for d in (dims if isinstance(dims, (tuple, list, range)) else (dims,))}
    axes = tuple(ONE if i in gone else size for i, size in enumerate(shape) if keep or i not in gone)
    return [axes] * len(results) if isinstance(call.result, tuple) else axes


@rule("topk")
def _topk(call: Call) -> list[Axes]:
    shape = call.shape
    shape[call.arg(2, "dim", default=-1)] = size_of(call.arg(1, "k"))
    return [tuple(shape)] * 2


# Axes in another order


@rule("transpose", "swapaxes", "swapdims")
def _transpose(call: Call) -> Axes:
    shape = call.shape
    i, j = call.arg(1, "dim0", "axis0"), call.arg(2, "dim1", "axis1")
    shape[i], shape[j] = shape[j], shape[i]
    return tuple(shape)


@rule("t", "T", "mT", "H", "mH", "adjoint")
def _reversed(call: Call) -> Axes:
    shape = call.shape
    if call.name in ("mT", "mH", "adjoint"):
        shape[-1], shape[-2] = shape[-2], shape[-1]
        return tuple(shape)
    return tuple(reversed(shape))


@rule("permute")
def _permute(call: Call) -> Axes:
    shape = call.shape
    return tuple(shape[i] for i in call.sequence(1, "dims"))


@rule("movedim", "moveaxis")
def _movedim(call: Call) -> Axes:
    shape = call.shape
    source, target = call.arg(1, "source"), call.arg(2, "destination")
    pairs = zip(source, target, strict=True) if isinstance(source, (tuple, list)) else [(source, target)]
    moved = {t % len(shape): s % len(shape) for s, t in pairs}
    rest = iter(i for i in range(len(shape)) if i not in moved.values())
    return tuple(shape[moved[i]] if i in moved else shape[next(rest)] for i in range(len(shape)))


# Axes merged, split, added, dropped


@rule("flatten")
def _flatten(call: Call) -> Axes:
    shape = call.shape
    start, end = call.arg(1, "start_dim", default=0), call.arg(2, "end_dim", default=-1)
    if not shape:
        return (ONE,)
    start, end = start % len(shape), end % len(shape)
    return *shape[:start], call.scope.product(*shape[start : end + 1]), *shape[end + 1 :]


@rule("ravel")
def _ravel(call: Call) -> Axes:
    return (call.scope.product(*call.shape),)


def filled(scope: Scope, whole: Size, sizes: Sequence[int]) -> Axes:
    """The sizes that a reshape was asked for, with what stands in for -1."""
    known = scope.product(*(size_of(n) for n in sizes if n != -1))
    rest = scope.quotient(whole, known)
    if rest.coefficient.denominator != 1:
        # Divided by a number that has no name: so the rest has none either.
        rest = scope.fresh(int(rest.value)) if rest.value.denominator == 1 else rest
    return tuple(rest if n == -1 else size_of(n) for n in sizes)


@rule("reshape", "view")
def _reshape(call: Call) -> Axes:
    if not isinstance(call.arg(1, "shape", "size"), (int, tuple, list)):
        return tuple(call.shape)
    return filled(call.scope, call.scope.product(*call.shape), call.sequence(1, "shape", "size"))


@rule("unflatten")
def _unflatten(call: Call) -> Axes:
    shape = call.shape
    dim = call.arg(1, "dim") % len(shape)
    return *shape[:dim], *filled(call.scope, shape[dim], call.sequence(2, "sizes")), *shape[dim + 1 :]


@rule("view_as", "reshape_as", "expand_as")
def _like(call: Call) -> Axes:
    return call.axes(call.arg(1, "other"))


@rule("squeeze")
def _squeeze(call: Call) -> Axes:
    shape = call.shape
    dim = call.arg(1, "dim")
    dims = range(len(shape)) if dim is None else dim if isinstance(dim, (tuple, list)) else (dim,)
    gone = {d % len(shape) for d in dims} if shape else set()
    return tuple(size for i, size in enumerate(shape) if i not in gone or call.first.shape[i] != 1)


@rule("unsqueeze")
def _unsqueeze(call: Call) -> Axes:
    shape = call.shape
    shape.insert(call.arg(1, "dim") % (len(shape) + 1), ONE)
    return tuple(shape)


@rule("expand", "broadcast_to")
def _expand(call: Call) -> Axes:
    sizes = call.sequence(1, "size", "sizes")
    shape = [None] * (len(sizes) - len(call.shape)) + call.shape
    result = []
    for n, size in zip(sizes, shape, strict=True):
        if size is None or (n != -1 and size.value == 1 and n != 1):
            result.append(size_of(n))
        elif n == -1:
            result.append(size)
        else:
            asked = size_of(n)
            result.append(asked if size == ONE else size if asked.constant else merged(call.scope, asked, size))
    return tuple(result)


@rule("repeat", "tile")
def _repeat(call: Call) -> Axes:
    times = [size_of(n) for n in call.sequence(1, "repeats", "dims")]
    shape = call.shape
    width = max(len(times), len(shape))
    times = [ONE] * (width - len(times)) + times
    shape = [ONE] * (width - len(shape)) + shape
    return tuple(call.scope.product(n, size) for n, size in zip(times, shape, strict=True))


@rule("repeat_interleave")
def _repeat_interleave(call: Call) -> Axes | None:
    times, dim = call.arg(1, "repeats"), call.arg(2, "dim")
    if not isinstance(times, int):
        return None
    shape = call.shape if dim is not None else [call.scope.product(*call.shape)]
    shape[dim or 0] = call.scope.product(size_of(times), shape[dim or 0])
    return tuple(shape)


@rule("atleast_1d", "atleast_2d", "atleast_3d")
def _atleast(call: Call) -> Axes | None:
    return tuple(call.shape) if call.result.ndim == len(call.shape) else None


# Pieces


@rule("chunk", "tensor_split")
def _chunk(call: Call) -> list[Axes] | None:
    number, dim = call.arg(1, "chunks", "indices_or_sections"), call.arg(2, "dim", default=0)
    shape = call.shape
    if not isinstance(number, int):
        return None
    pieces = []
    whole = all(piece.shape[dim] * number == shape[dim].value for piece in call.result)
    for piece in call.result:
        part = call.scope.quotient(shape[dim], size_of(number)) if whole else call.scope.fresh(piece.shape[dim])
        pieces.append(replaced(shape, dim, part))
    return pieces


@rule("split", "split_with_sizes")
def _split(call: Call) -> list[Axes]:
    sizes, dim = call.arg(1, "split_size_or_sections", "split_size", "split_sizes"), call.arg(2, "dim", default=0)
    shape = call.shape
    if isinstance(sizes, int):
        sizes = [sizes if piece.shape[dim] == sizes else piece.shape[dim] for piece in call.result]
    return [replaced(shape, dim, size_of(n)) for n in sizes]


@rule("unbind")
def _unbind(call: Call) -> list[Axes]:
    shape = call.shape
    del shape[call.arg(1, "dim", default=0)]
    return [tuple(shape)] * len(call.result)


@rule("select")
def _select(call: Call) -> Axes:
    shape = call.shape
    del shape[call.arg(1, "dim")]
    return tuple(shape)


@rule("narrow")
def _narrow(call: Call) -> Axes:
    return replaced(call.shape, call.arg(1, "dim"), size_of(call.arg(3, "length")))


def replaced(shape: Sequence[Size], dim: int, size: Size) -> Axes:
    """The shape with one axis another size."""
    result = list(shape)
    result[dim] = size
    return tuple(result)


def sliced(scope: Scope, size: Size, part: slice) -> Size | None:
    """What a slice leaves of an axis; None when that is not certain."""
    length = int(size.value)
    start, stop, step = part.indices(length)
    if step < 1:
        return None
    first = _bound(scope, size, part.start, start, constant(0))
    last = _bound(scope, size, part.stop, stop, size)
    if first is None or last is None:
        return None
    if stop <= start:
        return constant(0)
    if start > 1 and not isinstance(part.start, NamedInt) and last == size:
        # A start that was counted, in a loop say: what is left of the axis is that turn's number, and has no name.
        return None
    return stepped(scope, scope.total((last, negative(first))), step)


def _bound(scope: Scope, size: Size, given: Any, real: int, default: Size) -> Size | None:
    if given is None:
        return default
    if not isinstance(given, int):
        return None
    if given < 0:
        return scope.total((size, size_of(given))) if real else constant(0)
    return size_of(given) if given == real else size


@rule("getitem")
def _getitem(call: Call) -> Axes | None:
    index = call.arg(1, "index")
    items = list(index) if isinstance(index, tuple) else [index]
    shape = call.shape
    used = sum(_consumed(item) for item in items)
    if not any(item is Ellipsis for item in items):
        items.append(Ellipsis)
    result: list[Size] = []
    advanced: list[Axes] = []
    place: list[int] = []
    axis = 0
    for item in items:
        if item is None:
            result.append(ONE)
        elif item is Ellipsis:
            for _ in range(len(shape) - used):
                result.append(shape[axis])
                axis += 1
        elif isinstance(item, slice):
            part = sliced(call.scope, shape[axis], item)
            if part is None:
                part = call.scope.fresh(len(range(*item.indices(int(shape[axis].value)))))
            result.append(part)
            axis += 1
        elif isinstance(item, bool) or (isinstance(item, Tensor) and item.dtype == torch.bool):
            return None
        elif isinstance(item, int):
            axis += 1
        elif isinstance(item, Tensor):
            advanced.append(call.axes(item))
            place.append(len(result))
            axis += 1
        elif isinstance(item, list):
            advanced.append((constant(len(item)),))
            place.append(len(result))
            axis += 1
        else:
            return None
    if advanced:
        # Index tensors that stand apart put their axes in front; an int between them counts as one of them.
        if len(advanced) > 1 and place != [place[0]] * len(place):
            return None
        if any(isinstance(item, int) for item in items):
            return None
        result[place[0] : place[0]] = broadcast(call.scope, *advanced)
    return tuple(result)


def _consumed(item: Any) -> int:
    if item is None or item is Ellipsis or isinstance(item, bool):
        return 0
    return item.ndim if isinstance(item, Tensor) and item.dtype == torch.bool else 1


@rule("gather", "take_along_dim")
def _gather(call: Call) -> Axes | None:
    index = call.arg(2, "index") if plain_name(call.name) == "gather" else call.arg(1, "indices")
    return call.axes(index) if isinstance(index, Tensor) else None


@rule("index_select")
def _index_select(call: Call) -> Axes:
    return replaced(call.shape, call.arg(1, "dim"), call.axes(call.arg(2, "index"))[0])


@rule("embedding")
def _embedding(call: Call) -> Axes:
    return (*call.shape, call.axes(call.arg(1, "weight"))[-1])


@rule("one_hot")
def _one_hot(call: Call) -> Axes | None:
    number = call.arg(1, "num_classes", default=-1)
    return (*call.shape, size_of(number)) if number != -1 else None


@rule("diagonal")
def _diagonal(call: Call) -> Axes | None:
    shape = call.shape
    offset = call.arg(1, "offset", default=0)
    one, two = call.arg(2, "dim1", default=0) % len(shape), call.arg(3, "dim2", default=1) % len(shape)
    if offset or call.scope.text(shape[one]) != call.scope.text(shape[two]) or shape[one].value != shape[two].value:
        return None
    return *(size for i, size in enumerate(shape) if i not in (one, two)), shape[one]


# Put together


@rule("cat", "concat", "concatenate")
def _cat(call: Call) -> Axes:
    tensors = [t for t in call.arg(0, "tensors") if t.ndim > 1 or t.shape[0] > 0]
    dim = call.arg(1, "dim", "axis", default=0)
    shapes = [call.axes(tensor) for tensor in tensors]
    dim %= len(shapes[0])
    result = []
    for i in range(len(shapes[0])):
        sizes = [shape[i] for shape in shapes]
        if i == dim:
            result.append(call.scope.total(sizes))
        else:
            size = sizes[0]
            for other in sizes[1:]:
                size = merged(call.scope, size, other)
            result.append(size)
    return tuple(result)


@rule("hstack", "vstack", "column_stack", "row_stack")
def _stacked(call: Call) -> Axes | None:
    if any(tensor.ndim < 2 for tensor in call.arg(0, "tensors")):
        return None
    call.kwargs = {"dim": 0 if call.name in ("vstack", "row_stack") else 1}
    return _cat(call)  # type: ignore[return-value]


@rule("stack")
def _stack(call: Call) -> Axes:
    tensors = call.arg(0, "tensors")
    shape = call.axes(tensors[0])
    for tensor in tensors[1:]:
        shape = tuple(merged(call.scope, a, b) for a, b in zip(shape, call.axes(tensor), strict=True))
    dim = call.arg(1, "dim", default=0) % (len(shape) + 1)
    return *shape[:dim], constant(len(tensors)), *shape[dim:]


@rule("meshgrid")
def _meshgrid(call: Call) -> list[Axes] | None:
    tensors = call.args[0] if isinstance(call.args[0], (tuple, list)) else call.args
    sizes = [call.axes(t)[0] if t.ndim else ONE for t in tensors]
    if call.kwargs.get("indexing") == "xy" and len(sizes) > 1:
        sizes[0], sizes[1] = sizes[1], sizes[0]
    return [tuple(sizes)] * len(tensors)


@rule("glu")
def _glu(call: Call) -> Axes:
    dim = call.arg(1, "dim", default=-1)
    return replaced(call.shape, dim, call.scope.quotient(call.shape[dim], constant(2)))


@rule("pad")
def _pad(call: Call) -> Axes:
    shape = call.shape
    amounts = list(call.arg(1, "pad"))
    for i in range(len(amounts) // 2):
        more = (size_of(amounts[2 * i]), size_of(amounts[2 * i + 1]))
        shape[-1 - i] = call.scope.total((shape[-1 - i], *more))
    return tuple(shape)


# Contracted


def contracted(scope: Scope, one: Size, two: Size) -> None:
    """The two axes are summed over together, so they are one size."""
    scope.equal(one, two)


@rule("matmul", "mm", "bmm", "mv", "dot", "rmatmul", "inner")
def _matmul(call: Call) -> Axes:
    one, two = list(call.axes(call.args[0])), list(call.axes(call.arg(1, "other", "mat2", "vec", "tensor")))
    if call.name == "__rmatmul__":
        one, two = two, one
    contracted(call.scope, one[-1], two[-2] if len(two) > 1 else two[-1])
    batch = broadcast(call.scope, one[:-2], two[:-2])
    return *batch, *one[-2:-1], *(two[-1:] if len(two) > 1 else [])


@rule("addmm", "baddbmm", "addbmm")
def _addmm(call: Call) -> Axes | None:
    if plain_name(call.name) == "addbmm":
        return None
    one, two = call.axes(call.arg(1, "mat1", "batch1")), call.axes(call.arg(2, "mat2", "batch2"))
    contracted(call.scope, one[-1], two[-2])
    return broadcast(call.scope, call.shape, (*one[:-1], two[-1]))


@rule("cdist")
def _cdist(call: Call) -> Axes:
    one, two = call.axes(call.args[0]), call.axes(call.arg(1, "x2"))
    contracted(call.scope, one[-1], two[-1])
    return *broadcast(call.scope, one[:-2], two[:-2]), one[-2], two[-2]


@rule("outer")
def _outer(call: Call) -> Axes:
    return *call.axes(call.args[0]), *call.axes(call.arg(1, "vec2"))


@rule("linear")
def _linear(call: Call) -> Axes:
    shape, weight, bias = call.shape, call.axes(call.arg(1, "weight")), call.arg(2, "bias")
    contracted(call.scope, shape[-1], weight[-1])
    out = weight[0] if len(weight) > 1 else None
    if out is not None and isinstance(bias, Tensor):
        out = call.scope.equal(out, call.axes(bias)[-1])
    return *shape[:-1], *(() if out is None else (out,))


@rule("einsum")
def _einsum(call: Call) -> Axes | None:
    equation, *operands = call.args
    if not isinstance(equation, str):
        return None
    if len(operands) == 1 and isinstance(operands[0], (tuple, list)):
        operands = list(operands[0])
    left, arrow, right = equation.replace(" ", "").partition("->")
    letters: dict[str, Size] = {}
    spread: list[Axes] = []
    for term, operand in zip(left.split(","), operands, strict=True):
        shape = list(call.axes(operand))
        before, dots, after = term.partition("...")
        cut = len(shape) - len(after)
        if dots:
            spread.append(tuple(shape[len(before) : cut]))
        else:
            cut = len(before)
        for letter, size in zip(before + after, shape[: len(before)] + shape[cut:], strict=True):
            letters[letter] = merged(call.scope, letters[letter], size) if letter in letters else size
    if not arrow:
        counts = left.replace(",", "").replace(".", "")
        right = "..." * bool(spread) + "".join(sorted(c for c in set(counts) if counts.count(c) == 1))
    before, dots, after = right.partition("...")
    middle = broadcast(call.scope, *spread) if dots else ()
    return *(letters[c] for c in before), *middle, *(letters[c] for c in after)


@rule("tensordot")
def _tensordot(call: Call) -> Axes | None:
    dims = call.arg(2, "dims", default=2)
    one, two = call.axes(call.args[0]), call.axes(call.args[1])
    if isinstance(dims, int):
        pairs = [(len(one) - dims + i, i) for i in range(dims)]
    elif isinstance(dims, (tuple, list)) and len(dims) == 2:
        both = [[d] if isinstance(d, int) else list(d) for d in dims]
        pairs = [(a % len(one), b % len(two)) for a, b in zip(both[0], both[1], strict=True)]
    else:
        return None
    for a, b in pairs:
        contracted(call.scope, one[a], two[b])
    gone_one, gone_two = {a for a, _ in pairs}, {b for _, b in pairs}
    return (
        *(size for i, size in enumerate(one) if i not in gone_one),
        *(size for i, size in enumerate(two) if i not in gone_two),
    )


@rule("scaled_dot_product_attention")
def _attention(call: Call) -> Axes:
    q, k, v = (call.axes(call.arg(i, name)) for i, name in enumerate(("query", "key", "value")))
    contracted(call.scope, q[-1], k[-1])
    contracted(call.scope, k[-2], v[-2])
    return *broadcast(call.scope, q[:-2], v[:-2]), q[-2], v[-1]


@rule("multi_head_attention_forward")
def _multi_head_attention(call: Call) -> list[Axes]:
    query, key, width = call.axes(call.args[0]), call.axes(call.args[1]), call.arg(3, "embed_dim_to_check")
    last = call.scope.equal(query[-1], size_of(width))
    output = (*query[:-1], last)
    weights = call.result[1]
    if weights is None:
        return [output]
    heads = (size_of(call.arg(4, "num_heads")),) if weights.ndim == query.__len__() + 1 else ()
    batch = (query[1],) if len(query) == 3 else ()
    return [output, (*batch, *heads, query[0], key[0])]


# Images


def _pair(value: Any, number: int) -> list[int]:
    return list(value) if isinstance(value, (tuple, list)) else [value] * number


def windows(scope: Scope, size: Size, kernel: Size, stride: int, padding: int, dilation: int) -> Size:
    """How many windows of a kernel fit along an axis."""
    width = int(kernel.value)
    if padding == 0 and dilation == 1 and width == stride:
        return patches(scope, size, kernel)
    if stride == 1:
        taken = scope.product(constant(-dilation), kernel)
        return scope.total((size, taken, constant(2 * padding + dilation)))
    return scope.fresh((int(size.value) + 2 * padding - dilation * (width - 1) - 1) // stride + 1)


def patches(scope: Scope, size: Size, kernel: Size) -> Size:
    """How many windows that touch and don't overlap fit along an axis: of H, with a kernel of P pixels, gh."""
    if kernel.unknown is not None and size.factors and scope.text(size) in ("H", "W"):
        # A kernel that steps by its own width over an image cuts it into patches: its width is what P means.
        named = scope.named("P", int(kernel.value), given=False)
        if named is not None:
            kernel = scope.equal(kernel, named)
    return scope.floor(size, kernel)


@rule("conv1d", "conv2d", "conv3d")
def _conv(call: Call) -> Axes:
    shape, weight, bias = call.shape, call.axes(call.arg(1, "weight")), call.arg(2, "bias")
    number = len(weight) - 2
    stride = _pair(call.arg(3, "stride", default=1), number)
    padding = call.arg(4, "padding", default=0)
    dilation = _pair(call.arg(5, "dilation", default=1), number)
    groups = call.arg(6, "groups", default=1)
    spatial = shape[-number:]
    if padding == "same":
        axes = list(spatial)
    else:
        paddings = _pair(0 if padding == "valid" else padding, number)
        settings = zip(spatial, weight[2:], stride, paddings, dilation, strict=True)
        axes = [windows(call.scope, size, kernel, s, p, d) for size, kernel, s, p, d in settings]
    if groups == 1:
        contracted(call.scope, shape[-number - 1], weight[1])
    out = weight[0]
    if isinstance(bias, Tensor):
        out = call.scope.equal(out, call.axes(bias)[0])
    return *shape[: -number - 1], out, *axes


@rule("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def _conv_transpose(call: Call) -> Axes:
    shape, weight = call.shape, call.axes(call.arg(1, "weight"))
    number = len(weight) - 2
    contracted(call.scope, shape[-number - 1], weight[0])
    stride, padding = _pair(call.arg(3, "stride", default=1), number), _pair(call.arg(4, "padding", default=0), number)
    plain = call.arg(6, "groups", default=1) == 1 and not any(padding)
    sizes = []
    for i in range(number):
        kernel, size = weight[2 + i], shape[-number + i]
        known = plain and stride[i] == kernel.value
        sizes.append(call.scope.product(size, kernel) if known else call.scope.fresh(call.result.shape[-number + i]))
    return *shape[: -number - 1], weight[1], *sizes


@rule("avg_pool1d", "avg_pool2d", "max_pool1d", "max_pool2d", "max_pool2d_with_indices", "lp_pool2d")
def _pool(call: Call) -> Axes | list[Axes]:
    shape = call.shape
    number = 1 if "1d" in call.name else 2
    kernel = _pair(call.arg(1, "kernel_size"), number)
    stride = _pair(call.arg(2, "stride") or kernel, number)
    padding = _pair(call.arg(3, "padding", default=0), number)
    sizes = []
    for i in range(number):
        size, real = shape[-number + i], (call.result[0] if isinstance(call.result, tuple) else call.result)
        whole = windows(call.scope, size, size_of(kernel[i]), stride[i], padding[i], 1)
        sizes.append(whole if whole.value == real.shape[-number + i] else call.scope.fresh(real.shape[-number + i]))
    axes = (*shape[:-number], *sizes)
    return [axes, axes] if isinstance(call.result, tuple) else axes


@rule("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_max_pool1d", "adaptive_max_pool2d")
def _adaptive_pool(call: Call) -> Axes:
    shape = call.shape
    number = 1 if "1d" in call.name else 2
    for i, n in enumerate(_pair(call.arg(1, "output_size"), number)):
        if n is not None:
            shape[-number + i] = size_of(n)
    return tuple(shape)


@rule("interpolate", "upsample", "upsample_bilinear", "upsample_nearest")
def _interpolate(call: Call) -> Axes:
    shape = call.shape
    size, scale = call.arg(1, "size"), call.arg(2, "scale_factor")
    number = len(shape) - 2
    for i in range(number):
        if size is not None:
            shape[2 + i] = size_of(_pair(size, number)[i])
        elif isinstance(factor := _pair(scale, number)[i], int):
            shape[2 + i] = call.scope.product(size_of(factor), shape[2 + i])
        else:
            shape[2 + i] = call.scope.fresh(call.result.shape[2 + i])
    return tuple(shape)


@rule("unfold")
def _unfold(call: Call) -> Axes:
    shape = call.shape
    if call.result.ndim == len(shape) + 1:  # Tensor.unfold(dim, size, step): windows along one axis
        dim, size, step = call.arg(1, "dimension"), size_of(call.arg(2, "size")), call.arg(3, "step")
        return *replaced(shape, dim, windows(call.scope, shape[dim], size, step, 0, 1)), size
    kernel = [size_of(n) for n in _pair(call.arg(1, "kernel_size"), 2)]
    dilation, padding = _pair(call.arg(2, "dilation", default=1), 2), _pair(call.arg(3, "padding", default=0), 2)
    stride = _pair(call.arg(4, "stride", default=1), 2)
    counts = [windows(call.scope, shape[-2 + i], kernel[i], stride[i], padding[i], dilation[i]) for i in range(2)]
    return *shape[:-3], call.scope.product(shape[-3], *kernel), call.scope.product(*counts)


@rule("fold")
def _fold(call: Call) -> Axes:
    shape = call.shape
    kernel = [size_of(n) for n in _pair(call.arg(2, "kernel_size"), 2)]
    channels = call.scope.quotient(shape[-2], call.scope.product(*kernel))
    return *shape[:-2], channels, *(size_of(n) for n in _pair(call.arg(1, "output_size"), 2))


@rule("pixel_shuffle", "pixel_unshuffle")
def _pixel_shuffle(call: Call) -> Axes:
    shape = call.shape
    factor = size_of(call.arg(1, "upscale_factor", "downscale_factor"))
    scope = call.scope
    if call.name == "pixel_unshuffle":
        return *shape[:-3], scope.product(shape[-3], factor, factor), *(scope.quotient(s, factor) for s in shape[-2:])
    deep = scope.quotient(shape[-3], scope.product(factor, factor))
    return *shape[:-3], deep, *(scope.product(s, factor) for s in shape[-2:])


# Losses


@rule("cross_entropy", "nll_loss", "mse_loss", "l1_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits")
def _loss(call: Call) -> Axes | None:
    return () if call.result.ndim == 0 else None


# Numbers that are sizes


def named_sizes(name: str, call: Call) -> Any:
    """For what asks a tensor for its sizes: the same answer, of numbers that know what they are. Else None."""
    if name in ("shape", "size"):
        axes = call.axes(call.first)
        numbers = [_int(size, call.scope) for size in axes]
        if isinstance(call.result, int):
            return numbers[call.arg(1, "dim")]
        return torch.Size(numbers)
    if name in ("numel", "nelement"):
        return _int(call.scope.product(*call.shape), call.scope)
    return None


def _int(size: Size, scope: Scope) -> int:
    return int(size.value) if size.constant or math.isnan(size.value) else NamedInt(size, scope)
