"""`trace`: a call, and its steps as rows."""

import inspect
import re
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from vitcourse.trace.atoms import Size, number, plus, product
from vitcourse.trace.copies import Call, Copies, Recipe
from vitcourse.trace.errors import explained
from vitcourse.trace.folding import folded
from vitcourse.trace.follow import Axes, Follower
from vitcourse.trace.names import (
    HYPERPARAMETERS,
    aligned,
    arguments_of,
    contract_of,
    hyperparameter,
    is_config,
    is_symbol,
    parts,
    signature_of,
    words,
)
from vitcourse.trace.record import Axis, Failure, Row, Shape, Trace
from vitcourse.trace.recorder import Ref, Sizes, Step, named_results, quietly, sizes_of, tensors_in
from vitcourse.trace.runs import LARGE, Rehearsals
from vitcourse.trace.sizes import Names, Vector, worth
from vitcourse.trace.source import Place, place_of, readable
from vitcourse.trace.steps import Failed, Node, Recorder

NamesGiven = Mapping[str, str] | Sequence[str] | str | None
# Numbers that are no sizes, or that change which steps there are.
_NO_SIZES = {
    *(
        "dim",
        "axis",
        "dim0",
        "dim1",
        "start_dim",
        "end_dim",
        "seed",
        "groups",
        "index",
        "layer",
        "head",
        "step",
        "n_layers",
    ),
}

# How modules that `build` made were made, and the parts of such modules.
_RECIPES: "weakref.WeakKeyDictionary[nn.Module, Recipe]" = weakref.WeakKeyDictionary()


def trace(
    function: Callable[..., Any], *args: Any, names: NamesGiven = None, depth: int | None = None, **kwargs: Any
) -> Trace:
    """Call a function or module and return the trace of its steps: every tensor's shape, by name.

    The axes of the inputs get their names from `names` (`{"images": "B C H W"}`, or the string alone for the first
    tensor), else from the jaxtyping annotations of the signature; parameters can be named too
    (`{"projection.weight": "D C P P"}`), numbers (`{"patch_size": "P"}`), and dicts (`{"batch['x']": "B D"}`).

    Every other name is found by running the same call on copies, at other sizes: an axis is called by the expression of
    the symbols that fits every run, and shows its number where none does. What `build` made is made anew for that; in a
    finished module, whose own sizes stay, each step is asked alone.

    `depth` is how many levels of calls the rows go down to; without it, as deep as fits on a screen. When the traced
    code raises, the trace ends there and its `error` says why. What can't be looked into, compiled code say, is a row.
    """
    call = described(function, args, kwargs, names)
    recorder = Recorder(_own_files(function))
    rehearsals = quietly(Rehearsals, call, _is_large(call), lambda *made: _follower(call, *made))
    inputs = list(_input_rows(recorder, call))
    result, failure = None, None
    try:
        result = recorder.run(function, args, kwargs)
    except Exception as error:
        failure = error
    told = Told(call, recorder, rehearsals, function)
    if rehearsals is not None and told.nameable():
        quietly(rehearsals.run, recorder.steps, failure is not None, recorder.opaque, recorder.data, told.settled)
    told.learn()
    return told.trace(inputs, result, failure, depth)


def build(kind: Callable[..., nn.Module], *args: Any, **kwargs: Any) -> nn.Module:
    """Make a module, so that traces of it can make it anew at other sizes: then they know every axis.

    The module is what `kind(*args, **kwargs)` makes, nothing else.
    """
    return built(kind, args, kwargs, {})


