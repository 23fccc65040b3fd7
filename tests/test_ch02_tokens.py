"""Chapter 2: the checks of its exercises, and the references held against the formulas, number by number."""

import math

import pytest
import torch
import torch.nn.functional as F

from solutions.ch02_tokens import (
    PositionalEncoding,
    prepend_cls,
    resize_positions,
    sinusoidal_positions,
    sinusoidal_positions_2d,
)
from vitcourse.checking.check import Check

# float32 angles of hundreds of radians: two right ways to compute them differ by this much.
TABLE = {"rtol": 0.0, "atol": 2e-4}


@pytest.mark.exercise("2.1")
def test_prepend_cls(check: Check) -> None:
    s = check.sizes(B=3, N=7, D=5)
    tokens, cls_token = check.randn("B N D"), check.randn("1 1 D")
    prepend = check.get("prepend_cls")

    x = prepend(tokens, cls_token)
    check.shape(x, "B T D", "prepend_cls(tokens, cls_token)")
    for image in range(s.B):
        check.close(x[image, 0], cls_token[0, 0], "the CLS token should be the first token of every image")
    check.close(x[:, 1:], tokens, "after CLS, the tokens should follow as they were")

    check.same(prepend, tokens, cls_token)
    check.same(prepend, tokens[:1], cls_token)
    check.gradients(prepend, tokens, cls_token)
    check.dtypes(prepend, tokens, cls_token)


@pytest.mark.exercise("2.2")
def test_sinusoidal_positions(check: Check) -> None:
    s = check.sizes(n_positions=11, D=6)
    positions = check.get("sinusoidal_positions")

    table = positions(s.n_positions, s.D)
    check.shape(table, "n_positions D", "sinusoidal_positions(n_positions, D)")
    check.close(table[0], torch.tensor([0.0, 1.0] * 3), "row 0 should be 0, 1, 0, 1, …: the sines and cosines of 0")
    circle = table[:, 0::2] ** 2 + table[:, 1::2] ** 2
    check.close(circle, torch.ones(11, 3), "columns 2i and 2i+1 should be sine and cosine of the same angle")
    products = table @ table.T
    check.close(
        products.diagonal(3),
        products[0, 3].expand(8),
        "the dot product of two rows should depend on their distance alone",
    )

    check.same(positions, s.n_positions, s.D)
    odd = check.sizes(n_positions=5, D=9)
    check.shape(positions(odd.n_positions, odd.D), "n_positions D", "sinusoidal_positions(5, 9), an odd width,")
    check.same(positions, odd.n_positions, odd.D)
    check.same(positions, 3, 1)
    check.same(positions, 1, 4)
    check.same(positions, 197, 64, **TABLE)
    check.true(table.dtype == torch.float32, f"the table should be float32, and is {table.dtype}")


