"""The course as a whole: its list, its stubs and its solutions agree, and each thing stands in its place."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from commands import Ended

from vitcourse import course
from vitcourse.checking.edits import reference
from vitcourse.checking.edits.trees import statements
from vitcourse.checking.misconceptions import misconceptions
from vitcourse.codesets import load_code
from vitcourse.course import Chapter, Exercise, chapters, exercises, select
from vitcourse.definitions import definition
from vitcourse.errors import RequestError
from vitcourse.places import root
from vitcourse.progress import holds_answers, is_started, missing_exercises, refresh
from vitcourse.stubs import outlines, pristine, write_stubs
from vitcourse.trace.exercises import examples

pytestmark = pytest.mark.course

MODULES = [chapter.module for chapter in chapters()]
DEFINITIONS = (ast.FunctionDef, ast.ClassDef)
WORDS = "vitcourse/checking/edits/words.toml"
ALTERNATIVES = "tests/tools/alternatives"
solution = load_code("solutions").text


def skeleton(source: str) -> dict[str, str]:
    """All that a stub and its solution share: docstrings, imports, signatures, bases, decorators."""
    tree = ast.parse(source)
    parts = {"docstring": ast.get_docstring(tree) or ""}
    parts["imports"] = "\n".join(ast.unparse(n) for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom))
    for name, node in functions_and_classes(tree):
        parts[name] = ast.get_docstring(node) or ""
        parts[f"{name} decorators"] = ", ".join(ast.unparse(d) for d in node.decorator_list)
        if isinstance(node, ast.FunctionDef):
            parts[f"{name} signature"] = f"{ast.unparse(node.args)} -> {ast.unparse(node.returns)}"
        else:
            parts[f"{name} bases"] = ", ".join(ast.unparse(base) for base in node.bases)
    return parts


def functions_and_classes(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef | ast.ClassDef]]:
    """Every one of them with its name; methods as Class.method."""
    for node in tree.body:
        if isinstance(node, DEFINITIONS):
            yield node.name, node
            if isinstance(node, ast.ClassDef):
                yield from ((f"{node.name}.{m.name}", m) for m in node.body if isinstance(m, ast.FunctionDef))


def in_order(id: str) -> tuple[int, ...]:
    """What exercises are sorted by: 3.10 comes after 3.9."""
    return tuple(map(int, id.split(".")))


def names_in(source: str) -> set[str]:
    return {name for name, _ in functions_and_classes(ast.parse(source))}


def defined(source: str, name: str) -> ast.FunctionDef | ast.ClassDef:
    return next(node for found, node in functions_and_classes(ast.parse(source)) if found == name)


@pytest.mark.parametrize("module", MODULES)
def test_stub_and_solution_have_the_same_signatures_docstrings_and_imports(module: str) -> None:
    assert skeleton(pristine(module)) == skeleton(solution(module))


# A docstring tells, in this order: what it is, shapes, what a module holds, errors, what may not be called, the source.
PARTS = (r".", r".*->", r"Holds ", r"Raises ", r"Not to be called here: ", r"Source: ")


@pytest.mark.parametrize("exercise", exercises(), ids=lambda exercise: exercise.id)
def test_docstrings_tell_the_same_things_in_the_same_order(exercise: Exercise) -> None:
    for name in exercise.names:
        first, *others = (ast.get_docstring(defined(solution(exercise.module), name)) or "").split("\n\n")
        assert "\n" not in first, "the first sentence is one line"
        told = [max(place for place, part in enumerate(PARTS) if re.match(part, text)) for text in others]
        assert told == sorted(told), others


@pytest.mark.parametrize("chapter", chapters(), ids=lambda chapter: chapter.module)
def test_a_module_begins_with_its_chapters_title(chapter: Chapter) -> None:
    first = solution(chapter.module).splitlines()[0].removeprefix('"""')
    assert first.lower() == f"chapter {chapter.number}: {chapter.title}.".lower()


