"""A name in a trace is true at every size, or not there: code that tempts a tracer to guess."""

import functools
import logging
import re
import threading
from collections import Counter, OrderedDict, UserDict, namedtuple
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.trace_models import contradictions, value
from vitcourse.trace import build, recorder, trace
from vitcourse.trace.ask import Question
from vitcourse.trace.atoms import Atoms
from vitcourse.trace.choice import chosen
from vitcourse.trace.sizes import Names

Pair = namedtuple("Pair", "q k")


def window(x):
    height, width = x.shape[2:]
    return F.unfold(F.pad(x, (0, -width % 7, 0, -height % 7)), 7, stride=7)


def grid(x):
    side = int(x.shape[1] ** 0.5)
    return x[:, : side * side].reshape(x.shape[0], side, side, -1)


def odd_or_even(x):
    half = torch.zeros(x.shape[1] // 2)
    return F.pad(half, (0, 1)) if x.shape[1] % 2 else half


SIZES = [
    ("cut to a multiple", lambda x: x[:, : x.shape[1] // 3 * 3], "B T", [(2, 9), (2, 10), (5, 13)]),
    ("filled up to threes", lambda x: F.pad(x, (0, 0, 0, -x.shape[1] % 3)), "B T D", [(2, 24, 5), (2, 25, 5)]),
    ("filled up to pairs", lambda x: F.pad(x, (0, x.shape[1] % 2)), "B T", [(2, 24), (2, 23)]),
    ("width in fours", lambda x: x[:, : x.shape[1] // 4 * 4], "B D", [(2, 24), (2, 26), (2, 31)]),
    ("width in sixteens", lambda x: x[:, : x.shape[1] // 16 * 16], "B D", [(2, 24), (2, 15), (2, 31)]),
    ("rest", lambda x: torch.zeros(x.shape[1] % 5 + 1), "B T", [(2, 9), (2, 4), (3, 12)]),
    ("cut at eight", lambda x: x[:, :8], "B T", [(2, 6), (2, 8), (3, 10)]),
    ("cut at a hundred", lambda x: x[:, :100], "B T", [(2, 6), (2, 70), (3, 110)]),
    ("batch cut at four", lambda x: x[:4], "B T", [(3, 6), (4, 8), (9, 10)]),
    ("filled up to four", lambda x: torch.zeros(max(x.shape[1], 4)), "B T", [(2, 6), (2, 3), (5, 4)]),
    ("width filled up to seven", lambda x: torch.zeros(max(x.shape[1], 7)), "B D", [(2, 11), (2, 24), (3, 5)]),
    ("larger side", lambda x: torch.zeros(max(x.shape[2:])), "B C H W", [(2, 3, 8, 8), (2, 3, 9, 8), (2, 3, 8, 10)]),
    ("smaller side", lambda x: torch.linalg.svd(x, full_matrices=False)[0], "B D", [(2, 3), (5, 3), (11, 13)]),
    ("smaller width", lambda x: torch.zeros(min(x.shape)), "D M", [(2, 3), (5, 3), (11, 13)]),
    ("last chunk of three", lambda x: (x.split(4, 1), x.chunk(3, 1))[1][2], "B T", [(3, 10), (2, 9), (5, 12)]),
    ("filled by both", lambda x: x.view(2, 3, -1), "B D", [(3, 4), (2, 6), (6, 5)]),
    ("three quarters", lambda x: torch.zeros(round(x.shape[1] * 0.75)), "B T", [(2, 8), (2, 9), (2, 30)]),
    ("half to even", lambda x: torch.zeros(round(x.shape[1] / 2)), "B T", [(2, 5), (2, 7), (2, 8)]),
    ("smaller of a few", lambda x: torch.linalg.svd(x, full_matrices=False)[1], "N D", [(3, 3), (5, 3), (3, 5)]),
    ("root", lambda x: torch.zeros(int(x.shape[1] ** 0.5)), "B T", [(2, 16), (2, 9), (2, 30)]),
    ("power of two", lambda x: torch.zeros(1 << (x.shape[1] - 1).bit_length()), "B T", [(2, 8), (2, 9), (2, 17)]),
    ("chunk", lambda x: x.chunk(3, dim=1)[-1], "B T", [(2, 9), (2, 10), (2, 7)]),
    ("five more", lambda x: torch.cat([x, torch.zeros(len(x), 5)], 1), "B D", [(2, 5), (5, 5), (3, 7)]),
    ("windows", window, "B C H W", [(2, 3, 14, 21), (2, 3, 15, 20), (2, 3, 7, 7)]),
    ("grid", grid, "B N D", [(2, 16, 4), (2, 9, 4), (3, 11, 4)]),
]


@pytest.mark.parametrize(("function", "names", "inputs"), [case[1:] for case in SIZES], ids=[case[0] for case in SIZES])
def test_no_name_holds_by_chance(function, names, inputs):
    traces = [trace(function, torch.rand(shape), names=names) for shape in inputs]
    for one in traces:
        for other in traces:
            if len(one.steps) == len(other.steps):
                assert not contradictions(one, other)


class Halved(nn.Module):
    def __init__(self, c, w):
        super().__init__()
        self.first, self.up = nn.Conv2d(c, w, 3, padding=1), nn.ConvTranspose2d(w, w, 2, 2)

    def forward(self, x):
        return self.up(F.max_pool2d(self.first(x), 2))


def test_a_size_that_grows_by_its_multiples_is_not_taken_for_even():
    traces = [trace(build(Halved, 3, 4), torch.rand(2, 3, *image), names="B C H W") for image in ((9, 12), (6, 7))]
    assert not [bad for one in traces for other in traces for bad in contradictions(one, other)]


class Redrawn(nn.Module):
    def __init__(self, patch_size, width):
        super().__init__()
        self.cut = nn.Conv2d(3, width, patch_size, patch_size)
        self.draw = nn.ConvTranspose2d(width, 3, patch_size, patch_size)

    def forward(self, x):
        return self.draw(self.cut(x))


@pytest.mark.parametrize("make", [Redrawn, lambda *sizes: build(Redrawn, *sizes)], ids=["finished", "built"])
def test_an_image_made_of_its_patches_is_as_large_as_they_cover(make):
    traces = [trace(make(2, 5), torch.rand(2, 3, *image), names="B C H W") for image in ((8, 12), (9, 13))]
    assert not [bad for one in traces for other in traces for bad in contradictions(one, other)]


class Listening(nn.Module):
    """Sound, a step of two at a time, to which one of at most 40 places is added; what it asks of a memory."""

    def __init__(self, d_model, ctx, n_heads=2, d_head=3):
        super().__init__()
        self.halve, self.places = nn.Conv1d(5, d_model, 3, 2, 1), nn.Parameter(torch.zeros(40, d_model))
        self.ask, self.keys = nn.Linear(d_model, n_heads * d_head), nn.Linear(ctx, n_heads * d_head)

    def forward(self, sound, memory):
        x = self.halve(sound).mT
        return self.ask(x + self.places[: x.shape[1]]) @ self.keys(memory).mT


def test_what_is_rounded_or_a_product_in_some_runs_only_is_told_from_what_always_is():
    model, given = build(Listening, 6, 7), {"sound": "B C T", "memory": "B S c"}
    traced = trace(model, torch.rand(3, 5, 12), torch.rand(3, 4, 7), names=given)
    words = {row.expression: [axis.word for axis in row.shape] for row in traced.steps}
    assert words["self.halve(sound).mT"] == ["B", "⌈T/2⌉", "D"]
    assert words["self.keys(memory)"] == ["B", "S", "h·dh"]


@pytest.mark.parametrize("names", ["T B D", "B T D M", "B h Tq Tk dh", "N B W"])
def test_no_run_has_two_symbols_at_one_size(names):
    given = dict.fromkeys(names.split(), 24)
    for turn in range(5):
        tried = chosen(given, dict.fromkeys(given, "free"), turn, True)
        assert len({tried[name] for name in given}) == len(given), turn


def test_two_written_numbers_that_happen_to_be_equal_are_not_one_size():
    weight = torch.rand(5)
    traced = trace(lambda x: (x[..., None] * weight).expand(*x.shape, 5), torch.rand(3, 5), names="B T")
    assert [axis.word for axis in traced.steps[-1].shape] == ["B", "T", "5"]


def test_axes_that_must_be_equal_by_pairs_are_told_apart():
    operands = list(torch.rand(3, 2, 5, 5, 5))
    attend = F.scaled_dot_product_attention
    # Of the queries, the keys and the values: heads, tokens, widths. Tokens of queries and values are one size here.
    pattern = [0, 1, 2, 3, 0, 4, 5, 6, 0, 7, 2, 8]
    asked = Question("attend", attend, operands, {}, operands, [attend(*operands)]).answer(pattern)
    assert asked.equal == ((1, 5), (1, 9), (2, 6), (3, 7))


class Grouped(nn.Module):
    def __init__(self, d_model, groups):
        super().__init__()
        self.groups, self.mix = groups, nn.Conv1d(d_model, 2 * d_model, 1, groups=groups)

    def forward(self, x):
        return self.mix(x).unflatten(1, (self.groups, -1)).mean(1)


def test_a_name_that_holds_for_some_groups_only_is_none():
    assert trace(build(Grouped, 14, 2), torch.rand(3, 14, 5), names="B D T").steps[-1].shape[1].word == "14"


def halved(x):
    return x if len(x) < 2 else torch.cat([halved(x[: len(x) // 2]), halved(x[len(x) // 2 :])])


def test_halves_of_halves_are_no_differences():
    axes = [axis for row in trace(halved, torch.rand(5, 7), names="B D").steps[1:] for axis in row.shape]
    assert {axis.name for axis in axes} == {None, "D"}


class Placed(nn.Module):
    def __init__(self, vocab, d_model):
        super().__init__()
        self.table, self.places = nn.Embedding(vocab, d_model), nn.Parameter(torch.zeros(29, d_model))

    def forward(self, ids):
        return self.table(ids[:, :13]) + self.places[: ids.shape[1]]


def test_a_sequence_as_long_as_can_be_has_a_name():
    traced = trace(build(Placed, 11, 6), torch.randint(11, (2, 13)), names="B T")
    assert [axis.word for axis in traced.steps[-1].shape] == ["B", "T", "D"]
    assert not traced.findings


class Windows(nn.Module):
    def __init__(self, width, window):
        super().__init__()
        self.window, self.mix = window, nn.Linear(width, width)

    def forward(self, x):
        height, width = x.shape[1:3]
        return self.mix(F.pad(x, (0, 0, 0, -width % self.window, 0, -height % self.window)))


def test_a_side_that_is_filled_up_to_windows_is_not_itself():
    traces = [trace(build(Windows, 6, 4), torch.rand(2, *image, 6), names="B H W D") for image in ((10, 16), (7, 9))]
    assert not [bad for one in traces for other in traces for bad in contradictions(one, other)]


def test_a_size_of_the_module_that_only_changes_with_an_input_is_called_as_the_input():
    class Encoder(nn.Module):
        def __init__(self, width, parts):
            super().__init__()
            self.parts, self.all, self.out = parts, nn.Linear(width, 3 * width), nn.Linear(width, width)

        def forward(self, x):
            q, k, v = self.all(x).unflatten(-1, (3, self.parts, -1)).unbind(2)
            return self.out((q + k + v).flatten(2))

    traced = trace(build(Encoder, 14, 2), torch.rand(5, 3, 14), names="B T D")
    words = [[axis.word for axis in row.shape] for row in traced.steps]
    assert (words[1], words[-1]) == (["B", "T", "3·D"], ["B", "T", "D"])


class Notes(list):
    """What a constructor writes down; what is of a kind of its own isn't put back."""


MADE, LOOPED = Notes(), Notes()


class Pairs(nn.Module):
    def __init__(self, side):
        super().__init__()
        place = torch.arange(side * side)
        self.register_buffer("apart", place[:, None] - place)
        MADE.append(self.apart.numel())

    def forward(self, x):
        return x + self.apart


def test_a_module_is_not_made_at_sizes_that_fill_the_memory():
    MADE.clear()
    traced = trace(build(Pairs, 3), torch.rand(2, 9, 9), names="B N N")
    assert traced.error is None
    assert 3**4 < max(MADE) <= 2**24


class Looped(Pairs):
    def __init__(self, side):
        super().__init__(side)
        for step in range(side**4):
            self.apart[0, 0] = 0
            LOOPED.append(step)


def test_a_module_is_not_made_at_sizes_at_which_its_loops_take_minutes():
    LOOPED.clear()
    assert trace(build(Looped, 3), torch.rand(2, 9, 9), names="B N N").error is None
    assert 79 < max(LOOPED) <= 20_000


def test_a_name_holds_where_the_code_goes_another_way_later():
    traces = [trace(odd_or_even, torch.rand(2, width), names="B D") for width in (7, 8)]
    assert not [axis.name for traced in traces for axis in traced.steps[1].shape if axis.name]


def test_a_run_that_tells_nothing_apart_is_not_the_last():
    def few(x):
        return x.T * 2 if len(x) > 3 else x.T

    traced = trace(few, torch.rand(2, 3), names="B D")
    assert [axis.word for axis in traced.steps[-1].shape] == ["D", "B"]


def counted(x):
    return x[: int((x[:, 0] > -1e6).sum())]


DATA = [
    ("mask", lambda x: x[x[:, 0] > -1e6].sum(1), (7, 3), "7"),
    ("mask of an even batch", lambda x: x[x[:, 0] > -1e6].sum(1), (2, 3), "2"),
    ("second axis", lambda x: x[:, x[0] > -1e6][0], (3, 7), "7"),
    ("chosen", lambda x: torch.masked_select(x, ~x.isnan()), (4, 3), "12"),
    ("unlike", torch.unique, (7,), "7"),
    ("number read", counted, (7, 3), "7"),
    ("from the first on", lambda x: x[x[:, 0].argmax() * 0 :], (7, 3), "7"),
    ("places", lambda x: (x > -1e6).nonzero(), (4, 3), "12"),
]


@pytest.mark.parametrize(("function", "shape", "word"), [case[1:] for case in DATA], ids=[case[0] for case in DATA])
def test_what_data_decides_has_no_name(function, shape, word):
    traced = trace(function, torch.rand(shape), names="B D" if len(shape) == 2 else "B")
    assert traced.steps[-1].shape[0].word == word


def test_one_number_that_is_masked_is_no_minus_one_of_the_sizes():
    x = torch.zeros(2, 6)
    x[-1, -1] = 1e9
    assert trace(lambda x: x[x < 1e6], x, names="B T").steps[-1].shape[0].word == "11"
    assert trace(torch.unique, torch.tensor([5.0, 2.0, 5.0]), names="B").steps[-1].shape[0].word == "2"
    assert trace(lambda n: torch.zeros(n[-1].item()), torch.tensor([1, 2]), names="T").steps[-1].shape[0].word == "2"


def test_steps_that_no_run_goes_beyond_have_their_names():
    def rarely(x):
        flat = x.flatten(0, 1)
        if (flat < -1e6).any():
            flat = flat.relu()
        return flat * 2

    x = torch.rand(2, 5, 3)
    x[0, 0] = -1e9
    assert [[axis.word for axis in row.shape] for row in trace(rarely, x, names="B T D").steps[1:3]] == [
        ["B·T", "D"],
        ["B·T", "D"],
    ]
    assert {axis.name for axis in trace(rarely, x, names="B T D").steps[-1].shape} == {None}


def test_numbers_in_order_are_tried_in_order():
    rnn = nn.LSTM(5, 3, batch_first=True)

    def packed(x, lengths):
        return rnn(nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True))[1][0][0]

    given = {"x": "B T D", "lengths": "B"}
    assert trace(packed, torch.rand(2, 7, 5), torch.tensor([7, 4]), names=given).steps[-1].shape[0].word == "B"
    bags = trace(nn.EmbeddingBag(11, 3), torch.randint(11, (7,)), torch.tensor([0, 2, 5]), names=["S", "B"])
    assert bags.steps[-1].shape[0].word == "B"


def test_no_run_lets_a_kernel_read_past_the_end(monkeypatch):
    # Of sequences of one length, packed, torch's LSTM asks for no width.
    rnn, kernel, widths = nn.LSTM(5, 3, batch_first=True), nn.modules.rnn._VF.lstm, []

    def lstm(*args):
        result = kernel(*args)
        widths.append(args[0].shape[-1])
        return result

    def packed(x, lengths):
        return rnn(nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True))[1][0][0]

    monkeypatch.setattr(nn.modules.rnn._VF, "lstm", lstm)
    row = trace(packed, torch.rand(2, 7, 5), torch.tensor([7, 7]), names={"x": "B T D", "lengths": "B"}).steps[-1]
    assert (row.shape[0].word, len(widths) > 1, set(widths)) == ("B", True, {5})


def test_what_reads_a_packed_batch_has_names():
    class Packed(nn.Module):
        def __init__(self, vocab, width):
            super().__init__()
            self.table, self.rnn = nn.Embedding(vocab, width), nn.GRU(width, 3, batch_first=True)

        def forward(self, ids, lengths):
            packed = nn.utils.rnn.pack_padded_sequence(self.table(ids), lengths, True, False)
            out, _ = nn.utils.rnn.pad_packed_sequence(self.rnn(packed)[0], True, total_length=ids.shape[1])
            return out @ self.rnn.weight_ih_l0[:3]

    given = {"ids": "B T", "lengths": "B"}
    ids = torch.randint(11, (3, 7))
    traced = trace(build(Packed, 11, 5), ids, torch.tensor([4, 7, 2]), names=given)
    assert [axis.word for axis in traced.steps[-1].shape] == ["B", "T", "width"]


def test_a_built_module_outside_of_a_function_is_made_anew():
    model = build(nn.Linear, 5, 3)

    def loss(x):
        return model(x).square().mean(0)

    words = [axis.word for row in trace(loss, torch.rand(2, 5), names="B D").steps for axis in row.shape]
    assert words == ["B", "D", "B", "out_features", "B", "out_features", "out_features"]


class Widths(nn.Module):
    """A width under its usual word, and another axis that may be as wide."""

    def __init__(self, width, inner):
        super().__init__()
        self.hidden_dim = width
        self.inner, self.out = nn.Linear(6, inner), nn.Linear(inner, width)

    def forward(self, x):
        return self.out(torch.relu(self.inner(x)))


def test_a_kept_width_is_not_the_one_that_happens_to_be_as_wide():
    traces = [trace(Widths(width, 36), torch.rand(2, 6), names="B F") for width in (36, 20, 6)]
    assert not [bad for one in traces for other in traces for bad in contradictions(one, other)]


class Turned(nn.Module):
    """A matrix that is turned in place: its two axes may be as long."""

    def __init__(self, width):
        super().__init__()
        self.d_model = width
        self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, 5)

    def forward(self, x):
        weight = self.out.weight.detach().clone()
        weight.t_()
        return self.norm(x) @ weight


def test_what_is_turned_in_place_has_its_axes_turned():
    traced = trace(Turned(5), torch.rand(3, 2, 5), names="B T _")
    shapes = [[axis.word for axis in row.shape] for row in traced.steps if len(row.shape) == 2]
    assert (shapes[0], shapes[-1]) == (["5", "D"], ["D", "5"])
    assert not contradictions(traced, trace(Turned(7), torch.rand(3, 2, 7), names="B T _"))


def test_a_size_is_what_it_comes_to_however_it_is_made():
    atoms = Atoms({"h": 3, "dh": 5, "N": 7})
    named, own, part = atoms.named, atoms.fresh(15), atoms.fresh(3)
    rest = own / part
    assert atoms.text(rest) is None
    atoms.equal(own, named["dh"] * named["h"])
    atoms.equal(rest, named["dh"])
    assert (atoms.text(own), atoms.text(part), atoms.text(rest + 1)) == ("D", "h", "dh+1")
    assert (atoms.text(named["N"] + 1), atoms.text(own * named["N"] / named["h"])) == ("T", "N·dh")
    # Equal in this run alone: 3·5 and 7 + 8.
    assert (named["h"] * named["dh"]).code != (named["N"] + 8).code


def test_nothing_outlives_the_call():
    class Kept:
        last = 0
        seen: list[int] = []  # noqa: RUF012

        def __call__(self, x):
            Kept.last = x.shape[0]
            Kept.seen.append(x.shape[0])
            return x * 2

    @functools.lru_cache
    def table(n):
        return torch.arange(n)

    def call(x, also=[]):  # noqa: B006
        also.append(len(x))
        return table(x.shape[1]) + x

    trace(Kept(), torch.rand(6, 5), names="B D")
    trace(call, torch.rand(6, 5), names="B D")
    assert (Kept.last, Kept.seen, call.__defaults__) == (6, [6], ([6],))
    assert table.cache_info().currsize == 1


class Told(list):
    """What all runs write down in one list."""

    def __deepcopy__(self, memo):
        return self


TURNS = Told()


def turns(x, y, step):
    for turn in range(100):
        TURNS.append((x.shape[0], turn))
        x = step(x, y, turn)
    return x


@pytest.mark.parametrize(
    ("step", "all_turns"),
    [
        (lambda x, y, turn: torch.tanh(x + y[:, turn]), False),
        # What a number says may be another in a later turn.
        (lambda x, y, turn: x + torch.ones(max(x.shape[1], 7 if turn == 50 else 1))[: x.shape[1]], True),
        (lambda x, y, turn: x + torch.ones(x.shape[1] if turn == 50 else 7).mean(), True),
    ],
)
def test_a_run_goes_through_all_turns_of_a_loop_but_where_the_first_ones_tell_the_others(step, all_turns):
    TURNS.clear()
    traced = trace(turns, torch.rand(5, 7), torch.rand(5, 100, 7), step, names={"x": "B D", "y": "B S D"})
    assert max(turn for batch, turn in TURNS if batch == 5) == 99
    assert (max(turn for batch, turn in TURNS if batch != 5) == 99) == all_turns
    assert [axis.word for axis in traced.outcome[0]] == ["B", "D"]
    names = {axis.name for row in traced.steps for axis in row.shape if row.op == "ones"}
    assert len(names) != 1


@dataclass(frozen=True, slots=True)
class Batch:
    images: torch.Tensor


def test_what_is_in_a_record_without_attributes_of_its_own_is_tried_at_other_sizes():
    traced = trace(lambda batch: batch.images.mT, Batch(torch.rand(2, 5)), names={"batch.images": "B D"})
    assert [axis.word for axis in traced.steps[-1].shape] == ["D", "B"]


def test_layers_that_get_their_sizes_from_their_first_input_have_names():
    model = nn.Sequential(nn.LazyConv2d(5, 3), nn.Flatten(), nn.LazyLinear(7))
    traced = trace(model, torch.rand(2, 3, 8, 11), names="B C H W")
    assert [[axis.word for axis in row.shape] for row in traced.steps[1:]] == [
        ["B", "5", "H-2", "W-2"],
        ["B", "270"],
        ["B", "7"],
    ]
    assert model(torch.rand(1, 3, 8, 11)).shape == (1, 7)


class Lazily(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layer = nn.LazyLinear(width)

    def forward(self, x):
        return self.layer(x)


def test_such_layers_of_a_built_module_have_names_too():
    traced = trace(build(Lazily, 7), torch.rand(2, 3, 5), names="B T D")
    assert [axis.word for axis in traced.steps[-1].shape] == ["B", "T", "width"]


@pytest.mark.parametrize("image", [(4, 4), (5, 7)])
def test_what_a_kernel_spreads_is_a_multiple(image):
    up = nn.Sequential(nn.ConvTranspose2d(3, 5, 4, stride=2, padding=1), nn.ConvTranspose2d(5, 2, 2, stride=2))
    words = [axis.word for axis in trace(up, torch.rand(2, 3, *image), names="B C H W").steps[-1].shape]
    assert words == ["B", "2", "4·H", "4·W"]


def test_named_tuples_have_rows_by_their_fields():
    pair = Pair(torch.rand(2, 3, 5), torch.rand(2, 7, 5))
    traced = trace(lambda p: p.q @ p.k.mT, pair, names={"p.q": "B Tq D", "p.k": "B Tk D"})
    assert [axis.word for axis in traced.steps[-1].shape] == ["B", "Tq", "Tk"]


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_a_loss_over_two_shapes_that_broadcast_says_so():
    traced = trace(lambda p, t: F.mse_loss(p, t), torch.rand(5, 1), torch.rand(5), names=["B 1", "B"])
    assert "(B, B)" in traced.steps[-1].warning
    chosen = trace(lambda p, t: torch.where(p > 0, p, t), torch.rand(5, 1), torch.rand(5), names=["B 1", "B"])
    assert "(B, B)" in chosen.steps[-1].warning
    assert not trace(lambda x, b: x + b, torch.rand(5, 3), torch.rand(3), names=["B D", "D"]).steps[-1].warning


def test_what_is_mapped_has_the_shape_that_comes_out():
    traced = trace(lambda x: torch.func.vmap(lambda row: row @ row)(x), torch.rand(4, 3), names="B D")
    assert [[axis.word for axis in shape] for shape in traced.outcome] == [["B"]]


STEPS = Counter()
FRAME = ContextVar("FRAME", default=0)
SHARED = nn.BatchNorm1d(3)


def counted_twice(x):
    STEPS["calls"] += 1
    FRAME.set(FRAME.get() + len(x))
    return x * 2


class Made(OrderedDict):
    """Gives what it holds made, as transformers keeps its activations."""

    def __getitem__(self, key):
        return super().__getitem__(key)()


KINDS = Made(relu=nn.ReLU)


class Outside(nn.Module):
    """A forward that changes what stands outside of it, by itself and through a function that it calls."""

    def __init__(self):
        super().__init__()
        self.out = nn.Linear(5, 3)

    def forward(self, x):
        global LAST
        LAST = x.shape[0]
        logging.getLogger("outside").warning("%s", tuple(x.shape))
        return KINDS["relu"](SHARED(self.out(counted_twice(x))))


def test_what_a_forward_changes_outside_of_it_is_as_one_call_leaves_it(caplog):
    trace(Outside(), torch.rand(7, 5), names="B D")
    assert (STEPS["calls"], LAST, FRAME.get()) == (1, 7, 7)
    assert (SHARED.num_batches_tracked.item(), caplog.messages) == (1, ["(7, 5)"])
    assert isinstance(KINDS["relu"], nn.ReLU)


DEEP = {"seen": [[]]}


class Noting(nn.Module):
    """Keeps what it sees in its class, in a list within a list outside, in a method's cache, and in a hook."""

    seen: list[int] = []  # noqa: RUF012
    calls = 0

    def __init__(self, width):
        super().__init__()
        self.out = nn.Linear(width, 3)
        self.kept = {}

    @functools.lru_cache  # noqa: B019
    def doubled(self, count):
        return 2 * count

    def forward(self, x):
        Noting.calls += 1
        for seen in (Noting.seen, DEEP["seen"][0]):
            seen.append(len(x))
        self.kept = {**self.kept, self.doubled(len(x)): x}
        return self.out(x)


@functools.lru_cache
def table(count):
    return torch.arange(count)


class Cached(nn.Module):
    """Finds a cached function outside of its file's functions, and another in its closure."""

    def forward(self, x):
        return x * table(len(x))[:, None] + self.also(len(x))


def test_a_function_remembers_what_one_call_asked_it():
    @functools.cache
    def inner(count):
        return count

    class Both(Cached):
        def also(self, count):
            return inner(count) + table(count)[-1]

    table.cache_clear()
    assert trace(Both(), torch.rand(7, 5), names="B D").runs > 1
    assert (table.cache_info()[:2], inner.cache_info()[:2]) == ((1, 1), (0, 1))
    assert trace(Both(), torch.rand(7, 5), names="B D").runs > 1
    assert (table.cache_info()[:2], inner.cache_info()[:2]) == ((3, 1), (1, 1))


@pytest.mark.parametrize("make", [Noting, lambda width: build(Noting, width)], ids=["finished", "built"])
def test_what_a_module_keeps_anywhere_is_as_one_call_leaves_it(make):
    for seen in (Noting.seen, DEEP["seen"][0]):
        seen.clear()
    Noting.calls = 0
    Noting.doubled.cache_clear()
    model, x, noted = make(5), torch.rand(7, 5), []
    model.out.register_forward_hook(lambda _m, _i, out: noted.append(len(out)) or out * 2)
    traced = trace(model, x, names="B D")
    assert traced.runs > 1
    assert [axis.word for axis in traced.outcome[0]] == ["B", "3"]
    assert (Noting.calls, Noting.seen, DEEP, Noting.doubled.cache_info().currsize) == (1, [7], {"seen": [[7]]}, 1)
    assert (noted, list(model.kept)) == ([7], [14])
    assert model.kept[14] is x


def test_a_hook_of_which_there_is_no_copy_takes_no_names_from_a_built_module():
    model, lock = build(nn.Linear, 5, 3), threading.Lock()
    model.register_forward_hook(lambda _m, _i, out: None if lock.locked() else out)
    assert trace(model, torch.rand(7, 5), names="B D").outcome[0][0].word == "B"


def test_what_a_call_changes_in_its_arguments_is_changed_once():
    x, kept = torch.zeros(3, 5), [torch.zeros(5)]

    def add(batch, more):
        more[0] += 1
        return batch["x"].add_(1)

    trace(add, UserDict(x=x), kept, names={"batch['x']": "B D", "more[0]": "D"})
    assert (x.unique().tolist(), kept[0].unique().tolist()) == ([1], [1])


class Largest:
    """Keeps the most numbers that it saw; copies of it are itself."""

    seen = 0

    def __deepcopy__(self, memo):
        return self


def test_trying_sizes_does_not_fill_the_memory():
    most = Largest()

    def pairs(x):
        points = x.flatten(1).mT
        apart = points[:, None] - points[None]
        most.seen = max(most.seen, apart.numel())
        return apart.sum(2)

    traced = trace(pairs, torch.rand(3, 11, 13), names="C H W")
    assert 11**2 * 13**2 * 3 <= most.seen < 2**25
    assert [axis.word for axis in traced.steps[-1].shape] == ["H·W", "H·W"]


def test_what_follows_a_part_that_cannot_be_looked_into_has_its_names(monkeypatch):
    monkeypatch.setattr(recorder, "strict", True)
    model = nn.Sequential(torch.jit.script(nn.Linear(5, 5)), Called(lambda x: x.mean(1)), nn.Linear(5, 3))
    traced = trace(model, torch.rand(2, 7, 5), names="B T D")
    assert [row.shape[0].word for row in traced.steps] == ["B"] * len(traced.steps)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_what_follows_a_scripted_function_has_its_names():
    scripted = torch.jit.trace(lambda x: x * 2, torch.rand(2, 3))
    assert [axis.word for axis in trace(lambda x: scripted(x) @ x.T, torch.rand(2, 3), names="B D").outcome[0]] == [
        "B",
        "B",
    ]


class Called(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *args, **kwargs):
        return self.function(*args, **kwargs)


def test_a_wrapper_that_only_passes_on_is_no_row_of_its_own():
    inner = nn.Sequential(nn.Linear(5, 3), nn.ReLU())
    plain, wrapped = (trace(nn.Sequential(part), torch.rand(2, 5)) for part in (inner, Called(Called(inner))))
    assert [row.op for row in plain.steps][2:] == [row.op for row in wrapped.steps][2:] == ["Linear", "ReLU"]


class HandsOn(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(5, 3), nn.Linear(3, 7)

    def forward(self, x):
        return self._through(x)

    def _through(self, x):
        return self.fc2(self.fc1(x))


def test_a_forward_that_only_hands_on_shows_the_steps_of_what_it_calls():
    rows = trace(HandsOn(), torch.rand(2, 5)).steps
    assert [(row.expression, row.depth) for row in rows] == [
        ("x", 0), ("self.fc1(x)", 0), ("self.fc2(self.fc1(x))", 0)
    ]  # fmt: skip


@pytest.mark.parametrize("indices", [False, True])
def test_a_pool_is_called_what_it_is(indices):
    traced = trace(lambda x: F.max_pool2d(x, 2, return_indices=indices), torch.rand(2, 3, 8, 10))
    assert traced.steps[-1].op == "max_pool2d"


def test_a_trace_inside_a_traced_call_shows_no_runs_of_its_own():
    def inner(x):
        return x.t() @ x

    def outer(x):
        return trace(inner, x * 3, names="B D").result + 1

    traced = trace(outer, torch.rand(5, 7), names="B D")
    lines = ["x", "x * 3", 'trace(inner, x * 3, names="B D")', 'trace(inner, x * 3, names="B D").result + 1']
    assert [row.expression for row in traced.steps] == lines
    assert [axis.word for axis in traced.outcome[0]] == ["D", "D"]


class Sharing(nn.Module):
    """Attention in which several heads of queries share one of keys and values."""

    def __init__(self, d_model, n_heads, n_kv_heads):
        super().__init__()
        self.n_heads, self.n_kv_heads, self.d_head = n_heads, n_kv_heads, d_model // n_heads
        self.query = nn.Linear(d_model, n_heads * self.d_head)
        self.key, self.value = (nn.Linear(d_model, n_kv_heads * self.d_head) for _ in range(2))

    def forward(self, x):
        batch, length, _ = x.shape
        q = self.query(x).view(batch, length, self.n_heads, self.d_head).transpose(1, 2)
        k, v = (f(x).view(batch, length, self.n_kv_heads, self.d_head).transpose(1, 2) for f in (self.key, self.value))
        k, v = (tensor.repeat_interleave(self.n_heads // self.n_kv_heads, 1) for tensor in (k, v))
        return F.scaled_dot_product_attention(q, k, v)


@pytest.mark.parametrize("make", [Sharing, lambda *sizes: build(Sharing, *sizes)], ids=["finished", "built"])
def test_heads_that_share_keys_and_values_are_told_from_all_heads(make):
    # Heads of keys, and the width of a head, are one number in one of them.
    traces = [trace(make(*sizes), torch.rand(3, 7, sizes[0]), names="B T D") for sizes in ((60, 10, 5), (66, 6, 2))]
    for traced in traces:
        words = {tuple(axis.word for axis in row.shape) for row in traced.steps if len(row.shape) == 4}
        assert words >= {("B", "h", "T", "dh"), ("B", "n_kv_heads", "T", "dh")}
    assert not contradictions(*traces)


def over_time(x):
    return torch.stack([x[:, t] * 2 for t in range(x.shape[1])], 1)


def over_windows(x):
    return torch.stack([x[:, t : t + 3] for t in range(x.shape[1] - 2)], 1).flatten(1, 2)


def backwards(x):
    sums = [x[:, : t + 1].sum(1) for t in reversed(range(x.shape[1]))]
    return torch.stack(sums[::-1], 1)


def by_weight(x):
    """Two loops over time at one place: of a longer one nobody can tell which turns are the second's."""
    parts = []
    for width in (13, 11):
        for t in range(x.shape[1]):
            parts.append(x[:, t] @ x.new_ones(x.shape[2], width))
    return torch.cat(parts, -1)


@pytest.mark.parametrize(
    ("function", "words"),
    [(over_time, "B T D"), (over_windows, "B 3·T-6 D"), (backwards, "B T D"), (by_weight, "B 24·T")],
)
def test_a_loop_of_as_many_turns_as_a_size_says_may_have_more(function, words):
    traced = trace(function, torch.rand(3, 7, 5), names="B T D")
    assert [axis.word for axis in traced.steps[-1].shape] == words.split()
    widths = {row.shape[-1].word for row in traced.steps if "@" in row.expression}
    assert widths == ({"13", "11"} if function is by_weight else set())


class Experts(nn.Module):
    """The best experts of many, each asked what is its."""

    def __init__(self, d_model, n_experts, hidden):
        super().__init__()
        self.gate = nn.Linear(d_model, n_experts)
        self.experts = nn.ModuleList(nn.Linear(d_model, hidden) for _ in range(n_experts))

    def forward(self, x):
        best = self.gate(x).argmax(-1)
        out = [torch.where((best == i)[..., None], expert(x), 0) for i, expert in enumerate(self.experts)]
        return torch.stack(out, -1)


def test_parts_of_which_a_loop_takes_as_many_as_a_number_says_are_counted():
    traced = trace(build(Experts, 13, 7, 17), torch.rand(3, 5, 13), names="B T D")
    words = {row.expression: [axis.word for axis in row.shape] for row in traced.steps}
    assert (words["self.gate(x)"], words["torch.stack(out, -1)"]) == (
        ["B", "T", "n_experts"], ["B", "T", "hidden", "n_experts"]
    )  # fmt: skip


class Reading(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.into = nn.Linear(input_size, hidden_size)

    def forward(self, x):
        return self.into(x)


def test_a_symbol_that_the_caller_gives_another_size_is_not_a_words():
    traced = trace(build(Reading, 5, 7), torch.rand(3, 2, 5), names="B T D")
    assert [str(axis) for axis in traced.steps[-1].shape] == ["B=3", "T=2", "hidden_size=7"]


class Settings:
    """What a small language model is made of, in a class."""

    vocab_size, dim, hidden_dim, depth = 19, 10, 23, 2


@dataclass
class Kept:
    vocab_size: int = 19
    dim: int = 10
    hidden_dim: int = 23
    depth: int = 2


class Language(nn.Module):
    def __init__(self, config):
        super().__init__()
        kept = config if isinstance(config, dict) else {name: getattr(config, name) for name in vars(Kept())}
        self.dim, self.hidden_dim = kept["dim"], kept["hidden_dim"]
        self.tokens, self.norm = nn.Embedding(kept["vocab_size"], kept["dim"]), nn.LayerNorm(kept["dim"])
        self.layers = nn.ModuleList(nn.Linear(kept["dim"], kept["dim"]) for _ in range(kept["depth"]))
        self.up, self.down = (
            nn.Linear(kept["dim"], kept["hidden_dim"]),
            nn.Linear(kept["hidden_dim"], kept["vocab_size"]),
        )

    def forward(self, x):
        x = self.tokens(x)
        for layer in self.layers:
            x = layer(self.norm(x))
        return self.down(self.up(x))


CONFIGURATIONS = {
    "dict": vars(Kept()),
    "record": Kept(),
    "named tuple": namedtuple("Settings", vars(Kept()))(*vars(Kept()).values()),
    "namespace": SimpleNamespace(**vars(Kept())),
    "object": Settings(),
    "class": Settings,
}


@pytest.mark.parametrize("kind", CONFIGURATIONS)
def test_the_sizes_in_a_configuration_of_any_kind_have_its_words(kind):
    traced = trace(build(Language, CONFIGURATIONS[kind]), torch.randint(0, 19, (3, 5)), names="B T")
    widths = [row.shape[-1].word for row in traced.steps if row.depth == 0]
    # Beside dim, which is the width of a token, hidden_dim is not called D.
    assert widths == ["T", *["D"] * 3, "hidden_dim", "vocab_size"]
    assert (Settings.dim, Settings.vocab_size) == (10, 19)


class Stages(nn.Module):
    """What the first stage reduces by four and by four, the second does by two and by two."""

    def __init__(self):
        super().__init__()
        self.first, self.reduced = nn.Conv2d(3, 5, 7, 4, 3), nn.Conv2d(5, 5, 4, 4)
        self.second = nn.Conv2d(5, 7, 3, 2, 1)

    def forward(self, x):
        x = self.first(x)
        return self.reduced(x), F.avg_pool2d(self.second(x), 2)


def test_of_expressions_that_fit_all_runs_another_run_tells_the_right_one():
    model = Stages()
    traced = trace(model, torch.rand(2, 3, 37, 61), names="B C H W")
    words = [axis.word for shape in traced.outcome for axis in shape[2:]]
    assert all("H" in word or "W" in word for word in words)
    for height, width in zip(range(24, 90), range(90, 24, -1), strict=True):
        sizes = [size for result in model(torch.rand(1, 3, height, width)) for size in result.shape[2:]]
        assert [value(word, {"H": height, "W": width}) for word in words] == sizes


@pytest.mark.parametrize("image", [(13, 11), (13, 10), (16, 12)])
def test_what_is_filled_up_to_a_multiple_of_a_size_is_called_so(image):
    def filled(x, p):
        return F.pad(x, (0, -x.shape[2] % p, 0, -x.shape[1] % p))

    traced = trace(filled, torch.rand(2, *image), 4, names={"x": "B H W", "p": "P"})
    words = ["B", "P·⌈H/P⌉", "P·⌈W/P⌉"]
    found = [axis.word for axis in traced.outcome[0]]
    # Where P goes into both, nothing is filled up at the sizes that are shown: a number is as good.
    bare = image == (16, 12) and found[1:] in (["16", "P·⌈W/P⌉"], ["16", "12"])
    assert found == words or bare


class Heads(nn.Sequential):
    def __init__(self, config):
        first, second = config.channels
        super().__init__(nn.Linear(3, first), nn.Linear(first, second))


class Towers(nn.Module):
    def __init__(self, config):
        super().__init__()
        one, other = config.values() if isinstance(config, dict) else vars(config).values()
        self.one, self.other = nn.Linear(3, one.dim), nn.Linear(3, other.dim)

    def forward(self, x):
        return self.one(x), self.other(x)


@pytest.mark.parametrize("kind", [dict, SimpleNamespace])
def test_two_sizes_of_one_word_have_neither_it_nor_each_others_name(kind):
    config = kind(image=SimpleNamespace(dim=16), text=SimpleNamespace(dim=16))
    traced = trace(build(Towers, config), torch.rand(2, 3), names="B F")
    assert [[axis.word for axis in shape] for shape in traced.outcome] == [["B", "16"]] * 2
    listed = trace(build(Heads, SimpleNamespace(channels=[16, 16])), torch.rand(2, 3), names="B F")
    assert [axis.word for axis in listed.outcome[0]] == ["B", "channels[1]"]


def test_sizes_that_have_to_be_small_do_not_stay_as_far_apart():
    ways = dict.fromkeys(("h", "B", "H", "W", "d_out"), "small")
    main = {"h": 2, "B": 2, "H": 7, "W": 9, "d_out": 11}
    turns = [chosen(main, ways, turn, True) for turn in range(5)]
    assert len({sizes["H"] - sizes["W"] for sizes in turns}) > 3


def test_sizes_that_are_alike_however_the_others_are_chosen_make_no_others_large():
    ways = {"D": "free", "n_heads": "times", "window": "next"}
    sizes = chosen({"D": 24, "n_heads": 2, "window": 3}, ways, 0, True)
    assert sizes == {"D": 16, "n_heads": 4, "window": 4}


class TwoOrFour(nn.Module):
    """In two groups, or in four; the channels are a number in the code."""

    def __init__(self, dim, groups):
        super().__init__()
        if groups not in (2, 4):
            raise ValueError("not so many groups")
        self.groups = groups
        self.layers = nn.Sequential(nn.Conv2d(3, dim, 1), nn.Conv2d(dim, 2 * dim, 1))

    def forward(self, x):
        return self.layers(x).unflatten(1, (self.groups, -1))


def test_what_can_change_once_only_does_not_keep_the_others_from_changing_again():
    traced = trace(build(TwoOrFour, 20, 2), torch.rand(5, 3, 7, 11), names="B C H W")
    assert [row.shape[1].word for row in traced.steps] == ["C", "2·D", "D", "2·D", "groups"]


def test_a_product_and_nothing_more_is_a_product():
    patches = nn.Conv2d(3, 20, 3, 3)
    traced = trace(lambda x: patches(x).flatten(2).mT.flatten(0, 1), torch.rand(5, 3, 21, 33), names="B C H W")
    assert [axis.word for axis in traced.outcome[0]] == ["B·N", "20"]


@pytest.mark.parametrize("names", ["B C T", "B D T"])
def test_a_share_of_a_width_is_rounded_whatever_the_width_is_called(names):
    class Squeezed(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.conv = nn.Conv1d(channels, channels // 4, 1)

        def forward(self, x):
            return self.conv(x)

    traced = trace(build(Squeezed, 16), torch.rand(2, 16, 7), names=names)
    assert traced.outcome[0][1].name == f"{names[2]}//4"


class Split(nn.Module):
    def __init__(self, dim, groups=1):
        super().__init__()
        self.groups, self.mix = groups, nn.Linear(dim, dim)

    def forward(self, x):
        return self.mix(x).unflatten(-1, (self.groups, -1))


def test_one_group_that_is_asked_for_can_be_more_and_one_that_is_not_is_left_out():
    for asked, names in (({"groups": 1}, ["B", "groups", "D/groups"]), ({}, ["B", None, "D"])):
        assert [a.name for a in trace(build(Split, 8, **asked), torch.rand(3, 8), names="B D").outcome[0]] == names


class Ranked(nn.Module):
    """The rank is a share of the width, rounded; the turns of a loop, and large states, leave it little choice."""

    def __init__(self, dim, states, expand):
        super().__init__()
        self.rank, self.states, self.width = -(-dim // 16), states, expand * dim
        self.wide, self.parts = nn.Linear(dim, self.width), nn.Linear(self.width, self.rank + 2 * states)
        self.rate, self.decay = nn.Linear(self.rank, self.width), nn.Parameter(torch.rand(self.width, states))

    def forward(self, x):
        wide = self.wide(x)
        rank, given, _ = self.parts(wide).split([self.rank, self.states, self.states], -1)
        decay = torch.exp(-self.rate(rank)[..., None] * self.decay)
        state = x.new_zeros(len(x), self.width, self.states)
        for t in range(x.shape[1]):
            state = decay[:, t] * state + wide[:, t, :, None] * given[:, t, None]
        return state


def test_what_changed_a_little_only_beside_the_others_is_changed_more_alone():
    traced = trace(build(Ranked, 24, 4, 2), torch.rand(2, 6, 24), names="B T D")
    said = {axis.name for row in traced.steps for shape in row.shapes for axis in shape}
    assert "states" in said
    assert "2·states+2" not in said


class Waves(nn.Module):
    def __init__(self, dim, kernels, strides):
        super().__init__()
        layers = zip([1, dim, dim], [dim] * 3, kernels, strides, strict=True)
        self.layers = nn.Sequential(*(nn.Conv1d(*each) for each in layers))

    def forward(self, wave):
        return self.layers(wave[:, None])


def test_strides_in_a_list_that_find_no_room_beside_a_short_wave_are_tried_beside_the_one_that_is_shown():
    traced = trace(build(Waves, 16, [10, 3, 3], [5, 2, 2]), torch.rand(3, 400), names="B n")
    said = [row.shape[2].name or "" for row in traced.steps if row.op == "Conv1d"]
    assert said
    assert not any(re.search(r"\d(?![\d\]])", name) for name in said), said


def square(x):
    side = int(x.shape[1] ** 0.5)
    return F.avg_pool2d(x.reshape(len(x), 1, side, side), 2, ceil_mode=True)


def test_what_is_only_there_for_squares_is_not_taken_for_a_line():
    assert [axis.name for axis in trace(square, torch.rand(2, 16), names="B N").outcome[0][2:]] == [None, None]


class Generating(nn.Module):
    def __init__(self, new):
        super().__init__()
        self.new = new

    def forward(self, ids):
        for _ in range(self.new):
            ids = torch.cat([ids, ids[:, -1:] + 1], 1)
        return ids


def test_what_comes_out_of_a_loop_is_not_said_to_be_what_its_turn_here_makes():
    traced = trace(build(Generating, 4), torch.randint(9, (2, 5)), names="B T")
    assert traced.steps[-1].shape[1].name == "T+4"
    assert traced.outcome[0][1].name in (None, "T+new")


def levels(x):
    maps = [x, F.avg_pool2d(x, 2), F.avg_pool2d(x, 4)]
    return torch.cat([level.flatten(2) for level in maps], 2).mT


@pytest.mark.parametrize("shape", [(2, 5, 13, 18), (2, 4, 32, 32)])
def test_what_is_put_together_is_called_by_its_parts(shape):
    traced = trace(levels, torch.rand(shape), names="B C H W")
    words = ["B", "H·W+(H//2)·(W//2)+(H//4)·(W//4)", "C"]
    assert [axis.word for axis in traced.outcome[0]] == words


@pytest.mark.parametrize("names", [None, "B T _"])
def test_an_axis_that_has_no_name_is_called_as_the_built_module_calls_it(names):
    traced = trace(build(nn.TransformerEncoderLayer, 14, 2, 11, batch_first=True), torch.rand(3, 5, 14), names=names)
    assert [(axis.name, axis.size) for axis in (traced.steps[0].shape[2], traced.outcome[0][2])] == [("D", 14)] * 2


class Listed(nn.Module):
    """Its widths, and the sides of its window, come in lists."""

    def __init__(self, widths, window):
        super().__init__()
        self.window = window
        self.layers = nn.ModuleList(nn.Conv2d(*pair, 3, padding=1) for pair in pairwise(widths))

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        height, width = self.window
        filled = F.pad(x, (0, -x.shape[3] % width, 0, -x.shape[2] % height))
        return F.max_pool2d(x, 4).flatten(1), filled.unflatten(3, (-1, width)).unflatten(2, (-1, height))


@pytest.mark.parametrize(
    ("widths", "image"), [([3, 5, 7], (20, 28)), ([3, 16, 16], (16, 16)), ([16, 16, 16], (16, 16))]
)
def test_the_numbers_of_a_list_have_its_word_and_their_place(widths, image):
    traced = trace(build(Listed, widths, (5, 3)), torch.rand(2, widths[0], *image), names="B C H W")
    flat, windows = ([axis.word for axis in shape] for shape in traced.outcome)
    assert [row.shape[1].word for row in traced.steps[:3]] == ["C", "widths[1]", "widths[2]"]
    assert flat == ["B", "widths[2]·(H//4)·(W//4)"]
    assert windows == ["B", "widths[2]", "⌈H/window[0]⌉", "window[0]", "⌈W/window[1]⌉", "window[1]"]


def test_in_a_finished_module_too_a_hidden_width_beside_another_is_not_called_the_tokens():
    class Hidden(nn.Module):
        def __init__(self, dim, hidden_dim):
            super().__init__()
            self.dim, self.hidden_dim = dim, hidden_dim
            self.into, self.norm = nn.Linear(dim, hidden_dim), nn.LayerNorm(hidden_dim)

        def forward(self, x):
            return self.norm(self.into(x))

    traced = trace(Hidden(7, 11), torch.rand(2, 3, 7), names="B T _")
    assert "D=11" not in traced.to_text()


def visible(x, hidden):
    """The tokens that are not hidden, as many in each image."""
    return x[~hidden].reshape(len(x), -1, x.shape[2])


@pytest.mark.parametrize(("count", "shown"), [(2, 8), (5, 11), (3, 6)])
def test_how_many_a_mask_leaves_never_has_a_name_and_what_is_before_it_has(count, shown):
    hidden = torch.zeros(5, shown, dtype=torch.bool)
    hidden[:, count:] = True
    texts = set()
    for seed in range(3):
        torch.manual_seed(seed)
        traced = trace(visible, torch.rand(5, shown, 7), hidden, names={"x": "B N D", "hidden": "B N"})
        words = [[axis.word for axis in row.shape] for row in traced.steps]
        assert (words[2], words[-1][1]) == (["B", "N"], str(count))
        texts.add(traced.to_text())
    assert len(texts) == 1


def test_a_window_which_has_a_middle_has_its_name():
    def windows(x, window):
        return x[..., None] * F.pad(x, (window // 2, window // 2)).unfold(1, window, 1)

    traced = trace(windows, torch.rand(3, 11), 5, names={"x": "B T", "window": "w"})
    assert [axis.word for row in traced.steps[2:] for axis in row.shape[1:]] == ["w+T-1", "T", "w", "T", "w"]


def test_what_torchs_jit_traces_inside_of_a_call_has_no_rows():
    def added(x, y):
        return torch.jit.trace(lambda a, b: a + b, (x, torch.rand(7)))(x, y) * 2

    traced = trace(added, torch.rand(2, 5, 7), torch.rand(7), names=["B T D", "D"])
    assert traced.to_text().endswith("(2, 5, 7)")


@pytest.mark.parametrize("size", [5, 7])
def test_a_width_that_is_not_the_inputs_is_not_called_so_where_both_are_one_number(size):
    class Between(nn.Module):
        def __init__(self, input_size, hidden_size):
            super().__init__()
            self.into, self.back = nn.Linear(input_size, hidden_size), nn.Linear(hidden_size, input_size)

        def forward(self, x):
            return self.back(self.into(x))

    traced = trace(build(Between, 5, size), torch.rand(3, 2, 5), names="B T D")
    assert [row.shape[-1].word for row in traced.steps] == ["D", "hidden_size", "D"]


def test_a_width_that_is_the_inputs_is_called_so():
    traced = trace(build(nn.TransformerEncoderLayer, 14, 2, 11, batch_first=True), torch.rand(3, 5, 14), names="B T D")
    assert [axis.word for axis in traced.steps[-1].shape] == ["B", "T", "D"]


class Tall(nn.Module):
    """Twice as many layers would be too many to make; they are made without gradients."""

    def __init__(self, width, n_parts):
        super().__init__()
        with torch.no_grad():
            self.parts = nn.ModuleList(nn.Linear(width, width) for _ in range(n_parts**4))

    def forward(self, x):
        return self.parts[0](x)


def test_a_module_that_is_too_large_to_be_made_anew_leaves_gradients_on():
    trace(build(Tall, 7, 2), torch.rand(3, 7), names="B D")
    assert torch.is_grad_enabled()


def test_of_two_widths_of_one_symbol_the_second_is_called_by_its_own_word():
    class Reader(nn.Module):
        def __init__(self, d_model, hidden_size):
            super().__init__()
            self.cell, self.hidden_size = nn.GRUCell(d_model, hidden_size), hidden_size

        def forward(self, x):
            state, states = x.new_zeros(len(x), self.hidden_size), []
            for step in x.unbind(1):
                state = self.cell(step, state)
                states.append(state)
            return torch.stack(states, 1)

    traced = trace(build(Reader, 5, 11), torch.rand(3, 7, 5), names="B T D")
    assert [axis.word for axis in traced.steps[-1].shape] == ["B", "T", "hidden_size"]


def test_a_size_is_called_by_the_callers_expression_before_any_that_is_found():
    class Heads(nn.Module):
        def __init__(self, num_anchors):
            super().__init__()
            self.boxes = nn.Conv2d(3, 4 * num_anchors, 1)

        def forward(self, large, small):
            return self.boxes(large), self.boxes(small)

    given = {"large": "B C H W", "small": "B C H/2 W/2"}
    traced = trace(build(Heads, 3), torch.rand(2, 3, 8, 12), torch.rand(2, 3, 4, 6), names=given)
    assert [axis.word for axis in traced.steps[-1].shape[2:]] == ["H/2", "W/2"]


class Counted(nn.Module):
    """Its constructor is told how many patches there are."""

    def __init__(self, patch_size, in_chans, num_patches, width):
        super().__init__()
        self.cut = nn.Conv2d(in_chans, width, patch_size, patch_size)
        self.places = nn.Parameter(torch.zeros(num_patches, width))

    def forward(self, images):
        return self.cut(images).flatten(2).mT + self.places


class Spectrum(nn.Module):
    """The lowest waves of an image that is filled up on its right."""

    def __init__(self, modes, width):
        super().__init__()
        self.modes, self.lift = modes, nn.Linear(1, width)
        self.weights = nn.Parameter(torch.rand(width, width, modes, modes))

    def forward(self, x):
        waves = torch.fft.rfft2(F.pad(self.lift(x).permute(0, 3, 1, 2), (0, 2))).abs()
        return torch.einsum("bihw,iohw->bohw", waves[:, :, : self.modes, : self.modes], self.weights)


@pytest.mark.parametrize(
    ("kind", "names", "made"),
    [
        (Counted, "B C H W", [((5, 3, 20, 9), (2, 3, 20, 25)), ((3, 2, 20, 10), (3, 2, 12, 15))]),
        (Spectrum, "B H W 1", [((5, 6), (3, 16, 13, 1)), ((4, 4), (4, 12, 12, 1))]),
    ],
)
def test_no_name_of_what_is_made_anew_holds_by_chance(kind, names, made):
    traces = [trace(build(kind, *sizes), torch.rand(shape), names=names) for sizes, shape in made]
    assert not [bad for one in traces for other in traces for bad in contradictions(one, other)]
    counted = [row for row in traces[0].steps if row.expression.endswith(".mT")]
    assert {row.shape[1].name for row in counted} <= {"N"}


def test_a_line_through_three_sizes_is_no_name_but_where_it_is_close_to_nothing():
    names = Names({"window": (3, 16, 15), "W": (30, 23, 16)})
    assert names.text((12, 16, 15)) is None  # (window + 48) // 4
    assert names.text((16, 12, 9)) == "W//2+1"


def kept_apart(scores):
    order, kept = scores.argsort(), []
    while order.numel() > 1:
        kept.append(order[0])
        rest = order[1:]
        order = rest[scores[rest] > scores[order[0]] + 0.1]
    return torch.stack(kept)


@pytest.mark.parametrize("seed", range(5))
def test_nothing_has_a_name_from_the_first_size_on_that_data_decides(seed):
    torch.manual_seed(seed)
    rows = [row for row in trace(kept_apart, torch.rand(7), names="n").steps if row.shapes[0]]
    first = next(place for place, row in enumerate(rows) if row.expression.startswith("rest["))
    assert {axis.name for row in rows[:first] for axis in row.shape} == {"n", "n-1"}
    assert {axis.name for row in rows[first:] for axis in row.shape} == {None}


class Mixed(nn.Module):
    def __init__(self, width, state):
        super().__init__()
        self.states, self.scale = nn.Parameter(torch.rand(width, state)), nn.Parameter(torch.rand(width))
        self.gate = nn.Conv1d(width, 3 * width, 1)

    def forward(self, x):
        return self.states.exp(), self.gate(x * self.scale.unsqueeze(-1))


def test_no_other_width_is_named_after_one_that_the_module_keeps_under_that_word():
    traced = trace(Mixed(8, 8), torch.rand(2, 8, 3), names="B D T")
    assert "C" not in {axis.name for row in traced.steps for axis in row.shape}


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda x: F.pad(x, (1, 1, 1, 1)).flatten(1), "C·(H+2)·(W+2)"),
        (lambda x: F.conv2d(x, torch.rand(11, x.shape[1], 4, 3)).flatten(2).mT[..., 0], "(H-3)·(W-2)"),
        (lambda x: x.flatten(2)[:, :, 0] @ x.new_zeros(x.shape[1], x.shape[2] * (x.shape[2] - 1) // 2), "H·(H-1)/2"),
        (lambda x: x.flatten(2)[:, :, 0] @ x.new_zeros(x.shape[1], (2 * x.shape[3] - 1) ** 2), "(2·W-1)·(2·W-1)"),
    ],
)
def test_a_product_of_sums_has_a_name(function, name):
    traces = [trace(function, torch.rand(shape), names="B C H W") for shape in ((2, 3, 11, 17), (5, 7, 8, 6))]
    assert [traced.steps[-1].shape[-1].name for traced in traces] == [name, name]


class Blurred(nn.Module):
    def __init__(self, window_size, channels):
        super().__init__()
        self.window = nn.Parameter(torch.ones(channels, 1, window_size, window_size))

    def forward(self, x):
        return F.conv2d(x, self.window, padding="same", groups=len(self.window))


def test_a_large_kernel_is_not_tried_on_a_large_image(monkeypatch):
    conv2d, products = F.conv2d, []

    def counting(x, weight, **kwargs):
        result = conv2d(x, weight, **kwargs)
        products.append(x.numel() * weight[0].numel())
        return result

    monkeypatch.setattr(F, "conv2d", counting)
    trace(build(Blurred, 11, 3), torch.rand(3, 3, 11, 11), names="B C H W")
    assert len(products) > 3
    assert max(products) < 2**29


class Written(nn.Module):
    """It works at the sizes of its numbers only."""

    def __init__(self, width, hidden):
        super().__init__()
        self.hidden, self.cell, self.places = hidden, nn.GRUCell(width, hidden), nn.Embedding(7, hidden)

    def forward(self, x):
        state = torch.zeros(3, self.hidden)
        for t in range(x.shape[1]):
            state = self.cell(x[:, t], state)
        return state + self.places(torch.arange(7)[: len(x)])


def scored(logits, classes):
    picked = F.one_hot(classes, 11)
    return -(picked * logits.log_softmax(-1)).sum(-1)


@pytest.mark.parametrize(
    ("make", "inputs", "names", "row", "axes", "said"),
    [
        (lambda: Written(5, 13), [(3, 7, 5)], ["B T D"], "torch.zeros(3, self.hidden)", [None, None], "B=3 only"),
        (
            lambda: build(Written, 5, 13),
            [(3, 7, 5)],
            ["B T D"],
            "torch.zeros(3, self.hidden)",
            [None, "hidden"],
            "B=3 only",
        ),
        (lambda: scored, [(5, 11), (5,)], ["B K", "B"], "F.one_hot(classes, 11)", ["B", None], "K=11 only"),
    ],
)
def test_what_a_number_in_the_code_has_made_is_called_a_number(make, inputs, names, row, axes, said):
    given = [torch.rand(shape) if len(shape) > 1 else torch.arange(*shape) for shape in inputs]
    traced = trace(make(), *given, names=names)
    (step,) = (step for step in traced.steps if step.expression == row)
    assert [axis.name for axis in step.shape] == axes
    assert [finding for finding in traced.findings if said in finding and row in finding]
    heads = trace(lambda x: x.reshape(len(x), 3, -1) @ torch.rand(5, 3), torch.rand(3, 15), names="B D")
    assert heads.steps[1].shape[1].name is None
    assert not heads.findings or "reshape" not in heads.findings[0]


class Stacked(nn.Module):
    """It keeps what each of its layers gives."""

    def __init__(self, width, n_layers):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(n_layers))

    def forward(self, x):
        kept = []
        for layer in self.layers:
            x = layer(x).relu()
            kept.append(x)
        return torch.stack(kept), torch.cat(kept, -1)


@pytest.mark.parametrize(
    ("names", "n_layers", "word"), [("B T D", 3, "L"), ("B L D", 3, "n_layers"), ("B L D", 7, "n_layers")]
)
def test_what_comes_of_each_layer_is_counted_in_layers(names, n_layers, word):
    traced = trace(build(Stacked, 5, n_layers), torch.rand(2, 3, 5), names=names)
    length = names.split()[1]
    assert [axis.name for axis in traced.steps[-2].shape] == [word, "B", length, "D"]
    assert [axis.name for axis in traced.steps[-1].shape] == ["B", length, f"D·{word}"]


def names_of(traced, place=-1):
    return [axis.name for axis in traced.steps[place].shape]


class Pooled(nn.Module):
    """A convolution, and a linear layer that takes so many places and no others."""

    def __init__(self, channels, width, places, n_classes):
        super().__init__()
        self.conv, self.head = nn.Conv2d(channels, width, 3, padding=1), nn.Linear(width * places, n_classes)

    def forward(self, x):
        x = F.max_pool2d(self.conv(x), 2)
        return self.head(x.flatten(1))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("made", [False, True], ids=["finished", "built"])
def test_runs_that_fail_in_the_end_tell_of_what_comes_before(made, channels):
    sizes = (channels, 5, 7 * 4, 11)
    traced = trace(build(Pooled, *sizes) if made else Pooled(*sizes), torch.rand(2, channels, 14, 9), names="B C H W")
    assert [names_of(traced, place)[2:] for place in (1, 2)] == [["H", "W"], ["H//2", "W//2"]]
    assert names_of(traced, 3) == ["B", "width·(H//2)·(W//2)" if made else None]


class Flattened(nn.Module):
    def __init__(self, pixels, n_classes):
        super().__init__()
        self.head = nn.Linear(pixels, n_classes)

    def forward(self, x):
        return self.head(x.flatten(1)), self.head(x.squeeze(1).flatten(1)), x.permute(0, 2, 3, 1).flatten(1)


@pytest.mark.parametrize("made", [False, True], ids=["finished", "built"])
def test_one_channel_counts_as_a_factor_until_it_is_squeezed_out(made):
    traced = trace(build(Flattened, 35, 11) if made else Flattened(35, 11), torch.rand(2, 1, 5, 7), names="B C H W")
    flat = [names_of(traced, place)[1] for place, step in enumerate(traced.steps) if step.label.endswith("flatten(1)")]
    assert flat == ["C·H·W", "H·W", "C·H·W"]


class Unflattened(nn.Module):
    """Back to pictures, of which it is not said which axis the one channel went to."""

    def __init__(self, shape):
        super().__init__()
        self.shape = shape

    def forward(self, x):
        y = x.flatten(1).view(len(x), *self.shape)
        return x[..., 0] + y[..., 0]


def test_one_channel_is_not_counted_into_a_width():
    traced = trace(Unflattened((1, 5, 7)), torch.rand(2, 1, 5, 7), names="B C H W")
    assert names_of(traced, 2)[3] in (None, "W")


def enlarged(x):
    if x.shape[2] < 5 or x.shape[2] * x.shape[3] > 6000:
        raise ValueError("too small, or too large")
    return F.interpolate(F.max_pool2d(x, 2), scale_factor=2)


def test_what_was_odd_in_all_runs_is_seen_at_an_even_size_too():
    assert names_of(trace(enlarged, torch.rand(2, 3, 21, 15), names="B C H W"))[2:] == ["2·(H//2)", "2·(W//2)"]


class Pieces(nn.Module):
    """Heads as pieces of a width, one below the other."""

    def __init__(self, dim, width, n_heads):
        super().__init__()
        self.proj, self.piece = nn.Linear(dim, width), width // n_heads

    def forward(self, x):
        return torch.cat(self.proj(x).split(self.piece, 2), 0)


@pytest.mark.parametrize(("width", "n_heads"), [(16, 4), (20, 2), (20, 5), (12, 3)])
def test_as_many_pieces_as_heads_are_heads_and_no_number(width, n_heads):
    traced = trace(build(Pieces, 5, width, n_heads), torch.rand(3, 7, 5), names="B N D")
    assert names_of(traced)[0] == "B·h"
    assert not traced.findings


class Pooling(nn.Module):
    def __init__(self, width, n_classes):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(width, 2, 2 * width, batch_first=True)
        self.head = nn.Linear(width, n_classes)

    def forward(self, x):
        return self.head(self.layer(x)[:, 0])


def test_as_many_classes_as_a_width_has_places_are_not_called_after_the_width():
    assert names_of(trace(Pooling(14, 14).eval(), torch.rand(2, 5, 14), names="B T channels")) == ["B", None]


class Batched(nn.Module):
    """Its batch is written in it; of any other it makes rows of another width."""

    def __init__(self, channels, width, n_classes):
        super().__init__()
        self.conv, self.head = nn.Conv2d(channels, 7, 3, padding=1), nn.Linear(7, width)

    def forward(self, x):
        x = self.conv(x).mean((2, 3))
        x = x.reshape(13, -1)
        return self.head(x)


def test_after_a_batch_that_is_written_as_a_number_nothing_is_called_the_batch():
    traced = trace(build(Batched, 3, 17, 11), torch.rand(13, 3, 7, 7), names="B C H W")
    assert [names_of(traced, place)[0] for place in (-3, -2, -1)] == ["B", None, None]
    assert "B=13 only" in traced.findings[0]


class Levels(nn.Module):
    """Three halvings, of each all places in a row; the last is set upon the one before."""

    def __init__(self, width):
        super().__init__()
        self.halve = nn.ModuleList(nn.Conv2d(width if level else 3, width, 3, 2, 1) for level in range(3))

    def forward(self, x):
        maps = []
        for halve in self.halve:
            x = halve(x)
            maps.append(x)
        return [level.flatten(2) for level in maps]


@pytest.mark.parametrize("side", [32, 24])
def test_what_a_reshape_merges_is_called_by_what_is_merged(side):
    traced = trace(build(Levels, 5), torch.rand(2, 3, side, side), names="B 3 H W")
    flat = [names_of(traced, place)[2] for place, step in enumerate(traced.steps) if "flatten" in step.label]
    assert flat == [f"⌈H/{n}⌉·⌈W/{n}⌉" for n in (2, 4, 8)]


def test_a_matrix_that_is_square_itself_was_not_spread_to_one():
    traced = trace(lambda x, steps: x[:, :, None] + steps, torch.rand(5, 3), torch.rand(3, 3), names=["T S", "S S"])
    assert not traced.steps[-1].warning


class Lasting(nn.Module):
    """The last place that a mask leaves in each row; the width is as large as the rows are long."""

    def __init__(self, dim, width):
        super().__init__()
        self.proj = nn.Linear(dim, width)

    def forward(self, x, mask):
        return self.proj(x)[torch.arange(len(x)), mask.sum(1).long() - 1]


def test_a_mask_of_floats_stays_one_at_other_sizes():
    mask = torch.tensor([[1.0, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 0, 0, 0, 0]])
    traced = trace(build(Lasting, 7, 5), torch.rand(3, 5, 7), mask, names=["B T D", "B T"])
    assert names_of(traced) == ["B", "width"]


class Deep(nn.Module):
    """A recurrent network whose number of layers no word tells from a width."""

    def __init__(self, dim, width, deep, n_classes):
        super().__init__()
        self.rnn = nn.LSTM(dim, width, deep, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * width, n_classes)

    def forward(self, x):
        return self.head(self.rnn(x)[0])


def test_no_module_of_hundreds_of_layers_is_made_to_try_sizes(monkeypatch):
    made, make = [], nn.LSTM.__init__

    def counted(self, *args, **kwargs):
        make(self, *args, **kwargs)
        made.append(sum(p.numel() for p in self.parameters()))

    monkeypatch.setattr(nn.LSTM, "__init__", counted)
    monkeypatch.setattr("vitcourse.trace.runs.MOST_IN_A_MODULE", 2**17)
    traced = trace(build(Deep, 5, 7, 3, 11), torch.rand(2, 13, 5), names="B T D")
    assert names_of(traced) == ["B", "T", "K"]
    assert len(made) > 1
    assert max(made) <= 2**17


def in_dozens(x):
    if x.shape[3] % 12:
        raise ValueError("no dozens")
    return x[..., : x.shape[3] // 8]


@pytest.mark.parametrize("width", [24, 48])
def test_what_must_be_a_multiple_of_less_is_not_divided_by_more(width):
    assert names_of(trace(in_dozens, torch.rand(2, 3, 5, width), names="B C H W"))[3] in (None, "W//8")


@dataclass
class Squeeze:
    dim: int = 22
    ratio: float = 0.25


class Squeezed(nn.Module):
    """Makes a share of its width, by a number that the caller can change, or by one that only the code has."""

    def __init__(self, dim, ratio=0.25, p=0.1):
        super().__init__()
        dim, ratio = (dim.dim, dim.ratio) if isinstance(dim, Squeeze) else (dim, ratio)
        self.few, self.many = nn.Linear(dim, int(dim * ratio)), nn.Linear(dim, dim // 2)
        self.drop = nn.Dropout(p)

    def forward(self, x):
        return self.few(x), self.many(self.drop(x))


@pytest.mark.parametrize("given", [(22, 0.25, 0.3), (22,), (Squeeze(),)], ids=["given", "left out", "in an object"])
def test_what_a_fraction_decides_has_no_name(given):
    few, many = trace(build(Squeezed, *given), torch.rand(2, 13, 22), names="B T D").outcome
    assert [axis.name for axis in (*few, *many)] == ["B", "T", None, "B", "T", "D//2"]
    assert given in ((22, 0.25, 0.3), (22,), (Squeeze(22, 0.25),))


class Strided(nn.Module):
    """Layers from dicts, where each number has the word of another."""

    def __init__(self, layers):
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv1d(1, 1, 3, layer["stride"], padding=1) for layer in layers)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


def test_what_sizes_of_one_word_decide_has_no_name():
    traced = trace(build(Strided, [{"stride": 2}, {"stride": 2}]), torch.rand(5, 1, 28), names="B 1 T")
    assert names_of(traced) == ["B", None, None]


class Pyramid(nn.Module):
    """Of many maps, and an image that divides by eight."""

    def __init__(self, wide, wider):
        super().__init__()
        self.wide, self.wider = nn.Conv2d(3, wide, 2, 2), nn.Conv2d(wide, wider, 2, 2)

    def forward(self, x):
        if x.shape[2] % 8 or x.shape[3] % 8:
            raise ValueError("no eights")
        return self.wider(self.wide(x))


def test_an_image_too_large_beside_many_maps_grows_with_few(monkeypatch):
    monkeypatch.setattr("vitcourse.trace.rehearsal.MOST_IN_A_RUN", 2**17)
    traced = trace(build(Pyramid, 5, 7), torch.rand(2, 3, 24, 40), names="B C H W")
    assert names_of(traced) == ["B", "wider", "H/4", "W/4"]


class Paired(nn.Module):
    """Two widths of one word, and two of another."""

    def __init__(self, config, layers):
        super().__init__()
        self.one, self.two = (nn.Linear(config[tower]["dim"], config[tower]["dim"]) for tower in ("image", "text"))
        self.layers = nn.ModuleList(nn.Linear(layer["into"], layer["out"]) for layer in layers)

    def forward(self, x, y):
        return self.one(x), self.two(y), [layer(x) for layer in self.layers]


def test_sizes_of_one_word_are_called_by_what_they_stand_in():
    config, layers = {"image": {"dim": 6}, "text": {"dim": 10}}, [{"into": 6, "out": 14}, {"into": 6, "out": 22}]
    traced = trace(build(Paired, config, layers), torch.rand(2, 6), torch.rand(3, 10), names=["B _", "n _"])
    assert [shape[1].name for shape in traced.outcome] == ["image_dim", "text_dim", "out[0]", "out[1]"]
    assert config == {"image": {"dim": 6}, "text": {"dim": 10}}


class Framed(nn.Module):
    """A wave in frames, one after the other."""

    def __init__(self, window, hop):
        super().__init__()
        self.window, self.hop = window, hop

    def forward(self, x):
        starts = range(0, x.shape[1] - self.window + 1, self.hop)
        return torch.cat([x[:, start : start + self.window] for start in starts], 1)


@pytest.mark.parametrize(
    ("make", "names", "shapes"),
    [
        (lambda: lambda x: torch.cat(list(x)), "B M", [(2, 7), (3, 5)]),
        (lambda: lambda x: torch.hstack(tuple(x.mT)), "B N", [(5, 3), (7, 2)]),
        (lambda: lambda x: torch.cat([*x]).flatten(), "N D", [(3, 8), (5, 8)]),
        (lambda: build(Framed, 8, 8), "B T", [(2, 32), (3, 43)]),
    ],
    ids=["list", "tuple", "starred", "frames"],
)
def test_as_many_tensors_as_a_size_says_are_no_number_of_the_codes(make, names, shapes):
    traces = [trace(make(), torch.rand(shape), names=names) for shape in shapes]
    assert not [bad for one in traces for other in traces for bad in contradictions(one, other)]
    last = traces[0].steps[-1].shape[-1].name
    assert last is None or not last[0].isdigit()


@pytest.mark.parametrize(
    "joined",
    [
        lambda x: torch.cat([x, x.flip(1)], 1),
        lambda x: torch.cat([part * x for part in (2, 3)], 1),
        lambda x: torch.cat([k + x for k in range(2)], 1),
    ],
)
def test_as_many_tensors_as_the_line_has_are_a_number(joined):
    def twice(x):
        for _ in x:
            x = x + 1
        return joined(x)

    assert str(trace(twice, torch.rand(3, 7), names="B T").steps[-1].shape[1]) == "2·T=14"


class Mapped(nn.Module):
    """So many maps of an image, of a height that somebody calls likewise."""

    def __init__(self, H):
        super().__init__()
        self.maps = nn.Conv2d(1, H, 3, padding=1)

    def forward(self, x):
        return self.maps(x)


class Towering(nn.Module):
    """So many layers of one width, D of them."""

    def __init__(self, dim, D):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(dim, dim) for _ in range(D)])

    def forward(self, x):
        return torch.stack([layer(x).mean(1) for layer in self.layers], 1)


@pytest.mark.parametrize(
    ("make", "names", "shape", "sizes"),
    [
        (lambda: build(Mapped, H=8), "B 1 H W", (2, 1, 8, 6), ["B", "8", "H", "W"]),
        (lambda: build(Towering, 4, 4), "B N E", (2, 7, 4), ["B", "4", "E"]),
    ],
    ids=["of the input", "of another width"],
)
def test_a_number_that_is_passed_by_the_word_of_another_size_is_not_taken_for_it(make, names, shape, sizes):
    assert [axis.word for axis in trace(make(), torch.rand(shape), names=names).steps[-1].shape] == sizes


class Crossed(nn.Module):
    """It works where there are as many tokens as a token has numbers."""

    def __init__(self, width):
        super().__init__()
        self.one, self.other = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x):
        return self.one(x) + self.other(x).mT


def test_a_width_is_not_called_the_tokens_with_which_it_is_mixed_up_later():
    traced = trace(Crossed(7), torch.rand(2, 7, 7), names="B T D")
    ones, others, turned, _ = [[axis.word for axis in row.shape] for row in traced.steps[1:]]
    assert (ones, others, turned) == (["B", "T", "7"], ["B", "T", "7"], ["B", "7", "T"])
    assert [finding.partition(": ")[2] for finding in traced.findings] == ["T has to be 7, or 1"]


def test_two_symbols_that_have_to_be_one_size_name_nothing_together_and_are_told():
    traced = trace(lambda x, w: x * w, torch.rand(5, 5), torch.rand(5), names=["B T", "B"])
    assert [axis.word for axis in traced.steps[-1].shape] == ["5", "5"]
    (finding,) = traced.findings
    assert finding.endswith("x * w: B and T have to be one size, or 1")
