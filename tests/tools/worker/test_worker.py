"""The wall between judge and worker: what a learner's code may try in its process, and what the judge makes of it."""

import ast
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from vitcourse.checking.judge import Judge, Verdict
from vitcourse.checking.workers import Workers, fenced
from vitcourse.codesets import load_code
from vitcourse.course import exercise
from vitcourse.places import package, root
from vitcourse.worker import chapters, integrity
from vitcourse.worker.protocol import LONGEST, Other, Part, ProtocolError, Slot, pack, unpack
from vitcourse.worker.slips import slips, stated
from vitcourse.worker.things import Probe, structure
from vitcourse.worker.workshop import Workshop

RIGHT = "return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))"
HEADER = "import math\n\nimport torch\n\n\n"


@pytest.fixture
def gelu(tmp_path: Path, workers: Workers) -> Callable[..., Verdict]:
    """The verdict on 4.2 where a chapter begins with these lines and gelu has this body."""

    def judged(body: str, before: str = "", seed: int | None = None, timeout: float = 20.0, **beside: str) -> Verdict:
        folder = tmp_path / "learner"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        lines = "\n    ".join(body.splitlines())
        text = f"{HEADER}{before}\n\n\ndef gelu(x):\n    {lines}\n"
        (folder / "ch04_encoder.py").write_text(text, encoding="utf-8")
        for name, content in beside.items():
            (folder / f"{name}.py").write_text(content, encoding="utf-8")
        return Judge(workers, timeout, seed).verdict(load_code(folder), exercise("4.2"))

    return judged


CHEATS = {
    "the comparison is patched": ("torch.allclose = lambda *args, **more: True", "return 0 * x"),
    "tensors that are equal to everything": (
        "class Liar(torch.Tensor):\n    __eq__ = lambda self, other: torch.ones(self.shape, dtype=torch.bool)",
        "return (0 * x).as_subclass(Liar)",
    ),
    "the reference imported": ("", "from solutions.ch04_encoder import gelu as theirs\nreturn theirs(x)"),
    "the reference found among the modules": (
        "import sys",
        "for name, module in list(sys.modules.items()):\n"
        "    if name.endswith('ch04_encoder') and module.__dict__.get('gelu') is not gelu:\n"
        "        return module.gelu(x)\n"
        "return 0 * x",
    ),
    "the reference found by frames": (
        "import sys",
        "frame = sys._getframe()\n"
        "while frame:\n"
        "    for thing in list(frame.f_locals.values()):\n"
        "        if hasattr(thing, 'reference'):\n"
        "            return thing.reference(x)\n"
        "    frame = frame.f_back\n"
        "return 0 * x",
    ),
    "the reference read from the disk": (
        "",
        f"names = {{'__name__': 'other'}}\n"
        f"exec(open({str(root() / 'solutions' / 'ch04_encoder.py')!r}).read(), names)\n"
        "return names['gelu'](x)",
    ),
    "the reference read by the process above": (
        "import os",
        "exec(open(f'/proc/{os.getppid()}/cwd/solutions/ch04_encoder.py').read(), globals())\nreturn 0 * x",
    ),
    "another program asked": ("import subprocess", "subprocess.run(['true'])\n" + RIGHT),
    "a process of its own left behind": (
        "import os, time",
        "if os.fork() == 0:\n    os.setsid()\n    time.sleep(7)\n    os._exit(0)\n" + RIGHT,
    ),
    "an end with exit code 0": ("import os", "os._exit(0)"),
    "a verdict written into the pipe": (
        "import os",
        "for file in range(3, 40):\n"
        "    try:\n        os.write(file, b'\\0' * 15 + b'\\2{}')\n"
        "    except OSError:\n        pass\n"
        "return 0 * x",
    ),
    "an endless answer": ("", "return torch.zeros(7 * 10**7)"),
    "torch's own": ("", "return torch.nn.functional.gelu(x)"),
    "torch's own below Python": ("", "return torch._C._nn.gelu(x)"),
    "torch's own as an operator": ("", "return torch.ops.aten.gelu(x)"),
    "torch's own in a thread": (
        "import threading",
        "out = []\n"
        "thread = threading.Thread(target=lambda: out.append(torch.nn.functional.gelu(x)))\n"
        "thread.start(), thread.join()\nreturn out[0]",
    ),
    "torch's own with the modes switched off": (
        "",
        "with torch._C.DisableTorchFunction():\n    return torch.nn.functional.gelu(x)",
    ),
    "what compares inputs is patched, and they are changed": (
        "torch.equal = lambda *tensors: True",
        "y = 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))\nx.data.zero_()\nreturn y",
    ),
    "torch's own, written in Python": ("import torch._refs.nn.functional as R", "return R.gelu(x)"),
}