def parts(exercise: Exercise) -> dict[str, bool]:
    """All that an exercise is made of, said with its place, and whether it is there."""
    folder, number = root(), int(exercise.id.partition(".")[0])
    source = solution(exercise.module)
    answer, course, stubs = f"solutions/{exercise.module}.py", "vitcourse/course.toml", f"chapters/{exercise.module}.py"
    if absent := sorted({*exercise.names} - names_in(source)):
        return {f"{', '.join(absent)} in {answer}": False}
    definitions = [defined(source, name) for name in exercise.names]
    docstrings = [ast.get_docstring(node) or "" for node in definitions]
    functions = {
        name: node
        for name, node in functions_and_classes(ast.parse(source))
        if name.partition(".")[0] in exercise.names and isinstance(node, ast.FunctionDef)
    }
    takes_tensors = any("Tensor" in ast.unparse(node.args) for node in functions.values())
    used = {node.id for part in definitions for node in ast.walk(part) if isinstance(node, ast.Name)}
    calls = {other.id for other in exercises() if used.intersection(other.names)} - {exercise.id}
    words = reference.words()["function"]
    wrong = [each for each in misconceptions() if each.exercise == exercise.id]
    checks = f"tests/test_{exercise.module}.py"
    page = next((folder / "book").glob(f"{number:02d}_*.md"))
    text = page.read_text(encoding="utf-8")
    api, plan = (
        (folder / "book" / f"{name}.md").read_text(encoding="utf-8") for name in ("api_solutions", "instructors")
    )

    before, after = around(exercise.id, text)
    ends = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    gives_axes = [
        node for node in functions.values() if re.search(r"Tensor, '[^']", ast.unparse(node.returns or node.args))
    ]

    def stands_once(directive: str, page: Path) -> bool:
        found = re.findall(rf"^`{{3,}}{{{directive}}} (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        return found.count(exercise.id) == 1

    def steps(node: ast.FunctionDef) -> int:
        return len(list(statements(node.body[ast.get_docstring(node) is not None :])))

    def others(which: str) -> set[str]:
        return names_in((folder / f"{ALTERNATIVES}/{which}/{exercise.module}.py").read_text(encoding="utf-8"))

    found = {
        f"the heading # Exercise {exercise.id} in {answer}": f"\n# Exercise {exercise.id}\n" in source,
        f"a docstring for each of its names in {answer}": all(docstrings),
        f'"Not to be called here: …" in its docstring in {answer}, or no builds in {course}': (
            any("Not to be called here: " in text for text in docstrings) == bool(exercise.builds)
        ),
        f"a line that begins with Source: in its docstring in {answer}": any(
            re.search(r"^Source: ", text, re.MULTILINE) for text in docstrings
        ),
        f"shapes, (…) -> (…), in its docstring in {answer}": all(
            "->" in text or "[Tensor, " not in ast.unparse(node)
            for text, node in zip(docstrings, definitions, strict=True)
        ),
        f"the type of each argument and result, a tensor's with its axes, in {answer}": all(
            note is not None and ast.unparse(note) != "Tensor" for node in functions.values() for note in notes(node)
        ),
        f"a title, and three hints that differ, in {course}": (
            bool(exercise.title) and len(exercise.hints) == 3 == len({*exercise.hints} - {""})
        ),
        f"its stub in {stubs}; type vitcourse dev stubs": all(
            re.search(rf"^(def|class) {name}\b", (folder / stubs).read_text(encoding="utf-8"), re.MULTILINE)
            for name in exercise.names
        ),
        f"what it calls among its needs in {course}": calls <= {other.id for other in exercise.all_needs},
        f"earlier exercises as its needs in {course}": all(
            in_order(needed) < in_order(exercise.id) for needed in exercise.needs
        ),
        f'an outline in vitcourse/outlines.toml ("" for none) for {", ".join(functions)}': (
            functions.keys() <= outlines()[exercise.module].keys()
        ),
        f'one check, marked @pytest.mark.exercise("{exercise.id}"), in {checks}': (
            (folder / checks).read_text(encoding="utf-8").count(f'@pytest.mark.exercise("{exercise.id}")') == 1
        ),
        f"a test in {checks} that compares {', '.join(exercise.names)} with torch's own or plain Python": (
            compared(folder / checks).issuperset(exercise.names)
        ),
        "four wrong answers in vitcourse/checking/misconceptions.toml": len(wrong) >= 4,
        "an example in vitcourse/trace/examples.toml": (
            not takes_tensors or any(name in examples() for name in exercise.names)
        ),
        f"one ```{{exercise}} {exercise.id} in book/{page.name}": stands_once("exercise", page),
        f"one ```{{solution}} {exercise.id} in book/solutions/ch{number:02d}.md": stands_once(
            "solution", folder / "book" / "solutions" / f"ch{number:02d}.md"
        ),
        f"a heading between it and the exercise before it in book/{page.name}": bool(
            re.search(r"^##", before, re.MULTILINE)
        ),
        f"a trace( of it in book/{page.name}": "trace(" in before + after or not gives_axes,
        f"an import of its names in book/{page.name}": all(
            re.search(rf"^from [\w.]+ import (\([^)]*|.*)\b{name}\b", text, re.MULTILINE) for name in exercise.names
        ),
        "its id in the plan in book/instructors.md": exercise.id
        in " ".join(re.findall(r'"([\d. ]+)"\)', plan)).split(),
        "its names in book/api_solutions.md": all(
            re.search(rf"solutions\.{exercise.module}\.{name}$", api, re.MULTILINE) for name in exercise.names
        ),
    }
    for title in ("In short", "What goes wrong in practice"):
        found[f"a line with {{ref}}`{exercise.id} <exercise-{exercise.id}>` under {title} in book/{page.name}"] = (
            f"<exercise-{exercise.id}>" in ends[ends.index(title) + 1]
        )
    for which in ("one", "two", "three"):
        found[f"its answer in {ALTERNATIVES}/{which}/{exercise.module}.py"] = others(which).issuperset(exercise.names)
    for name, node in functions.items():
        told = sum(map(bool, words.get(name, {}).get("steps", [])))
        found[f"{steps(node)} steps, not {told}, for {name} in {WORDS}"] = told == steps(node)
    return found


def around(id: str, text: str) -> tuple[str, str]:
    """What stands before and after an exercise on its chapter's page, up to the exercises beside it."""
    before, *parts = re.split(rf"^`{{3,}}{{exercise}} {re.escape(id)}$", text, maxsplit=1, flags=re.MULTILINE)
    mark = re.compile(r"^`{3,}{exercise} .*$", re.MULTILINE)
    return mark.split(before)[-1], mark.split("".join(parts))[0]


def notes(function: ast.FunctionDef) -> list[ast.expr | None]:
    """What is written of the types of a function's arguments and of its result."""
    given = [argument.annotation for argument in function.args.args if argument.arg != "self"]
    return given if function.name == "__init__" else [*given, function.returns]


def compared(file: Path) -> set[str]:
    """The names that a chapter's tests use besides its checks."""
    functions = [node for node in ast.parse(file.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)]
    others = [node for node in functions if not any("exercise(" in ast.unparse(mark) for mark in node.decorator_list)]
    return {part.id for node in others for part in ast.walk(node) if isinstance(part, ast.Name)}


@pytest.mark.parametrize("exercise", exercises(), ids=lambda exercise: exercise.id)
def test_each_exercise_is_whole(exercise: Exercise) -> None:
    missing = [part for part, there in parts(exercise).items() if not there]
    assert not missing, "\n".join(f"{exercise.id} lacks {part}" for part in missing)
    strangers = [name for function in reference.functions_of(exercise)[0] for name in unworded(function)]
    assert not strangers, f"{exercise.id} lacks what {', '.join(strangers)} stands for, under names in {WORDS}"
    for wrong in misconceptions():
        if wrong.exercise == exercise.id:
            assert wrong.source()


def unworded(function: reference.Function) -> list[str]:
    """The names in a function that words.toml says nothing of, and that are no argument, attribute or symbol."""
    return sorted(function.kinds.keys() - reference.public_names() - function.names.keys() - {"self", "_"})


@pytest.mark.parametrize("exercise", exercises(), ids=lambda exercise: exercise.id)
def test_each_function_of_a_stub_raises_and_says_what_to_type(exercise: Exercise) -> None:
    for name in exercise.names:
        stub = defined(pristine(exercise.module), name)
        functions = [stub] if isinstance(stub, ast.FunctionDef) else [n for n in stub.body if hasattr(n, "args")]
        assert functions
        for function in functions:
            raised = ast.unparse(function.body[-1])
            assert raised == (
                f"raise NotImplementedError('exercise {exercise.id} is yours to write; "
                f"for a hint: vitcourse hint {exercise.id}')"
            )


@pytest.mark.parametrize("exercise", exercises(), ids=lambda exercise: exercise.id)
def test_no_stub_leaks_its_solution(exercise: Exercise) -> None:
    for name in exercise.names:
        stub = ast.get_source_segment(pristine(exercise.module), defined(pristine(exercise.module), name))
        for statement in ast.walk(defined(solution(exercise.module), name)):
            if isinstance(statement, ast.Assign | ast.Return | ast.AugAssign):
                assert ast.unparse(statement) not in stub
            if isinstance(statement, ast.Call) and "super()" not in ast.unparse(statement):
                assert ast.unparse(statement) not in stub


@pytest.mark.parametrize("exercise", exercises(), ids=lambda exercise: exercise.id)
def test_what_is_said_of_a_wrong_answer_is_a_sentence_and_not_the_solution(exercise: Exercise) -> None:
    said = [wrong.says for wrong in misconceptions() if wrong.exercise == exercise.id]
    assert all(re.fullmatch(r"\S.{15,280}[.)…]", says) for says in said)
    for name in exercise.names:
        for statement in ast.walk(defined(solution(exercise.module), name)):
            if isinstance(statement, ast.Assign | ast.Return):
                assert [says for says in said if ast.unparse(statement) in says] == [], ast.unparse(statement)


def test_the_list_is_in_order_and_complete() -> None:
    ids = [exercise.id for exercise in exercises()]
    assert ids == sorted(ids, key=in_order)
    assert len(ids) == len(set(ids))
    for chapter in chapters():
        listed = [name for exercise in chapter.exercises for name in exercise.names]
        defined_there = [name for name, _ in functions_and_classes(ast.parse(solution(chapter.module)))]
        own = [name for name in defined_there if "." not in name and name != "patch_grid"]
        assert own == listed, f"solutions/{chapter.module}.py defines {own}, vitcourse/course.toml lists {listed}"
        assert (root() / "chapters" / f"{chapter.module}.py").exists()


def test_an_entry_that_lacks_a_part_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    late = {"id": "4.9", "names": ["late"], "title": "Late"}
    monkeypatch.setattr(course, "_data", lambda: {"chapter": [{"module": "ch04_encoder", "exercise": [late]}]})
    with pytest.raises(RequestError, match=r"course\.toml, exercise 4\.9: .*'hints'"):
        course.chapters.__wrapped__()
    toml = '[[wrong]]\nexercise = "4.9"\nname = "early"\nedits = [["late", "early"]]'
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: toml)
    with pytest.raises(RequestError, match=r"misconceptions\.toml, 4\.9 'early': .*'says'"):
        misconceptions.__wrapped__()


