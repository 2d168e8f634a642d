"""Two photos of one lesion: laid over each other, and what differs by more than the camera explains."""

import math

import numpy as np
import pytest
from PIL import Image

from skinapp.errors import ImageError
from skinapp.lesion import change
from skinapp.lesion.change import CANCER, SIZE, Change
from tests.pictures import closer, skin

SIDE = 240


def seen(picture: Image.Image, zoom: float = 1.0, degrees: float = 0.0, dark: float = 1.0) -> np.ndarray:
    return closer(picture, SIDE, zoom, degrees, dark)


@pytest.mark.parametrize(("zoom", "degrees", "dark"), [(1, 0, 1), (1.3, 0, 0.9), (0.8, 25, 1), (1.1, 180, 0.8)])
def test_a_later_photo_is_laid_over_the_first(zoom: float, degrees: float, dark: float) -> None:
    picture = skin(1)
    first = seen(picture)
    aligned = change.align(first, seen(picture, zoom, degrees, dark))
    assert aligned.scale == pytest.approx(zoom, rel=0.03)
    # the picture turns counter-clockwise, rows run downwards
    assert math.cos(math.radians(aligned.degrees + degrees)) == pytest.approx(1, abs=0.01)
    inside = aligned.covered
    assert inside.mean() > 0.5
    error = np.abs(aligned.aligned.astype(float) - first * dark)[inside].mean()
    assert error < 0.3 * np.abs(seen(picture, zoom, degrees, dark).astype(float) - first * dark)[inside].mean() + 5


def test_squares_of_other_sizes() -> None:
    picture = skin(2)
    first = np.asarray(Image.fromarray(seen(picture)).resize((512, 512), 3))
    second = np.asarray(Image.fromarray(seen(picture, 1.2)).resize((300, 300), 3))
    aligned = change.align(first, second)
    assert aligned.aligned.shape == (512, 512, 3)
    assert aligned.scale == pytest.approx(1.2, rel=0.03)
    assert np.abs(aligned.aligned.astype(float) - first)[aligned.covered].mean() < 6


@pytest.mark.parametrize(
    "second",
    [seen(skin(4)), np.full((SIDE, SIDE, 3), 180, np.uint8), seen(skin(3), zoom=8)],
    ids=["other", "even", "far"],
)
def test_photos_that_do_not_match(second: np.ndarray) -> None:
    with pytest.raises(ImageError, match="may show different lesions"):
        change.align(seen(skin(3)), second)


def disc(radius: float) -> np.ndarray:
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    return x**2 + y**2 < radius**2


def test_size_is_compared_at_one_distance() -> None:
    square = seen(skin(5))
    # twice as close: the lesion fills four times the square, and has not grown
    by_name = {one.name: one for one in change.changes((square, disc(0.3)), (square, disc(0.6)), 2.0, (0.1, 0.12))}
    assert by_name[SIZE].after == pytest.approx(by_name[SIZE].before, rel=0.02)
    assert by_name[SIZE].by_camera
    assert set(by_name) == set(change.noise())
    grown = change.changes((square, disc(0.3)), (square, disc(0.6)), 1.0)
    assert grown[0].after / grown[0].before == pytest.approx(4, rel=0.02)
    assert not grown[0].by_camera
    assert "3.99 times the first" in change.sentence(grown[0])
    assert "more than the camera explains" in change.sentence(grown[0])
    assert SIZE not in {one.name for one in change.changes((square, disc(0.3)), (square, disc(0.6)), None)}


@pytest.mark.parametrize(("after", "by_camera"), [(0.5, True), (0.65, True), (0.29, False), (0.75, False)])
def test_noise_decides_for_more_and_for_less(after: float, by_camera: bool) -> None:
    one = Change(CANCER, 0.5, after, "%", 0.2)
    assert one.by_camera == by_camera
    assert ("no more than the camera" in change.sentence(one)) == by_camera


def test_a_lesion_that_shrank() -> None:
    assert not Change(SIZE, 0.2, 0.1, "%", 1.5).by_camera
    assert Change(SIZE, 0.2, 0.16, "%", 1.5).by_camera


def test_the_measured_figures() -> None:
    figures = change.figures()
    assert figures["matched"] > 0.6 * figures["pairs"]
    assert figures["confused"] < 0.02 * figures["pairs_of_different_lesions"]
    assert figures["noise"][SIZE] > 1
    assert all(value > 0 for value in figures["noise"].values())
