"""`vitcourse predict`: what pictures show, as a trained run takes them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from vitcourse.codesets import load_code
from vitcourse.errors import RequestError, RunError, listed
from vitcourse.files import no_file, printable, require_ending, require_writable, write_file
from vitcourse.speech import print_json
from vitcourse.training.chapters import faults_in_one_line
from vitcourse.training.runs import find_trained

if TYPE_CHECKING:
    from vitcourse.training.trained import Prediction, Seen


def predict(images: Sequence[Path], run: Path | None, picture: Path | None, as_json: bool, console: Console) -> None:
    """Say what each image shows, with the three best probabilities, and what was done to it before it was seen.

    Raises RunError, when that is done, for images that can't be read, and RequestError when none can.
    """
    _require_some(images)
    if picture is not None:
        require_ending(picture, ".png", "--picture")
        require_writable(picture)
        if picture.resolve() in [path.resolve() for path in images]:
            raise RequestError(f"--picture {picture} would overwrite what is to be read; name another file")
    run = find_trained(run)
    from vitcourse.training.pictures import draw_seen, png  # with them comes torch: not before the request is right
    from vitcourse.training.trained import load_trained

    trained = load_trained(run)
    names: list[str] = []
    seen: list[Seen] = []
    unread: list[str] = []
    for path in images:
        try:
            seen.append(trained.see(path))
            names.append(printable(path))
        except RequestError as error:
            unread.append(str(error))
    if not seen:
        raise RequestError(listed(unread, "; "))
    with faults_in_one_line(load_code(trained.config.code)):
        named = list(zip(names, trained.predict_seen(seen), strict=True))
    if as_json:
        print_json([_as_dict(name, prediction) for name, prediction in named])
    else:
        console.print(f"by {run}, trained on {trained.config.data}", soft_wrap=True)
        _print(named, console)
    if picture is not None:
        write_file(picture, png(draw_seen(named, trained.config.patch_size)))
        if not as_json:
            console.print(f"{picture}: the pictures as the model sees them", soft_wrap=True)
    if unread:
        raise RunError(listed(unread, "; "))


def _print(named: Sequence[tuple[str, "Prediction"]], console: Console) -> None:
    for name, prediction in named:
        best = ", ".join(f"{label} ({share:.1%})" for label, share in prediction.best())
        console.print(f"{name}: {best}", soft_wrap=True)
        for line in prediction.seen.done:
            console.print(f"  {line}", soft_wrap=True)


def _require_some(images: Sequence[Path]) -> None:
    """Raise RequestError when none of them is a file."""
    faults = [fault for image in images if (fault := no_file(image.expanduser()))]
    if len(faults) == len(images):
        first = printable(images[0])
        instead = f"; name the files in it: {first}/*" if images[0].is_dir() else ""
        raise RequestError(f"can't read {first}: {faults[0]}{instead}")


def _as_dict(name: str, prediction: "Prediction") -> dict[str, object]:
    seen = prediction.seen
    return {
        "file": name,
        "label": prediction.label,
        "probabilities": prediction.probabilities,
        "inverted": seen.inverted,
        "done": seen.done,
    }