@pytest.mark.parametrize("module", MODULES)
def test_teaching_code_imports_only_what_the_course_allows(module: str) -> None:
    earlier = MODULES[: MODULES.index(module)]
    for source in (solution(module), pristine(module)):
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom) and node.level:
                assert node.module in earlier
            elif isinstance(node, ast.Import | ast.ImportFrom):
                names = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
                assert {name.partition(".")[0] for name in names} <= {"torch", "einops", "jaxtyping", "math", "copy"}


@pytest.mark.parametrize("module", MODULES)
def test_every_tensor_step_of_a_solution_tells_its_shape(module: str) -> None:
    """In a forward pass, a line that assigns a tensor ends in a comment with the shape."""
    source = solution(module)
    lines = source.splitlines()
    for name, node in functions_and_classes(ast.parse(source)):
        if name.endswith(".forward"):
            for statement in ast.walk(node):
                if isinstance(statement, ast.Assign):
                    assert re.search(r"# +\(.*\)", lines[statement.end_lineno - 1]), lines[statement.end_lineno - 1]


def test_stubs_are_not_started_and_solutions_are(tmp_path: Path) -> None:
    write_stubs(tmp_path)
    assert missing_exercises(load_code(tmp_path)) == list(exercises())
    assert missing_exercises(load_code("solutions")) == []


