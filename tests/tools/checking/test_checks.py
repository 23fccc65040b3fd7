"""The checks themselves: each known wrong answer is refused, right ones pass, and what is not done is said to be so."""

import ast
import io
import re
import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stdout
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch

from vitcourse.checking import naming
from vitcourse.checking.check import Check
from vitcourse.checking.edits import edits
from vitcourse.checking.evidence import same
from vitcourse.checking.examples import onward, smallest
from vitcourse.checking.grading import Course
from vitcourse.checking.judge import Judge, Verdict, check_of
from vitcourse.checking.misconceptions import Hypothesis, Misconception, misconceptions
from vitcourse.checking.naming import named
from vitcourse.checking.sizes import Sizes
from vitcourse.checking.subjects import ATOL, RTOL, CheckFailedError, Inputs, Question, Side
from vitcourse.checking.wording import begun
from vitcourse.checking.workers import Workers
from vitcourse.codesets import load_code
from vitcourse.course import Chapter, Exercise, chapters, exercise, exercises
from vitcourse.definitions import definition, definitions
from vitcourse.places import root
from vitcourse.stubs import pristine
from vitcourse.worker.protocol import pack
from vitcourse.worker.workshop import Observation, Workshop

pytestmark = [pytest.mark.course, pytest.mark.xdist_group("judged")]

Checked = Callable[..., dict[str, Verdict]]
IDS = [entry.id for entry in exercises()]
STUBS = {entry.module: pristine(entry.module) for entry in chapters()}
SOLUTIONS = {entry.module: load_code("solutions").text(entry.module) for entry in chapters()}


def solved(*names: str) -> dict[str, str]:
    """The stubs' texts, in which the definitions of these names are the solutions'."""
    texts = dict(STUBS)
    for module in texts:
        for name in names:
            if name in definitions(SOLUTIONS[module]):
                right = definition(SOLUTIONS[module], name)
                texts[module] = texts[module].replace(definition(texts[module], name), right)
    return texts


@pytest.fixture
def checked(tmp_path: Path, workers: Workers) -> Checked:
    """Checks exercises of the solutions, with the files that are given in place of theirs; the verdicts by exercise."""

    def check(*ids: str, seed: int | None = None, **files: str) -> dict[str, Verdict]:
        folder, leaving = tmp_path / "learner", shutil.ignore_patterns("__pycache__")
        shutil.copytree(root() / "solutions", folder, ignore=leaving, dirs_exist_ok=True)
        for module, text in files.items():
            (folder / f"{module}.py").write_text(text, encoding="utf-8")
        return verdicts_of(folder, ids, Judge(workers, seed=seed))

    return check


def verdicts_of(folder: Path, ids: Iterable[str], judge: Judge) -> dict[str, Verdict]:
    """The verdicts on what is in a folder, by exercise."""
    course = Course(load_code(folder), judge)
    return {id: course.verdict(exercise(id)) for id in ids}


def mistake_called(name: str) -> Misconception:
    """The known mistake of that name, or whose name ends so."""
    return next(wrong for wrong in misconceptions() if wrong.name.endswith(name))


class Remembered:
    """Answers as a side did that was asked the same in the same order; only what is new is worked out."""

    def __init__(self, fresh: Callable[[], Any], known: dict[bytes, Any], key: Callable[[Any], bytes]) -> None:
        self.fresh, self.known, self.key = fresh, known, key
        self.behind: list[Any] = []  # what was asked, and not yet of the side itself
        self.so_far = b""
        self.side: Any = None

    def find(self, module: str, name: str) -> Any:
        return self.fresh().find(module, name)

    @property
    def things(self) -> Any:
        self.work_out()
        return self.side.things

    def answer(self, request: Any) -> Any:
        self.behind.append(request)
        self.so_far = sha256(self.so_far + self.key(request)).digest()
        if self.so_far not in self.known:
            self.known[self.so_far] = self.work_out()
        if isinstance(seen := self.known[self.so_far], Exception):
            raise seen
        return seen

    def work_out(self) -> Any:
        """The answer to the last request."""
        self.side, seen = self.side or self.fresh(), None
        while self.behind:
            try:
                seen = self.side.answer(self.behind.pop(0))
            except Exception as error:
                seen = error
        return seen


