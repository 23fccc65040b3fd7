"""The trace of one call: its rows, where they stand, what they say of loops, errors and other circumstances."""

import json
import sys
from io import StringIO
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from rich.console import Console
from torch import Tensor, nn

from solutions.ch01_patches import PatchEmbedding, patchify
from solutions.ch03_attention import MultiHeadAttention
from solutions.ch04_encoder import MLP
from solutions.ch05_vit import VisionTransformer
from vitcourse.trace import build, trace
from vitcourse.trace.record import SCREEN
from vitcourse.trace.render import print_trace

STORY = """\
images                        (B=128, C=1, H=32, W=32)
self.projection(images)       (B=128, D=9, gh=2, gw=2)
x.flatten(2)                  (B=128, D=9, N=4)
x.transpose(1, 2)             (B=128, N=4, D=9)"""


def shapes(traced) -> list[str]:
    return [row.cell for row in traced.rows]


def expressions(traced) -> list[str]:
    return [row.expression for row in traced.rows]


def test_the_package_is_called_as_its_function_whichever_was_imported_first():
    import vitcourse

    call = (nn.Linear(7, 5), torch.rand(3, 7))
    assert vitcourse.trace(*call, names="B D").to_text() == trace(*call, names="B D").to_text()


@pytest.fixture(scope="module")
def model() -> VisionTransformer:
    return VisionTransformer((28, 42), 7, 3, 10, 16, 3, 2).eval()


@pytest.mark.parametrize("make", [PatchEmbedding, lambda *sizes: build(PatchEmbedding, *sizes)])
def test_the_original_embedding_tells_its_story(make):
    assert trace(make(9, 16), torch.rand(128, 1, 32, 32)).to_text() == STORY


def test_the_story_with_all_sizes_different():
    traced = trace(PatchEmbedding(11, 5, 3), torch.rand(2, 3, 35, 65))
    assert shapes(traced) == [
        "(B=2, C=3, H=35, W=65)",
        "(B=2, D=11, gh=7, gw=13)",
        "(B=2, D=11, N=91)",
        "(B=2, N=91, D=11)",
    ]
    assert traced.definitions() == ["gh = H/P", "gw = W/P", "N = gh·gw"]


def test_the_trace_returns_what_the_call_returns(model):
    images = torch.rand(2, 3, 28, 42)
    with torch.no_grad():
        torch.testing.assert_close(trace(model, images).result, model(images), rtol=0, atol=0)


def test_a_row_knows_its_line_and_operation():
    row = trace(PatchEmbedding(9, 16), torch.rand(1, 1, 32, 32)).rows[2]
    line = Path(row.file).read_text(encoding="utf-8").splitlines()[row.line - 1]
    assert row.op == "flatten"
    assert row.expression in line


def test_a_chain_has_a_row_for_each_link():
    def chained(x):
        return x.flatten(1).softmax(-1)[:, 0]

    traced = trace(chained, torch.rand(2, 3, 5), names="B T D")
    assert [row.label for row in traced.rows] == ["x", "x.flatten(1)", "….softmax(-1)", "…[:, 0]"]
    assert traced.rows[2].expression == "x.flatten(1).softmax(-1)"
    assert shapes(traced) == ["(B=2, T=3, D=5)", "(B=2, T·D=15)", "(B=2, T·D=15)", "(B=2)"]


def test_a_pattern_is_shown_as_written_and_its_names_are_its_own():
    def split(x, n_heads):
        return rearrange(
            x,
            "D W (H C) -> D H W C",  # names that mean something else elsewhere
            H=n_heads,
        )

    traced = trace(split, torch.rand(2, 3, 20), n_heads=4, names="B T D")
    assert traced.rows[1].expression == 'rearrange(x, "D W (H C) -> D H W C", H=n_heads)'
    assert shapes(traced)[1] == "(B=2, h=4, T=3, dh=5)"


def test_a_loop_over_layers_is_folded(model):
    traced = trace(model, torch.rand(2, 3, 28, 42), depth=1)
    assert [(row.expression, row.repeat, row.unit) for row in traced.rows if row.repeat > 1] == [
        ("block(x)", 3, "layers")
    ]


def test_turns_of_a_loop_that_differ_are_not_folded():
    def grow(x):
        for _ in range(3):
            x = torch.cat([x, x[:1]])
        return x

    traced = trace(grow, torch.rand(2, 3), names="n D")
    assert shapes(traced)[2::2] == ["(n+1=3, D=3)", "(n+2=4, D=3)", "(n+3=5, D=3)"]