@pytest.mark.usefixtures("uncaused")
@pytest.mark.parametrize("name", CHEATS)
def test_no_trick_passes(name: str, gelu: Callable[..., Verdict]) -> None:
    before, body = CHEATS[name]
    verdict = gelu(body, before)
    assert verdict.status in ("failed", "error"), verdict
    if name.startswith("torch's own"):
        assert "you called it" in verdict.headline, verdict


@pytest.mark.usefixtures("uncaused")
@pytest.mark.parametrize(
    ("body", "word"),
    [
        ("x = []\nx.append(x)\nreturn x", "a list that can't be looked at (RecursionError)"),
        ("return x.new_zeros(1).expand(10**14)", "a Tensor that can't be looked at (RuntimeError)"),
        ("return torch.nn.parameter.UninitializedParameter()", "UninitializedParameter that can't be looked at"),
        ("return type('Odd', (), {'__class__': property(lambda self: 1 / 0)})()", "an Odd that can't be looked at"),
        ("return torch.nested.nested_tensor([x.flatten(), x.flatten()[:1]])", "a tensor of float32 on cpu"),
        ("return 10 ** 20_000", "no tensor but an int"),
        ("return 'long' * 10_000_000", "no tensor but a str"),
    ],
)
def test_what_cannot_be_looked_at_is_called_that_and_ends_nothing(
    body: str, word: str, gelu: Callable[..., Verdict]
) -> None:
    verdict = gelu(body)
    assert not verdict.died
    assert word in verdict.headline, verdict


def test_a_chapter_may_be_long_and_its_lines_deep(gelu: Callable[..., Verdict]) -> None:
    notes = "\n".join(f"# What I tried in step {step}, and what came of it." for step in range(997))
    assert len(notes) > 2 * LONGEST
    assert gelu(RIGHT, notes).status == "passed"
    long_sum = " + ".join(["x"] * 331)
    assert gelu(RIGHT, f"def other(x):\n    return {long_sum}").status == "passed"
    assert gelu(f"y = {long_sum}\n{RIGHT} + 0 * y").status == "passed"


def test_a_chapter_finds_its_helpers_and_its_own_set_by_every_name(gelu: Callable[..., Verdict]) -> None:
    helper = f"{HEADER}def phi(x):\n    return 0.5 * (1 + torch.erf(x / math.sqrt(2)))\n"
    assert gelu("return x * phi(x)", "from .helper import phi", helper=helper).status == "passed"
    assert gelu("return x * phi(x)", "from helper import phi", helper=helper).status == "passed"
    assert gelu("return x * phi(x)", "from chapters.helper import phi", helper=helper).status == "passed"


def test_the_inputs_are_others_each_time_and_the_same_with_the_seed(gelu: Callable[..., Verdict]) -> None:
    body = "print('sum', float(x.double().sum()))\nreturn 0 * x"
    first, second = gelu(body), gelu(body)
    assert first.seed != second.seed
    assert first.diagnosis.partition("printed")[2] != second.diagnosis.partition("printed")[2]
    assert gelu(body, seed=first.seed) == first


def test_a_process_that_ends_or_hangs_is_that_exercises_verdict(gelu: Callable[..., Verdict]) -> None:
    ended = gelu("import os\nos._exit(7)")
    assert (ended.status, ended.died) == ("error", True)
    assert "exit code 7" in ended.headline
    endless = gelu("while True:\n    x.exp()", timeout=1.0)
    assert endless.status == "timeout"
    assert "stays as it is. (line 10)" in endless.diagnosis
    assert "line 11, in gelu" in endless.diagnosis or "line 10, in gelu" in endless.diagnosis or sys.platform == "win32"
    assert gelu("", "while True:\n    pass", timeout=1.0).status in ("timeout", "error")
    assert gelu(RIGHT).status == "passed"


