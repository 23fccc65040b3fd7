"""In which words a check tells what is wrong with a shape, or what Python says."""

import pytest
import torch

from vitcourse.checking.findings import explained
from vitcourse.checking.sizes import Sizes
from vitcourse.checking.wording import as_call
from vitcourse.course import exercise
from vitcourse.worker.protocol import Slot


def test_a_shape_is_told_by_its_symbols_and_by_what_was_exchanged() -> None:
    sizes = Sizes(B=2, N=77, D=13)
    assert sizes.told((2, 13, 77), "B N D").startswith("(B=2, D=13, N=77): the axes N and D are exchanged")
    assert sizes.told((77, 13, 2), "N B D").startswith("(N=77, D=13, B=2): the axes B and D are exchanged")
    assert sizes.told((13, 2, 77), "B N D") == ("(D=13, B=2, N=77): the axes are right, but stand in the order D, B, N")
    assert sizes.told((2, 13, 76), "B N D") == "(B=2, D=13, 76)"
    assert sizes.told((2, 13), "B N D") == "(B=2, D=13)"


def test_a_model_in_a_call_is_called_a_model() -> None:
    assert as_call("f", (Slot("3"), torch.zeros(2, 5)), {"fill": 0.0}) == "f(model, (2, 5), fill=0.0)"


@pytest.mark.parametrize(
    "line", ["torch.zeros(2).repeat(...).shape[0] + ...", "(...).flatten(1)", "x = torch.ones(2) * ..."]
)
def test_three_dots_in_the_place_of_a_value_are_said_to_stand_there(line: str) -> None:
    with pytest.raises((AttributeError, TypeError)) as error:
        exec(line)
    raised = {"type": error.type.__name__, "message": str(error.value), "frames": []}
    assert explained("f", raised, {}, exercise("1.1"))[1].startswith("... still stands where a value is meant")