@pytest.fixture
def each_worked_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A known mistake is held against every other one: what it, and the reference, answers to the same is kept."""
    make, right, known, packed, expected = naming.side_of, naming.references, {}, {}, {}

    def key(request: Any) -> bytes:
        if id(request) not in packed:
            packed[id(request)] = (sha256(pack(request)).digest(), request)  # kept, so that its id stays its own
        return packed[id(request)][0]

    def side_of(asked: Exercise, hypothesis: Hypothesis) -> Side:
        return Remembered(partial(make, asked, hypothesis), known.setdefault(hypothesis, {}), key)

    monkeypatch.setattr(naming, "side_of", side_of)
    monkeypatch.setattr(naming, "references", lambda: Remembered(right, expected, key))


@pytest.mark.parametrize("chapter", chapters(), ids=lambda chapter: chapter.module)
def test_a_known_wrong_answer_is_refused_and_named(chapter: Chapter) -> None:
    """The newest of each chapter's first exercise; the next test takes all."""
    asked = chapter.exercises[0]
    refused_and_named(asked, known_mistakes(asked)[-1])


@pytest.mark.thorough
@pytest.mark.usefixtures("each_worked_out_once")
@pytest.mark.parametrize("asked", exercises(), ids=IDS)
def test_every_known_wrong_answer_is_refused_and_named(asked: Exercise) -> None:
    """In this process, where the mistakes are our own: the check refuses each, and the search tells which it is."""
    for misconception in known_mistakes(asked):
        refused_and_named(asked, misconception)


def known_mistakes(asked: Exercise) -> list[Misconception]:
    """Those of one exercise, in the order of the list."""
    known = [m for m in misconceptions() if m.exercise == asked.id]
    assert len(known) >= 4
    return known


def refused_and_named(asked: Exercise, misconception: Misconception) -> None:
    """Two that look the same from outside are both told; a name that stands for the same words is as good."""
    said, found = judged(asked, variant(asked, misconception), seed=17)  # all are asked the same
    assert said, f"{misconception.name} passes"
    assert misconception.says in found, (misconception.name, said, found)


@pytest.mark.parametrize("asked", exercises(), ids=IDS)
def test_every_check_ends_at_the_smallest_sizes_too(asked: Exercise) -> None:
    """An example is looked for where a size is 1 or 2: what a check draws until it suits must exist there."""
    check = Check(asked, naming.references(), naming.references(), Inputs(1))
    assert smallest(check_of(asked), check, 2) is None


