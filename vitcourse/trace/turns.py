"""The further turns of a loop, known by the first ones.

A function of torch that takes the same sizes, and nothing else that may say one, gives the same sizes. So a run at
other sizes need not go through all turns of a loop: from its first ones, and from what was made of what in the call
that is shown, the sizes in all others follow.
"""

from collections.abc import Hashable, Iterable

from vitcourse.trace.recorder import Ref, Step

# The number of a step, its place in the code, and what it took: which step made it, or, ready before, which it was.
Made = tuple[int, Hashable, list[tuple[Ref, int]]]
# A shorter call is run through.
LONG = 100


class Turns:
    """For each step of a call the first that was as it: at the same place, of the same sizes.

    Where these first ones are of one size in another run as well, so are all others that were made of what they were
    made of. That is so from the step `enough` on.
    """

    def __init__(self, main: list[Step], made: Iterable[Made]) -> None:
        self.like = [*range(len(main))]
        first: dict[Hashable, int] = {}
        known: dict[Hashable, int] = {}
        new = set(self.like)
        for serial, place, operands in made:
            sizes = tuple([main[maker][i + 1] if maker >= 0 else ready for (maker, i), ready in operands])
            like = self.like[serial] = first.setdefault((place, sizes, main[serial]), serial)
            kinds = tuple([(self.like[maker], i) if maker >= 0 else ready for (maker, i), ready in operands])
            if known.get((place, kinds)) == like:
                new.remove(serial)
            known.setdefault((place, kinds), like)
        last = max(new)
        # Once more what has all in it.
        self.enough = 2 * last + 16

    def all_of(self, steps: list[Step]) -> list[Step] | None:
        """All steps of a run, from the first ones; None where the others don't follow."""
        if any(steps[first] != step for step, first in zip(steps, self.like, strict=False)):
            return None
        return [steps[first] for first in self.like]


def turns_of(main: list[Step], made: Iterable[Made]) -> Turns | None:
    """The turns of a call's loops, where they are worth it."""
    half = len(main) // 2
    if len(main) < LONG or not set(main[half:]) <= set(main[:half]):
        # What comes late is new: the run has to get there.
        return None
    turns = Turns(main, made)
    return turns if turns.enough < len(main) else None
