"""The benchmarks run, and the files that they leave say where their numbers come from."""

import importlib
import inspect
import json
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
import typer
from torch import nn

from vitcourse.book import on_gpu
from vitcourse.places import root

FOLDER = root() / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch):
    """Import a benchmark as it is when it is run: its folder is on the path."""
    monkeypatch.syspath_prepend(str(FOLDER))
    threads = torch.get_num_threads()
    yield importlib.import_module
    torch.set_num_threads(threads)


@pytest.fixture
def mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data set of the name and the form of MNIST, with 60 images of each part."""
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for part in ("train", "t10k"):
        pixels = generator.integers(0, 256, (60, 28, 28), dtype=np.uint8)
        labels = np.arange(60, dtype=np.uint8) % 10
        for kind, array in (("images-idx3", pixels), ("labels-idx1", labels)):
            header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
            (folder / f"{part}-{kind}-ubyte").write_bytes(header + array.tobytes())
    monkeypatch.setenv("VITCOURSE_DATA", str(tmp_path))


def written(path: Path) -> dict:
    found = json.loads(path.read_text(encoding="utf-8"))
    require_provenance(found)
    return found


def require_provenance(found: dict) -> None:
    origin = found["provenance"]
    if "counted" in origin:  # by people, not by a machine
        assert found["method"]
        assert origin["date"]
        return
    assert set(origin) >= {"machine", "versions", "command", "date"}
    assert "tmp" not in origin["command"]  # a command that works again
    assert {"python", "torch", "vitcourse"} <= set(origin["versions"])
    # Some are made by the command itself: vitcourse bench steps, vitcourse train.
    assert origin["command"].startswith("vitcourse ") or script(origin["command"]).is_file()


def script(command: str) -> Path:
    """The benchmark that a command runs."""
    (named,) = re.findall(r"\bbenchmarks/(\w+)", command)
    return FOLDER / f"{named}.py"


@pytest.mark.parametrize("path", sorted((FOLDER / "results").glob("*.json")), ids=lambda path: path.stem)
def test_each_file_of_results_says_where_its_numbers_come_from(path: Path) -> None:
    found = written(path)
    assert not found.get("trial")


def test_a_command_in_a_file_of_results_can_be_typed_or_the_file_says_what_has_changed(benchmark) -> None:
    for path in (FOLDER / "results").glob("*.json"):
        found = written(path)
        typed = re.search(r"benchmarks/(\w+)\.py(.*)", found["provenance"].get("command", ""))
        if typed and "since" not in found:
            known = inspect.signature(benchmark(typed[1]).main).parameters
            options = re.findall(r" --(?:no-)?([\w-]+)", typed[2])
            assert {option.replace("-", "_") for option in options} <= known.keys(), path.name


@pytest.mark.thorough
def test_throughput_is_measured_beside_the_peers(benchmark, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    peers = ["this course", "this course, fused kernels", "torchvision", "a loop over the heads"]
    few = {"size": ["a"], "rounds": 1, "compiled": False}
    benchmark("throughput").main(**few, contenders=peers, output=tmp_path / "t.json")
    found = written(tmp_path / "t.json")
    printed = capsys.readouterr().out
    assert "size a" in printed
    assert "size c" not in printed
    assert "{" not in printed
    rows = found["sizes"]["a"]["rows"]
    assert [row["contender"] for row in rows] == peers
    assert {row["parameters"] for row in rows} == {205_066}
    assert all(row["images_per_second"] > 0 and row["speed_beside_ours"] > 0 for row in rows)
    assert all(row["default_beside_it"] > 0 for row in rows)
    assert rows[1]["default_beside_it"] == 1


def test_what_was_tried_computes_the_same_in_another_way(benchmark) -> None:
    tried: ModuleType = benchmark("tried")
    images = torch.rand(2, 1, 28, 28)
    calls: list[str] = []

    def counted(name: str):
        way = getattr(tried, name)
        return lambda *args, **kwargs: calls.append(name) or way(*args, **kwargs)

    found = []
    for make in (tried.fused, *(lambda size, n=n: tried.fused(size, counted(n)) for n in ("three_products", "padded"))):
        torch.manual_seed(0)
        found.append(make(tried.SIZES["a"]).eval()(images))
    assert {*calls} == {"three_products", "padded"}
    for other in found[1:]:
        torch.testing.assert_close(other, found[0])


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read from /proc")
def test_growth(benchmark, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    growth: ModuleType = benchmark("growth")
    monkeypatch.setattr(growth, "TOKENS", 20)
    monkeypatch.setattr(growth, "AXES", {name: growth.AXES[name] for name in ("T, P = 16", "L")})
    models = {name: growth.MODELS[name] for name in ("this course, its lines", "this course, blocks checkpointed")}
    monkeypatch.setattr(growth, "MODELS", models)
    growth.main(points=2, seconds=0, output=tmp_path / "g.json")
    found = written(tmp_path / "g.json")
    assert found["axes"]["T, P = 16"]["x"] == [5, 17]
    assert found["axes"]["L"]["theory"]["megabytes"] == pytest.approx(1.0)
    for axis in found["axes"].values():
        assert all(point["seconds"] > 0 for model in axis["models"].values() for point in model["points"])
    plain, spared = (model["points"][1]["megabytes"] for model in found["axes"]["L"]["models"].values())
    assert plain > spared > 0


def test_exponents_are_slopes(benchmark) -> None:
    exponent = benchmark("growth").exponent
    assert exponent([1, 2, 4, 8], [99.0, 4.0, 16.0, 64.0]) == 2.0  # of the last three
    assert exponent([5, 17], [3.0, 3.0]) == 0.0


def test_checkpointed_blocks_are_the_blocks(benchmark) -> None:
    size = benchmark("growth").SIZES["a"]
    torch.manual_seed(0)
    images, models = torch.randn(2, 1, 28, 28), []
    for make in ("ours_fused", "ours_checkpointed"):
        torch.manual_seed(0)
        models.append(getattr(benchmark("growth"), make)(size).train())
    plain, again = ([model(images), *torch.autograd.grad(model(images).sum(), model.parameters())] for model in models)
    for one, other in zip(plain, again, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.thorough
def test_course_costs(benchmark, tmp_path: Path) -> None:
    """Bounded by ratios of processor time, which are the same on a busy machine and on a slow one."""
    few = ["python -c pass", "import numpy", "import vitcourse", "vitcourse --help", "vitcourse status"]
    course: ModuleType = benchmark("course")
    course.SAVES = 1
    course.main(rounds=2, output=tmp_path / "c.json", commands=few)
    found = written(tmp_path / "c.json")
    sizes = course.installed(Path(sysconfig.get_path("purelib")))
    assert sizes["megabytes"] > sizes["largest"]["torch"] > 100
    assert found["vitcourse watch, from a save to its verdict"]["median_seconds"] > 0
    for name, most in course.RATIOS.items():
        assert found["ratios"].get(name, 0) <= most, (name, found["ratios"])


def test_a_contender_that_fails_says_so(benchmark, monkeypatch: pytest.MonkeyPatch) -> None:
    throughput: ModuleType = benchmark("throughput")

    def uncompilable(model: nn.Module, **_: object) -> nn.Module:
        raise RuntimeError("no compiler\nand a long story")

    monkeypatch.setattr(torch, "compile", uncompilable)
    size = throughput.SIZES["a"]
    entry = throughput.prepare("this course", True, size, torch.rand(2, 1, 28, 28), torch.tensor([1, 2]))
    assert entry.failed == "RuntimeError: no compiler"
    assert throughput.rows([entry], 1, 2, torch.device("cpu"))[0]["failed"]


def test_the_peers_have_the_measures_of_ours(benchmark) -> None:
    pytest.importorskip("timm", reason="timm is not installed: uv sync --group bench")
    pytest.importorskip("transformers", reason="transformers is not installed: uv sync --group bench")
    pytest.importorskip("vit_pytorch", reason="vit-pytorch is not installed: uv sync --group bench")
    contenders = benchmark("contenders")
    size = contenders.SIZES["a"]
    for name, make in contenders.CONTENDERS.items():
        model = make(size)
        assert model(torch.rand(2, 1, 28, 28)).shape == (2, 10)
        n_parameters = sum(parameter.numel() for parameter in model.parameters())
        assert n_parameters == pytest.approx(205_066, rel=0.0 if "vit-pytorch" not in name else 0.01)


def test_the_operations_are_those_of_torchs_own_count(benchmark) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    contenders = benchmark("contenders")
    size = contenders.SIZES["a"]
    with FlopCounterMode(display=False) as counter:
        contenders.ours(size)(torch.rand(5, 1, 28, 28)).sum().backward()
    assert counter.get_total_flops() == 5 * size.flops


@pytest.mark.usefixtures("mnist")
def test_the_ways_to_make_batches_are_measured(benchmark, tmp_path: Path) -> None:
    benchmark("pipeline").main(rounds=1, images=60, workers=0, output=tmp_path / "p.json")
    rates = written(tmp_path / "p.json")["images_per_second"]
    assert all(rate > 0 for rate in rates.values())


@pytest.mark.thorough
@pytest.mark.usefixtures("mnist")
def test_the_time_to_an_accuracy_is_measured(benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda model, **_: model)  # it takes longer than all the rest
    short = {"seeds": 1, "images": 60, "epochs": 1, "most": 0.001, "most_mnistvit": 0.001}
    benchmark("time_to_accuracy").main(**short, output=tmp_path / "t.json")
    found = written(tmp_path / "t.json")
    assert found["trial"]
    assert len(found["rows"]) == 7
    assert [row["contender"].split()[0] for row in found["rows"] if row["cut_off"]] == ["the", "the", "mnistvit"]
    for row in found["rows"]:
        if row["cut_off"]:
            assert len(row["runs"][0]["points"]) == 1, "no step is begun after the last second"
        else:
            assert row["runs"][0]["points"][-1]["epoch"] == 1
        assert re.fullmatch(r"never in \d+ CPU seconds", row["to"]["99%"])


def test_mnistvit_has_its_own_measures_and_its_schedule_starts_anew(benchmark, monkeypatch: pytest.MonkeyPatch) -> None:
    contenders: ModuleType = benchmark("contenders")
    assert sum(parameter.numel() for parameter in contenders.MnistVit().parameters()) == 11_106_693
    monkeypatch.setattr(contenders.MnistVit, "RESTART", 3)
    rates: list[float] = []
    step = torch.optim.AdamW.step
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self: rates.append(self.param_groups[0]["lr"]) or step(self))
    batches = [(torch.rand(2, 1, 28, 28), torch.tensor([1, 2]))] * 2
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    for _, _ in zip(range(8), contenders.mnistvit_loop(model, batches), strict=False):
        pass
    assert rates[0] == rates[1] == rates[7] == 1e-4
    assert rates[1:7] == sorted(rates[1:7], reverse=True)


def test_recipes_are_chosen_on_held_out_images_and_the_choice_alone_is_tested(
    benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipes: ModuleType = benchmark("recipes")
    shared = {"d_model": 12, "n_layers": 1, "n_heads": 2, "epochs": 1}
    kinds = {"good": {"learning_rate": 3e-3}, "useless": {"learning_rate": 1e-9}}
    monkeypatch.setattr(recipes, "KINDS", {"speed": ("digits", shared, kinds)})
    monkeypatch.setattr(recipes, "HELD_OUT", 67)
    file = tmp_path / "r.json"
    file.write_text('{"kinds": {"another": "stays"}}', encoding="utf-8")
    recipes.main(device="cpu", kinds=["speed"], output=file)
    found = written(file)
    assert found["kinds"].pop("another") == "stays"
    speed = found["kinds"]["speed"]
    assert speed["chosen"] == "good"
    tested = [run for run in speed["runs"] if run["measured_on"] == "test images"]
    assert [(run["recipe"], run["seed"]) for run in tested] == [("good", 0), ("good", 1), ("good", 2)]
    assert {(run["recipe"], run["seed"]) for run in speed["runs"][:-3]} == {(n, s) for n in kinds for s in range(3)}


@pytest.mark.usefixtures("mnist")
def test_a_student_learns_what_its_teachers_say_and_what_is_made_stays(
    benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distilled: ModuleType = benchmark("distilled")
    small = {"d_model": 16, "n_heads": 2, "epochs": 60, "batch_size": 30, "compile": "off", "ema": 0.0, "threads": 1}
    monkeypatch.setattr(distilled, "RECIPE", distilled.Recipe(2, 4, 1, 2, 3, small))
    files, output = tmp_path / "files", tmp_path / "d.json"
    for wrong in ({"parts": ["student-3"]}, {"device": "tpu"}):
        with pytest.raises(typer.BadParameter):
            distilled.main(**wrong, files=files, output=output)
    distilled.main(["teacher-0", "teacher-1", "views-0", "views-1"], files=files, output=output)
    assert not output.exists()
    for number in (0, 1):
        views, said = torch.load(files / f"views-{number}.pt")
        assert views.shape == (480, 1, 24, 24)  # 60 images, each changed 8 times, their middles
        assert said.shape == (480, 10)
        torch.save((views, 20 * torch.eye(10)[3].expand(480, 10).half()), files / f"views-{number}.pt")
    distilled.main(files=files, output=output)
    parts = written(output)["parts"]
    for seed in (0, 1, 2):  # in every image they see the 3 that they were told of, whatever its label is
        assert parts[f"student-{seed}"]["accuracy"] == 0.1
        assert parts[f"student-{seed}"]["loss"] > 5


def test_a_run_that_never_gets_there_is_the_longest(benchmark) -> None:
    module = benchmark("time_to_accuracy")

    def run(*accuracies: float):
        points = [{"accuracy": a, "cpu_seconds": i, "wall_seconds": 2 * i} for i, a in enumerate(accuracies, 1)]
        return module.Contender("", 0, iter(()), 10, 1, lambda: 0.0, points=points, cpu_seconds=len(points))

    assert module.median_to([run(0.5, 0.94), run(0.95), run(0.1)], 0.93) == {"cpu_seconds": 2, "wall_seconds": 4}
    assert module.median_to([run(0.5, 0.6, 0.7), run(0.95), run(0.1)], 0.93) == "never in 3 CPU seconds"


# The run on a GPU, tried on a CPU


@pytest.mark.thorough
def test_every_part_of_the_gpu_run_measures_something(benchmark, tmp_path: Path) -> None:
    """And the book's tables read what it leaves."""
    file = tmp_path / "gpu.json"
    benchmark("gpu").main(device="cpu", small=True, output=file)
    record = written(file)
    assert record["trial"]
    assert "failed" not in json.dumps(record)
    assert record["parts"]["correct"]["stopped and gone on"] == {"same_bits": True, "largest_difference": 0.0}
    trained = on_gpu.training(record["parts"])
    assert [row["preset"] for row in trained] == ["mnist-gpu-fast", "mnist-gpu", "digits"]
    assert trained[0]["seeds"] == "3"
    assert [row["preset"] for row in on_gpu.steps(record["parts"])] == ["vit-b16", "vit-b16", "cifar10", "seed"]
    assert len(on_gpu.answers(record["parts"])) == 7