@pytest.mark.parametrize("chapter", chapters(), ids=lambda chapter: chapter.module)
def test_every_size_of_a_check_is_another_so_that_no_swap_can_hide(chapter: Chapter) -> None:
    """Of the axes and what follows from them: a ratio is no axis."""
    tree = ast.parse((root() / "tests" / f"test_{chapter.module}.py").read_text("utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "check.sizes"]
    assert calls
    for call in calls:
        sizes = Sizes(**{str(given.arg): ast.literal_eval(given.value) for given in call.keywords})
        axes = {symbol: size for symbol, size in sizes.known.items() if symbol != "ratio"}
        assert len(set(axes.values())) == len(axes), axes


def judged(asked: Exercise, learner: Side, seed: int) -> tuple[str, str]:
    """What the check says of an answer, empty where it passes; and what the search for its cause says."""
    check = Check(asked, learner, naming.references(), Inputs(seed))
    run = check_of(asked)
    with redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            run(check)
        except CheckFailedError as error:
            cause = named(asked, check.questions, lambda: onward(run, check, seed))
            return error.headline, cause.says if cause else ""
    return "", ""


def variant(asked: Exercise, misconception: Misconception) -> Side:
    """The references, with a mistake in one chapter."""
    code = load_code("solutions")
    space = dict(vars(code.module(asked.module)))
    exec(compile(misconception.source(), "<mistake>", "exec", dont_inherit=True), space)

    def find(module: str, name: str) -> object:
        return space[name] if module == asked.module and name in space else getattr(code.module(module), name)

    return Workshop(find)


def test_a_cause_is_found_whatever_the_learners_own_model_starts_as(checked: Checked) -> None:
    mistake = mistake_called("blocks one too high")
    start = SOLUTIONS["ch02_tokens"].replace("0.02 * torch.randn", "0.03 * torch.randn")
    verdicts = checked("2.4", "7.3", ch02_tokens=start, ch07_transfer=mistake.source())
    assert verdicts["2.4"].status == "passed"
    assert verdicts["7.3"].misconception == mistake.name


def test_a_cause_is_found_with_torchs_own_norms_too(checked: Checked) -> None:
    mistake = mistake_called("no norm before the MLP")
    torchs = mistake.source().replace("= LayerNorm(", "= nn.LayerNorm(")  # whose eps is 1e-5
    assert checked("4.4", ch04_encoder=torchs)["4.4"].misconception == mistake.name


def test_a_cause_is_found_where_another_with_the_same_words_explains_only_the_beginning() -> None:
    """With this seed, mixed labels cut to whole ones are at first what they are when rounded."""
    mistake = mistake_called("cut to whole ones")
    asked = exercise(mistake.exercise)
    assert judged(asked, variant(asked, mistake), seed=30)[1] == mistake.says


thorough = partial(pytest.param, marks=pytest.mark.thorough)
SMOOTHED = "1 - label_smoothing) * hard + "
CONVOLUTION = "nn.Conv2d(in_channels, d_model, kernel_size=patch_size, stride=patch_size)"
LATE = "= (hasattr(self, 'projection') or setattr(self, 'projection', self.made()) or self) and self.projection("
NAMED = '-> B C (gh P1) (gw P2)",\n        gh=gh, gw=gw'


@pytest.mark.parametrize(
    ("asked", "edits", "name"),
    [
        # At first one number is that of another mistake, and the numbers after it are not.
        ("5.2", {SMOOTHED: "1 - 2 * label_smoothing) * hard + 2 * "}, ""),
        # Other names of axes, in the words of the same error.
        (
            "1.2",
            {
                "gh, gw = grid": "gh = gw = int(patches.shape[1] ** 0.5)",
                "B (gh gw) (C P1 P2) ->": "B (h w) (C P1 P2) ->",
            }
            | {NAMED: NAMED.replace("gh", "h").replace("gw", "w").replace("=h, w=w", "=gh, w=gw")},
            "square grid assumed",
        ),
        # A number read on the way, before the same error.
        ("5.5", {"start : start + batch_size]).sum()": "start:batch_size]).sum().item()"}, "the labels' slice"),
        # The same error comes from other lines, which are right here.
        thorough("6.3", {"weights.mean(dim=2)": "weights.mean()"}, ""),
        # What is done to an earlier line changes as little as what isn't done at all.
        thorough(
            "6.5", {"attention.out.weight[:, start : start + d_head] = 0": "pass"}, "silencing the head's columns"
        ),
        # Both raise with the same words as long as there are more keys than queries.
        thorough("3.1", {"q @ k.transpose": "q @ q.transpose"}, "the queries stand where the keys are meant"),
        # No gradient reaches CLS, as where it is detached; and later on another CLS comes out.
        thorough("2.1", {"cls_token.expand(": 'vars(prepend_cls).setdefault("cls", cls_token).expand('}, ""),
        # Parameters are missing, as they are where a layer is made in forward; there the call succeeds.
        thorough("1.3", {CONVOLUTION: CONVOLUTION.replace("nn", "[nn") + "]"}, ""),
        # They are there after the first call, and not drawn in each.
        (
            "1.3",
            {f"self.projection = {CONVOLUTION}": f"self.made = lambda: {CONVOLUTION}", "= self.projection(": LATE},
            "",
        ),
    ],
)
def test_a_cause_is_named_where_it_is_no_chance(asked: str, edits: dict[str, str], name: str, checked: Checked) -> None:
    text = SOLUTIONS[exercise(asked).module]
    for right, wrong in edits.items():
        assert text.count(right) == 1
        text = text.replace(right, wrong)
    verdict = checked(asked, **{exercise(asked).module: text})[asked]
    assert verdict.status != "passed"
    assert verdict.misconception.startswith(name)
    assert bool(name) is bool(verdict.misconception), verdict


@pytest.mark.usefixtures("uncaused")
def test_what_is_right_in_training_mode_alone_is_refused(checked: Checked) -> None:
    names = {"1.3": "PatchEmbedding", "2.4": "PositionalEncoding", "3.2": "AttentionHead", "3.4": "MultiHeadAttention"}
    names["4.1"] = "LayerNorm"
    texts = dict(SOLUTIONS)
    for id, name in names.items():
        turned = "run(self, x if self.training else -x, *more, **named)"
        forward = f"lambda self, x, *more, run={name}.forward, **named: {turned}"
        texts[exercise(id).module] += f"\n{name}.forward = {forward}\n"
    for id, verdict in checked(*names, **texts).items():
        assert verdict.headline == f"{names[id]} returns wrong values in evaluation mode"


def test_layers_that_a_plain_container_hides_are_said_to_be_hidden_there_and_not_to_be_made_anew(
    checked: Checked,
) -> None:
    """From outside they are missing, as are those that are made in every call; but these draw new weights there."""
    text = SOLUTIONS["ch03_attention"]
    for name in ("query", "key", "value"):
        kept = f"vars(self).setdefault('parts', {{}})['{name}'] ="
        text = text.replace(f"self.{name} = nn", f"{kept} nn").replace(f"self.{name}(x)", f"self.parts['{name}'](x)")
    verdict = checked("3.2", ch03_attention=text)["3.2"]
    assert verdict.headline == "parts of AttentionHead is a plain dict, which hides its modules"
    assert "self.query" in verdict.diagnosis


def test_dropout_that_a_plain_list_hides_from_eval_is_told_of_it(checked: Checked) -> None:
    text = SOLUTIONS["ch04_encoder"].replace("self.dropout = nn.Dropout(dropout)", "self.drops = [nn.Dropout(dropout)]")
    headline = checked("4.3", ch04_encoder=text.replace("self.dropout(", "self.drops[0]("))["4.3"].headline
    assert headline.startswith("Dropout stays on in evaluation mode")
    assert "a plain list, which eval() doesn't reach" in headline


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (["It is cut off (at the start)."], "It is cut off (at the start)."),
        (["It is cut off (at the start).", "It is cut off (the scale)."], "It is cut off."),
        (
            ["It is cut off (at the start).", "It is cut off (the scale).", "It is doubled (the scale)."],
            "Either: It is cut off. Or, which looks the same from outside: It is doubled (the scale).",
        ),
    ],
)
def test_one_mistake_that_may_stand_in_several_places_is_said_once(found: list[str], says: str) -> None:
    naming_of_it = naming._naming("edit", [Hypothesis(text, text, ()) for text in found], 3)
    assert naming_of_it is not None
    assert naming_of_it.says == says


