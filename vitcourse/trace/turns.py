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
    """For each step of a call the first that was as it: at the same place, with the same sizes.

    Where the steps of another run, as far as it goes, have the sizes of these first ones too, so have all others that
    were made, at the same place, of what is as what another was made of. All are from the step `enough` on.
    """

    def __init__(self, main: list[Step], made: Iterable[Made]) -> None:
        self.like = like = [*range(len(main))]
        first: dict[Hashable, int] = {}
        known: dict[Hashable, int] = {}
        new = set(like)
        for serial, place, operands in made:
            kind = like[serial] = first.setdefault((place, main[serial]), serial)
            of = place, tuple([(like[maker], i) if maker >= 0 else ready for (maker, i), ready in operands])
            if of not in known:
                known[of] = kind
            elif known[of] == kind:
                new.remove(serial)
        # Once more what has all in it.
        self.enough = 2 * max(new) + 16

    def all_of(self, steps: list[Step]) -> list[Step] | None:
        """All steps of a run, from the first ones; None where the others don't follow."""
        if any(steps[first] != step for step, first in zip(steps, self.like, strict=False)):
            return None
        return [steps[first] for first in self.like]


def turns_of(main: list[Step], made: Iterable[Made]) -> Turns | None:
    """The turns of a call's loops, where they are worth it."""
    half = len(main) // 2
    # For what is new in the second half all has to be run.
    if len(main) < LONG or not set(main[:half]).issuperset(main[half:]):
        return None
    turns = Turns(main, made)
    return turns if turns.enough < len(main) else None
