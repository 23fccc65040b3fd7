"""The command `vitcourse`: reads the request, calls what does the work, and turns errors into one line.

It is the longest file, as the one list of what can be typed: a command is its words, their help, and a call. Nothing
here imports torch: what needs it is imported when its command runs.
"""

import json
import re
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from typer.core import TyperGroup
from typer.main import get_command

from vitcourse import __version__, keeping
from vitcourse.checking import report, state
from vitcourse.codesets import load_code
from vitcourse.course import Exercise, exercise, select
from vitcourse.definitions import definition
from vitcourse.errors import RequestError, RunError
from vitcourse.files import quoted, require_output, with_ending, write_file
from vitcourse.places import clone
from vitcourse.speech import end_unread, print_json, speak_plainly, take_over_output
from vitcourse.training.configuration import config_of_run, make_config, require_ready, with_settings
from vitcourse.training.presets import PRESETS
from vitcourse.training.processes import Processes
from vitcourse.training.runs import CONFIG, choose_folder, find_run, find_trained


class Commands(TyperGroup):
    """The commands; a word that could only name a folder by accident, or standard output elsewhere, is refused."""

    def parse_args(self, context: Any, args: list[str]) -> list[str]:
        """Raises RequestError for a word or an option's value that is empty or a dash."""
        for word in args:
            if found := re.fullmatch(r"(--[\w-]+=)?(-?)", word):
                what = "a dash (-), which names nothing here" if found[2] else "empty ('')"
                raise RequestError(f"one of the words is {what}; leave it out, or type what it should name")
        return super().parse_args(context, args)


app = typer.Typer(
    name="vitcourse",
    cls=Commands,
    help="Learn the Vision Transformer by writing one.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

# What several commands take.
AtExercise = Annotated[str | None, typer.Argument(help="an exercise, such as 1.3; the one you are at if none")]
AsJson = Annotated[bool, typer.Option("--json", help="print a list of objects, for other programs")]
OpenIt = Annotated[bool, typer.Option("--open", help="open it in the browser")]

# What typer raises for a line that it can't read: a class of its own or of click, as its version has it.
UsageError: type[Any] = typer.BadParameter.__bases__[0]
# What it says of a value, and the same in words that this course uses.
_PLAINER = {
    "Got unexpected extra argument(s)": "more was typed than it takes:",
    "Input should be a valid integer, unable to parse string as an integer": "it must be a whole number",
    "Input should be a valid number, unable to parse string as a number": "it must be a number",
    "Input should be greater than or equal to": "it must be at least",
    "Input should be less than or equal to": "it must be at most",
}


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="say which version this is")] = False,
) -> None:
    """Learn the Vision Transformer by writing one."""
    if version:
        print(f"vitcourse {__version__}")
    elif context.invoked_subcommand is None:
        code = load_code("chapters")
        report.print_where(_console(), code, state.standing(code), state.at(code))


@app.command()
def init(folder: Annotated[Path, typer.Argument(help="the folder to make")]) -> None:
    """Make a folder with the stubs, ready to work in."""
    from vitcourse.stubs import init as make

    print(make(folder))


@app.command()
def update() -> None:
    """Bring the stubs of this version of the course into your chapters/, and keep what you wrote."""
    from vitcourse.updating import update as bring

    said, whole = bring(load_code("chapters"), state.kept_folder())
    print(said)
    if not whole:
        raise typer.Exit(1)


@app.command()
@with_settings
def train(
    preset: Annotated[
        str | None, typer.Argument(help=f"the recipe: {', '.join(PRESETS)}; digits if none is named")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="folder of the run's files; runs/ and a new name if none")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="go on with the run in --output, or else with the latest unfinished one")
    ] = False,
    **overrides: Any,
) -> None:
    """Train a Vision Transformer; with nothing else typed, on handwritten digits, in seconds."""
    processes = Processes.from_environment()
    if resume and preset is not None:
        make_config(preset)  # a word that names none is told so
    folder = find_run(output, preset) if resume else None
    if folder is not None:
        config = config_of_run(folder.path / CONFIG, preset, **overrides)
    else:
        config = make_config(preset or "digits", **overrides)
        # One of several processes looks and writes; what the others would see could be its first file.
        folder = choose_folder(output if processes.is_first else None, config.preset)
    folder = replace(folder, writes=processes.is_first)
    folder.require_writable()
    require_ready(config)
    try:
        from vitcourse.training.train import train as run

        console = Console(highlight=False, markup=False, soft_wrap=True, quiet=not processes.is_first)
        results = run(config, folder, console, processes)
    except KeyboardInterrupt as error:
        raise RunError("stopped") from error
    if not all(result.finished for result in results.values()):
        raise typer.Exit(1)


