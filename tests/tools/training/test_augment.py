"""Random shifts, and the batches that they go into."""

import pytest
import torch
import torch.nn.functional as F

from vitcourse.training.augment import augmentations, center_crop, random_affine, random_flip, random_shift
from vitcourse.training.batches import Batches, standardised
from vitcourse.training.configuration import make_config


def numbered(n: int, channels: int, height: int, width: int) -> torch.Tensor:
    """Images in which every pixel is another number, none of them 0."""
    return torch.arange(1.0, n * channels * height * width + 1).view(n, channels, height, width)


def test_each_image_is_moved_whole_and_by_all_distances() -> None:
    images = numbered(400, 2, 5, 7)
    shifted = random_shift(images, torch.Generator().manual_seed(0), pixels=2)
    padded = F.pad(images, (2, 2, 2, 2))
    seen = set()
    for image, around in zip(shifted, padded, strict=True):
        places = [(y, x) for y in range(5) for x in range(5) if torch.equal(image, around[:, y : y + 5, x : x + 7])]
        assert len(places) == 1
        seen.update(places)
    assert len(seen) == 25


def test_shifts_follow_the_seed_and_leave_the_input_alone() -> None:
    images = numbered(50, 1, 4, 6)
    before = images.clone()
    first, again, other = (random_shift(images, torch.Generator().manual_seed(seed), pixels=1) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(images, before)


def test_about_half_of_the_images_are_mirrored_whole() -> None:
    images = numbered(400, 2, 5, 7)
    changed = random_flip(images, torch.Generator().manual_seed(0))
    mirrored = [torch.equal(new, old.flip(2)) for new, old in zip(changed, images, strict=True)]
    assert all(flip or torch.equal(new, old) for flip, new, old in zip(mirrored, changed, images, strict=True))
    assert 150 < sum(mirrored) < 250
    assert augmentations(make_config("seed", flip=True)) == [random_flip]


def test_no_shift_is_no_augmentation() -> None:
    assert augmentations(make_config("seed", shift=0)) == []
    assert len(augmentations(make_config("seed", shift=1))) == 1


def test_a_shift_may_be_a_part_of_a_pixel() -> None:
    images = torch.zeros(211, 1, 7, 11)
    images[:, :, 3, 5] = 1
    (augment,) = augmentations(make_config("seed", shift=0.4))
    moved = augment(images, torch.Generator().manual_seed(0))[:, 0]
    for middle, axis in ((3, torch.arange(7)[:, None]), (5, torch.arange(11))):
        ways = (moved * axis).sum((1, 2)) - middle  # of the centre of mass
        assert -0.4 < float(ways.min()) < -0.36
        assert 0.36 < float(ways.max()) < 0.4


def test_an_affine_change_of_nothing_changes_nothing() -> None:
    images = torch.rand(3, 2, 5, 7)
    same = random_affine(images, torch.Generator().manual_seed(0), shift=0, rotate=0, stretch=0, shear=0)
    torch.testing.assert_close(same, images)


@pytest.mark.parametrize(
    ("change", "measured"),
    [({"shift": 3}, 3.0), ({"rotate": 30}, 30.0), ({"stretch": 0.3}, 0.3), ({"shear": 0.4}, 0.4)],
)
def test_each_affine_change_does_what_its_unit_says(change: dict[str, float], measured: float) -> None:
    """A blob's moments tell where it went: its centre, its widths and its slant. The image is not square."""
    height, width = 41, 61
    y, x = (torch.arange(n) - (n - 1) / 2 for n in (height, width))
    blob = torch.exp(-(x**2)[None] / 50 - (y**2)[:, None] / 18)  # standard deviations 5 (x) and 3 (y)
    images = blob.expand(300, 1, height, width)
    settings = {"shift": 0.0, "rotate": 0.0, "stretch": 0.0, "shear": 0.0, **change}
    moved = random_affine(images, torch.Generator().manual_seed(0), **settings)[:, 0]
    mass = moved.sum((1, 2))
    mean_x, mean_y = ((moved * axis).sum((1, 2)) / mass for axis in (x, y[:, None]))
    var_x = (moved * x**2).sum((1, 2)) / mass - mean_x**2
    var_y = (moved * (y**2)[:, None]).sum((1, 2)) / mass - mean_y**2
    covariance = (moved * x * y[:, None]).sum((1, 2)) / mass - mean_x * mean_y
    if "shift" in change:
        seen = torch.stack([mean_x, mean_y])
    elif "rotate" in change:
        # The axes of a turned blob: tan(2·angle) = 2·cov / (var_x - var_y).
        seen = torch.rad2deg(0.5 * torch.atan2(2 * covariance, var_x - var_y))[None]
    elif "stretch" in change:
        seen = torch.stack([0.5 * torch.log(var_x / 25), 0.5 * torch.log(var_y / 9)])
    else:
        seen = (covariance / var_y)[None]
    assert 0.9 * measured < float(seen.max()) < 1.1 * measured
    assert -1.1 * measured < float(seen.min()) < -0.9 * measured
    assert all(len(row.round(decimals=3).unique()) > 200 for row in seen), "each image has a draw of its own"


def test_bending_moves_each_pixel_by_about_its_pixels_and_its_neighbours_with_it() -> None:
    """The images are their own coordinates, so that each pixel says where it comes from. They are not square."""
    height, width = 41, 61
    place = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")).float()  # (2, H, W)
    still = {"shift": 0.0, "rotate": 0.0, "stretch": 0.0, "shear": 0.0}
    bent = random_affine(place.expand(200, 2, height, width), torch.Generator().manual_seed(0), **still, elastic=1.5)
    moved = (bent - place)[:, :, 8:-8, 8:-8]  # (n, 2, h, w): down and across, without what came in from outside
    assert abs(float(moved.mean())) < 0.05
    for way in moved.unbind(1):
        # Between the knots, each of which is a draw of its own, the mean of several draws is shorter.
        assert 0.6 * 1.5 < float(way.std()) < 1.1 * 1.5
        assert float((way[:, 1:] - way[:, :-1]).std()) < 0.4 * 1.5
        assert float((way[:, :, 1:] - way[:, :, :-1]).std()) < 0.4 * 1.5
    down, across = moved.flatten(2).unbind(1)
    assert abs(float((down * across).mean())) < 0.1, "down and across are drawn apart"
    assert len(down[:, 0].round(decimals=3).unique()) > 190, "each image has a draw of its own"


def test_affine_changes_follow_the_seed_and_bring_in_background() -> None:
    images = torch.ones(20, 1, 9, 6)
    settings = {"shift": 2.0, "rotate": 10.0, "stretch": 0.1, "shear": 0.1}
    first, again, other = (random_affine(images, torch.Generator().manual_seed(s), **settings) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert float(first.min()) == 0
    assert float(first.max()) <= 1 + 1e-6


@pytest.mark.parametrize("elastic", [0.0, 0.7])
def test_of_what_is_moved_the_middle_alone_may_be_computed(elastic: float) -> None:
    images, settings = torch.rand(5, 2, 11, 13), {"shift": 2.0, "rotate": 10.0, "stretch": 0.1, "shear": 0.1}
    whole, middle = (
        random_affine(images, torch.Generator().manual_seed(0), **settings, elastic=elastic, crop=crop)
        for crop in (None, 7)
    )
    assert torch.equal(middle, whole[:, :, 2:9, 3:10])
    (made,) = augmentations(make_config("mnist"))
    assert made(torch.rand(3, 1, 28, 28), torch.Generator()).shape == (3, 1, 24, 24)


def test_the_middle_is_cut_out_of_what_was_moved() -> None:
    images = numbered(23, 2, 7, 9)
    assert torch.equal(center_crop(images, 3), images[:, :, 2:5, 3:6])
    assert center_crop(images, None) is images
    config = make_config("seed", batch_size=23, shift=1, crop=3)
    batches = Batches(images, torch.arange(23), torch.zeros(2), torch.ones(2), config)
    cut, labels = next(iter(batches))
    around = images[labels, :, 1:6, 2:7]  # a shift by one pixel brings in the image's own margin, not background
    for image, near in zip(cut, around, strict=True):
        assert any(torch.equal(image, near[:, y : y + 3, x : x + 3]) for y in range(3) for x in range(3))


def make_batches(seed: int = 0, shift: int = 0) -> Batches:
    images, labels = numbered(23, 2, 3, 5), torch.arange(23)
    mean, std = torch.tensor([1.0, -2.0]), torch.tensor([2.0, 4.0])
    return Batches(images, labels, mean, std, make_config("seed", batch_size=7, shift=shift, seed=seed))


def test_a_pass_gives_each_image_once_with_its_label() -> None:
    batches = make_batches()
    passed = list(batches)
    assert [len(labels) for _, labels in passed] == [7, 7, 7, 2]
    assert len(batches) == 4
    images, labels = (torch.cat(parts) for parts in zip(*passed, strict=True))
    assert sorted(labels.tolist()) == list(range(23))
    expected = standardised(numbered(23, 2, 3, 5), torch.tensor([1.0, -2.0]), torch.tensor([2.0, 4.0]))
    torch.testing.assert_close(images, expected[labels])


@pytest.mark.parametrize("shift", [0, 1])
def test_batches_follow_the_seed_and_change_from_pass_to_pass(shift: int) -> None:
    one, same, other = make_batches(1, shift), make_batches(1, shift), make_batches(2, shift)
    first, second = list(one), list(one)
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(first, same, strict=True))
    assert not torch.equal(first[0][1], second[0][1])
    assert not torch.equal(first[0][1], next(iter(other))[1])


def test_what_a_shift_uncovers_is_the_background_after_standardising_too() -> None:
    """A black border stays as black as the black of the images."""
    black = torch.zeros(40, 1, 4, 4)
    mean, std = torch.tensor([0.3]), torch.tensor([0.5])
    batches = Batches(black, torch.zeros(40), mean, std, make_config("seed", batch_size=40, shift=1))
    images, _ = next(iter(batches))
    assert torch.equal(images, torch.full_like(images, -0.6))


def hard_after_a_pass() -> Batches:
    """Of 13 images those with an odd number were taken for another class."""
    config = make_config("seed", batch_size=3, hardest=0.46)
    batches = Batches(numbered(13, 1, 2, 3), torch.zeros(13).long(), torch.zeros(1), torch.ones(1), config)
    for _ in batches:
        batches.note(torch.stack([torch.zeros(len(batches.latest)), batches.latest % 2.0], dim=1))
    return batches


def numbers(images: torch.Tensor) -> list[int]:
    return ((images[:, 0, 0, 0] - 1) / 6).int().tolist()


def test_after_a_pass_over_all_images_the_hardest_by_then_are_gone_through_again_and_again() -> None:
    batches = hard_after_a_pass()
    rounds: list[list[int]] = [[]]
    for place, (images, _) in enumerate(batches):
        rounds[-1] += numbers(images)
        # What is learned in the first round counts in the second: of the odd ones 3 alone stays hard.
        batches.note(torch.stack([torch.zeros(len(images)), 2.0 * (batches.latest == 3) - 1], dim=1))
        if place == 1:
            rounds.append([])
    first, second = rounds
    assert sorted(first) == [1, 3, 5, 7, 9, 11]
    assert len(set(second[:6])) == 6
    assert {place for place in second[:6] if place % 2} == {3}
    assert len(second) == 9, "five batches in all, as in the first pass"


def test_rounds_over_the_hardest_go_on_where_they_stopped() -> None:
    one, other = hard_after_a_pass(), hard_after_a_pass()
    passing = iter(one)
    for place in range(3):  # into the second round
        next(passing)
        one.note(torch.zeros(3, 2) + place)
    other.load_state_dict(one.state_dict())
    assert [numbers(images) for images, _ in other] == [numbers(images) for images, _ in passing]
    assert torch.equal(one.losses, other.losses)
