"""The search space of edits: every exercise has some, each runs, each is told in words and never in code."""

import ast
import re

import pytest
import torch
from torch import Tensor, nn

from vitcourse.checking import naming
from vitcourse.checking.edits import edits, reference
from vitcourse.checking.edits.telling import expressions
from vitcourse.checking.edits.trees import matched
from vitcourse.checking.evidence import same
from vitcourse.checking.misconceptions import Hypothesis
from vitcourse.codesets import load_code
from vitcourse.course import Exercise, exercise, exercises

pytestmark = pytest.mark.xdist_group("judged")  # where edits are looked for, too
EVERY = pytest.mark.parametrize("each", exercises(), ids=lambda each: each.id)


def executed(module: str, hypothesis: Hypothesis) -> dict[str, object]:
    """The names of the reference's chapter, with a hypothesis in it."""
    names = {"torch": torch, **vars(load_code("solutions").module(module))}
    exec(naming._compiled(hypothesis), names)
    return names


@pytest.mark.course
@EVERY
def test_every_exercise_has_edits_and_each_changes_something(each: Exercise) -> None:
    found = edits(each)
    assert 100 < len(found) <= 800
    solution = {node.name: ast.dump(node) for node in reference.definitions(reference.chapter(each.module).tree)}
    for hypothesis in found[::17]:
        changed = [node for node in hypothesis.definitions if isinstance(node, ast.FunctionDef | ast.ClassDef)]
        assert any(solution[node.name] != ast.dump(node) for node in changed), hypothesis.says


@EVERY
def test_every_edit_can_be_executed(each: Exercise) -> None:
    for hypothesis in edits(each)[::17]:
        names = executed(each.module, hypothesis)
        assert all(name in names for name in each.names)


@EVERY
def test_every_edit_is_told_in_sentences_and_not_in_code(each: Exercise) -> None:
    own, below = reference.functions_of(each)
    public = reference.public_names() | {"range"}
    hidden = {name for function in own + below for name in function.kinds} - public - {"self", "_"}
    hidden = {name for name in hidden if "_" in name}
    for hypothesis in edits(each):
        says = hypothesis.says
        assert says.endswith("."), says
        assert not re.search(r"[{}]|  ", says), says
        assert not re.search(r"\b(shall|behind)\b", says), says
        assert not any(re.search(rf"\b{name}\b", says) for name in hidden), says


def test_names_are_exchanged_beside_one_that_is_not_kept() -> None:
    """As in D, C, P, _ = conv.weight.shape."""
    said = [hypothesis.says for hypothesis in edits(exercise("1.4"))]
    assert any(says.startswith("D and C are exchanged, swapped") for says in said)


def test_a_size_that_is_read_off_the_wrong_axis_is_told_by_its_symbol_however_the_axis_is_counted() -> None:
    said = [hypothesis.says for hypothesis in edits(exercise("1.3")) if "the size of the wrong axis" in hypothesis.says]
    assert any("reads H in the place of W" in says for says in said)
    assert not any("axis -2" in says or "axis 2" in says for says in said)


def test_a_statement_without_a_step_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {**reference.words(), "function": {**reference.words()["function"], "gelu": {"steps": ["one for two"]}}}
    monkeypatch.setattr(reference, "words", lambda: said)
    with pytest.raises(ValueError, match="gelu has 2 statements and 1 steps"):
        reference.chapter.__wrapped__("ch04_encoder")


def test_steps_stand_for_the_functions_of_the_solutions_and_no_others() -> None:
    functions = [function.name for function in reference.all_functions()]
    assert sorted(functions) == sorted(reference.words()["function"])


def test_every_form_of_a_row_is_that_of_some_expression_in_the_solutions() -> None:
    nodes = [node for function in reference.all_functions() for _, node in expressions(function)]
    for form in dict.fromkeys(row[0] for row in reference.table("rewrites")["rewrites"]):
        tree = ast.parse(form, mode="eval").body
        assert any(matched(tree, node) is not None for node in nodes), form


