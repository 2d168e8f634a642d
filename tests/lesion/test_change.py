"""Two photos of one lesion: alignment, and differences larger than those between photos of an unchanged one."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from PIL import Image

from skinapp.errors import ImageError
from skinapp.inference.analysis import Analysis, analyse
from skinapp.inference.registry import Model
from skinapp.lesion import change
from skinapp.lesion.change import CANCER, DIAMETER, SIZE, Change
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
    # the picture rotates counter-clockwise, and rows run downwards
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
    made = change.changes((square, disc(0.3)), (square, disc(0.6)), 2.0, "dermoscopy")
    by_name = {one.name: one for one in made}
    assert by_name[SIZE].after == pytest.approx(by_name[SIZE].before, rel=0.02)
    assert by_name[SIZE].is_usual
    assert set(by_name) == set(change.noise("dermoscopy"))
    grown = change.changes((square, disc(0.3)), (square, disc(0.6)), 1.0, "dermoscopy")
    assert grown[0].after / grown[0].before == pytest.approx(4, rel=0.02)
    assert not grown[0].is_usual
    assert "3.99 times that in the first photo" in change.sentence(grown[0])
    assert ": more than usual" in change.sentence(grown[0])
    unscaled = change.changes((square, disc(0.3)), (square, disc(0.6)), None, "dermoscopy")
    assert SIZE not in {one.name for one in unscaled}


def test_unmeasured_differences_are_not_judged() -> None:
    square = seen(skin(5))
    made = change.changes((square, disc(0.3)), (square, disc(0.6)), 1.0, "dermoscopy and close-up")
    assert {one.is_usual for one in made} == {None}
    assert "has not been measured" in change.sentence(made[0])
    assert "than usual" not in change.sentence(made[0])


def test_the_noise_of_a_probability_is_that_of_the_current_network(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def known(network: str) -> dict[str, Any]:
        return {model.modality: {"cancer": {model.id: {"noise": 0.3, "exceeded": 7, "networks": [network]}}}}

    assert model.weights == ("model.tflite",)
    monkeypatch.setattr(change, "figures", lambda: known(model.card["files"]["model.tflite"]["sha256"]))
    assert change.of_cancer(0.1, 0.9, model).noise == 0.3
    assert change.of_cancer(0.1, 0.9, dataclasses.replace(model, id="other")).is_usual is None
    monkeypatch.setattr(change, "figures", lambda: known("0" * 64))
    unknown = change.of_cancer(0.1, 0.9, model)
    assert unknown.is_usual is None
    assert "has not been measured" in change.sentence(unknown)


@pytest.mark.parametrize(("after", "is_usual"), [(0.5, True), (0.65, True), (0.29, False), (0.75, False)])
def test_noise_decides_for_more_and_for_less(after: float, is_usual: bool) -> None:
    one = Change("Asymmetry", 0.5, after, "%", 0.2)
    assert one.is_usual == is_usual
    assert ("no more than usual" in change.sentence(one)) == is_usual


def test_a_small_probability_may_rise_by_less_than_a_large_one() -> None:
    # odds of 1 to 9 times three are 1 to 3, those of 1 to 1 are 3 to 1
    factor = math.log(3.0)
    assert Change(CANCER, 0.1, 0.24, "%", factor).is_usual
    assert not Change(CANCER, 0.1, 0.26, "%", factor).is_usual
    assert Change(CANCER, 0.5, 0.74, "%", factor).is_usual
    assert Change(CANCER, 0.74, 0.5, "%", factor).is_usual
    assert "from 10% to between 3% and 26% in 95 of 100" in change.sentence(Change(CANCER, 0.1, 0.2, "%", factor))
    # the ends of the scale stay on it
    assert "from 0% to between 0% and 1% in 95 of 100" in change.sentence(Change(CANCER, 0.0, 0.0, "%", factor))
    assert change.limit(Change(CANCER, 1.0, 1.0, "%", factor)) == "from 100% to between 99% and 100%"


def test_a_lesion_that_shrank() -> None:
    assert not Change(SIZE, 0.2, 0.1, "%", 1.5).is_usual
    assert Change(SIZE, 0.2, 0.16, "%", 1.5).is_usual


def analysed(model: Model, pixels: np.ndarray) -> Analysis:
    return analyse(Image.fromarray(pixels), model)


def test_two_photos_of_one_lesion_are_compared(model: Model) -> None:
    picture = skin(11)
    made = change.compare(analysed(model, closer(picture, 400)), analysed(model, closer(picture, 400, 1.1, 5)))
    assert made.alignment
    assert made.alignment.scale == pytest.approx(1.1, rel=0.05)
    assert not made.note
    by_name = {one.name: one for one in made.changes}
    assert by_name[SIZE].after / by_name[SIZE].before == pytest.approx(1, abs=0.2)
    assert by_name[SIZE].is_usual
    measured = change.figures()["dermoscopy"]["cancer"].get(model.id, {})
    current = measured.get("networks") == model.hashes
    assert (by_name[CANCER].noise is not None) == current
    assert made.exceeded == ((measured["exceeded"], change.figures()["dermoscopy"]["measured"]) if current else None)
    assert DIAMETER not in by_name


def test_a_known_length_replaces_the_scale_of_the_photos(model: Model) -> None:
    picture = skin(11)
    first, second = analysed(model, closer(picture, 400)), analysed(model, closer(picture, 400, 1.1))
    by_name = {one.name: one for one in change.compare(first, second, (20.0, 20.0)).changes}
    # at the same distance, a lesion that fills more of the square has grown
    assert by_name[SIZE].after / by_name[SIZE].before == pytest.approx(1.21, abs=0.2)
    assert by_name[DIAMETER].unit == "mm"
    assert 1 < by_name[DIAMETER].before < by_name[DIAMETER].after < 30
    assert " mm" in change.sentence(by_name[DIAMETER])


def test_photos_of_different_lesions_are_distinguished(model: Model) -> None:
    made = change.compare(analysed(model, closer(skin(11), 400)), analysed(model, closer(skin(12), 400)))
    assert made.alignment is None
    assert change.NO_MATCH in made.note
    assert SIZE not in {one.name for one in made.changes}


def test_without_a_lesion_only_the_probabilities_are_compared(model: Model) -> None:
    bare = np.full((400, 400, 3), (220, 180, 160), np.uint8)
    made = change.compare(analysed(model, closer(skin(11), 400)), analysed(model, bare))
    assert [one.name for one in made.changes] == [CANCER]
    assert made.exceeded is None
    assert "cannot be compared" in made.note


@pytest.mark.parametrize("kind", change.figures())
def test_the_measured_figures(kind: str) -> None:
    figures = change.figures()[kind]
    assert figures["matched"] > (0.6 if kind == "dermoscopy" else 0.1) * figures["pairs"]
    assert figures["cancer"]
    assert figures["confused"] < 0.02 * figures["pairs_of_different_lesions"]
    assert figures["noise"][SIZE] > 1
    assert all(value > 0 for value in figures["noise"].values())
    # one of several measures, each of which exceeds its limit in 5 of 100 pairs
    most = 0.05 * (len(figures["noise"]) + 1)
    assert all(0.05 <= one["exceeded"] / figures["measured"] < most for one in figures["cancer"].values())