def test_a_loop_whose_turns_take_several_steps_is_folded_as_one():
    def turns(x):
        for _ in range(4):
            x = x + 1
            x = x * 2
        return x

    assert [row.repeat for row in trace(turns, torch.rand(2), names="B").rows] == [1, 4, 4]


def test_a_loop_of_a_thousand_turns_is_folded_in_no_time():
    def long(x):
        for _ in range(300):
            x = x + 1
            for _ in range(3):
                x = x * 2
        return x

    assert [row.repeat for row in trace(long, torch.rand(2), names="B").rows] == [1, 300, 900]


def test_what_has_no_python_source_is_one_step():
    assert shapes(trace(torch.relu, torch.rand(2, 3), names="B D")) == ["(B=2, D=3)", "(B=2, D=3)"]


def test_code_without_a_file_shows_its_operations():
    traced = trace(eval("lambda x: x.mT.relu()"), torch.rand(2, 3), names="B D")
    assert [row.label for row in traced.rows] == ["x", "<mT>", "<relu>"]


def test_what_only_changes_the_weights_is_a_step():
    model = nn.Linear(5, 3)
    optimizer, scaler = torch.optim.SGD(model.parameters(), lr=0.1), torch.amp.GradScaler("cpu")

    def train(x):
        scaler.scale(model(x).sum()).backward()
        scaler.step(optimizer)
        optimizer.step()

    traced = trace(train, torch.rand(2, 5), names="B D")
    assert [row.op for row in traced.steps if row.depth == 0][-3:] == ["backward", "step", "step"]


def test_steps_in_place_are_steps():
    def fill(x):
        x[:, 0] = 1
        x += 1

    assert expressions(trace(fill, torch.rand(2, 3), names="B D")) == ["x", "x[:, 0] = 1", "x += 1"]


def test_the_whole_model_fits_a_screen_and_goes_as_deep_as_asked(model):
    traced = trace(model, torch.rand(2, 3, 28, 42))
    assert len(traced.rows) <= SCREEN
    assert {row.depth for row in traced.at(3).rows} == {0, 1, 2}
    assert "weights @ v" in expressions(traced.at(9))
    assert "weights @ v" not in expressions(traced.at(2))


def test_dtype_is_said_when_it_changes():
    def mixed(x):
        y = x.double()
        return (y + 1).argmax(-1)

    assert [row.dtype for row in trace(mixed, torch.rand(2, 3), names="B D").rows] == [None, "float64", None, "int64"]


def test_a_dtype_within_a_call_is_no_change_outside_it():
    def table(n):
        return torch.arange(n) / 2

    traced = trace(lambda x: table(x.shape[0]) + x, torch.rand(3), names="B")
    assert [(row.depth, row.dtype) for row in traced.at(2).rows] == [
        (0, None),
        (0, None),
        (1, "int64"),
        (1, "float32"),
        (0, None),
    ]


def test_device_is_said_when_it_changes():
    def moved(x):
        return x.to("meta") + 1

    assert [row.device for row in trace(moved, torch.rand(2), names="B").rows] == [None, "meta", None]


def test_autocast_and_no_grad_hold_while_tracing():
    attention = build(MultiHeadAttention, 16, 2)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        traced = trace(attention, torch.rand(2, 5, 16))
    assert traced.error is None
    assert not traced.result.requires_grad
    assert [row.dtype for row in traced.at(1).rows][:3] == [None, "bfloat16", None]
    assert shapes(traced)[-1].startswith("(B=2, T=5, D=16)")


def test_hooks_of_modules_run_and_change_no_trace():
    seen = []
    module = PatchEmbedding(9, 16)
    handles = [
        module.projection.register_forward_hook(lambda _m, _i, out: seen.append(out.shape) or out + 1),
        module.register_forward_pre_hook(lambda _m, args: seen.append(args[0].shape)),
    ]
    traced = trace(module, torch.rand(128, 1, 32, 32), depth=1)
    assert traced.to_text() == STORY
    assert [tuple(shape) for shape in seen] == [(128, 1, 32, 32), (128, 9, 2, 2)]
    for handle in handles:
        handle.remove()


