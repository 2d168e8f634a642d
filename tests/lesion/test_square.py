"""The square around a lesion: detection, margin, and limits of the image."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from skinapp.images import imaging
from skinapp.lesion import square
from skinapp.lesion.square import Box


def spots(size: tuple[int, int], *discs: tuple[int, int, int]) -> Image.Image:
    """Skin with grain and dark spots with soft edges: x, y, radius in pixels."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    pixels = np.array([214.0, 168.0, 142.0]) + np.random.default_rng(0).normal(0, 3, (height, width, 1))
    for across, down, radius in discs:
        spot = np.exp(-((((x - across) / radius) ** 2 + ((y - down) / radius) ** 2) ** 2))[..., np.newaxis]
        pixels = pixels * (1 - spot) + np.array([96.0, 54.0, 38.0]) * spot
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize(("size", "disc"), [((600, 300), (120, 180, 50)), ((300, 600), (170, 470, 45))])
def test_a_lesion_away_from_the_centre_is_found(size: tuple[int, int], disc: tuple[int, int, int]) -> None:
    [box] = square.lesions(spots(size, disc))
    x, y, radius = disc
    assert box.centre == pytest.approx((x, y), abs=15)
    assert box.side == pytest.approx(2 * radius, rel=0.3)
    left, top, right, bottom = square.around(box, size, 2.0).box(*size)
    assert left < x - radius < x + radius < right
    assert top < y - radius < y + radius < bottom


def test_two_lesions_are_found_the_larger_first() -> None:
    boxes = square.lesions(spots((700, 350), (150, 180, 45), (530, 170, 65)))
    assert [box.centre[0] > 350 for box in boxes] == [True, False]


def test_no_lesion_is_found_on_bare_or_even_skin() -> None:
    assert square.lesions(Image.new("RGB", (400, 300), (220, 180, 160))) == []


def test_regions_at_the_edge_are_background_unless_they_reach_the_middle() -> None:
    size = (400, 300)
    assert square._is_background(Box(0, 100, 90, 200), size)
    assert square._is_background(Box(350, 250, 400, 300), size)
    assert not square._is_background(Box(0, 40, 260, 280), size)
    assert not square._is_background(Box(20, 20, 80, 80), size)


@given(
    width=st.integers(64, 900),
    height=st.integers(64, 900),
    edges=st.tuples(*[st.floats(0, 1)] * 4),
    margin=st.floats(1, 5),
)
def test_a_square_is_inside_the_image_and_contains_the_box_if_possible(
    width: int, height: int, edges: tuple[float, float, float, float], margin: float
) -> None:
    left, right = sorted(edge * width for edge in edges[:2])
    top, bottom = sorted(edge * height for edge in edges[2:])
    box = Box(left, top, right, bottom)
    crop = square.around(box, (width, height), margin)
    outer = crop.box(width, height)
    assert min(outer) >= -1e-6
    assert outer[2] <= width + 1e-6
    assert outer[3] <= height + 1e-6
    assert outer[2] - outer[0] >= min(imaging.MIN_SIDE, width, height) - 1e-6
    if box.side <= min(width, height):
        assert outer[0] <= left + 1e-6
        assert outer[1] <= top + 1e-6
        assert outer[2] >= right - 1e-6
        assert outer[3] >= bottom - 1e-6


@pytest.mark.parametrize(("measured", "used"), [(True, True), (False, False)])
def test_a_square_is_used_only_where_that_was_better_on_validation_images(
    monkeypatch: pytest.MonkeyPatch, measured: bool, used: bool
) -> None:
    figures = {"smartphone": {"margin": 2.0, "largest": 0.4, "used": measured}}
    monkeypatch.setattr(square, "figures", lambda: figures)
    small = square.propose(spots((600, 300), (120, 180, 40)), "smartphone")
    assert small.used == used
    assert len(small.squares) == 1
    # a lesion that fills the picture stays in the centre of the image
    assert not square.propose(spots((600, 300), (300, 150, 110)), "smartphone").used


def test_nothing_is_proposed_where_nothing_is_found() -> None:
    found = square.propose(Image.new("RGB", (300, 300), (220, 180, 160)), "smartphone")
    assert found.squares == ()
    assert not found.used


@pytest.mark.parametrize("kind", ["dermoscopy", "smartphone"])
def test_the_measured_figures(kind: str) -> None:
    figures = square.figures()[kind]
    assert figures["margin"] >= 1
    assert 0 < figures["largest"] <= 1
    lowest = min(one["validation"]["difference"]["low"] for one in figures["sets"].values())
    assert figures["used"] == (lowest >= -0.01)
    for one in figures["sets"].values():
        for part in ("validation", "test"):
            assert one[part]["images"] > 100
            low, value, high = (one[part]["difference"][name] for name in ("low", "value", "high"))
            # no interval where no prediction changes
            assert value == 0 if low is None else low <= value <= high
            # few images with one lesion lead to a question about two
            assert one[part]["several_found"] < 0.05
