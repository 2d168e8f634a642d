import numpy as np
import pytest

from skinapp.errors import SegmentationError
from skinapp.lesion import segmentation


def two_regions() -> np.ndarray:
    lesion = np.zeros((100, 100), dtype=np.float32)
    lesion[10:60, 10:60] = 0.9
    lesion[30:40, 30:40] = 0.1  # a hole
    lesion[80:90, 80:90] = 0.95
    return lesion


def test_the_largest_region_without_its_holes() -> None:
    lesion = segmentation.at_threshold(two_regions(), 0.5)
    assert lesion.share == pytest.approx(0.25)
    assert lesion.mask[35, 35]
    assert not lesion.mask[85, 85]
    assert lesion.note == ""


def test_the_threshold_decides() -> None:
    assert segmentation.at_threshold(two_regions(), 0.92).mask[85, 85]
    with pytest.raises(SegmentationError, match="No lesion was found"):
        segmentation.at_threshold(two_regions(), 0.99)


def test_a_lesion_that_covers_everything_has_a_note() -> None:
    lesion = segmentation.at_threshold(np.ones((50, 50), dtype=np.float32), 0.5)
    assert lesion.share == 1
    assert "covers the whole square" in lesion.note


@pytest.mark.parametrize("colour", [0, 128, 255])
def test_an_image_of_one_colour(colour: int) -> None:
    with pytest.raises(SegmentationError, match="one colour throughout"):
        segmentation.segment(np.full((224, 224, 3), colour, dtype=np.uint8))


def test_growing_and_shrinking_move_the_border() -> None:
    disc = segmentation.ellipse((200, 200), 0.5, 0.5, 0.5, 0.5, 0)
    assert disc.share == pytest.approx(np.pi / 16, rel=0.01)
    assert segmentation.grown(disc, 0.05).share == pytest.approx(np.pi * 0.3**2, rel=0.03)
    assert segmentation.grown(disc, -0.05).share == pytest.approx(np.pi * 0.2**2, rel=0.03)
    assert segmentation.grown(disc, 0) is disc
    with pytest.raises(SegmentationError, match="No lesion"):
        segmentation.grown(disc, -0.3)


def test_a_lesion_cut_by_the_edge_does_not_shrink_there() -> None:
    half = segmentation.Segmentation(np.arange(100)[np.newaxis].repeat(100, 0) < 50, np.zeros((100, 100), np.float32))
    shrunk = segmentation.grown(half, -0.1)
    assert shrunk.mask[:, 0].all()
    assert shrunk.share == pytest.approx(0.4, abs=0.02)


def test_an_ellipse_is_rotated_counter_clockwise() -> None:
    upright = segmentation.ellipse((100, 100), 0.5, 0.5, 0.8, 0.1, 90).mask
    assert upright[15, 50]
    assert not upright[50, 15]
    turned = segmentation.ellipse((100, 100), 0.5, 0.5, 0.8, 0.1, 45).mask
    assert turned[30, 70]
    assert not turned[30, 30]


def test_an_ellipse_outside_the_square() -> None:
    with pytest.raises(SegmentationError, match="No lesion"):
        segmentation.ellipse((100, 100), 2, 2, 0.2, 0.2, 0)


def test_the_border_is_outside_the_lesion() -> None:
    square = np.full((100, 100, 3), 120, dtype=np.uint8)
    disc = segmentation.ellipse((100, 100), 0.5, 0.5, 0.5, 0.5, 0)
    picture = segmentation.with_border(square, disc)
    assert (picture[disc.mask] == 120).all()
    assert (picture != square).any()
    assert (square == 120).all()
