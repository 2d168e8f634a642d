import numpy as np
import pytest

from skinapp.errors import OutlineError
from skinapp.lesion import segmentation


def two_places() -> np.ndarray:
    found = np.zeros((100, 100), dtype=np.float32)
    found[10:60, 10:60] = 0.9
    found[30:40, 30:40] = 0.1  # a hole
    found[80:90, 80:90] = 0.95
    return found


def test_the_largest_place_without_its_holes() -> None:
    found = segmentation.at_threshold(two_places(), 0.5)
    assert found.share == pytest.approx(0.25)
    assert found.mask[35, 35]
    assert not found.mask[85, 85]
    assert found.note == ""


def test_the_threshold_decides() -> None:
    assert segmentation.at_threshold(two_places(), 0.92).mask[85, 85]
    with pytest.raises(OutlineError, match="No lesion was found"):
        segmentation.at_threshold(two_places(), 0.99)


def test_an_outline_that_covers_everything_says_so() -> None:
    found = segmentation.at_threshold(np.ones((50, 50), dtype=np.float32), 0.5)
    assert found.share == 1
    assert "covers the whole square" in found.note


@pytest.mark.parametrize("colour", [0, 128, 255])
def test_an_image_of_one_colour(colour: int) -> None:
    with pytest.raises(OutlineError, match="same all over"):
        segmentation.find(np.full((224, 224, 3), colour, dtype=np.uint8))


def test_growing_and_shrinking_move_the_border() -> None:
    disc = segmentation.ellipse((200, 200), 0.5, 0.5, 0.5, 0.5, 0)
    assert disc.share == pytest.approx(np.pi / 16, rel=0.01)
    assert segmentation.grown(disc, 0.05).share == pytest.approx(np.pi * 0.3**2, rel=0.03)
    assert segmentation.grown(disc, -0.05).share == pytest.approx(np.pi * 0.2**2, rel=0.03)
    assert segmentation.grown(disc, 0) is disc
    with pytest.raises(OutlineError, match="No lesion"):
        segmentation.grown(disc, -0.3)


def test_what_is_cut_by_the_edge_does_not_shrink_from_there() -> None:
    half = segmentation.Outline(np.arange(100)[np.newaxis].repeat(100, 0) < 50, np.zeros((100, 100), np.float32))
    shrunk = segmentation.grown(half, -0.1)
    assert shrunk.mask[:, 0].all()
    assert shrunk.share == pytest.approx(0.4, abs=0.02)


def test_an_ellipse_is_turned_counter_clockwise() -> None:
    upright = segmentation.ellipse((100, 100), 0.5, 0.5, 0.8, 0.1, 90).mask
    assert upright[15, 50]
    assert not upright[50, 15]
    turned = segmentation.ellipse((100, 100), 0.5, 0.5, 0.8, 0.1, 45).mask
    assert turned[30, 70]
    assert not turned[30, 30]


def test_an_ellipse_outside_the_square() -> None:
    with pytest.raises(OutlineError, match="No lesion"):
        segmentation.ellipse((100, 100), 2, 2, 0.2, 0.2, 0)


def test_the_line_is_drawn_around_the_lesion_and_leaves_it_alone() -> None:
    square = np.full((100, 100, 3), 120, dtype=np.uint8)
    disc = segmentation.ellipse((100, 100), 0.5, 0.5, 0.5, 0.5, 0)
    picture = segmentation.drawn(square, disc)
    assert (picture[disc.mask] == 120).all()
    assert (picture != square).any()
    assert (square == 120).all()
