"""The same call, run again at other sizes, as often as its sizes need to be told apart."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from math import gcd, inf, prod
from typing import Any

from torch.nn.parameter import is_lazy

from vitcourse.trace.choice import FEW, LENGTHS, WHOLES, WIDTHS, chosen
from vitcourse.trace.copies import Call, Copies
from vitcourse.trace.follow import Follower
from vitcourse.trace.recorder import Step, tensors_in
from vitcourse.trace.rehearsal import MOST_IN_A_MODULE, MOST_IN_A_STEP, Parted, Rehearsal, Weighed
from vitcourse.trace.shared import unnoticed
from vitcourse.trace.steps import Recorder
from vitcourse.trace.turns import turns_of

# A model with more numbers than this is run on tensors without any, torch's meta device: slow by step, not by size.
LARGE = 10_000_000
# A call of more steps takes long: what is little likely isn't tried.
MOST_STEPS = 1_000
# A longer list is a table.
MOST_IN_A_LIST = 12
# Runs that are made to tell two expressions apart.
MOST_TELLING = 6
# How one size alone may change: the first way that the call takes.
ONE_BY_ONE = ("free", "even", "times", "next", "less")


class Rehearsals:
    """Runs of one call at other sizes, as many as tell its sizes apart."""

    def __init__(self, call: Call) -> None:
        self.call = call
        parameters = [p for _, module in call.modules for p in module.parameters()]
        lazy = [p for p in parameters if is_lazy(p)]
        count = 0 if lazy else sum(p.numel() for p in parameters)
        self.meta = count > LARGE
        self._most = inf if self.meta else max(4 * count, MOST_IN_A_MODULE)
        # Whether something comes along that keeps its own sizes.
        self.own = False
        # What gets its sizes by being made, or by its first run, is made anew for each.
        self.anew = bool(call.recipes or lazy)
        self.main: list[Step] = []
        self.failed, self.opaque, self.contrary = False, False, 0
        # The runs that took the steps of the one that is shown; and what followed the sizes of one.
        self.turns: list[Rehearsal] = []
        self.follower: Follower | None = None
        # The symbols that could change, and how; and what stopped the others.
        self.ways: dict[str, str] = {}
        self.stopped: dict[str, Rehearsal] = {}
        # Sizes of the module that are one with a size of an input.
        self.tied = dict(call.ties)
        # Runs that went another way: their sizes and steps until then, which a name has to fit; what was done there.
        self.parted: list[tuple[dict[str, int], list[Step]]] = []
        self.turned_to: set[str] = set()
        # Runs that raised: they tell of the steps until then, where no other does.
        self.raised: list[tuple[dict[str, int], list[Step]]] = []
        self.count = 0
        self._spare: Copies | None = None
        # Numbers without a symbol that a module is made with, where they are others.
        self._others: dict[str, int | float] = {}
        self._tried: dict[tuple[Any, ...], Rehearsal] = {}
        self.first: Copies | None = None

    def prepare(self) -> None:
        """Copy what the call uses, before the call, which may change what it is given."""
        with unnoticed():
            first = Copies(self.call, self.call.sizes, self.meta)
            self.call, self.finished, self.first = first.call_of(), first.finished, first
            self.own = first.finished

    def run(
        self, shown: Recorder, failed: bool, decided: Callable[[], bool], telling: Callable[[], dict[str, int]]
    ) -> None:
        """Vary every symbol that can change, until `decided`, then to `telling` sizes; at first with other data."""
        self.main, self.failed, self.opaque = shown.steps, failed, shown.opaque
        self.decided, self.telling = decided, telling
        self._turns = None if failed else turns_of(self.main, shown.made())
        self._shown = shown
        if self.first is None:
            # It can't be copied, and so not be run.
            return
        with unnoticed(), self.first.shared:
            for self.contrary in (1, 0) if shown.data is not None else (0,):
                self._untie()
                apart = (*self.call.counts, *self.tied, *self.call.layers, *self.call.listed)
                symbols = [name for name in self.call.sizes if name not in apart]
                # Sizes without a symbol are varied only beside those with one, so as not to be taken for them.
                self._vary(symbols if any(not name.startswith("_") for name in symbols) else [])
                if self.turns:
                    if self.contrary:
                        # At the sizes that are shown too: what data decides is then no expression of sizes. Where
                        # that fails, nothing is known of what comes after it.
                        self.contrary = 2
                        if not self._try({}, 0, True):
                            self.contrary = 0
                    break
                self._tried.clear()
                self.stopped.clear()

    # One function, however long: the order of the tries is the idea, and each looks at what the one before gave.
    def _vary(self, symbols: list[str]) -> None:
        """Every symbol at once, where the call allows it; else as many as can change, one after the other."""
        held, done = True, 0
        heads = dict.fromkeys(self.call.counts, str(self.call.more))
        movable = symbols
        if self.finished:
            # The batch, with how many there are in a row, while the module's own sizes are followed: that tells what
            # must stay as it is.
            first = {name: "free" for name in symbols if name in (symbols[0], "B", *LENGTHS)}
            if len(first) > 1 and self._try({**first, **heads}, 0, True):
                self.ways = self.last_ways
            else:
                self._one_by_one(symbols[:1], heads)
            bound = self.follower.atoms.bound() if self.follower is not None else set()
            movable = [name for name in symbols if name not in bound and name not in self.stopped]
        rest = [name for name in movable if name not in self.ways]
        # A finished instance has sizes of its own: what it takes at all, it takes at any size.
        for way, held in (("free", False), ("free", True), ("small", True))[: 1 if self.finished else 3]:
            ways = {**self.ways, **dict.fromkeys(rest, way)}
            if rest and (self._try({**ways, **heads}, 0, held) or (heads and self._try(ways, 0, held))):
                before, self.ways, done = self.ways, self.last_ways, 1
                if self._again(1, held):
                    break
                # One run tells nothing apart.
                self.ways = before
            if rest and isinstance(self.last.error, Parted) and len(self.main) > MOST_STEPS:
                break
        if not rest or not set(rest) <= self.ways.keys():
            self._one_by_one([name for name in rest if name not in self.ways], heads)
            self._tie(heads)
            # What was held to be a product, one after the other, may be none.
            if not self.ways.keys().isdisjoint(WHOLES) and self._try(self.ways, 1, False):
                held, done = False, 1
            symbols, movable = ([name for name in some if name not in self.tied] for some in (symbols, movable))
            if self.stopped and self.ways and movable and movable[-1] in self.ways:
                # The turns of a loop stay as many as they are.
                turns = {name for name, run in self.stopped.items() if len(run.steps) > len(self.main)}
                self._one_by_one([name for name in movable if name not in self.ways and name not in turns], {})
        if 0 < len(self.call.listed) <= MOST_IN_A_LIST and self.ways:
            self._vary_listed(heads)
            symbols = [name for name in symbols if name not in self.tied]
        if heads and "h" not in self.ways and self._try({**self.ways, **heads}, 0, True):
            self.ways = self.last_ways
        # What can't change has to be followed.
        self.finished = self.finished or not symbols or not set(symbols) <= self.ways.keys()
        if not self.turns:
            self._try({}, 0, True)
        ways = self.ways
        for turn in range(1 + done, 5) if ways else ():
            followed = not self.finished or self.follower is not None
            if followed and self.decided():
                break
            if not (self._again(turn, held) or self._again_without(turn, held)) and followed:
                break
        self.ways = ways
        if self.finished and self.follower is None:
            self._try({}, 0, True)
        self._look_closer(held)

    def _vary_listed(self, heads: dict[str, str]) -> None:
        """Each number in a list; or all of one list, where they have to stay in proportion."""
        listed = self.call.listed
        self._one_by_one(listed, {}, ("next", "times"))
        self._tie(heads)
        for word in dict.fromkeys(name.partition("[")[0] for name in listed):
            rest = [name for name in listed if name in self.stopped and name.startswith(f"{word}[")]
            if len(rest) > 1 and self._try({**self.ways, **dict.fromkeys(rest, "times")}, 0, True):
                self.ways = self.last_ways
        # Beside the sizes that are shown there may be room for more than beside smaller ones.
        for name in [name for name in listed if name not in self.ways]:
            any(self._try({name: way}, 0, True) for way in ("next", "times"))
        # Whatever such a number is, one that can't change says nothing of sizes.
        self.stopped = {name: run for name, run in self.stopped.items() if name not in listed}

    def _vary_nameless(self) -> None:
        """Numbers of modules that have no symbol, a ratio say: what changes with one is no expression of sizes."""
        nameless = {path: number for _, recipe in self.call.recipes for path, number in recipe.nameless.items()}
        half = {path: number / 2 for path, number in nameless.items() if type(number) is float}
        whole = [(path, number) for path, number in nameless.items() if path not in half][:MOST_IN_A_LIST]
        for tries in ([half] * bool(half), *([{path: n} for n in (2 * n, n + 1, n // 2)] for path, n in whole)):
            for self._others in tries:
                if self._try({}, 0, True):
                    break
        self._others = {}

    def _look_closer(self, held: bool) -> None:
        """Runs for what the others hide: what is rounded, one layer more, what comes before a late failure."""
        said = {word for words in self.call.words.values() for word in words}
        runs = [self.call.sizes, *(turn.sizes for turn in self.turns)]
        # What was a multiple of some number in all runs, or odd, may be rounded, and nobody would see it.
        multiples = {
            name: "next"
            for name in self.ways
            if name in said and gcd(*(at[name] - (name not in FEW) * self.call.sizes[name] for at in runs)) > 1
        }
        if multiples and not self._try(multiples, 0, held):
            for name in multiples:
                if len(multiples) == 1 or not self._try({name: "next"}, 0, held):
                    # What must be a multiple may be one of less.
                    step = gcd(*(at[name] for at in runs))
                    for by in (2, 2, 2, 3, 5, 7):
                        if step % by == 0 and self._try({name: f"+{step // by}"}, 0, held):
                            step //= by
        for name in [name for name, way in self.ways.items() if way in ("next", "less")]:
            # What was only a little more or less, because of the others, has hidden what is rounded: once alone.
            self._try({name: "times"}, 0, held)
        made = dict.fromkeys(symbol for _, recipe in self.call.recipes for symbol in recipe.numbers.values())
        ones = [name for name in made if self.call.sizes[name] == 1 and name not in self.ways]
        for name in ones if self.turns and len(self.main) < MOST_STEPS else ():
            # One group, or one head: where all that it may have to divide is a multiple, there can be more.
            multiples = {other: "times" for other in self.ways if other not in FEW}
            any(self._try({**multiples, name: way}, 0, True) for way in ("+1", "times"))
        if self.call.layers and self.turns:
            # There is one layer more, which is left out.
            self._try({**self.ways, **dict.fromkeys(self.call.layers, "longer")}, 0, held)
        ended = {name: len(run.steps) for name, run in self.stopped.items() if isinstance(run.error, Exception)}
        late = {name: "next" for name in ended if name in said - {*FEW} and ended[name] == max(ended.values())}
        if late and 4 * max(ended.values()) > len(self.main):
            # What fails late tells of much before, of what is rounded only at more sizes.
            for turn in range(3):
                self._try({**self.ways, **late}, turn, False)
        if self.turns:
            self._vary_nameless()
        image = {name: "next" for name in ("H", "W") if name in self.ways}
        if image and ("P" in self.ways or (self.follower is not None and "P" in self.follower.atoms.named)):
            # Once with an image that its patches don't cover.
            self._try(image, 0, held)
        for _ in range(MOST_TELLING if self.turns and len(self.main) < MOST_STEPS else 0):
            # Where two expressions fit all runs, one more where they differ.
            told = {name: f"+{size - self.call.sizes[name]}" for name, size in self.telling().items()}
            if not told or not any(self._try(ways, 0, held) for ways in (told, *({n: w} for n, w in told.items()))):
                break

    def _again(self, turn: int, held: bool) -> bool:
        """Another run, with the symbols that can change; in other ways, where these sizes don't do."""
        # Small ones that don't do either, the second time, may do in proportion.
        large = ("free", "even", "small")[: 2 + (turn > 1)]
        ways = [
            # What was a multiple of what it is so far may be no multiple of anything.
            {name: "next" if way == "times" else way for name, way in self.ways.items()},
            self.ways,
            # What a loop of so many turns goes along can be longer, but no shorter.
            {name: "more" if way == "free" and name in LENGTHS else way for name, way in self.ways.items()},
            {name: "even" if way == "free" and name not in FEW else way for name, way in self.ways.items()},
            # Some are too large together.
            {name: {"free": "small", "times": "next"}.get(way, way) for name, way in self.ways.items()},
            {name: "times" if way in large and name not in FEW else way for name, way in self.ways.items()},
        ]
        if "times longer" in self.ways.values():
            # What must divide it goes along.
            ways = ways[-1:]
        return any(self._try(way, turn, held) for place, way in enumerate(ways) if way not in ways[:place])

    def _again_without(self, turn: int, held: bool) -> bool:
        """Another run, where one size that could be made a multiple, or a little more, stays as it was."""
        whole = self.ways
        for name in [name for name, way in reversed(whole.items()) if way in ("times", "next", "less")][:3]:
            self.ways = {other: way for other, way in whole.items() if other != name}
            if self.ways and self._again(turn, held):
                return True
        self.ways = whole
        return False

    def _one_by_one(self, symbols: list[str], heads: dict[str, str], ways: Sequence[str] = ONE_BY_ONE) -> None:
        for name in symbols:
            at: list[int] = []
            tries = [self.stopped[name]] if name in self.stopped else []
            loops = most = raised = parted = heavy = False
            for way in ways:
                # The turns of a loop are as many as this size: one more is all that is left to try. What comes in rows
                # may be at its most; the width of an image is what its windows divide.
                less = way == "less"
                least = name in WIDTHS or self.call.sizes[name] < 3
                if (loops and way != "next") or (most and not less) or (less and (not raised or least)):
                    continue
                now = {**self.ways, name: way}
                if (heads and not self.ways and self._try({**now, **heads}, 0, True)) or self._try(now, 0, True):
                    self.ways = self.last_ways
                    break
                # Stopped by the same step again, and not by being too small: by a size of its own, or a most.
                at.append(len(self.last.steps))
                larger = self.last.sizes[name] > self.call.sizes[name]
                raised = isinstance(self.last.error, Exception)
                parted = parted or (isinstance(self.last.error, Parted) and larger)
                heavy = heavy or (isinstance(self.last.error, Parted) and not self.last.elsewhere)
                most = most or (raised and at.count(at[-1]) > 2 and larger)
                loops = len(self.last.steps) > len(self.main)
                tries.append(self.last)
            if heavy and name not in self.ways:
                # Too large beside the others, which are so in proportion.
                light = {n: "times" if way == "free" and n not in FEW else way for n, way in self.ways.items()}
                if any(self._try({**light, name: way}, 0, True) for way in ("times", "next")):
                    self.ways = self.last_ways
            # A loop of as many turns as this size can have more of them.
            parted = parted and name not in (*WIDTHS, *self.call.listed) and len(self.main) < MOST_STEPS
            if name not in self.ways and parted and self._try({**self.ways, name: "longer"}, 0, True):
                self.ways = self.last_ways
                # Alone too, which tells it from the larger, or smaller, of two sizes.
                self._try({name: "longer"}, 1, True)
            elif name not in self.ways and parted and name in self.stopped:
                # So many times as many, with all that it may have to divide.
                multiples = {other: "times" if other not in FEW else way for other, way in self.ways.items()}
                if self._try({**multiples, name: "times longer"}, 0, True):
                    self.ways = self.last_ways
            if name in self.ways:
                self.stopped.pop(name, None)
            else:
                # What took other steps, or else the most, tells the most.
                self.stopped[name] = max(reversed(tries), key=lambda run: (run.elsewhere, len(run.steps)))

    def _untie(self) -> None:
        """A size of the module that can change alone is no input's, though here they come to the same."""
        for name in [*self.tied]:
            other = self.tied.pop(name)
            if not self._try({name: "times"}, 0, True):
                self.tied[name] = other

    def _tie(self, heads: dict[str, str]) -> None:
        """A size of the module that can change only together with one of an input is that one, by the input's symbol.

        But where the input's axis has none: then it is the module's.
        """
        said = {word for words in self.call.words.values() for word in words}
        own = {symbol for _, recipe in self.call.recipes for symbol in recipe.numbers.values()} - said
        sizes, stopped = self.call.sizes, [*self.stopped]
        pairs = [(a, b) for a in stopped if a in own for b in stopped if b in said and sizes[a] == sizes[b]]
        # Where chance or other data ends a run as well, what ends says nothing of sizes.
        for pair in pairs if pairs and self._try({}, 0, True) else ():
            name, other = pair[::-1] if pair[1].startswith("_") else pair
            if name in self.stopped and other in self.stopped:
                self.tied[name] = other
                self._one_by_one([other], heads)
                if other in self.ways:
                    del self.stopped[name]
                else:
                    del self.tied[name]

    # One function, however long: whatever of it fails, the run is one that did not take the steps.
    def _try(self, ways: dict[str, str], turn: int, held: bool) -> bool:
        """One run; whether it took the steps of the run that is shown."""
        sizes = chosen(self.call.sizes, ways, turn, held)
        sizes |= {name: sizes[other] for name, other in self.tied.items()}
        longer = [
            (self.call.sizes[name], sizes[name]) for name, way in ways.items() if way in ("longer", "times longer")
        ]
        key = (self.contrary, *self._others.items(), bool(longer), *sizes.values())
        if key in self._tried:
            self.last = self._tried[key]
            return False
        self.last_ways = ways
        copies = self._spare
        self.last = self._tried[key] = Rehearsal(sizes, self.meta, self.main, self.contrary)
        try:
            if copies is None or self.anew:
                with Weighed(self._most) if self.call.recipes else ExitStack():
                    copies = Copies(self.call, sizes, self.meta, self.first, self._others)
            copies.sizes, copies.ordered, self._spare = sizes, not self.contrary, copies
            args, kwargs = copies.arguments()
            self.own = self.own or copies.finished
            self.finished = self.finished or self.own
            if self.finished and self.follower is None:
                self.last.follower = Follower(self.call, copies, tensors_in([*args, *kwargs.values()]))
            self.count += 1
            if longer:
                self.last.paths, self.last.longer = self._shown.paths, longer
            elif self.last.follower is None and not self.contrary:
                self.last.turns = self._turns
            # What is made for each pair of what is there grows with the square.
            growth = prod([max(1, size // self.call.sizes[name]) for name, size in sizes.items()]) ** 2
            most = MOST_IN_A_STEP // growth
            self.last.room = max(self.last.room, 4 * sum(prod(shape) for step in self.main for shape in step[1:]))
            if growth > 1 and max(map(prod, {shape for step in self.main for shape in step[1:]}), default=0) > most:
                self.last.heavy = {i for i, s in enumerate(self.main) if max([0, *map(prod, s[1:])]) > most}
            self.last.run(copies.function, args, kwargs, self.opaque)
        except (Exception, Parted) as error:
            # What can't be copied, or not be made at these sizes, can't be run at them.
            self.last.error = error
        if self.last.unsure:
            # Its first turns don't tell it all: it is run through.
            self._turns = None
            del self._tried[key]
            return self._try(ways, turn, held)
        same = isinstance(self.last.error, Exception) == self.failed and len(self.last.steps) == len(self.main)
        if copies is None or not same or isinstance(self.last.error, Parted):
            steps = self.last.steps
            if steps and not self.contrary and isinstance(self.last.error, Exception):
                self.raised.append((sizes, steps))
            elif self.last.elsewhere and not self.contrary:
                self.parted.append((sizes, steps[:-1]))
                self.turned_to |= {step[0] for step in (steps[-1], *self.main[len(steps) - 1 : len(steps)])}
            return False
        self._spare, self.last.held = None, copies.held()
        if self.last.follower is not None:
            self.last.copies = copies
        self.turns.append(self.last)
        self.follower = self.follower or self.last.follower
        return True