def test_an_error_shows_the_steps_before_it_and_the_operands_by_name():
    class Crossed(nn.Module):
        def __init__(self, d_model: int) -> None:
            super().__init__()
            self.fc = nn.Linear(d_model, d_model)

        def forward(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
            turned = x.transpose(1, 2)
            return self.fc(turned)

    traced = trace(Crossed(5), torch.rand(2, 3, 5))
    assert isinstance(traced.error, RuntimeError)
    assert traced.result is None
    assert expressions(traced) == ["x", "x.transpose(1, 2)"]
    text = traced.to_text()
    assert "self.fc(turned)" in text
    assert "turned (B=2, D=5, T=3)" in text
    assert "turned's last axis is 3 = T, self.fc takes 5" in text


@pytest.mark.parametrize(("kind", "at"), [("LSTM", "x"), ("GRU", "x + 1"), ("RNNCell", "x[0]")])
def test_a_recurrent_layer_of_another_width_says_which_axis(kind: str, at: str) -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = getattr(nn, kind)(11, 13)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x) if kind == "LSTM" else self.layer(x + 1) if kind == "GRU" else self.layer(x[0])

    traced = trace(Recurrent(), torch.rand(5, 2, 7), names="T B D")
    assert f"{at}'s last axis is 7 = D, self.layer takes 11" in traced.to_text()


def test_an_error_in_a_pattern_names_the_tensor():
    def split(x):
        return rearrange(x, "b t (h d) -> b h t d", h=3)

    traced = trace(split, torch.rand(2, 4, 5), names="B T D")
    assert traced.failure.expression == 'rearrange(x, "b t (h d) -> b h t d", h=3)'
    assert "x (B=2, T=4, D=5)" in traced.to_text()


def test_an_error_of_the_code_itself_has_its_line():
    with pytest.raises(ValueError, match="30"):
        patchify(torch.rand(1, 1, 30, 32), 16)
    traced = trace(patchify, torch.rand(1, 1, 30, 32), 16)
    assert isinstance(traced.error, ValueError)
    assert traced.failure.line > 0
    assert "raise ValueError" in traced.failure.expression


class Own(nn.Linear):
    def forward(self, x):
        twice = x * 2
        return super().forward(twice)


@pytest.mark.parametrize("kind", ["module", "inner", "in place", "function"])
def test_compiled_code_is_one_step(kind):
    linear = Own(3, 3)
    compiled = {
        "module": lambda: torch.compile(linear, backend="eager"),
        "inner": lambda: nn.Sequential(torch.compile(linear, backend="eager")),
        "in place": lambda: linear.compile(backend="eager") or linear,
        "function": lambda: torch.compile(lambda x: linear(x), backend="eager"),
    }[kind]()
    x = torch.rand(2, 3)
    expected = linear(x)
    traced = trace(lambda x: compiled(x + 1) - 1, x - 1, names="B D", depth=1)
    assert traced.error is None
    torch.testing.assert_close(traced.result + 1, expected)
    assert shapes(traced) == ["(B=2, D=3)"] * 2 + ["(B=2, 3)"] * 2
    assert trace(compiled, x, names="B D").rows[-1].cell == "(B=2, 3)"


def test_nothing_stays_behind():
    model = VisionTransformer((28, 42), 7, 3, 10, 16, 3, 2)
    before = sys.getprofile()
    attributes = {name: dict(vars(module)) for name, module in model.named_modules()}
    trace(model, torch.rand(2, 3, 28, 42))
    trace(model, torch.rand(2, 7))
    assert sys.getprofile() is before
    for name, module in model.named_modules():
        for key, value in attributes[name].items():
            if type(value) in (int, tuple):
                assert type(vars(module)[key]) is type(value), f"{name}.{key}"
    assert type(torch.rand(2, 3).shape[0]) is int
    assert torch.overrides._get_current_function_mode_stack() == []


def test_a_built_module_is_an_ordinary_one():
    torch.manual_seed(0)
    built = build(VisionTransformer, (28, 42), 7, 3, 10, 16, 2, 2)
    torch.manual_seed(0)
    plain = VisionTransformer((28, 42), 7, 3, 10, 16, 2, 2)
    for key, value in plain.state_dict().items():
        torch.testing.assert_close(built.state_dict()[key], value, rtol=0, atol=0)
    for module in built.modules():
        assert all(type(value) in (int, bool) for value in vars(module).values() if isinstance(value, int))


def test_a_built_module_knows_the_names_of_its_defaults():
    assert shapes(trace(build(MLP, 5), torch.rand(2, 3, 5), names="B T D").at(1))[1] == "(B=2, T=3, M=20)"


def test_an_image_size_of_one_number_is_neither_height_nor_width():
    traced = trace(lambda image_size: torch.zeros(image_size, image_size), 5)
    assert shapes(traced)[-1] == "(5, 5)"


def test_names_may_be_given_and_win():
    def mix(images: Float[Tensor, "B C H W"], weights):
        return torch.einsum("bchw,kc->bkhw", images, weights)

    own = trace(mix, torch.rand(2, 3, 5, 7), torch.rand(11, 3))
    assert shapes(own)[-1] == "(B=2, 11, H=5, W=7)"
    given = trace(mix, torch.rand(2, 3, 5, 7), torch.rand(11, 3), names={"images": "n c y x", "weights": "K c"})
    assert shapes(given)[-1] == "(n=2, K=11, y=5, x=7)"


