"""What the runs of a call tell of its sizes: the axes of every step, by name."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations
from math import prod
from typing import Any

from torch import Tensor

from vitcourse.trace.atoms import Size
from vitcourse.trace.copies import Call, Copies
from vitcourse.trace.expressions import HEADS, Vector, closed, holds, worth_all
from vitcourse.trace.follow import Axes, Follower
from vitcourse.trace.names import contract_of
from vitcourse.trace.record import Axis, Shape
from vitcourse.trace.recorder import COUNTING, JOINS, RESHAPES, SPREADING, STACKS, WHERE, Ref, Step, quietly, sizes_of
from vitcourse.trace.rehearsal import Parted, Rehearsal
from vitcourse.trace.runs import Rehearsals
from vitcourse.trace.sizes import Names
from vitcourse.trace.source import Place, writes_out_a_list
from vitcourse.trace.steps import Recorder

# A run: its sizes, and its steps.
Ran = tuple[dict[str, int], list[Step]]
# A sum of more is no name.
MOST_TERMS = 4
# Functions whose first result has as many places as data says.
COUNTED = (WHERE | COUNTING | {"where"}) - {"repeat_interleave"}


def _written(number: int, place: Place) -> bool:
    """Whether a number stands in a line."""
    return re.search(rf"(?<![\w.-]){number}(?![\w.])", place.text) is not None


def _unsure(axis: Axis, sizes: Vector) -> bool:
    """Whether an axis that changes has no name, or one that is rounded."""
    return len(set(sizes)) > 1 and (axis.name is None or "//" in axis.name or "⌈" in axis.name)


class Told:
    """What the runs tell of the sizes of one call."""

    def __init__(self, call: Call, recorder: Recorder, rehearsals: Rehearsals, function: Any) -> None:
        self.call, self.recorder, self.rehearsals, self.function = call, recorder, rehearsals, function
        self.follower: Follower | None = None
        self.copies: Copies | None = None
        self._runs: list[list[Step]] = []
        self._learnt: tuple[Any, ...] | None = None
        # Runs that were stopped by a number in the code, from its step on: what they show to be false is no name.
        self._refuting: list[tuple[int, dict[str, Vector], list[Step]]] = []
        self._words = list(call.words.values())

    # One function, however long: all of it is read off the same runs, and is anew as soon as there is one more.
    def learn(self) -> None:
        """Take in what the runs have told since."""
        recorder, rehearsals = self.recorder, self.rehearsals
        self.turns, self.follower, self.runs = rehearsals.turns, rehearsals.follower, 1 + rehearsals.count
        others = [(turn.sizes, turn.steps) for turn in self.turns]
        if not others and (ended := rehearsals.parted or rehearsals.raised):
            # All went another way: those that went along the longest tell of the steps until then.
            most = max(len(steps) for _, steps in ended)
            others = [(at, steps) for at, steps in ended if len(steps) == most]
        learnt = (len(others), len(rehearsals.raised), rehearsals.contrary, *rehearsals.stopped)
        if self._learnt == learnt:
            return
        self._learnt = learnt
        own = {name: size for name, size in self.call.sizes.items() if name not in rehearsals.tied}
        followed = next((turn for turn in self.turns if turn.follower is not None), None)
        if self.follower is not None and followed is not None and self.copies is None:
            self.copies = followed.copies
            self.follower.call_all(self.call, self.function, followed.results, recorder.root)
        stuck = {name: own[name] for name in rehearsals.stopped if own.get(name, 0) > 1}
        made = {name for _, recipe in self.call.recipes for name in recipe.numbers.values()}
        written = self.call.numbers.values()
        # No factor may be one of these, though it was followed: of which number it is one, nobody sees.
        self._held = {size for name, size in stuck.items() if name in made or name in written}
        # Sizes that decide which steps there are may be in any number of the code, but where other runs agree.
        parted = {name for name, run in rehearsals.stopped.items() if isinstance(run.error, Parted)}
        self._deciding = parted - rehearsals.ways.keys()
        # So may they be in how many tensors there are to put together, but where the line has them all.
        several = self._deciding or not rehearsals.turned_to.isdisjoint(JOINS | STACKS)
        nodes = [node for node in recorder.root.inside() if node.op in JOINS | STACKS] if several else []
        counts = {len(node.operands) for node in nodes if not writes_out_a_list(node.place.text)}
        self._counts = frozenset(counts) - {1}
        self._runs = [recorder.steps, *(steps for _, steps in others)]
        self.names = self._names_of(own, others, stuck)
        quietly(self.names.say, [word for words in self._words for word in words])
        # What failed at the end tells of all before, where sizes changed in it that could change in no other.
        ended = [] if rehearsals.contrary or not self.turns else rehearsals.raised
        ended = [(at, steps) for at, steps in ended if any(at[name] != size for name, size in stuck.items())]
        self._reach = max([0, *(len(steps) for _, steps in ended)])
        early = [(at, steps) for at, steps in ended if len(steps) == self._reach]
        self._early = [*self._runs, *(steps for _, steps in early)]
        changed = {name for at, _ in early for name in stuck if at[name] != stuck[name]}
        stuck = {name: size for name, size in stuck.items() if name not in changed}
        self._early_names = self._names_of(own, others + early, stuck) if early else self.names
        self.findings: list[str] = []
        # Where code works at the given size only, no size is followed any further; where data decides, and no run with
        # other data took the same steps, no later size is known at all.
        self.trusted = self.proved = min(map(len, [recorder.steps, *(steps for _, steps in others)]))
        self._data = recorder.data if recorder.data is not None else len(recorder.steps)
        if not rehearsals.contrary:
            self.trusted = self.proved = min(self.proved, self._data)
        quietly(self._find)
        self._found: dict[Any, Axis] = {}
        self._shapes: dict[Any, Shape] = {}
        # Where another of two sizes is the larger, it is another case: a last batch that is not full, say.
        alike = [
            (at, steps)
            for at, steps in rehearsals.parted
            if all((own[a] - own[b]) * (at[a] - at[b]) >= 0 for a, b in combinations(own, 2))
            and all(at[name] == at[other] for name, other in rehearsals.tied.items())
        ]  # fmt: skip
        self._parted = [(Names({n: (at[n],) for n in own}).sizes, steps) for at, steps in alike]

    def _names_of(self, own: dict[str, int], others: list[Ran], stuck: dict[str, int]) -> Names:
        """The names of sizes in these runs; some sizes no run could change."""
        sizes = {name: (size, *(at[name] for at, _ in others)) for name, size in own.items()}
        for name, followed in self.follower.atoms.named.items() if self.follower is not None else ():
            sizes.setdefault(name, (followed.value,) * (1 + len(others)))
        runs = [self.recorder.steps, *(steps for _, steps in others)]
        for serial, (first, *rest) in enumerate(zip(*runs, strict=False)):
            if first[0] in COUNTED and first[1]:
                # As many as the data says: no expression of sizes, whatever it comes to.
                sizes[f"_data{serial}"] = (first[1][0], *(step[1][0] for step in rest))
        given = frozenset(size for name, size in stuck.items() if name in self.call.numbers.values())
        return Names(sizes, fixed=self._fixed(), doubted=frozenset(stuck.values()), given=given, counts=self._counts)

    def _fixed(self) -> bool:
        """Whether a number in an expression may be a size that no run could change."""
        if not self.turns or self.rehearsals.own:
            return True
        # How many channels an image has is often written as a number in a module, and is a factor of nothing else.
        return self.follower is not None and not self.rehearsals.stopped.keys() <= {"C"}

    def nameable(self) -> bool:
        """Whether runs can name anything: not where no size has a symbol, and no module may promise one."""
        symbols = [name for name in self.call.sizes if not name.startswith("_")]
        if symbols or self.call.modules or contract_of(self.function).results:
            return True
        return any(node.module is not None for node in self.recorder.root.calls())

    def settled(self) -> bool:
        """Whether another run can tell nothing more: each size that changes has a name that needs no guess."""
        self.learn()
        many = len(self.turns) > 1
        keys = {key: serial for serial, key in enumerate(zip(*self._runs, strict=False))}
        for serial in keys.values():
            for place in range(len(self._runs[0][serial]) - 1):
                known = self._known(serial, place)
                for axis, vector in enumerate(zip(*(steps[serial][place + 1] for steps in self._runs), strict=True)):
                    if len(set(vector)) > 1 and vector not in self.names.hidden:
                        name = self._named(serial, axis, vector, known).name
                        if name is None or re.search(r"[/⌈(+\d-]", name):
                            return False
        return many or (self.follower is not None and self.rehearsals.ways.keys() <= {"B", "n", *HEADS})

    def telling(self) -> dict[str, int]:
        """Sizes of symbols at which another run would tell expressions apart that fit those so far."""
        self.learn()
        for same in dict.fromkeys(zip(*self._runs, strict=False)):
            for shapes in zip(*(step[1:] for step in same), strict=True):
                for vector in zip(*shapes, strict=True):
                    self.names.text(vector)
        return {name: size for name, size in self.names.rounded.telling().items() if name in self.rehearsals.ways}

    def _stuck(self) -> Iterator[tuple[str, int, Rehearsal]]:
        """The sizes that the code, and no module's own size, allows no other of; and the runs that tried it."""
        bound = self.follower.atoms.bound() if self.follower is not None else set()
        for symbol, run in self.rehearsals.stopped.items():
            # A run that goes another way, where an if asks for a size, has met nothing that it can't do.
            stopped = isinstance(run.error, Exception) and symbol not in self.rehearsals.ways
            if stopped and self.call.sizes[symbol] > 1 and not symbol.startswith("_") and symbol not in bound:
                yield symbol, self.call.sizes[symbol], run

    def _find(self) -> None:
        """Where the code works at the given size only: from there on, no size is known to be another."""
        for symbol, size, run in self._stuck():
            if run.place is not None and _written(size, run.place):
                self.trusted = min(self.trusted, len(run.steps))
                self._say(size, run.place, symbol)
        for serial, one, other in dict.fromkeys(self.follower.met) if self.follower is not None else ():
            node = next((node for node in self.recorder.root.inside() if node.start == serial and node.shown), None)
            if node is not None:
                both = f"{one} has to be {other}" if other.isdigit() else f"{one} and {other} have to be one size"
                spread = ", or 1" if node.op in SPREADING else ""
                said = f"in line {node.place.line}, {node.place.text}: {both}{spread}"
                self.findings += [said] if said not in self.findings else []

    def _say(self, number: int, place: Place, symbol: str) -> None:
        line = f" is written as a number in line {place.line}, {place.text}"
        if not any(line in said for said in self.findings):
            self.findings.append(f"{number}{line}: it works at {symbol}={self.call.sizes[symbol]} only")

    def find_numbers(self) -> None:
        """What a number in the code has made for one size, and stayed as it was where that size was another."""
        stuck = [*self._stuck()]
        # Asked without the runs that failed: it is these that refute.
        reach, self._reach = self._reach, 0
        nodes = [node for node in self.recorder.root.inside() if re.search(r"\d", node.place.text)] if stuck else []
        for symbol, _, run in stuck:
            sizes = Names({name: (size,) for name, size in run.sizes.items()}).sizes
            for node in nodes:
                for serial, place in [ref for ref in node.results if ref[0] < len(run.steps)]:
                    axes = zip(self.shape((serial, place)), run.steps[serial][place + 1], strict=True)
                    wrong = [
                        axis.size for axis, other in axes if axis.size == other and not holds(axis.name, sizes, other)
                    ]
                    if number := next((size for size in wrong if _written(size, node.place)), 0):
                        self._say(number, node.place, symbol)
                        self._refuting.append((serial, sizes, run.steps))
                        self.trusted = min(self.trusted, serial)
        self._reach = reach
        self._shapes.clear()

    def forget(self) -> None:
        """Let go of all that the runs used: what is left to be asked is shapes of steps."""
        # An error that the code has caught holds the frames that it went through, and these the recorder.
        self.recorder.refused = (None,)
        del self.call, self.recorder, self.rehearsals, self.turns, self.copies, self.function
        if self.follower is not None:
            self.follower.forget()

    # Axes

    def shape(self, ref: Ref) -> Shape:
        """The axes of what a step made."""
        serial, place = ref
        if place + 1 >= len(self._runs[0][serial]):
            return ()
        if serial >= max(self.proved, len(self._words)):
            return tuple(map(Axis, self._runs[0][serial][place + 1]))
        known = self._known(serial, place)
        # Steps of the same sizes in all runs, the turns of a loop say, have the same names.
        steps = tuple([steps[serial] for steps in self._runs_of(serial)])
        parted = tuple([(run, steps[serial]) for run, (_, steps) in enumerate(self._parted) if len(steps) > serial])
        words = (len(self._words) > serial) * (serial + 1)
        key = (steps, serial < self.proved, serial < self._data, words, known, place, parted)
        if key not in self._shapes:
            sizes = enumerate(zip(*(step[place + 1] for step in steps), strict=True))
            shape = tuple([self._named(serial, axis, vector, known) for axis, vector in sizes])
            if len(parted) < 2:
                shape = tuple([Axis(axis.size) if self._may_be_other(axis.name) else axis for axis in shape])
            if serial >= self._data:
                # What is rounded may fit as many as data says, by chance.
                shape = tuple([Axis(a.size) if re.search("//|⌈", a.name or "") else a for a in shape])
            for run, step in parted:
                fits = [holds(a.name, self._parted[run][0], n) for a, n in zip(shape, step[place + 1], strict=True)]
                shape = tuple(axis if fit else Axis(axis.size) for axis, fit in zip(shape, fits, strict=True))
            # Equal ones are one, which makes them quick to compare.
            self._shapes[key] = self._shapes.setdefault(shape, shape)
        shape = self._shapes[key]
        for first, run_sizes, others in self._refuting:
            if first <= serial < len(others):
                fits = [holds(a.name, run_sizes, n) for a, n in zip(shape, others[serial][place + 1], strict=True)]
                if not all(fits):
                    shape = tuple(axis if fit else Axis(axis.size) for axis, fit in zip(shape, fits, strict=True))
        return shape

    def outcome(self, results: Sequence[Tensor]) -> tuple[Shape, ...]:
        """The axes of what came out. What is true of a loop's last turn here needn't be of its last of more."""
        shapes = [self.shape_of(tensor) for tensor in results]
        for turn in [turn for turn in self.turns if turn.outcome]:
            known = Names({name: (size,) for name, size in turn.sizes.items()}).sizes
            for place, (shape, ended) in enumerate(zip(shapes, turn.outcome, strict=False)):
                if len(shape) == len(ended):
                    fits = [holds(axis.name, known, size) for axis, size in zip(shape, ended, strict=True)]
                    shapes[place] = tuple(a if fit else Axis(a.size) for a, fit in zip(shape, fits, strict=True))
        return tuple(shapes)

    def _may_be_other(self, text: str | None) -> bool:
        """Whether a number that is added comes from a size that decides which steps there are."""
        added = text is not None and re.search(r"[-+]\d", text)
        return bool(added) and not self._deciding.isdisjoint(re.findall(r"\w+'*", text or ""))

    def _known(self, serial: int, place: int) -> Axes | None:
        """What was followed of a result's axes."""
        if self.follower is None or serial >= min(len(self.follower.steps), self.trusted):
            return None
        return self.follower.steps[serial][place]

    def _named(self, serial: int, axis: int, size: Vector, known: Axes | None) -> Axis:
        word = self._words[serial][axis] if serial < len(self._words) else "_"
        if not word.startswith("_") and not word.lstrip("-").isdigit():
            return Axis(size[0], self.names.alias(word))
        return self._axis(size, known[axis] if known is not None else None)

    def held(self, tensor: Tensor) -> Shape:
        """The axes of a tensor that the call found ready: a parameter, say."""
        first, sizes = self.rehearsals.first, sizes_of(tensor)
        key = id(first.of(tensor)) if first is not None else 0
        others = [turn.held[key] for turn in self.turns if len(turn.held.get(key, ())) == len(sizes)]
        copy = self.copies.of(tensor) if self.copies is not None else None
        known = self.follower.axes(copy) if self.follower is not None and isinstance(copy, Tensor) else None
        if len(others) < len(self.turns):
            others = [sizes] * len(self.turns)
        return tuple(
            self._axis((size, *(other[axis] for other in others)), known[axis] if known else None)
            for axis, size in enumerate(sizes)
        )

    def _axis(self, size: Vector, known: Size | None) -> Axis:
        key = (size, known.code if known is not None else None)
        if key not in self._found:
            names = self._names_for(size)
            text = self.follower.atoms.text(known) if known is not None and self.follower is not None else None
            try:
                fits = text is not None and worth_all(text, names.sizes) == size
            except (KeyError, ZeroDivisionError):
                fits = False
            factors = [*map(int, re.findall(r"\b(\d+)·", text or ""))]
            if not fits or any(n in self._held or names.counted(n) for n in factors):
                text = names.text(size) if len(size) == names.runs and min(size) >= 0 else None
            self._found[key] = Axis(size[0], text)
        return self._found[key]

    def spelt(self, tensor: Tensor) -> Shape:
        """The axes of a tensor; of one without a name, those that a reshape has just merged into it in every run."""
        shape, ref = self.shape_of(tensor), self.recorder.known(tensor)
        source = ref and self.recorder.reshaped(ref[0])
        if ref is None or source is None:
            return shape
        merged = self._merged(source)
        return tuple(Axis(a.size, a.name or merged.get(v)) for a, v in zip(shape, self._vectors(ref), strict=True))

    def _vectors(self, ref: Ref) -> Iterator[Vector]:
        return zip(*(steps[ref[0]][ref[1] + 1] for steps in self._runs_of(ref[0])), strict=True)

    def _runs_of(self, serial: int) -> list[list[Step]]:
        """The runs that tell of a step."""
        return self._early if serial < self._reach else self._runs

    def _names_for(self, size: Vector) -> Names:
        """The names of sizes in as many runs."""
        return self._early_names if len(size) == len(self._early) else self.names

    def _merged(self, source: Ref) -> dict[Vector, str]:
        """What axes of a tensor that stand side by side come to together, in words."""
        before = [pair for pair in zip(self.shape(source), self._vectors(source), strict=True) if pair[0].size != 1]
        merged = {}
        for start, end in combinations(range(len(before) + 1), 2):
            axes, sizes = zip(*before[start:end], strict=True)
            if end - start > 1:
                merged[tuple(map(prod, zip(*sizes, strict=True)))] = "·".join(closed(axis.word) for axis in axes)
        return merged

    def _joined(self, parts: Sequence[Ref]) -> dict[Vector, str]:
        """What axes of several tensors that are put one after another come to together, in words."""
        axes = zip(*(zip(self.shape(ref), self._vectors(ref), strict=True) for ref in parts), strict=True)
        sums = {}
        for beside in axes:
            words, sizes = zip(*beside, strict=True)
            terms = Counter(axis.word for axis in words)
            if len(terms) <= MOST_TERMS:
                text = "+".join(word if n == 1 else f"{n}·{closed(word)}" for word, n in terms.items())
                sums[tuple(map(sum, zip(*sizes, strict=True)))] = text
        return sums

    def find_merged(self) -> None:
        """Call what a reshape merges, or cat joins, by its parts where these are rounded: much fits by chance."""
        end = min(map(len, self._runs))
        steps = [serial for serial in range(end) if self._runs[0][serial][0] in RESHAPES | JOINS]
        doubtful = {n for n in steps if any(map(_unsure, self.shape((n, 0)), self._vectors((n, 0))))}
        if doubtful:
            # Asked anew in the order of the steps: what is rounded twice is found by what is rounded once.
            for names in (self.names, self._early_names):
                names.forget_nameless()
            for same in dict.fromkeys(tuple(run[n] for run in self._runs_of(n)) for n in range(end)):
                for shapes in zip(*(step[1:] for step in same), strict=True):
                    for vector in zip(*shapes, strict=True):
                        self._names_for(vector).text(vector)
        for node in self.recorder.root.inside() if doubtful else ():
            parts = [ref for _, ref, _ in node.operands]
            if node.start in doubtful and node.op in RESHAPES | JOINS and parts and min(parts)[0] >= 0:
                merged = self._merged(parts[0]) if node.op in RESHAPES else self._joined(parts)
                for vector in {*self._vectors((node.start, 0))} & merged.keys():
                    names = self._names_for(vector)
                    if _unsure(Axis(0, names.text(vector)), vector) and not re.search(r"(^|[·+])\d", merged[vector]):
                        names.call(vector, merged[vector])
                        self._found.clear()
                        self._shapes.clear()

    def shape_of(self, tensor: Tensor) -> Shape:
        """The axes of a tensor."""
        ref = self.recorder.known(tensor)
        return self.held(tensor) if ref is None else self.shape(ref)