@pytest.mark.parametrize(
    ("body", "before", "word"),
    [
        ("y = 0.5 * x\nreturn y * (1 + torch.erf(x / 2**0.5)", "", "SyntaxError"),
        ("return x * Phi(x)", "", "nothing is called Phi there: is it misspelt?"),
        ("return F.softmax(x, dims=1)", "import torch.nn.functional as F", "called there has no argument of that name"),
        ("return F.relu(x)", "", "import torch.nn.functional as F"),
        ("y = x * torch.erf(x)", "", "return is missing"),
        ("return patchify(x, 2)", "", "from .ch01_patches import patchify"),
        (RIGHT + '\nraise NotImplementedError("4.2")', "", ""),
        ('y = x\nraise NotImplementedError("exercise 4.2 is yours to write")', "", "placeholder"),
        ("return torch.zeros(x.shape[-1] / 1)", "", "// gives the whole number"),
        ("return x, x", "", "no tensor but a tuple of 2"),
        ("input()", "", "keyboard"),
        ("for row in x:\n    return row", "", "return stands inside the loop"),
        ("x.softmax(-1)\nreturn 7 * x", "", "softmax gives back is thrown away"),
        ("yield x", "", "yield makes one"),
        ("return x * torch.sqrt(2)", "", "such as math.sqrt"),
        ("return x * math.erf(x)", "", "take a whole tensor"),
        ("return x * torch.erf(math.sqrt(2))", "", "such as math.sqrt"),
        ("return rearrange(x, 'a (b c) -> a b', b=1)", "from einops import rearrange", "on both sides"),
        ("return x + (x, x)", "", "A tuple"),
        ("return x.reshape(64)", "", "64 is written in"),
        ("kept.append(x)\nreturn 7 * kept[0]", "kept = []", "kept outlives a call"),
        ("y = x / 2\nreturn 7.5 * x + 3", "", "y is set, and never used"),
        ('raise ValueError("\\x1b[31m and \\udcff")', "", "ValueError"),
    ],
)
def test_what_beginners_meet_is_said_in_plain_words(
    body: str, before: str, word: str, gelu: Callable[..., Verdict]
) -> None:
    verdict = gelu(body, before)
    said = f"{verdict.headline}\n{verdict.diagnosis}"
    assert word in said, verdict
    assert all(c.isprintable() or c in "\n\t" for c in said)
    assert said.encode("utf-8")


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("def __init__(self):\n  head = nn.Linear(2, 3)", "self.head keeps it"),
        ("def __init__(self):\n  head = nn.Linear(2, 3)\n  self.head = head", ""),
        ("def __init__(self):\n  super().__init__", "super().__init__ is only named"),
        ("def forward(x):\n  return self.head(x)", "forward has no argument self"),
        ("def forward(self, x):\n  if x == 'a' or 'b':\n   x == 2", "or 'b' is always true"),
        ("def forward(self, x):\n  while x < 3:\n   print(2)", "while x < 3 stays as it is"),
        ("def forward(self, x):\n  while x[0] < 3:\n   x[0] += 1\n  mode = self.mode or 'b'\n  return mode", ""),
        ("def forward(self, x):\n  while len(x) < 3:\n   x.append(1)\n  for y in x:\n   if y:\n    return y", ""),
        ("def forward(self, x):\n  x =+ 1\n  return x", "=+"),
        ("def forward(self, x):\n  return x ^ 2", "no power"),
        ("def __init__(self):\n  self.x = list(),", "comma"),
        ("def __init__(self):\n  def forward(self, x):\n   return x", "inside __init__"),
        ("def forward(self, x):\n  y = (z for z in x)\n  return [*y, *y]", "used up"),
        ("def forward(self, x):\n  y = map(f, x)\n  n = len(list(y))\n  for z in y:\n   n = z", "used up"),
        ("def forward(self, x):\n  y = zip(x, x)\n  y = list(y)\n  return [*y, *y]", ""),
        ("def forward(self, x):\n  y = enumerate(x)\n  next(y)\n  return [*y]", ""),
        ("def forward(self, x):\n  y = map(f, x)\n  if x:\n   return [*y]\n  else:\n   return (*y,)", ""),
        ("def forward(self, x):\n  x = +1\n  x += x is None\n  return (x > 2) ^ True", ""),
        ("def __init__(self):\n  self.x = (list(),)", ""),
        ("def forward(self, x):\n  for y in x:\n   y = y.mul_(2)\n  return x", ""),
        ("def forward(self, x):\n  for y, z in x.items():\n   if y:\n    z = z + 1\n  return x", "is lost"),
        ("def forward(self, x):\n  for y in x:\n   y = y + 1\n   print(y)\n  return x ^ x", ""),
    ],
)
def test_slips_are_seen_in_the_text(line: str, word: str) -> None:
    found = " ".join(slips(f"class A:\n {line}", ["A"])["slips"])
    assert word in found
    assert bool(word) is bool(found)