def test_parameters_may_be_named():
    traced = trace(nn.Linear(3, 5), torch.rand(2, 3), names={"input": "B D", "weight": "M D"})
    assert shapes(traced)[-1] == "(B=2, M=5)"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"x": "B T"}, "3 axes"),
        ({"x": "B T D", "y": "T"}, "T is 3 elsewhere, and 7"),
        ({"z": "B"}, r"no input here; the inputs are x, y, sizes, more, sizes\[0\], sizes\[1\], more\['z'\]"),
        ({"more": "K"}, "'more', which is no tensor and no size"),
        ({"sizes": "K"}, "K is 2 elsewhere, and 11"),
        ({"x": "B T 2"}, r"x \(2, 3, 5\) has 5 where names says 2$"),
        ({"x": "B T 2*T"}, r"x \(2, 3, 5\) has 5 where names says 2·T = 6"),
        ({"more": {"z": "K"}}, "a word for each axis"),
        (7, "a word for each axis"),
        (["B T D", "K", "L", "M"], r"4 texts, and the tensors are x, y, more\['z'\]"),
    ],
)
def test_names_that_do_not_fit_are_refused(names, message):
    def mix(x, y, sizes, more):
        return x

    with pytest.raises(ValueError, match=message):
        trace(mix, torch.rand(2, 3, 5), torch.rand(7), [2, 11], {"z": torch.rand(13)}, names=names)


@pytest.mark.parametrize(
    ("weight", "message"), [("D", r"2 axes \(3, 5\)"), ("D M", "D is 5 elsewhere, and 3"), ("B 2*B", "2·B = 6")]
)
def test_names_of_parameters_that_do_not_fit_are_refused(weight, message):
    with pytest.raises(ValueError, match=message):
        trace(nn.Linear(5, 3), torch.rand(2, 5), names={"input": "_ D", "weight": weight})


def test_one_of_several_numbers_may_be_named():
    def empty(sizes, more=None):
        return torch.zeros(sizes)

    traced = trace(empty, [2, 3, 5], None, names={"sizes[1]": "K", "more": "B"})
    assert shapes(traced)[-1] == "(2, K=3, 5)"


def test_a_depth_is_a_number_of_levels_wherever_it_is_asked_for():
    traced = trace(nn.Linear(3, 5), torch.rand(2, 3))
    for ask in (traced.at, traced.to_svg, traced.to_depth):
        for depth in (0, "all"):
            with pytest.raises(ValueError, match="1 or more, and not"):
                ask(depth)


def test_what_is_made_already_is_not_built():
    with pytest.raises(TypeError, match=r"from its class: build\(Linear"):
        build(nn.Linear(3, 5))


def test_a_number_without_a_name_stays_a_number():
    def mystery(x):
        return F.linear(x, torch.rand(7, x.shape[-1])).view(2, 3, 7)

    assert shapes(trace(mystery, torch.rand(2, 3, 5), names="B T D")) == [
        "(B=2, T=3, D=5)",
        "(7, D=5)",
        "(B=2, T=3, 7)",
        "(2, 3, 7)",
    ]


def test_json_has_every_row_whatever_the_depth(model):
    value = json.loads(trace(model, torch.rand(2, 3, 28, 42), depth=1).to_json())
    assert value["name"] == "VisionTransformer"
    assert value["error"] is None
    row = next(row for row in value["rows"] if row["expression"] == "self.projection(images)")
    assert row["depth"] == 1
    assert row["op"] == "Conv2d"
    assert row["shapes"] == [
        [{"name": n, "size": s} for n, s in (("B", 2), ("D", 16), ("gh", 4), ("gw", 6))],
    ]


def test_the_terminal_table_has_the_operation_where_there_is_room(model):
    traced = trace(model, torch.rand(2, 3, 28, 42))
    for width, there in ((80, False), (120, True)):
        console = Console(width=width, record=True, file=StringIO())
        print_trace(traced, console)
        text = console.export_text()
        assert ("EncoderBlock" in text) == there
        assert "× 3 layers" in text


def test_text_columns_can_be_chosen():
    traced = trace(PatchEmbedding(9, 16), torch.rand(1, 1, 32, 32))
    first = traced.to_text(("line", "expression", "op", "shape")).splitlines()[1].split()
    assert first[:3] == [str(traced.rows[1].line), "self.projection(images)", "Conv2d"]