@pytest.mark.parametrize(("seconds", "count"), [(0.5, 2), (9.0, 0)])
def test_a_search_that_ran_out_of_time_names_only_what_explains_all(
    seconds: float, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, questions, clock = exercise("4.2"), [Question({"do": "call"}, Observation())], iter((0.0, 0.1, seconds))
    monkeypatch.setattr(naming, "_explains", lambda asked, one, of: of is questions)  # and nothing of the rest
    monkeypatch.setattr("vitcourse.checking.naming.time.process_time", lambda: next(clock, seconds))
    found, whole = naming._among(asked, "edit", edits(asked)[:2], questions, list, [])
    assert (len(found), whole) == (count, [])


def test_the_same_outcome_eight_times_speaks_once_for_a_cause(checked: Checked) -> None:
    text = SOLUTIONS["ch05_vit"].replace("predictions == labels[", "predictions >= labels[")
    # At this seed as many labels are among the two best of 11 as are no larger than the best; of labels of 0, all are.
    verdict = checked("5.5", seed=12, ch05_vit=text)["5.5"]
    assert verdict.headline.startswith("10 of 13 images are right")
    assert not verdict.misconception


def test_of_two_results_that_should_be_one_the_wrong_one_is_called_wrong(checked: Checked) -> None:
    """Alone an image loses its axis; and without its weights attention gives 100 too much."""
    text = SOLUTIONS["ch01_patches"].replace("x = x.transpose(1, 2)  ", "x = x.transpose(1, 2).squeeze(0)  ")
    diagnosis = checked("1.3", ch01_patches=text)["1.3"].diagnosis
    assert "expected shape (1, 77, 13), yours (77, 13)" in diagnosis
    text = SOLUTIONS["ch03_attention"].replace(
        "weights) if return_weights else x", "weights) if return_weights else x + 100"
    )
    diagnosis = checked("3.4", ch03_attention=text)["3.4"].diagnosis
    expected, yours = (float(number) for number in re.findall(r"(?:expected, at .*,|yours) (-?[\d.]+)", diagnosis)[:2])
    assert (abs(expected) < 20, yours > 80) == (True, True), diagnosis


def test_an_example_shows_what_is_wrong_and_no_rounding(checked: Checked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vitcourse.checking.examples.SECONDS", 20.0)  # on a busy machine too
    mistake = mistake_called("sum over the batch").source()
    mixed = "lam * images + (1 - lam) * images[order]"
    assert mixed in mistake
    lerp = mistake.replace(mixed, "images.lerp(images[order], 1 - lam)")  # in bfloat16 its last digit is another
    assert "for example, soft_cross_entropy(" in checked("7.4", ch07_transfer=lerp)["7.4"].diagnosis


@pytest.mark.parametrize(("mean", "refused"), [(0.0, False), (0.01, True), (-0.5, True)])
def test_first_values_that_lean_to_one_side_are_no_noise_of_mean_0(mean: float, refused: bool) -> None:
    noise = torch.randn(1, 101, 61, generator=torch.Generator().manual_seed(7))
    assert bool(begun(0.02 * noise + mean, 0.005, 0.1)[0]) is refused


def test_what_is_observed_in_bfloat16_is_compared_as_the_check_compares_it() -> None:
    """The largest number tells how much rounding there is; one that isn't finite doesn't."""
    one = torch.tensor([5.0, 0.0], dtype=torch.bfloat16)
    for last, alike in ((0.16, True), (0.4, False), (float("inf"), False)):
        assert same(one, torch.tensor([5.0, last], dtype=torch.bfloat16), 0.1, 0.1) is alike


def test_each_misconception_is_one_of_its_kind() -> None:
    texts = {(wrong.exercise, wrong.source()) for wrong in misconceptions()}
    assert len(texts) == len(misconceptions())
    assert not texts & {(id, SOLUTIONS[exercise(id).module]) for id in IDS}


def test_untouched_stubs_are_not_started(checked: Checked) -> None:
    for id, verdict in checked(*IDS, **STUBS).items():
        assert (verdict.status, verdict.headline) == ("not-started", f"exercise {id} not started")


def test_a_stub_filled_in_rightly_passes_and_lets_through_what_it_blocked(checked: Checked) -> None:
    later = ["exercise 3.1 not started", "blocked by 3.1", "passed", "exercise 3.4 not started"]
    both = ["passed", "passed", "exercise 3.3 not started", "exercise 3.4 not started"]
    for headlines, names in (
        (later, ["AttentionHead", "split_heads", "merge_heads"]),
        (both, ["scaled_dot_product_attention", "AttentionHead"]),
    ):
        verdicts = checked("3.1", "3.2", "3.3", "3.4", **solved(*names))
        assert [verdict.headline for verdict in verdicts.values()] == headlines


@pytest.mark.usefixtures("uncaused")
def test_what_stands_on_a_wrong_answer_is_blocked_and_not_blamed(checked: Checked) -> None:
    verdicts = checked("3.1", "3.2", "3.3", "3.4", ch03_attention=mistake_called("no scale").source())
    assert [verdicts[id].status for id in ("3.1", "3.3")] == ["failed", "passed"]
    assert [verdicts[id].headline for id in ("3.2", "3.4")] == ["blocked by 3.1"] * 2


def test_an_answer_that_needs_no_earlier_one_passes_without_it(checked: Checked) -> None:
    texts = solved("AttentionHead")
    texts["ch03_attention"] = texts["ch03_attention"].replace(
        "output, weights = scaled_dot_product_attention(q, k, v)",
        "weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1); output = weights @ v",
    )
    assert checked("3.2", **texts)["3.2"].status == "passed"


def test_arguments_have_the_contracts_order_and_defaults_and_may_be_more(checked: Checked) -> None:
    three, grid = "patch_size: int, grid: tuple[int, int], channels: int", "channels: int, grid: tuple[int, int]"
    two, turned = "d_model: int, n_patches: int", "n_patches: int, d_model: int"
    told = {
        "1.2": (three, f"patch_size: int, {grid}", "unpatchify takes its arguments in another order"),
        "1.3": ("in_channels: int = 1", "in_channels: int = 3", "the default of in_channels of PatchEmbedding is 3"),
        "2.4": (two, turned, "PositionalEncoding takes its arguments in another order"),
        "3.4": (
            "weights: bool = False",
            "weights: bool = True",
            "the default of return_weights of MultiHeadAttention.",
        ),
        "4.3": ("ratio: int = 4", "ratio: int = 4, bias: bool = True", "passed"),
        "6.6": ("ridge: float = 1e-2", "ridge: float = None", "passed"),
        "5.4": ("None = None", "None = torch.bfloat16", "the default of amp_dtype of train_step is torch.bfloat16"),
    }
    texts = dict(SOLUTIONS)
    for id, (right, wrong, _) in told.items():
        assert right in texts[exercise(id).module]
        texts[exercise(id).module] = texts[exercise(id).module].replace(right, wrong)
    texts["ch06_inside"] = texts["ch06_inside"].replace("ridge * ", "(ridge or 1e-2) * ")
    for id, verdict in checked(*told, **texts).items():
        assert verdict.headline.startswith(told[id][2]), verdict


@pytest.mark.usefixtures("uncaused")
def test_calling_what_one_should_build_is_refused(checked: Checked) -> None:
    ready_made = {
        "3.1": ("import torch\nimport torch.nn.functional as F\n\n\n"
                "def scaled_dot_product_attention(q, k, v):\n"
                "    return F.scaled_dot_product_attention(q, k, v), (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)\n"),
        "4.1": ("from torch import nn\n\n\nclass LayerNorm(nn.LayerNorm):\n"
                "    def __init__(self, d_model, eps=1e-6):\n        super().__init__(d_model, eps=eps)\n"),
        "5.2": ("import torch.nn.functional as F\n\n\n"
                "def cross_entropy(logits, labels, label_smoothing=0.0):\n"
                "    return F.cross_entropy(logits, labels, label_smoothing=label_smoothing)\n"),
        "1.1": "from solutions.ch01_patches import patchify\n",
    }  # fmt: skip
    for id, text in ready_made.items():
        verdict = checked(id, **{exercise(id).module: text})[id]
        assert verdict.status in ("failed", "error"), verdict
        refused = "solutions can't be imported" if id == "1.1" else "this exercise builds it; you called it"
        assert refused in verdict.headline, verdict


def test_a_syntax_error_is_one_line_for_what_was_started_there_and_no_other_chapters_business(
    checked: Checked,
) -> None:
    texts = solved("patchify", "prepend_cls", "gelu")
    texts["ch02_tokens"] = texts["ch02_tokens"].replace("cls_tokens = cls_token.expand(", "cls_tokens = = cls_token(")
    line_number = texts["ch02_tokens"][: texts["ch02_tokens"].index("= =")].count("\n") + 1
    verdicts = checked("1.1", "4.2", "2.2", "2.1", **texts)
    assert [verdict.status for verdict in verdicts.values()] == ["passed", "passed", "not-started", "error"]
    assert verdicts["2.1"].headline == f"learner/ch02_tokens.py, line {line_number}: SyntaxError: invalid syntax"
    assert not verdicts["2.1"].seed  # no inputs to meet again


@pytest.mark.usefixtures("uncaused")
def test_a_missing_name_and_a_raising_one_are_said_with_their_line(checked: Checked) -> None:
    texts = solved("patchify", "unpatchify")
    texts["ch01_patches"] = texts["ch01_patches"].replace("def unpatchify(", "def unpatchifi(")
    texts["ch04_encoder"] = texts["ch04_encoder"].replace(
        definition(texts["ch04_encoder"], "gelu"), "def gelu(x):\n    return x.no_such_method()"
    )
    line_number = texts["ch04_encoder"][: texts["ch04_encoder"].index("x.no_such")].count("\n") + 1
    verdicts = checked("1.1", "1.2", "4.2", **texts)
    assert verdicts["1.1"].status == "passed"
    assert verdicts["1.2"].headline == "unpatchify is missing from learner/ch01_patches.py"
    assert verdicts["4.2"].status == "error"
    assert "AttributeError" in verdicts["4.2"].headline
    assert f"learner/ch04_encoder.py, line {line_number}" in verdicts["4.2"].diagnosis


@pytest.mark.parametrize(
    "name", ["one", *(pytest.param(name, marks=pytest.mark.thorough) for name in ("two", "three"))]
)
def test_right_answers_written_in_other_ways_pass(name: str, workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loops, einsum, unfold, fused attention where no weights are asked for: the contract says what, not how.

    They pass with half the tolerance too: another processor, or other inputs, round otherwise.
    """
    close = Check.close

    def closer(
        self: Check,
        mine: Any,
        expected: Any,
        otherwise: str,
        rtol: float = RTOL,
        atol: float = ATOL,
        diagnosis: str = "",
    ) -> None:
        share = 1 if isinstance(expected, tuple | list) else 0.5  # the parts of a pair come here one by one
        close(self, mine, expected, otherwise, share * rtol, share * atol, diagnosis)

    monkeypatch.setattr(Check, "close", closer)
    verdicts = verdicts_of(root() / "tests" / "tools" / "alternatives" / name, IDS, Judge(workers))
    assert {id: verdict.headline for id, verdict in verdicts.items()} == dict.fromkeys(IDS, "passed")


def written_apart() -> Iterator[Any]:
    """The answers that were written from the contract alone; in each run a wrong one of each exercise.

    And a right one of each chapter: the test above has one of each exercise.
    """
    sampled = set()
    for entry in exercises():
        for kind, of in (("right", entry.module), ("wrong", entry.id)):
            for file in sorted((root() / "tests" / "tools" / "independent").glob(f"{kind}_*_{entry.id}.py")):
                marks = [pytest.mark.thorough] if (kind, of) in sampled else []
                sampled.add((kind, of))
                yield pytest.param(entry, file, id=file.stem, marks=marks)


@pytest.mark.usefixtures("uncaused")
@pytest.mark.parametrize(("asked", "file"), list(written_apart()))
def test_a_wrong_answer_written_without_a_look_at_the_checks_is_refused_and_a_right_one_passes(
    asked: Exercise, file: Path, checked: Checked
) -> None:
    verdict = checked(asked.id, **{asked.module: in_place(asked.module, file.read_text("utf-8"))})[asked.id]
    assert (verdict.status == "passed") == file.name.startswith("right"), verdict


def in_place(module: str, answer: str) -> str:
    """The solutions' chapter with the definitions of an answer in place of its own."""
    text = SOLUTIONS[module]
    own = [definition(text, name) for name in definitions(answer) if name in definitions(text)]
    assert own
    for part in own[1:]:
        text = text.replace(part, "")
    return text.replace(own[0], answer)