@app.command()
def predict(
    images: Annotated[list[Path], typer.Argument(help="pictures, of any size and colour", metavar="IMAGE...")],
    run: Annotated[Path | None, typer.Option(help="the run, or its weights; the one trained last if none")] = None,
    picture: Annotated[
        Path | None, typer.Option(help="draw the pictures as the model sees them, to this PNG file")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what pictures show, as a model that you trained takes them."""
    from vitcourse.training.predict import predict as say

    say(images, run, picture, as_json, _console())


@app.command()
def explore(
    run: Annotated[Path | None, typer.Argument(help="the run, or its weights; the one trained last if none")] = None,
    output: Annotated[Path | None, typer.Option(help="the page's file; RUN/explore.html if none")] = None,
    open_it: OpenIt = False,
) -> None:
    """Write a page that looks into a model that you trained: draw, and see patches, attention and logits live.

    It is one file, which works without a network, and the model's own weights are in it. Choose a token, and see where
    it looks in every head; switch heads off, cover patches, and watch the logits move.
    """
    found = find_trained(run)
    require_output(output, ".html", "--output")
    from vitcourse.book.explore import explore as write

    write(found, output, open_it, _console())


@app.command()
def runs(
    folder: Annotated[Path, typer.Argument(help="the folder that the runs are in, or one run's")] = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """Show the runs side by side: recipe, accuracy, loss, time, device, and how to go on with unfinished ones."""
    from vitcourse.training.listing import show_runs

    show_runs(folder, as_json, _console())


@app.command()
def check(
    what: Annotated[
        str | None, typer.Argument(help="a chapter (1) or an exercise (1.3); if none, as far as done")
    ] = None,
    code: Annotated[str, typer.Option(help="which code: chapters, solutions or a folder's path")] = "chapters",
    use_solution: Annotated[
        list[str] | None, typer.Option(help="take the solution in place of this chapter (ch02); may be repeated")
    ] = None,
    as_json: AsJson = False,
    junit: Annotated[Path | None, typer.Option(help="write the verdicts as JUnit XML to this file too")] = None,
    seed: Annotated[int | None, typer.Option(help="the inputs of an earlier check, which said this seed")] = None,
) -> None:
    """Check what you wrote: everything up to the first exercise that is not done, or the part that you name."""
    from vitcourse.checking.grading import FAILURES, up_to_first_not_done
    from vitcourse.checking.judge import Judge
    from vitcourse.checking.workers import Workers

    asked = select(what)
    chosen = load_code(code, use_solution or ())
    require_output(junit, ".xml", "--junit")
    with Workers() as workers:
        verdicts = state.checked(chosen, asked, Judge(workers, seed=seed))
    if what is None:
        verdicts = up_to_first_not_done(verdicts)
    passed = all(verdict.status == "passed" for verdict in verdicts)
    if junit is not None:
        from vitcourse.classroom.rows import as_junit

        write_file(junit, as_junit({"submission": code, "verdicts": [verdict.as_dict() for verdict in verdicts]}))
    if as_json:
        print_json([verdict.as_dict() for verdict in verdicts])
    else:
        report.print_verdicts(_console(), chosen, verdicts)
        if passed and chosen.is_own:
            report.print_next(_console(), chosen, state.at(chosen))
    if any(verdict.status in FAILURES for verdict in verdicts):
        raise typer.Exit(1)


@app.command()
def watch(
    what: Annotated[
        str | None, typer.Argument(help="a chapter (1) or an exercise (1.3); if none, what you are at in a saved file")
    ] = None,
) -> None:
    """Check again at every save of a file in chapters/, until Ctrl-C."""
    from vitcourse.checking.watch import watch as go_on

    go_on(load_code("chapters"), select(what) if what else None, _console())


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show how far you are: every exercise, as the last check left it."""
    code = load_code("chapters")
    exercises = state.standing(code)
    if as_json:
        print_json([{"exercise": asked.id, "status": word} for asked, word in exercises])
    else:
        report.print_standing(_console(), code, exercises, state.at(code))


@app.command()
def hint(exercise: AtExercise = None) -> None:
    """Show the next of an exercise's three hints: a nudge, the way, nearly the line."""
    report.print_hints(_console(), _asked(exercise))


@app.command()
def grade(
    submissions: Annotated[
        list[Path] | None, typer.Argument(help="what was handed in: folders, zips, or one folder of them")
    ] = None,
    what: Annotated[str | None, typer.Option(help="a chapter (3) or an exercise (3.4); all if none")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="how many at once; one for each processor if none")] = None,
    csv: Annotated[Path | None, typer.Option(help="write the class as a table to this file")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="write the rows as JSON to this file")] = None,
    gradescope: Annotated[Path | None, typer.Option(help="write Gradescope's results.json into this folder")] = None,
    junit: Annotated[Path | None, typer.Option(help="write JUnit XML, a file for each, into this folder")] = None,
    box: Annotated[str, typer.Option(help="auto: each submission in a box; none: without one")] = "auto",
    seed: Annotated[int | None, typer.Option(help="the inputs of an earlier row, which said this seed")] = None,
    one: Annotated[bool, typer.Option("--one", help="each place is one submission, whatever it looks like")] = False,
    make: Annotated[Path | None, typer.Option(help="write an autograder for Gradescope to this .zip instead")] = None,
) -> None:
    """Grade a class: one row for each submission, whatever is in it."""
    from vitcourse.classroom.command import Outputs, grade_class

    outputs = Outputs(csv, json_file, gradescope, junit)
    if make is not None:
        from vitcourse.classroom.packing import make_autograder

        if submissions or outputs != Outputs():
            raise RequestError("--make grades nothing; type it with --what alone, or leave it out")
        print(make_autograder(make, what))
        return
    if not submissions:
        raise RequestError("nothing to grade is named; type: vitcourse grade FOLDER")
    grade_class(submissions, [entry.id for entry in select(what)], outputs, _console(), jobs, box, seed, one)