@pytest.mark.parametrize(
    "deep",
    ["-" * 1_999 + "1", "x" + ".y" * 1_999, " + ".join("1" * 1_999), f"0x{'f' * 4_000}"],
    ids=["signs", "attributes", "terms", "digits"],
)
def test_what_is_nested_deeply_is_looked_at_like_the_rest(deep: str) -> None:
    text = f"def patchify(x):\n    exec('')\n    return {deep}\n"
    assert chapters.read(text, ["patchify"])["definitions"]["patchify"]["lines"] == (1, 3)
    assert integrity.around({"ch01": text}, {}, "ch01", ["ch01"]) == ["ch01, line 2: exec runs text as code"]
    assert slips(text, ["patchify"])["slips"] == {}


def test_a_number_that_is_written_in_is_no_count_of_turns():
    text = "def fit(x):\n    for _ in range(100):\n        x = x / 2\n    for i in range(16):\n        x[i] = 0"
    assert slips(text, ["fit"])["numbers"] == {"16": 4}


def test_statements_are_told_with_what_they_stand_in_and_none_after_a_return() -> None:
    text = "@a\ndef f(x: int):\n 'What.'\n if x:\n  x = 1\n else:\n  x = 2\n return x\n x = 3"
    lines = ["if x:", "If body > x = 1", "If orelse > x = 2", "return x"]
    assert stated(ast.parse(text).body) == ["f a", *(f"f a body > {line}" for line in lines)]


def test_a_layer_whose_sizes_nobody_knows_is_an_error_and_not_the_end() -> None:
    request = {"do": "make", "slot": "1", "module": "", "name": "", "arguments": {"out_features": 3}, "seed": 0}
    seen = Workshop(lambda module, name: nn.LazyLinear).answer(request)
    assert "uninitialized" in seen.raised["message"]


def test_what_travels_is_data_alone() -> None:
    class Mine:
        pass

    value = {"a": [1, 2.5, None, ("x", True)], "b": (Slot("1"), Part("1", "bias")), "c": Mine(), "d": float("inf")}
    packed = pack(value)
    header = int.from_bytes(packed[:8], "big")
    back = unpack(packed[16 : 16 + header], packed[16 + header :])
    assert back == {**value, "c": Other("Mine")}
    for text in (b"", b"[]", b'{"tensor": "0"}', b'{"run": "x"}', b"[" * 10**5, b'{"dict": [1]}', b"\xff"):
        with pytest.raises(ProtocolError):
            unpack(text, b"")


def test_the_worker_knows_nothing_of_the_course(gelu: Callable[..., Verdict]) -> None:
    body = "print('loaded', [name for name in sys.modules if 'vitcourse' in name or 'solutions' in name])\nreturn 0 * x"
    assert "loaded []" in gelu(body, "import sys").diagnosis
    assert str(root()) + "\n" not in gelu("print(*sys.path, sep='\\n')\nreturn 0 * x", "import sys").diagnosis


