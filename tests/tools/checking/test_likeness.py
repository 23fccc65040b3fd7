"""In what a wrong result is like the right one: said when it is so for every input, and only then."""

import pytest
import torch
from torch import Tensor

from vitcourse.checking.likeness import likeness, relation
from vitcourse.checking.sizes import Sizes


@pytest.fixture
def expected() -> list[Tensor]:
    """Right results of two unlike inputs."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, 5, 7, generator=generator), torch.randn(3, 4, 11, generator=generator)]


def test_a_factor_is_said_where_it_is_the_same_for_all(expected: list[Tensor]) -> None:
    assert relation([(right / 2, right) for right in expected]).endswith("times 0.5, whatever the input: half of them")
    assert "wrong sign" in relation([(-right, right) for right in expected])
    assert "changes with the sizes" in relation([(right / right.shape[-1], right) for right in expected])
    assert relation([(expected[0] * 2, expected[0]), (expected[1].tanh(), expected[1])]) == ""


def test_one_input_proves_nothing(expected: list[Tensor]) -> None:
    assert relation([(expected[0] * 2, expected[0])]) == ""


def test_an_offset_and_another_order_are_said(expected: list[Tensor]) -> None:
    assert "plus -0.25" in relation([(right - 0.25, right) for right in expected])
    assert "another order along axis 1" in relation([(right.roll(1, dims=1), right) for right in expected])
    assert "along axis 2: reversed" in relation([(right.flip(2), right) for right in expected])


def test_another_shape_is_told_by_what_would_make_it_the_same(expected: list[Tensor]) -> None:
    right = expected[0]
    assert "permute(0, 2, 1)" in likeness(right.transpose(1, 2), right)
    assert "only the shape is not" in likeness(right.flatten(1), right)
    assert likeness(right[:1], right) == ""


def test_nothing_is_said_of_what_is_merely_wrong(expected: list[Tensor]) -> None:
    for wrong in (torch.tanh, torch.randn_like, lambda right: right * float("nan")):
        assert relation([(wrong(right), right) for right in expected]) == ""


def test_a_shape_is_told_by_its_symbols_and_by_what_was_exchanged() -> None:
    sizes = Sizes(B=2, N=77, D=13)
    assert sizes.told((2, 13, 77), "B N D").startswith("(B=2, D=13, N=77): the axes N and D are exchanged")
    assert sizes.told((77, 13, 2), "N B D").startswith("(N=77, D=13, B=2): the axes B and D are exchanged")
    assert sizes.told((13, 2, 77), "B N D") == ("(D=13, B=2, N=77): the axes are right, but stand in the order D, B, N")
    assert sizes.told((2, 13, 76), "B N D") == "(B=2, D=13, 76)"
    assert sizes.told((2, 13), "B N D") == "(B=2, D=13)"