def test_what_fails_on_the_gpu_costs_only_itself(benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu, file = benchmark("gpu"), tmp_path / "gpu.json"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(typer.BadParameter):
        gpu.main(output=file)
    with pytest.raises(typer.BadParameter):
        gpu.main(device="cpu", small=True)  # nothing small may stand among the results
    assert not file.exists()

    def timed(config: object, turns: int) -> dict:
        if config.batch_size == 256:
            raise RuntimeError("CUDA out of memory.\nTried to allocate 2 GiB")
        return {"batch_size": config.batch_size}

    monkeypatch.setattr(gpu, "timed_steps", timed)
    file.write_text('{"parts": {"earlier": {"stays": 1}}}', encoding="utf-8")
    monkeypatch.setattr(gpu.Asked, "config", lambda self, preset, batch_size: SimpleNamespace(batch_size=batch_size))
    gpu.main(device="cpu", parts=["vit-b16"], output=file)
    parts = written(file)["parts"]
    assert parts["earlier"] == {"stays": 1}
    failed = {"failed": "RuntimeError: CUDA out of memory. Tried to allocate 2 GiB"}
    assert parts["vit-b16"]["sizes"] == [failed, {"batch_size": 128}]


@pytest.mark.thorough
def test_on_a_lent_machine_packages_may_be_missing(tmp_path: Path) -> None:
    """What doesn't need them runs: training, and the benchmark."""
    missing = ("platformdirs", "executing", "timm", "transformers", "vit_pytorch", "playwright")
    script = f"""
import sys
from pathlib import Path
sys.modules.update(dict.fromkeys({missing!r}))
sys.path.insert(0, {str(FOLDER)!r})
import gpu
from vitcourse import cli
gpu.main(device="cpu", small=True, parts=["cifar10"], output=Path("part.json"))
sys.argv = ["vitcourse", "train", "digits", "--epochs=1", "--device=cpu", "--threads=1", "--output=run"]
cli.main()
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert written(tmp_path / "part.json")["parts"]["cifar10"]["sizes"][0]["images_per_second"] > 0
