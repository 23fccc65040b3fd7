"""In what a wrong result is like the right one: said when it is so, and only then."""

import pytest
import torch
from vitcourse.checking.detectors import likeness

from vitcourse.checking.check import Sizes

SIZES = {"B": 2, "T": 5, "D": 7, "dh": 3}


@pytest.fixture
def expected() -> torch.Tensor:
    return torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0))  # (B, T, D)


def test_a_factor_and_its_name(expected: torch.Tensor) -> None:
    assert likeness(expected * 3**0.5, expected, SIZES) == (
        "your values are the expected ones times 1.732, which is √dh"
    )
    assert "which is 1/D" in likeness(expected / 7, expected, SIZES)
    assert likeness(expected * 1.234, expected, SIZES) == "your values are the expected ones times 1.234"
    assert "wrong sign" in likeness(-expected, expected, SIZES)


def test_an_offset(expected: torch.Tensor) -> None:
    assert likeness(expected - 0.25, expected, SIZES) == "your values are the expected ones plus -0.25, everywhere"


def test_another_order_and_along_which_axis(expected: torch.Tensor) -> None:
    rolled = expected.roll(1, dims=1)
    assert "another order along axis 1 (T=5): yours begins with number 4" in likeness(rolled, expected, SIZES)
    assert "along axis 2 (D=7): reversed" in likeness(expected.flip(2), expected, SIZES)


def test_a_few_wrong_places(expected: torch.Tensor) -> None:
    mine = expected.clone()
    mine[:, 0] += torch.randn(2, 7)
    assert likeness(mine, expected, SIZES) == "only 0 along axis 1 (T=5) is wrong"


def test_other_shapes(expected: torch.Tensor) -> None:
    assert "permute(0, 2, 1)" in likeness(expected.transpose(1, 2), expected, SIZES)
    assert "only the shape is not" in likeness(expected.flatten(1), expected, SIZES)
    assert likeness(expected[:1], expected, SIZES) == ""


def test_nothing_is_said_of_what_is_merely_wrong(expected: torch.Tensor) -> None:
    for mine in (torch.randn(2, 5, 7), expected.tanh(), expected * float("nan"), torch.zeros(2, 5, 7)):
        assert likeness(mine, expected, SIZES) == ""


def test_a_shape_is_read_with_symbols_where_it_is_the_expected_one_in_another_order() -> None:
    sizes = Sizes(B=2, N=77, D=13)
    assert sizes.recognised((2, 13, 77), "B N D") == "(B=2, D=13, N=77)"
    assert sizes.recognised((2, 13, 76), "B N D") == "(2, 13, 76)"
    assert sizes.recognised((2, 13), "B N D") == "(2, 13)"


def test_one_axis_is_enough_and_none_too() -> None:
    row = torch.arange(1.0, 8.0)
    assert "reversed" in likeness(row.flip(0), row, SIZES)
    assert likeness(torch.tensor(2.0), torch.tensor(1.0), SIZES) == ""