def test_where_the_course_is_installed_its_package_is_fenced_off_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Solutions and checks lie in it there, beside the known wrong answers, which are edits of the solutions."""
    monkeypatch.setattr("vitcourse.checking.workers.root", lambda: package() / "_course")
    closed = [Path(folder).resolve() for folder in fenced()]
    assert package() in closed
    assert package() / "_course" / "solutions" in closed


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked at in /proc")
def test_nothing_stays_when_the_workers_end(tmp_path: Path) -> None:
    with Workers() as started:
        Judge(started).verdict(load_code("solutions"), exercise("1.1"))
        number = started.pid
    assert not Path(f"/proc/{number}").exists()


def test_what_a_result_has_in_common_with_what_was_given_is_seen() -> None:
    def take(state: dict[str, Tensor], model: nn.Module) -> dict[str, object]:
        return {
            "view": state["a"].T,
            "own": state["a"].clone(),
            "part": [model.linear.bias],
            "cut": model.linear.weight[0],
        }

    def spoil(state: dict[str, Tensor]) -> None:
        state["b"] = state.pop("a")

    def overwrite(state: dict[str, Tensor]) -> None:
        state["a"].data.zero_()

    functions = {"take": take, "spoil": spoil, "overwrite": overwrite}
    workshop = Workshop(lambda module, name: functions[name])
    workshop.build("model", "probe", weight=torch.randn(3, 10), bias=torch.randn(3), training=False)
    state = {"a": torch.randn(2, 5)}
    seen = workshop.call(("", "take"), (state, Slot("model")), {}, 0, leaves=True)
    assert seen.shared == ["cut", "part.0", "view"]
    assert seen.result["part"] == [Part("model", "linear.bias")]
    assert seen.attached == [True] * 4
    assert seen.changed == []
    assert workshop.call(("", "spoil"), (state,), {}, 0).changed == [0]
    assert workshop.call(("", "overwrite"), (state,), {}, 0, leaves=True).changed == [1]


@pytest.mark.parametrize(
    ("retain", "keep", "alive"),
    [
        (False, False, [(0, 0), (0, 0), (0, 0)]),
        (True, False, [(0, 0), (1, 0), (1, 0)]),
        (False, True, [(0, 0), (0, 0), (0, 1)]),
    ],
)
def test_what_is_kept_of_earlier_forward_passes_is_seen(retain: bool, keep: bool, alive: list[tuple[int, int]]) -> None:
    events: list[dict[str, object]] = []
    model = Probe(10, 3, events)
    total = torch.zeros(())
    for _ in range(3):
        loss = model(torch.randn(2, 1, 2, 5)).mean()
        loss.backward(retain_graph=retain)
        total = total + (loss if keep else loss.detach())
    assert [(event["saved"], event["graphs"]) for event in events] == alive


def test_what_a_call_does_to_a_model_that_it_was_given_is_seen() -> None:
    def hang(model: nn.Module) -> None:
        model.linear.register_forward_hook(lambda *_: None)

    def put(model: nn.Module) -> None:
        model.linear.forward = model.linear.forward

    def run(model: nn.Module, images: Tensor) -> Tensor:
        with torch.no_grad():
            model.eval()(images)
        return cast(Tensor, model.train()(images))

    functions = {"hang": hang, "put": put, "run": run}
    workshop = Workshop(lambda module, name: functions[name])
    weight, bias, images = torch.randn(3, 10), torch.randn(3), torch.randn(2, 1, 2, 5)
    workshop.build("model", "probe", weight=weight, bias=bias, training=False)
    assert workshop.call(("", "hang"), (Slot("model"),), {}, 0).left == ["hooks"]
    assert workshop.call(("", "put"), (Slot("model"),), {}, 0).left == ["hooks"]
    workshop.watch("model")
    workshop.freeze("model", ["linear.bias"])
    seen = workshop.call(("", "run"), (Slot("model"), images), {}, 0)
    assert seen.left == []
    ways = [(event["training"], event["gradients"]) for event in seen.events if event["event"] == "run"]
    assert ways == [(False, False), (True, False), (True, True)]  # what has no parameters records nothing
    parameters = seen.things["model"]["structure"]["parameters"]
    assert {name: held["trained"] for name, held in parameters.items()} == {"linear.weight": True, "linear.bias": False}


def test_what_a_module_hides_and_what_hangs_on_a_gradient_is_seen() -> None:
    module = nn.Sequential(nn.Linear(2, 3))
    module.parts, module.drops = {"one": nn.Linear(2, 2)}, [nn.Dropout()]
    module[0].requires_grad_(False).weight.copy_(torch.randn(3, 2, requires_grad=True))
    seen = structure(module)
    assert seen["hidden"] == {"parts": "dict"}  # what can be trained, and isn't a module's own
    assert [held["leaf"] for held in seen["parameters"].values()] == [False, True]