def built(
    kind: Callable[..., nn.Module], args: tuple[Any, ...], kwargs: dict[str, Any], symbols: Mapping[str, str]
) -> nn.Module:
    """Make a module and remember how; some of its constructor's numbers have symbols that its words don't tell."""
    module: nn.Module = kind(*args, **kwargs)
    signature = signature_of(kind)
    given = arguments_of(kind, args, kwargs)
    if signature is not None:
        # A default is a number with a name, as an argument is.
        kwargs = {
            **kwargs,
            **{n: p.default for n, p in signature.parameters.items() if n not in given and type(p.default) is int},
        }
    paths = arguments_of(kind, args, kwargs)
    numbers: dict[str, str] = {}
    values: dict[str, int] = {}
    known: dict[str, int] = {}
    for path, symbol, value in _numbers(paths, [*args, *kwargs.values()], {"dim": "D", **symbols}):
        if symbol != "L" and known.setdefault(symbol, value) == value:
            numbers[path], values[path] = symbol, value
    for path, part in module.named_modules():
        _RECIPES[part] = Recipe(kind, args, kwargs, paths, numbers, values, path)
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


# Before the call


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
    held = {f"{p}.{n}".lstrip("."): t for p, m in modules for n, t in (*m.named_parameters(), *m.named_buffers())}
    for path in given:
        if path not in call.tensors and path not in held and path not in paths and path not in dict(leaves):
            known = ", ".join(dict.fromkeys([*paths, *call.tensors, *list(held)[:3]])) or "none"
            raise ValueError(f"names has {path!r}, which is no input here; the inputs are {known}")
    for path, symbol, value in _numbers(paths, values, {p: w for p, w in given.items() if p not in call.tensors}):
        if call.sizes.setdefault(symbol, value) == value and path.split("[")[0] not in _NO_SIZES:
            call.numbers[path] = symbol
    for _, module in modules:
        if (recipe := _RECIPES.get(module)) is not None:
            call.recipes.append((module, _fitting(recipe, call)))
        else:
            _heads(module, call)
    contract = contract_of(function)
    told = {path: (words(given[path]), True) for path in call.tensors if path in given}
    told |= {p: (contract.arguments[p], False) for p in call.tensors if p in contract.arguments and p not in told}
    for path, tensor in call.tensors.items():
        call.words[path] = _axis_words(call, path, sizes_of(tensor), *told.get(path, (("...",), False)))
    for path, tensor in call.tensors.items():
        call.words[path] = _settled(call, call.words[path], sizes_of(tensor))
    call.held = [(held[path], words(given[path])) for path in given if path in held]
    return call


def _given(names: NamesGiven, call: Call) -> dict[str, str]:
    if isinstance(names, Mapping):
        return dict(names)
    return dict(zip(call.tensors, [names] if isinstance(names, str) else names or (), strict=False))


def _axis_words(call: Call, path: str, sizes: Sizes, shape: tuple[str, ...], certain: bool) -> list[str]:
    """A word for each axis of an input; a shape that doesn't fit is the caller's mistake, or else is not believed."""
    fitting = aligned(shape, len(sizes))
    if fitting is None:
        if certain:
            raise ValueError(f"{path} has {len(sizes)} axes {sizes}, and names calls {len(shape)}: {' '.join(shape)}")
        return ["_"] * len(sizes)
    result = list(fitting)
    for place, (word, size) in enumerate(zip(fitting, sizes, strict=True)):
        if is_symbol(word) and call.sizes.setdefault(word, size) != size:
            if certain:
                raise ValueError(f"{word} is {call.sizes[word]} elsewhere, and {size} in {path} {sizes}")
            result[place] = "_"
    return result


def _settled(call: Call, shape: list[str], sizes: Sizes) -> list[str]:
    """Expressions of sizes that nothing has alone, C·P·P of patches that came as such, are names as well."""
    result = []
    for word, size in zip(shape, sizes, strict=True):
        try:
            fits = word != "_" and worth(word, call.sizes) == size
        except KeyError:
            fits = call.sizes.setdefault(word, size) == size
        if not fits:
            word = str(size) if size <= 1 else f"_{len(call.sizes)}"
            if size > 1:
                call.sizes[word] = size
        result.append(word)
    return result