@pytest.mark.exercise("2.3")
def test_sinusoidal_positions_2d(check: Check) -> None:
    s = check.sizes(gh=3, gw=5, D=28)
    positions = check.get("sinusoidal_positions_2d")

    table = positions((s.gh, s.gw), s.D)
    check.shape(table, "N D", "sinusoidal_positions_2d((gh, gw), D)")
    half = check.solved("ch02_tokens", "sinusoidal_positions")(7, s.D // 2)
    by_place = table.reshape(s.gh, s.gw, s.D)
    for row in range(s.gh):
        for column in range(s.gw):
            place = f"the patch in row {row}, column {column}"
            check.close(by_place[row, column, :14], half[row], f"the first D/2 columns should tell the row of {place}")
            check.close(by_place[row, column, 14:], half[column], f"the last D/2 should tell the column of {place}")

    check.same(positions, (s.gw, s.gh), s.D)
    check.same(positions, (1, 4), 8)
    check.true(table.dtype == torch.float32, f"the table should be float32, and is {table.dtype}")
    for bad in (6, 7, 9):
        check.raises(positions, (s.gh, s.gw), bad)


@pytest.mark.exercise("2.4")
def test_positional_encoding(check: Check) -> None:
    s = check.sizes(B=3, N=7, D=5)
    tokens = check.randn("B N D")
    encoding = check.module("PositionalEncoding", d_model=s.D, n_patches=s.N)

    held = encoding.values()
    check.shape(held["positions"], "1 T D", "positions")
    check.shape(encoding(tokens), "B T D", "the encoded tokens")
    table = check.solved("ch02_tokens", "sinusoidal_positions")(s.T, s.D)
    check.close(held["positions"][0], table, "positions should be the sinusoidal table, CLS taking row 0")
    for kind in ("sinusoidal", "learned"):
        encoding = check.module("PositionalEncoding", d_model=s.D, n_patches=s.N, positions=kind)
        x, held = encoding(tokens), encoding.values()
        positions = held["positions"]
        check.shape(positions, "1 T D", f"positions of {kind!r}")
        cls_row = held["cls_token"][0, 0] + positions[0, 0]
        check.close(x[1, 0], cls_row, "token 0 should be CLS plus the position of row 0")
        check.close(x[1, 1:] - positions[0, 1:], tokens[1], "token n + 1 should be patch n plus its position")
        check.independent(encoding, tokens)
        check.same(encoding, tokens)
        check.gradients(encoding, tokens)
        check.dtypes(encoding, tokens)
        check.in_evaluation(encoding, tokens.flip(0))

    s = check.sizes(N=101, D=64)
    for kind in ("sinusoidal", "learned"):
        start = check.fresh("PositionalEncoding", d_model=s.D, n_patches=s.N, positions=kind)
        check.starts(start, "cls_token", deviation=(0.0, 0.1))
    check.starts(start, "positions", deviation=(0.005, 0.1))
    check.raises(check.get("PositionalEncoding"), s.D, s.N, "rotary")


@pytest.mark.exercise("2.5")
def test_resize_positions(check: Check) -> None:
    s = check.sizes(gh=3, gw=5, new_gh=7, new_gw=4, D=11)
    positions = check.randn("1 1+gh*gw D")
    resize = check.get("resize_positions")

    resized = resize(positions, (s.gh, s.gw), (s.new_gh, s.new_gw))
    check.shape(resized, "1 1+new_gh*new_gw D", "resize_positions(positions, (gh, gw), (gh', gw'))")
    check.close(resized[:, 0], positions[:, 0], "the row of CLS should be untouched")
    same_grid = resize(positions, (s.gh, s.gw), (s.gh, s.gw))
    check.close(same_grid, positions, "resizing to the same grid should change nothing")
    constant = check.randn("1 1 D").expand(1, 1 + s.gh * s.gw, s.D)
    check.close(
        resize(constant, (s.gh, s.gw), (s.new_gh, s.new_gw)),
        constant[:, :1].expand(1, 1 + s.new_gh * s.new_gw, s.D),
        "positions that are all the same should stay the same",
    )

    check.same(resize, positions, (s.gh, s.gw), (s.new_gh, s.new_gw))
    check.same(resize, positions, (s.gw, s.gh), (2, 3))
    check.same(resize, positions, (s.gh, s.gw), (1, s.gh * s.gw))  # as many patches, and not the same grid
    # Some grids are reached exactly by a scale factor with rounding, and some are not: many are asked.
    for grid, new_grid in (((3, 5), (5, 9)), ((2, 7), (12, 11)), ((11, 1), (15, 13)), ((13, 3), (15, 14))):
        rows = check.inputs.randn((1, 1 + grid[0] * grid[1], 2))
        check.same(resize, rows, grid, new_grid)
    check.gradients(resize, positions, (s.gh, s.gw), (s.new_gh, s.new_gw))
    check.dtypes(resize, positions, (s.gh, s.gw), (s.new_gh, s.new_gw))


@pytest.mark.parametrize(("n_positions", "d_model"), [(11, 6), (5, 9), (197, 64), (1025, 10)])
def test_the_table_is_the_papers_formula(n_positions: int, d_model: int) -> None:
    expected = [
        [
            (math.cos if column % 2 else math.sin)(p / 10000 ** ((column - column % 2) / d_model))
            for column in range(d_model)
        ]
        for p in range(n_positions)
    ]
    torch.testing.assert_close(
        sinusoidal_positions(n_positions, d_model), torch.tensor(expected, dtype=torch.float32), **TABLE
    )


def test_the_2d_table_is_the_papers_formula_once_per_axis() -> None:
    table = sinusoidal_positions_2d((3, 5), 8)
    for n in range(15):
        row, column = divmod(n, 5)
        angles = [axis / 10000 ** (i / 4) for axis in (row, column) for i in (0, 2)]
        expected = torch.tensor([f(angle) for angle in angles for f in (math.sin, math.cos)])
        torch.testing.assert_close(table[n], expected)
    with pytest.raises(ValueError, match="6"):
        sinusoidal_positions_2d((3, 5), 6)


def test_positional_encoding_is_cat_and_add() -> None:
    tokens = torch.randn(3, 7, 5)
    encoding = PositionalEncoding(5, 7, positions="learned")
    with torch.no_grad():
        encoding.cls_token.normal_()
    expected = torch.cat([encoding.cls_token.repeat(3, 1, 1), tokens], dim=1)
    assert torch.equal(prepend_cls(tokens, encoding.cls_token), expected)
    assert torch.equal(encoding(tokens), expected + encoding.positions)
    encoding(tokens).sum().backward()
    assert torch.equal(encoding.cls_token.grad, torch.full((1, 1, 5), 3.0)), "one for each image of the batch"
    assert torch.equal(encoding.positions.grad, torch.full((1, 8, 5), 3.0))
    assert {name for name, _ in encoding.named_parameters()} == {"cls_token", "positions"}
    sinusoidal = PositionalEncoding(5, 7)
    assert {name for name, _ in sinusoidal.named_parameters()} == {"cls_token"}
    assert torch.equal(sinusoidal.state_dict()["positions"][0], sinusoidal_positions(8, 5))
    with pytest.raises(ValueError, match="rotary"):
        PositionalEncoding(5, 7, positions="rotary")


def test_resize_positions_is_torchs_bicubic_on_every_channel() -> None:
    positions = torch.randn(1, 16, 2)
    resized = resize_positions(positions, (3, 5), (7, 4))
    for channel in range(2):
        image = positions[0, 1:, channel].reshape(1, 1, 3, 5)
        expected = F.interpolate(image, size=(7, 4), mode="bicubic", align_corners=False)
        torch.testing.assert_close(resized[0, 1:, channel], expected.flatten())
    assert torch.equal(resized[:, 0], positions[:, 0])
