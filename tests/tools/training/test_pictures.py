"""The pictures of a run: what is drawn, and that a wrong answer is told by more than its colour."""

import io

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from PIL import Image

from vitcourse.training.measure import Answers
from vitcourse.training.pictures import draw_curves, draw_predictions, png
from vitcourse.training.runs import Epoch


def epochs(*losses: float) -> list[Epoch]:
    return [Epoch(number, loss, 1 / (1 + loss), 0.1, 1.0, 100.0) for number, loss in enumerate(losses, start=1)]


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def test_curves_show_loss_and_accuracy_of_every_epoch() -> None:
    losses, accuracies = draw_curves({"cross-entropy": epochs(2.0, 1.0, 0.5)}, "test images").axes
    assert list(losses.lines[0].get_ydata()) == [2.0, 1.0, 0.5]
    assert list(accuracies.lines[0].get_xdata()) == [1, 2, 3]
    assert accuracies.lines[0].get_ydata()[-1] == pytest.approx(1 / 1.5)
    assert "test images" in accuracies.get_ylabel()


def test_two_runs_differ_by_more_than_colour_and_the_floor_has_its_number() -> None:
    runs = {"cross-entropy": epochs(2.0, 0.3), "original": epochs(1.8, 1.5)}
    losses, _ = draw_curves(runs, "test images", softmax_over=10).axes
    plain, original, floor = losses.lines
    assert plain.get_linestyle() != original.get_linestyle()
    assert plain.get_marker() != original.get_marker()
    assert list(floor.get_ydata()) == pytest.approx([1.46116, 1.46116], abs=1e-5)
    assert "ln(1 + 9/e) = 1.4612" in losses.texts[0].get_text()
    assert [text.get_text() for text in losses.get_legend().get_texts()] == list(runs)


def test_one_epoch_has_one_tick_a_title_and_the_loss_on_the_test_images() -> None:
    run = [Epoch(1, 2.0, 0.5, 0.1, 1.0, 100.0, test_loss=1.25)]
    figure = draw_curves({"cross-entropy": run}, "test images", None, "digits")
    losses, accuracies = figure.axes
    assert losses.get_title() == "digits"
    assert [list(line.get_ydata()) for line in losses.lines] == [[2.0], [1.25]]
    assert [text.get_text() for text in losses.get_legend().get_texts()] == ["training", "test images"]
    figure.canvas.draw()
    low, high = accuracies.get_xlim()
    assert [tick for tick in accuracies.get_xticks() if low <= tick <= high] == [1]


def test_a_run_stopped_in_its_first_epoch_has_a_picture_too() -> None:
    figure = draw_curves({"cross-entropy": []}, "test images")
    assert figure.axes[0].get_title() == "no epoch was finished"
    assert png(figure).startswith(b"\x89PNG")


def test_a_wrong_answer_is_marked_by_word_sign_and_frame() -> None:
    answers = Answers(given=torch.tensor([0, 0]), confidence=torch.tensor([0.75, 0.75]), labels=torch.tensor([0, 1]))
    wrong, right, *_ = draw_predictions(torch.rand(2, 1, 5, 7), answers, ("3", "8")).axes
    assert right.get_title() == "3  (75%)"
    assert wrong.get_title() == "✗ 3  (75%), is 8"
    assert {spine.get_linestyle() for spine in right.spines.values()} == {"solid"}
    assert {spine.get_linestyle() for spine in wrong.spines.values()} == {"--"}
    assert to_hex(wrong.spines["top"].get_edgecolor()) != to_hex(right.spines["top"].get_edgecolor())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("n_answers", [1, 6, 16, 23])
def test_every_answer_has_its_image_and_no_more_than_sixteen(n_answers: int, channels: int) -> None:
    threes = torch.full((n_answers,), 3)
    answers = Answers(given=threes, confidence=torch.full((n_answers,), 0.75), labels=threes)
    figure = draw_predictions(torch.rand(n_answers, channels, 5, 7), answers, "0123")
    drawn = [axes for axes in figure.axes if axes.images and axes.axison]
    assert len(drawn) == min(n_answers, 16)
    assert drawn[0].images[0].get_array().shape[:2] == (5, 7)
    # The images themselves are in the file: it is no white sheet.
    assert (pixels(png(figure)) < 250).mean() > 0.03