@pytest.mark.parametrize(
    ("form", "text", "parts"),
    [
        ("a / b", "x / (y + 1)", {"a": "x", "b": "y + 1"}),
        ("a / a", "x / y", None),
        ("a ** n", "x ** 2", None),
        ("x.mean(*R)", "scores.mean(dim=-1)", {"x": "scores", "R": "scores.mean(dim=-1)"}),
        ("f(a, b // 2)", "table(3, d // 2)", {"f": "table", "a": "3", "b": "d"}),
    ],
)
def test_letters_of_a_form_stand_for_parts_of_an_expression(form: str, text: str, parts: dict[str, str] | None) -> None:
    found = matched(*(ast.parse(code, mode="eval").body for code in (form, text)))
    assert (found and {letter: ast.unparse(part) for letter, part in found.items()}) == parts


def words_for(id: str, wrong: str, call: str) -> list[str]:
    """What is said of an answer: of the edits that give its results on the inputs of the call."""
    module = load_code("solutions").module(exercise(id).module)

    def results(names: dict[str, object]) -> list[Tensor] | str:
        torch.manual_seed(0)
        try:
            result = eval(call, dict(names, torch=torch, nn=nn))
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        parts = result if isinstance(result, tuple) else (result,)
        return [part.detach() if isinstance(part, Tensor) else torch.tensor(torch.nan) for part in parts]

    names = dict(module.__dict__)
    exec(wrong, names)
    mine = results(names)
    assert not same(mine, results(dict(module.__dict__)), 1e-5, 1e-5), "the wrong answer should be wrong"
    found = edits(exercise(id))[:250]
    return [one.says for one in found if same(results(executed(exercise(id).module, one)), mine, 1e-5, 1e-5)]


@pytest.mark.parametrize(
    ("id", "wrong", "call", "said"),
    [
        (
            "1.1",
            "def patchify(x, p):\n    return rearrange(x, 'B C (h p) (w q) -> B (w h) (C p q)', p=p, q=p)",
            "patchify(torch.randn(2, 3, 10, 15), 5)",
            "The axes gh and gw of what comes out are exchanged",
        ),
        (
            "2.1",
            "def prepend_cls(t, c):\n    return torch.cat([t, c.expand(len(t), -1, -1)], 1)",
            "prepend_cls(torch.randn(3, 7, 5), torch.randn(1, 1, 5))",
            "CLS and the tokens are exchanged",
        ),
        (
            "3.1",
            "def scaled_dot_product_attention(q, k, v):\n"
            "    w = (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(-2)\n    return w @ v, w",
            "scaled_dot_product_attention(torch.randn(5, 7), torch.randn(11, 7), torch.randn(11, 3))",
            "over the queries",
        ),
        (
            "3.3",
            "def merge_heads(x):\n    return x.reshape(x.shape[0], x.shape[2], -1)",
            "merge_heads(torch.randn(2, 3, 5, 7))",
            "reshape",
        ),
        ("4.2", "def gelu(x):\n    return x * torch.sigmoid(1.702 * x)", "gelu(torch.randn(7, 5))", "1.702"),
        (
            "4.2",
            "def gelu(x):\n    return x * (1 + torch.erf(x / 1.414)) / 2",
            "gelu(torch.randn(7, 5))",
            "rounded to three digits",
        ),
        (
            "5.2",
            "def cross_entropy(z, y, label_smoothing=0.0):\n"
            "    return torch.nn.functional.cross_entropy(z, y, reduction='sum')",
            "cross_entropy(torch.randn(5, 7), torch.tensor([0, 6, 3, 3, 1]))",
            "sum",
        ),
    ],
)
def test_a_mistake_is_named(id: str, wrong: str, call: str, said: str) -> None:
    assert said in words_for(id, wrong, call)[0]


def test_an_edit_of_an_earlier_exercise_reaches_what_stands_on_it() -> None:
    words = words_for(
        "3.4",
        "class MultiHeadAttention(MultiHeadAttention):\n    def forward(self, x, return_weights=False):\n"
        "        q, k, v = (split_heads(p, self.n_heads) for p in self.qkv(x).chunk(3, -1))\n"
        "        return self.out(scaled_dot_product_attention(q, k, v)[0].reshape(x.shape))",
        "MultiHeadAttention(21, 3)(torch.randn(2, 5, 21))",
    )
    assert "bare reshape" in words[0]
    assert "merging the heads" in words[0]