def test_words_of_the_command_line_select_exercises() -> None:
    assert [exercise.id for exercise in select("1.3")] == ["1.3"]
    assert select("ch03") == select("ch03_attention") == select("3") == list(chapters()[2].exercises)
    assert select(None) == list(exercises())
    for word in ("9", "1.9", "", "patchify"):
        with pytest.raises(RequestError, match="type a chapter"):
            select(word)


@pytest.mark.parametrize("word", ["1", "9.9"])
def test_dev_check_takes_one_exercise_and_no_other_word(type_in: Callable[..., Ended], word: str) -> None:
    code, out, err = type_in("dev", "check", word)
    assert (code, out) == (2, "")
    assert err == f"vitcourse: there is no exercise {word}; the exercises are 1.1 to 7.5\n"


def python(code: str, folder: Path | None = None, **environment: str) -> str:
    """What a fresh Python prints."""
    env = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"} | environment
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env, cwd=folder)
    return run.stdout.strip()


def test_the_wait_policy_is_set_before_torch_and_a_users_own_wins() -> None:
    code = "import vitcourse, os, sys; print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    assert python(code) == "PASSIVE False"
    assert python(code, OMP_WAIT_POLICY="ACTIVE") == "ACTIVE False"
    # pytest too: its plugin is loaded, and so vitcourse imported, before any test imports torch
    assert python(code.replace("import vitcourse,", "import vitcourse.checking.pytest_plugin,")) == "PASSIVE False"


