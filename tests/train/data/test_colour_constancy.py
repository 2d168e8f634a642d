"""Shades of grey, against a case worked by hand."""

import numpy as np
import pytest

from train.data.colour_constancy import shades_of_grey


def test_a_uniform_image_becomes_grey_and_keeps_its_brightness() -> None:
    pixels = np.broadcast_to(np.array([200, 100, 100], np.uint8), (4, 5, 3))
    # the light is (200, 100, 100), of root mean square 141.42
    assert (shades_of_grey(pixels) == 141).all()


def test_coloured_light_makes_no_difference() -> None:
    white = np.random.default_rng(0).integers(20, 120, (16, 16, 3)).astype(np.float64)
    expected = shades_of_grey(white.astype(np.uint8)).astype(float)
    tinted = shades_of_grey((white * [1.0, 0.7, 1.3]).astype(np.uint8)).astype(float)
    # brightness is the root mean square of the light, which the tint changes a little
    ratio = tinted.mean() / expected.mean()
    assert tinted == pytest.approx(expected * ratio, abs=3)


def test_a_black_image_stays_black() -> None:
    assert not shades_of_grey(np.zeros((3, 3, 3), np.uint8)).any()