@app.command()
def submit(
    output: Annotated[Path, typer.Option(help="the zip file to write")] = Path("submission.zip"),
) -> None:
    """Pack what you wrote into one zip, to hand it in."""
    from vitcourse.classroom.packing import pack

    print(pack(load_code("chapters"), output))


bench = typer.Typer(help="Measure this machine.")
app.add_typer(bench, name="bench")


@bench.command("steps")
@with_settings
def bench_steps(
    preset: Annotated[str, typer.Argument(help=f"the recipe: {', '.join(PRESETS)}")] = "digits",
    rounds: Annotated[int, typer.Option(min=1, help="turns that each rung takes; the median counts")] = 7,
    output: Annotated[Path | None, typer.Option(help="write the figures to this JSON file")] = None,
    **overrides: Any,
) -> None:
    """Show what each speed-up of the training step gives on this machine, one on top of the other."""
    config = make_config(preset, **overrides)
    require_ready(config)
    require_output(output, ".json", "--output")
    from vitcourse.training.ladder import as_table, climb

    screen = _console()
    measured = climb(config, rounds, screen)
    screen.print(as_table(measured))
    if output is not None:
        write_file(output, json.dumps(measured, indent=2, ensure_ascii=False) + "\n")


dev = typer.Typer(help="For those who change the course.")
app.add_typer(dev, name="dev")


@dev.command("stubs")
def dev_stubs() -> None:
    """Make the stubs in chapters/ from solutions/ and outlines.toml; chapters with answers in them are left alone."""
    from vitcourse.progress import refresh

    clone()
    print("\n".join(refresh()) or "the stubs in chapters/ are as they are made")


@dev.command("check")
def dev_check(
    exercise: Annotated[
        str | None, typer.Argument(help="one exercise (1.3) alone: its parts, its wrong answers")
    ] = None,
) -> None:
    """Check the course itself: what is missing, in seconds; then, for minutes, each right and each wrong answer."""
    folder = clone()
    one, processes = (f" and [{_asked(exercise).id}", "0") if exercise else ("", "2")
    lists = ["tests/tools/test_course.py", "tests/tools/test_readme.py", "tests/tools/book/test_book.py"]
    whole = f"complete or in_the_order or checked_in or map_of_the_course or minutes or (whole{one})"
    for part in [*lists, "--tb", "short", "-k", whole], ["-m", "course and not book", "-k", f"test{one}"]:
        command = [sys.executable, "-m", "pytest", "--quiet", "-n", processes, *part]
        failed = subprocess.run(command, cwd=folder).returncode
        if failed:
            break
    print(f"{exercise or 'the course'} is {'not ' * bool(failed)}whole")
    if failed:
        raise typer.Exit(1)


@app.command()
def solution(
    exercise: AtExercise = None,
    give_up: Annotated[bool, typer.Option("--give-up", help="show it although yours doesn't pass yet")] = False,
) -> None:
    """Show the reference's answer to an exercise, once yours has passed."""
    asked = _asked(exercise)
    if not give_up:
        status = dict(state.standing(load_code("chapters")))[asked]
        if status != "passed":
            raise RunError(
                f"{asked.id} has not passed ({report.said(status)}); type vitcourse check {asked.id}, "
                f"or, to see the answer all the same, vitcourse solution {asked.id} --give-up"
            )
    report.print_code(_console(), definition(load_code("solutions").text(asked.module), *asked.names))


@app.command()
def reset(
    what: Annotated[
        str | None, typer.Argument(help="an exercise (1.3) or a chapter (1); the exercise you are at if none")
    ] = None,
) -> None:
    """Put the stub of an exercise, or all of a chapter, back; your version is kept, and undo brings it back."""
    named = what or _asked(None).id
    print(keeping.reset(load_code("chapters"), named, select(named), state.kept_folder()))