def _numbers(paths: list[str], values: list[Any], given: Mapping[str, str]) -> Iterator[tuple[str, str, int]]:
    """The numbers among arguments that are sizes: where they are, their symbols, and what they are."""
    for path, value in zip(paths, values, strict=True):
        leaves = [(p, v) for p, v in parts(value, path, objects=True) if type(v) is int]
        said = words(given[path]) if path in given else ()
        for place, (leaf, size) in enumerate(leaves):
            siblings = sum(other.rpartition("[")[0] == leaf.rpartition("[")[0] for other, _ in leaves)
            symbol = said[place % len(said)] if said else hyperparameter(leaf, siblings)
            if symbol is not None and size > 0 and path not in _NO_SIZES - set(given):
                yield leaf, symbol, size


def _fitting(recipe: Recipe, call: Call) -> Recipe:
    """The recipe, without the numbers whose symbols are other sizes in this call."""
    numbers = {
        p: s for p, s in recipe.numbers.items() if call.sizes.setdefault(s, recipe.values[p]) == recipe.values[p]
    }
    return replace(recipe, numbers=numbers)


def _heads(module: nn.Module, call: Call) -> None:
    """Where a finished module keeps how many heads it has: it can have others without other parameters."""
    found = [
        (part, name, HYPERPARAMETERS[name] == "dh", value)
        for part in module.modules()
        for name, value in vars(part).items()
        if HYPERPARAMETERS.get(name) in ("h", "dh") and type(value) is int
    ]
    numbers = {value for _, _, width, value in found if not width}
    if len(numbers) == 1 and "h" not in call.sizes:
        call.sizes["h"] = numbers.pop()
        call.heads = [(part, name, width) for part, name, width, _ in found]


def _is_large(call: Call) -> bool:
    return sum(p.numel() for _, module in call.modules for p in module.parameters()) > LARGE


def _own_files(function: Callable[..., Any]) -> frozenset[str]:
    """The file of what is traced: its steps are shown, even when it is torch's own."""
    plain = inspect.unwrap(function.forward if isinstance(function, nn.Module) else function)
    code = getattr(getattr(plain, "__func__", plain), "__code__", None)
    return frozenset({code.co_filename} if code is not None else ())


def _input_rows(recorder: Recorder, call: Call) -> Iterator[Node]:
    for prefix, module in call.modules:
        for path, tensor in (*module.named_parameters(), *module.named_buffers()):
            recorder.module_names[id(tensor)] = f"{prefix or 'self'}.{path}"
        for path, child in module.named_modules():
            recorder.module_names[id(child)] = f"{prefix or 'self'}.{path}".rstrip(".")
    for word, tensor in call.tensors.items():
        serial = recorder.note("input", [tensor])
        node = Node(
            Place("", 0, word), "input", serial, (0, 0), {-1: (torch.get_default_dtype(), torch.device("cpu"))},
            serial, True,
        )  # fmt: skip
        node.results, node.kind = ((serial, 0),), (tensor.dtype, tensor.device)
        yield node


def _follower(call: Call, copies: Copies, inputs: list[Tensor]) -> Follower:
    """What follows the sizes of a finished instance, with the names that the call brings along."""
    follower = Follower(call.sizes, copies.kept)
    for path, tensor in zip(call.tensors, inputs, strict=True):
        follower.note(
            tensor, [_told(follower, word, n) for word, n in zip(call.words[path], tensor.shape, strict=True)]
        )
    for held, shape in call.held:
        if isinstance(tensor := copies.of(held), Tensor):
            fitting = aligned(shape, tensor.ndim) or ("_",) * tensor.ndim
            follower.note(tensor, [_told(follower, word, n) for word, n in zip(fitting, tensor.shape, strict=True)])
    return follower


def _told(follower: Follower, word: str, size: int) -> Size:
    if word.isdigit():
        return follower.atoms.size(number(int(word)))
    if word.startswith("_"):
        return follower.atoms.fresh(size)
    if is_symbol(word) or word in follower.atoms.given:
        return follower.atoms.fresh(size, word)
    sizes = {n: follower.atoms.polys[follower.atoms.fresh(size, n)] for n, size in follower.atoms.given.items()}
    total = number(0)
    for term in word.split("+"):
        total = plus(total, product(*(number(int(w)) if w.isdigit() else sizes.get(w, {}) for w in term.split("·"))))
    return follower.atoms.size(total)