WITHOUT_TORCH = [
    *(["--help"], ["status"], ["hint", "9.9"], ["check", "--help"], ["train", "--help"], ["reset", "--help"]),
    *(["reset", "9.9"], ["undo", "--help"], ["watch", "--help"], ["solution", "1.1", "--give-up"], ["solution", "1.1"]),
    *(["train", "--epochs", "many"], ["train", "digit"], ["notebook", "1"], ["notebook", "9"], ["book", "--help"]),
    *(["book", "x.pdf"], ["train", "--data", "nowhere"], ["train", "--code", "nowhere"], ["explore"]),
    *(["train", "--init", "nowhere"], ["predict", "nothing.png"], ["predict", __file__], ["explore", "nowhere"]),
    *(["train", "--patch-size", "3"], ["train", "--n-heads", "5"], ["train", "--crop", "9"]),
    *(["trace", "1.1", "--html", "nowhere/x"], ["trace", "1.1", "--svg", "."]),
    *(["bench", "steps", "--output", "nowhere/x"], ["predict", __file__, "--picture", "nowhere/x"]),
    *(["trace", "1.1", "--code", "nowhere"], ["train", "--data", "folder:nowhere"]),  # where pictures are read
]
HEAVY = ("torch", "torchvision", "sklearn", "matplotlib", "numpy", "PIL", "sphinx", "playwright")