@app.command()
def undo() -> None:
    """Bring back what the last reset replaced; again, and it brings back what the one before replaced."""
    print(keeping.undo(load_code("chapters"), state.kept_folder()))


@app.command()
def doctor() -> None:
    """Look over Python, packages, device and data: what is there, what is missing, what to type."""
    from vitcourse.doctor import examine, has_problem, render

    findings = examine()
    render(findings, _console())
    if has_problem(findings):
        raise typer.Exit(1)


@app.command()
def trace(
    exercise: AtExercise = None,
    code: Annotated[str, typer.Option(help="chapters, solutions or the path of a folder")] = "chapters",
    depth: Annotated[int | None, typer.Option(min=1, help="levels of calls; without it, what fits on a screen")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="every row, as JSON")] = False,
    html: Annotated[Path | None, typer.Option(help="write the trace as a page to this file")] = None,
    svg: Annotated[Path | None, typer.Option(help="write the flow of the tensors as a picture to this file")] = None,
    give_up: Annotated[
        bool, typer.Option("--give-up", help="show the reference's lines although yours don't pass")
    ] = False,
    parameters: Annotated[bool, typer.Option("--parameters", help="how many parameters each row's module has")] = False,
) -> None:
    """Show the shapes of an exercise's tensors, step by step: yours beside what is expected."""
    asked = _asked(exercise)
    load_code(code).require_python(asked.module)
    require_output(html, ".html", "--html")
    require_output(svg, ".svg", "--svg")
    from vitcourse.trace.command import show_exercise  # which takes seconds: not before the request is right

    if not show_exercise(asked.id, code, depth, as_json, html, svg, _console(), reveal=give_up, parameters=parameters):
        raise typer.Exit(1)


@app.command()
def book(
    pdf: Annotated[bool, typer.Option("--pdf", help="write the whole book as a PDF, in place of serving it")] = False,
    file: Annotated[Path | None, typer.Argument(help="with --pdf: the file; _build/vitcourse.pdf if none")] = None,
    open_it: OpenIt = False,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="8000, or a free one, if none")] = None,
    serve: Annotated[bool, typer.Option(help="serve it on this machine until Ctrl-C")] = True,
) -> None:
    """Build the book, what changed of it, and serve it on this machine until Ctrl-C."""
    from vitcourse.book.command import show_book

    if file is not None and not pdf:
        typed = quoted(with_ending(file, ".pdf"))
        raise RequestError(f"{file} would be a PDF's name; type: vitcourse book --pdf {typed}")
    show_book(_console(), pdf=pdf, file=file, open_it=open_it, port=port, serve=serve)


@app.command()
def notebook(
    chapter: Annotated[str, typer.Argument(help="a chapter of the book (0, 1 and so on), or all: the whole course")],
    solved: Annotated[bool, typer.Option("--solved", help="with all: the answers, to run top to bottom")] = False,
    output: Annotated[Path | None, typer.Option(help="the file; notebooks/ and the chapter's name if none")] = None,
) -> None:
    """Write a chapter of the book as a Jupyter notebook that runs on what you wrote."""
    from vitcourse.book.notebook import write_notebook

    print(write_notebook(chapter, output, solved))


def main() -> None:
    """Run the command line: exit code 0, or one line on stderr and 1 (it failed) or 2 (the request was wrong)."""
    speak_plainly()
    command = _command()
    take_over_output(command.commands)
    try:
        code = command(standalone_mode=False)
        sys.stdout.flush()
    except RequestError as error:
        _end(str(error), 2)
    except RunError as error:
        _end(str(error), 1)
    except UsageError as error:
        asked = " ".join(["vitcourse", *(word for word in sys.argv[1:2] if word in command.commands)])
        asked = error.ctx.command_path if error.ctx else asked
        said = " ".join(error.format_message().split()).rstrip(".")
        for theirs, plain in _PLAINER.items():
            said = said.replace(theirs, plain)
        _end(f"{said}{' For' if said.endswith('?') else '; for'} help, type: {asked} --help", 2)
    except OSError as error:
        end_unread(error)
    sys.exit(code if isinstance(code, int) else 0)


@cache
def _command() -> Any:
    """What reads the line: made once, which takes a hundredth of a second."""
    return get_command(app)


def _asked(word: str | None) -> Exercise:
    """The exercise of that id; without one, the one that the learner is at."""
    if word is not None:
        return exercise(word)
    here = state.at(load_code("chapters"))
    if here is None:
        raise RequestError("you have done them all; to name an exercise, type its number, such as 1.3")
    return here


def _console() -> Console:
    # In a notebook too what is printed is text.
    return Console(highlight=False, markup=False, force_jupyter=False)


def _end(message: str, code: int) -> NoReturn:
    print(f"vitcourse: {message}", file=sys.stderr)
    sys.exit(code)
