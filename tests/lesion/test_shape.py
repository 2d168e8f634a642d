import numpy as np
import pytest

from skinapp.lesion import segmentation, shape

SHAPE = (240, 240)


def disc(radius: float = 60, x: float = 120, y: float = 120) -> np.ndarray:
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]] + 0.5
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def test_a_disc() -> None:
    mask = disc()
    assert shape.asymmetry(mask) < 0.01
    assert shape.perimeter(mask) == pytest.approx(2 * np.pi * 60, rel=0.01)
    assert shape.irregularity(mask) == pytest.approx(1, rel=0.02)
    assert shape.notches(mask) < 0.02
    assert shape.diameter(mask) == pytest.approx(120, abs=2)


@pytest.mark.parametrize("degrees", [0, 30, 45, 110])
def test_an_ellipse_three_times_as_long_as_wide_at_any_rotation(degrees: float) -> None:
    mask = segmentation.ellipse(SHAPE, 0.5, 0.5, 0.75, 0.25, degrees).mask
    assert mask.mean() == pytest.approx(np.pi / 4 * 0.75 * 0.25, rel=0.01)
    assert shape.asymmetry(mask) < 0.02
    # Ramanujan's perimeter of half-axes 3 and 1 is 13.365; 13.365 ** 2 / (4 pi 3 pi) = 1.508
    assert shape.irregularity(mask) == pytest.approx(1.508, rel=0.04)
    assert shape.notches(mask) < 0.03
    assert shape.diameter(mask) == pytest.approx(180, abs=2.5)


def test_a_notch_is_asymmetric_irregular_and_not_convex() -> None:
    mask = disc()
    # a slot from the middle to the right edge
    mask[110:130, 120:] = False
    area = disc().sum()
    removed_area = area - mask.sum()
    assert shape.notches(mask) == pytest.approx(removed_area / area, abs=0.02)
    assert shape.irregularity(mask) > 1.5
    # it is symmetric about the axis along the slot
    assert shape.asymmetry(mask) == pytest.approx(uncovered(mask) / 2, abs=0.01)


def uncovered(mask: np.ndarray) -> float:
    """The uncovered part of a mask when it is folded over the vertical line through its centre, in whole pixels."""
    centre = round(float(np.nonzero(mask)[1].mean()))
    wide = np.zeros((240, 480), dtype=bool)
    wide[:, 240 - centre : 480 - centre] = mask
    return float((wide ^ np.roll(wide[:, ::-1], 1, axis=1)).sum() / (2 * mask.sum()))


def test_a_half_disc_is_asymmetric_over_one_axis_only() -> None:
    mask = disc()
    mask[:, :120] = False
    assert uncovered(mask) > 0.1
    assert shape.asymmetry(mask) == pytest.approx(uncovered(mask) / 2, abs=0.01)


def test_colour_variegation_is_the_distance_from_the_mean() -> None:
    square = np.full((*SHAPE, 3), 119, dtype=np.uint8)
    mask = disc()
    assert shape.variegation(square, mask) == pytest.approx(0, abs=1e-6)
    halves = square.copy()
    halves[:, :120] = 0
    # black is L* = 0 and this grey L* = 50, so each half lies 25 from the mean
    assert shape.variegation(halves, mask) == pytest.approx(25, rel=0.02)
    # pixels outside do not count
    halves[~mask] = (0, 255, 0)
    assert shape.variegation(halves, mask) == pytest.approx(25, rel=0.02)


def test_lab_of_known_colours() -> None:
    # red, white and black by the standard's own figures
    known = shape.lab(np.array([[255, 0, 0], [255, 255, 255], [0, 0, 0]], dtype=np.uint8))
    assert known[0] == pytest.approx([53.24, 80.09, 67.20], abs=0.1)
    assert known[1] == pytest.approx([100, 0, 0], abs=0.1)
    assert known[2] == pytest.approx([0, 0, 0], abs=0.1)


def test_a_diameter_needs_a_length() -> None:
    square = np.full((*SHAPE, 3), 119, dtype=np.uint8)
    without = {measured.name for measured in shape.measure(square, disc())}
    assert "Largest diameter" not in without
    measured = {one.name: one for one in shape.measure(square, disc(), millimetres=24)}
    assert measured["Largest diameter"].value == pytest.approx(12, abs=0.2)
    assert measured["Largest diameter"].shown.endswith(" mm")
    assert set(measured) == {*without, "Largest diameter"}
    assert all(one.definition and one.source for one in measured.values())


@pytest.mark.parametrize("mask", [np.eye(240, dtype=bool)[:1].repeat(240, 0) > 1, np.zeros(SHAPE, dtype=bool)])
def test_an_empty_mask(mask: np.ndarray) -> None:
    with pytest.raises(ValueError, match="empty"):
        shape.measure(np.zeros((*SHAPE, 3), dtype=np.uint8), mask)


def test_a_single_pixel_and_a_full_square_can_be_measured() -> None:
    square = np.zeros((*SHAPE, 3), dtype=np.uint8)
    for mask in (disc(0.8), np.ones(SHAPE, dtype=bool)):
        assert all(np.isfinite(measured.value) for measured in shape.measure(square, mask, 10))