def test_what_needs_no_torch_does_not_import_it(tmp_path: Path) -> None:
    code = (
        "import sys, contextlib, io, vitcourse.doctor, vitcourse.data\n"
        "from vitcourse.book import browser, pdf, site\n"
        "from vitcourse.cli import main\n"
        f"for words in {WITHOUT_TORCH!r}:\n"
        "    sys.argv = ['vitcourse', *words]\n"
        "    screen = io.StringIO()\n"
        "    with contextlib.redirect_stdout(screen), contextlib.redirect_stderr(screen):\n"
        "        with contextlib.suppress(SystemExit):\n"
        "            main()\n"
        f"    found = sys.modules.keys() & {HEAVY!r}[: 4 if 'folder:nowhere' in words else None]\n"
        "    assert not found, (words, found)"
    )
    assert python(code, tmp_path) == ""


# Stubs are made from the solutions


def test_the_stubs_that_are_checked_in_are_those_that_are_made() -> None:
    code = load_code(root() / "chapters")
    differ = [entry for entry in chapters() if code.source(entry.module) != pristine(entry.module)]
    differ = [entry.module for entry in differ if not holds_answers(code, entry)]
    assert not differ, f"{', '.join(differ)}; type vitcourse dev stubs"


@pytest.mark.parametrize("chapter", chapters(), ids=lambda chapter: chapter.module)
def test_each_outline_is_some_functions(chapter: Chapter) -> None:
    assert outlines()[chapter.module].keys() <= names_in(solution(chapter.module))


def test_dev_stubs_brings_an_exercise_that_is_new_and_leaves_answers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_stubs(tmp_path / "chapters")
    file, whole = tmp_path / "chapters" / "ch04_encoder.py", pristine("ch04_encoder")
    monkeypatch.setattr("vitcourse.progress.root", lambda: tmp_path)
    before_gelu = whole.replace(definition(whole, "gelu"), "")
    for text, said in (
        (before_gelu, "made"),
        (before_gelu + "\n\ndef gelo(x):\n    return x\n", "holds answers"),
        (whole.replace("class LayerNorm(nn.Module):", "class LayerNorm(nn.Module):\n    eps = 1", 1), "holds answers"),
        (before_gelu + "(", "holds answers"),
    ):
        file.write_text(text, encoding="utf-8")
        (line,) = refresh()
        assert line.endswith(said), (text[-50:], line)
        assert file.read_text(encoding="utf-8") == (whole if said == "made" else text)


OLD = pristine("ch04_encoder")
SAYS = "exercise {0} is yours to write; for a hint: vitcourse hint {0}"


@pytest.mark.parametrize(
    ("old", "new", "exercise", "begun"),
    [
        # an older course's stub: another text, another number, other parts
        (SAYS.format("4.2"), SAYS.format("4.7"), "4.2", False),
        ('def gelu(x: Float[Tensor, "..."])', "def gelu(x, approximate=False)", "4.2", False),
        ("# self.weight, self.bias\n", "# the weights\n", "4.1", False),
        ("class MLP(nn.Module):", "class MLP(nn.Sequential):", "4.3", False),
        # touched, whatever it raises
        (SAYS.format("4.2"), "4.2 is yours to write", "4.2", True),
        ('raise NotImplementedError("exercise 4.2', 'y = x\n    raise NotImplementedError("exercise 4.2', "4.2", True),
        ("        super().__init__()\n        # self.weight, self.bias\n", "", "4.1", True),
        ("def gelu(", "def gelo(", "4.2", True),
    ],
)  # fmt: skip
def test_an_older_courses_stub_is_not_started(old: str, new: str, exercise: str, begun: bool, tmp_path: Path) -> None:
    assert old in OLD
    (tmp_path / "ch04_encoder.py").write_text(OLD.replace(old, new), encoding="utf-8")
    (asked,) = select(exercise)
    assert is_started(load_code(tmp_path), asked) is begun