# After the call


class Told:
    """What the runs tell of the sizes of one call."""

    def __init__(self, call: Call, recorder: Recorder, rehearsals: Rehearsals | None, function: Any) -> None:
        self.call, self.recorder, self.rehearsals, self.function = call, recorder, rehearsals, function
        self.follower: Follower | None = None
        self._runs: list[list[Step]] = []

    def learn(self) -> None:
        """Take in what the runs have told since."""
        call, recorder, rehearsals = self.call, self.recorder, self.rehearsals
        self.turns = rehearsals.turns if rehearsals is not None else []
        self.runs = 1 + (rehearsals.count if rehearsals is not None else 0)
        self.stopped = rehearsals.stopped if rehearsals is not None else {}
        self.varied = rehearsals.ways if rehearsals is not None else {}
        if len(self._runs) == 1 + len(self.turns):
            return
        followed = next((turn for turn in self.turns if turn.follower is not None), None)
        self.follower = followed.follower if followed is not None else None
        self.copies = followed.copies if followed is not None else None
        sizes: dict[str, Vector] = {n: (v, *(turn.sizes[n] for turn in self.turns)) for n, v in call.sizes.items()}
        if self.follower is not None and followed is not None:
            if not self.follower.told:
                tensors = tensors_in(followed.result)
                quietly(self._promised, self.function, [self.follower.axes(tensor) for tensor in tensors])
                quietly(self._modules, recorder.root)
                quietly(self._kept)
                self.follower.told = True
            atoms = self.follower.atoms
            for atom, name in atoms.names.items():
                if name not in sizes and name not in atoms.derived:
                    sizes[name] = (atoms.values[atom],) * (1 + len(self.turns))
        self.names = Names(sizes, fixed=self.follower is not None)
        self.findings: list[str] = []
        # Where code works at the given size only, no size is followed any further; where data decides, and no run with
        # other data took the same steps, no later size is known at all.
        self.trusted = self.proved = len(recorder.steps)
        if recorder.data is not None and not (rehearsals is not None and rehearsals.contrary):
            self.trusted = self.proved = recorder.data
        quietly(self._find)
        self._found: dict[Any, Axis] = {}
        self._shapes: dict[Any, Shape] = {}
        self._runs = [recorder.steps, *(turn.steps for turn in self.turns)]

    def nameable(self) -> bool:
        """Whether runs can name anything: not where no size has a symbol, and no module may promise one."""
        symbols = [name for name in self.call.sizes if not name.startswith("_")]
        if symbols or self.call.modules or contract_of(self.function).results:
            return True
        return any(node.module is not None for node in self.recorder.root.inside())

    def settled(self) -> bool:
        """Whether another run can tell nothing more: each size that changes has a name that needs no guess."""
        self.learn()
        many = len(self.turns) > 1
        keys = {key: serial for serial, key in enumerate(zip(*self._runs, strict=False))}
        for serial in keys.values():
            for place in range(len(self._runs[0][serial]) - 1):
                sizes = [steps[serial][place + 1] for steps in self._runs]
                for axis, vector in zip(self.shape((serial, place)), zip(*sizes, strict=True), strict=True):
                    open = axis.name is None or re.search(r"[/⌈(+\d-]", axis.name)
                    if open and len(set(vector)) > 1 and vector not in self.names.hidden:
                        return False
        return many or (self.follower is not None and self.varied.keys() <= {"B", "h", "n"})

    def _promised(self, function: Any, results: list[Axes]) -> None:
        """Name the axes of results as a signature does, if it is right in everything that is known of them."""
        assert self.follower is not None
        for promise in contract_of(function).results:
            shapes = [aligned(s, len(r)) for s, r in zip(promise, results, strict=False) if s is not None]
            if len(promise) != len(results) or None in shapes or len(shapes) != len(promise):
                continue
            found = [self.follower.atoms.resolve(size) for axes in results for size in axes]
            pairs = list(zip([word for shape in shapes for word in shape or ()], found, strict=True))
            if all(self._agrees(word, size) for word, size in pairs):
                for word, size in pairs:
                    self._call(size, word)
            return

    def _modules(self, node: Node) -> None:
        """The same for the modules inside."""
        assert self.follower is not None
        for child in node.children:
            if child.module is not None and child.results and child.results[-1][0] < len(self.follower.steps):
                self._promised(child.module, [self.follower.steps[s][i] for s, i in child.results])
            self._modules(child)

    def _agrees(self, word: str, size: Size) -> bool:
        assert self.follower is not None
        known = self.follower.atoms.text(size)
        if self.follower.atoms.constant(size):
            return word in ("_", str(self.follower.atoms.values[size]))
        return known is None or word in ("_", known)

    def _call(self, size: Size, word: str) -> None:
        assert self.follower is not None
        atoms = self.follower.atoms
        atom = atoms.unnamed(size)
        if atom is not None and is_symbol(word) and word not in self.call.sizes and word not in atoms.names.values():
            atoms.name(atom, word)

    def _kept(self) -> None:
        """Name the widths that a finished module keeps under their words, where one size alone has that number.

        The width of a token, D, may also be the one of several that tokens are normalised over.
        """
        assert self.follower is not None
        atoms = self.follower.atoms
        sizes = {size for step in self.follower.steps for axes in step for size in axes}
        unnamed = {atom for size in sizes if (atom := atoms.unnamed(size)) is not None}
        normed = {atom for size in self.follower.normed if (atom := atoms.unnamed(size)) is not None}
        kept: dict[str, set[int]] = {}
        for _, module in self.call.modules:
            for part in module.modules():
                owners = [vars(part), *(vars(value) for value in vars(part).values() if is_config(value))]
                for name, value in (item for owner in owners for item in owner.items()):
                    word = HYPERPARAMETERS.get(name)
                    pair = value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value
                    if word in ("D", "M", "K", "C", "P") and type(pair) is int:
                        kept.setdefault(str(word), set()).add(pair)
        for word, values in kept.items():
            alone = {atom for atom in unnamed if atoms.values[atom] in values}
            if len(alone) > 1 and word == "D":
                alone &= normed
            if len(values) == 1 and len(alone) == 1:
                self._call(alone.pop(), word)

    # Axes

    def shape(self, ref: Ref) -> Shape:
        """The axes of what a step made."""
        serial, place = ref
        if place + 1 >= len(self.recorder.steps[serial]):
            return ()
        told = self.follower is not None and serial < len(self.follower.steps) and serial < self.trusted
        known = self.follower.steps[serial][place] if told and self.follower is not None else None
        # Steps of the same sizes in all runs, the turns of a loop say, have the same names.
        sizes = tuple([steps[serial] for steps in self._runs])
        inside = (len(self.call.words) > serial) * (serial + 1)
        key = (sizes, serial < self.proved, inside, None if known is None else tuple(known), place)
        if key not in self._shapes:
            shape = self._named([s[place + 1] for s in sizes], known, serial)
            # Equal ones are one, which makes them quick to compare.
            self._shapes[key] = self._shapes.setdefault(shape, shape)
        return self._shapes[key]

    def _named(self, sizes: list[Sizes], known: Axes | None, serial: int) -> Shape:
        said = list(self.call.words.values())[serial] if serial < len(self.call.words) else None
        axes = []
        for axis, vector in enumerate(zip(*sizes, strict=True)):
            if said is not None and not said[axis].startswith("_") and not said[axis].isdigit():
                axes.append(Axis(vector[0], self.names.alias(said[axis])))
            elif serial >= self.proved:
                axes.append(Axis(vector[0]))
            else:
                axes.append(self._axis(vector, known[axis] if known else None))
        return tuple(axes)

    def held(self, tensor: Tensor) -> Shape:
        """The axes of a tensor that the call found ready: a parameter, say."""
        found = [turn.copies.of(tensor) for turn in self.turns]
        sizes = sizes_of(tensor)
        others = [sizes_of(other) for other in found if isinstance(other, Tensor) and other.ndim == len(sizes)]
        copy = self.copies.of(tensor) if self.copies is not None else None
        known = self.follower.axes(copy) if self.follower is not None and isinstance(copy, Tensor) else None
        if len(others) < len(self.turns):
            others = [sizes] * len(self.turns)
        return tuple(
            self._axis((size, *(other[axis] for other in others)), known[axis] if known else None)
            for axis, size in enumerate(sizes)
        )

    def _axis(self, size: Vector, known: Size | None) -> Axis:
        atoms = self.follower.atoms if self.follower is not None else None
        key = (size, atoms.resolve(known) if known is not None and atoms is not None else None)
        if key not in self._found:
            text = atoms.text(atoms.called(known)) if known is not None and atoms is not None else None
            if text is not None:
                try:
                    known = [{n: v[k] for n, v in self.names.sizes.items()} for k in range(len(size))]
                    fits = [worth(text, at) == number for at, number in zip(known, size, strict=True)]
                except (KeyError, ZeroDivisionError):
                    fits = [False]
                text = text if all(fits) else None
            if text is None and len(size) == 1 + len(self.turns) and min(size) >= 0:
                text = self.names.text(size)
            self._found[key] = Axis(size[0], text)
        return self._found[key]

    # Rows

    def trace(self, inputs: list[Node], result: Any, error: BaseException | None, depth: int | None) -> Trace:
        """The trace of the call."""
        recorder, function = self.recorder, self.function
        rows = list(folded([*inputs, *recorder.root.children], self.shape))
        failure = None
        if error is not None:
            failure = Failure(error)
            if (at := recorder.failed) is not None and at.error is error:
                failure = self._failure(at)
        outcome = tuple(self._shape_of(tensor) for tensor in named_results(result))
        name = (
            type(function).__name__
            if isinstance(function, nn.Module)
            else getattr(function, "__name__", repr(function))
        )
        if outcome and not recorder.root.children:
            # Nothing of it is written in Python: it is one step.
            rows.append(Row(f"{name}({', '.join(row.expression for row in rows)})", name, outcome))
        return Trace(
            name, rows, result, failure, depth, self.names.meanings, outcome, self.runs,
            tuple(self.findings),
        )  # fmt: skip

    def _failure(self, at: Failed) -> Failure:
        operands = tuple((word, self._shape_of(tensor)) for word, tensor in at.operands)
        text, module = at.place.text, ""
        if at.module is not None:
            module = self.recorder.module_names.get(id(at.module), type(at.module).__name__)
        if not readable(at.place.file) or not text:
            # Raised inside the module of torch that was called, in a line that is not the reader's.
            shown = type(self.function).__name__
            if isinstance(self.function, nn.Module):
                shown += f"({self.function.extra_repr().partition('=')[0].rpartition(',')[0]})"
            text = f"{shown}({', '.join(self.call.tensors)})"
            operands = operands or tuple((word, self._shape_of(tensor)) for word, tensor in self.call.tensors.items())
        numbers = [part for value in at.args for path, part in parts(value, "") if type(part) is int]
        said = quietly(explained, at.op, operands, module, numbers) or ""
        return Failure(at.error, at.place.file, at.place.line, text, at.op, operands, said)

    def _find(self) -> None:
        """Where the code works at the given size only: from there on, no size is known to be another."""
        for symbol, rehearsal in self.stopped.items():
            size, place = self.call.sizes[symbol], rehearsal.place
            if place is None or size < 2 or symbol.startswith("_") or symbol in self.varied:
                continue
            if re.search(rf"(?<![\w.]){size}(?![\w.])", place.text):
                self.trusted = min(self.trusted, len(rehearsal.steps))
                if any(f" line {place.line}," in said for said in self.findings):
                    continue
                line = f"line {place.line}, {place.text}"
                said = f"{size} is written as a number in {line}: it works at {symbol}={size} only"
                self.findings.append(said)

    def _shape_of(self, tensor: Tensor) -> Shape:
        ref = self.recorder.known(tensor)
        return self.held(tensor) if ref is None else self.shape(ref)
