"""What the runs of a call tell of its sizes: the axes of every step, by name."""

import re
from itertools import combinations
from typing import Any

from torch import Tensor

from vitcourse.trace.atoms import Size, number, plus, product
from vitcourse.trace.copies import Call, Copies
from vitcourse.trace.follow import Axes, Follower
from vitcourse.trace.names import HYPERPARAMETERS, aligned, contract_of, is_symbol, kept_numbers
from vitcourse.trace.record import Axis, Shape
from vitcourse.trace.recorder import Ref, Sizes, Step, quietly, sizes_of, tensors_in
from vitcourse.trace.runs import Rehearsals
from vitcourse.trace.sizes import Names, Vector, worth
from vitcourse.trace.steps import Node, Recorder


def follower(call: Call, copies: Copies, inputs: list[Tensor]) -> Follower:
    """What follows the sizes of a finished instance, with the names that the call brings along."""
    follower = Follower(call.sizes, copies.kept)
    for path, tensor in zip(call.tensors, inputs, strict=True):
        follower.note(
            tensor, [_size(follower, word, n) for word, n in zip(call.words[path], tensor.shape, strict=True)]
        )
    for held, shape in call.held:
        if isinstance(tensor := copies.of(held), Tensor):
            fitting = aligned(shape, tensor.ndim) or ("_",) * tensor.ndim
            follower.note(tensor, [_size(follower, word, n) for word, n in zip(fitting, tensor.shape, strict=True)])
    return follower


def _size(follower: Follower, word: str, size: int) -> Size:
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


def _holds(text: str | None, runs: dict[str, Vector], number: int) -> bool:
    """Whether a name is right in another run, as far as its sizes tell."""
    sizes = {name: size for name, (size,) in runs.items()}
    try:
        whole = all(sizes.get(a, 0) % sizes.get(b, int(b) if b.isdigit() else 1) == 0 for a, b in
                    re.findall(r"(?<!/)\b(\w+)/(\w+)", text or ""))  # fmt: skip
        return text is None or "⌈" in text or "//" in text or (whole and worth(text, sizes) == number)
    except (KeyError, ZeroDivisionError):
        return True


class Told:
    """What the runs tell of the sizes of one call."""

    def __init__(self, call: Call, recorder: Recorder, rehearsals: Rehearsals | None, function: Any) -> None:
        self.call, self.recorder, self.rehearsals, self.function = call, recorder, rehearsals, function
        self.follower: Follower | None = None
        self._runs: list[list[Step]] = []
        self._words = list(call.words.values())

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
        own = {n: v for n, v in call.sizes.items() if rehearsals is None or n not in rehearsals.tied}
        sizes: dict[str, Vector] = {n: (v, *(turn.sizes[n] for turn in self.turns)) for n, v in own.items()}
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
                    sizes[name] = (int(atoms.values[atom]),) * (1 + len(self.turns))
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
        # Where another of two sizes is the larger, it is another case: a last batch that is not full, say.
        alike = [
            (at, steps)
            for at, steps in (rehearsals.parted if rehearsals else ())
            if all((own[a] - own[b]) * (at[a] - at[b]) >= 0 for a, b in combinations(own, 2))
            and all(at[name] == at[other] for name, other in (rehearsals.tied if rehearsals else {}).items())
        ]  # fmt: skip
        self._parted = [(Names({n: (at[n],) for n in own}).sizes, steps) for at, steps in alike]
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
        for _, name, value in (item for _, module in self.call.modules for item in kept_numbers(module)):
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

    def _find(self) -> None:
        """Where the code works at the given size only: from there on, no size is known to be another."""
        for symbol, rehearsal in self.stopped.items():
            size, place = self.call.sizes[symbol], rehearsal.place
            # A run that goes another way, where an if asks for a size, has met nothing that it can't do.
            if (
                not isinstance(rehearsal.error, Exception)
                or size < 2
                or symbol.startswith("_")
                or symbol in self.varied
            ):
                continue
            if place is not None and re.search(rf"(?<![\w.-]){size}(?![\w.])", place.text):
                self.trusted = min(self.trusted, len(rehearsal.steps))
                if any(f" line {place.line}," in said for said in self.findings):
                    continue
                line = f"line {place.line}, {place.text}"
                said = f"{size} is written as a number in {line}: it works at {symbol}={size} only"
                self.findings.append(said)

    def forget(self) -> None:
        """Let go of all that the runs used: what is left to be asked is shapes of steps."""
        del self.call, self.recorder, self.rehearsals, self.turns, self.copies, self.function
        if self.follower is not None:
            self.follower.forget()

    # Axes

    def shape(self, ref: Ref) -> Shape:
        """The axes of what a step made."""
        serial, place = ref
        if place + 1 >= len(self._runs[0][serial]):
            return ()
        told = self.follower is not None and serial < len(self.follower.steps) and serial < self.trusted
        known = self.follower.steps[serial][place] if told and self.follower is not None else None
        # Steps of the same sizes in all runs, the turns of a loop say, have the same names.
        sizes = tuple([steps[serial] for steps in self._runs])
        inside = (len(self._words) > serial) * (serial + 1)
        parted = tuple([(i, steps[serial]) for i, (_, steps) in enumerate(self._parted) if len(steps) > serial])
        key = (sizes, serial < self.proved, inside, None if known is None else tuple(known), place, parted)
        if key not in self._shapes:
            shape = self._named([s[place + 1] for s in sizes], known, serial)
            for i, step in parted:
                fits = [
                    _holds(axis.name, self._parted[i][0], n) for axis, n in zip(shape, step[place + 1], strict=True)
                ]
                shape = tuple(axis if fit else Axis(axis.size) for axis, fit in zip(shape, fits, strict=True))
            # Equal ones are one, which makes them quick to compare.
            self._shapes[key] = self._shapes.setdefault(shape, shape)
        return self._shapes[key]

    def _named(self, sizes: list[Sizes], known: Axes | None, serial: int) -> Shape:
        said = self._words[serial] if serial < len(self._words) else None
        axes = []
        for axis, vector in enumerate(zip(*sizes, strict=True)):
            if said is not None and not said[axis].startswith("_") and not said[axis].lstrip("-").isdigit():
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
                    runs = [{n: v[k] for n, v in self.names.sizes.items()} for k in range(len(size))]
                    fits = [worth(text, at) == number for at, number in zip(runs, size, strict=True)]
                except (KeyError, ZeroDivisionError):
                    fits = [False]
                text = text if all(fits) else None
            if text is None and len(size) == len(self._runs) and min(size) >= 0:
                text = self.names.text(size)
            self._found[key] = Axis(size[0], text)
        return self._found[key]

    def shape_of(self, tensor: Tensor) -> Shape:
        """The axes of a tensor."""
        ref = self.recorder.known(tensor)
        return self.held(tensor) if ref is None else self.shape(ref)
