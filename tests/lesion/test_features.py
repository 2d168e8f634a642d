"""Features of drawn lesions with known values."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from skinapp.images import imaging, synthetic
from skinapp.inference.feature_model import Measured
from skinapp.lesion import features, features_border, features_colour, features_texture, segmentation
from train.studies import drawn_artefacts

SIDE = features.SIDE
ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE] + 0.5
SKIN = (225, 180, 160)


def at_radius(radius: np.ndarray | float) -> np.ndarray:
    """A mask around the middle whose border is at this radius, in pixels, by direction."""
    return np.hypot(ROWS - SIDE / 2, COLUMNS - SIDE / 2) <= radius


ANGLE = np.arctan2(ROWS - SIDE / 2, COLUMNS - SIDE / 2)
DISC = at_radius(60)


def painted(mask: np.ndarray, colour: tuple[int, int, int] = (120, 70, 50)) -> np.ndarray:
    square = np.full((SIDE, SIDE, 3), SKIN, np.uint8)
    square[mask] = colour
    return square


def named(measured: Measured) -> dict[str, float]:
    return dict(zip(measured.names, measured.values, strict=True))


def rough(mask: np.ndarray) -> np.ndarray:
    """A painted lesion with some texture."""
    noise = np.random.default_rng(0).integers(-12, 13, (SIDE, SIDE, 1))
    return np.where(mask[..., None], painted(mask) + noise, painted(mask)).clip(0, 255).astype(np.uint8)


def test_a_disc_is_smooth_and_even() -> None:
    measured = features_border.measure(DISC)
    assert measured["share"] == pytest.approx(np.pi * 60**2 / SIDE**2, rel=0.01)
    assert measured["asymmetry"] < 0.02
    assert measured["irregularity"] == pytest.approx(1, abs=0.03)
    assert measured["fractal_dimension"] == pytest.approx(1, abs=0.08)
    assert all(measured[f"lobes_{number}"] < 0.01 for number in features_border.HARMONICS)
    assert measured["fine_lobes"] < 0.01


@pytest.mark.parametrize("lobes", [2, 3, 5, 8])
def test_each_fourier_descriptor_measures_its_own_lobes(lobes: int) -> None:
    mask = at_radius(60 * (1 + 0.06 * np.cos(lobes * (ANGLE - 0.3))))
    measured = features_border.fourier_descriptors(mask)
    assert measured[lobes] == pytest.approx(0.06 / np.sqrt(2), rel=0.15)
    others = [value for number, value in measured.items() if number % lobes and number in features_border.HARMONICS]
    assert max(others) < 0.01


def test_fourier_descriptors_do_not_depend_on_size_and_rotation() -> None:
    small, large = (at_radius(radius * (1 + 0.1 * np.cos(3 * ANGLE))) for radius in (40, 80))
    turned = np.rot90(large)
    values = [features_border.fourier_descriptors(mask)[3] for mask in (small, large, turned, large[::-1])]
    assert np.ptp(values) < 0.005


def test_a_jagged_border_has_a_higher_fractal_dimension() -> None:
    # Koch's snowflake, whose border has the dimension log 4 / log 3 = 1.26
    corners = 80 * np.exp(2j * np.pi * np.arange(3) / 3)
    for _ in range(4):
        step = (np.roll(corners, -1) - corners) / 3
        peak = corners + step + step * np.exp(-1j * np.pi / 3)
        corners = np.stack([corners, corners + step, peak, corners + 2 * step], axis=1).ravel()
    image = Image.new("1", (SIDE, SIDE))
    ImageDraw.Draw(image).polygon([(corner.real + SIDE / 2, corner.imag + SIDE / 2) for corner in corners], fill=1)
    assert features_border.fractal_dimension(np.asarray(image)) == pytest.approx(np.log(4) / np.log(3), abs=0.08)


def test_a_lesion_of_two_colours() -> None:
    square = painted(DISC, features_colour.REFERENCES["black"])
    left = DISC & (COLUMNS < SIDE / 2)
    square[left] = features_colour.REFERENCES["light_brown"]
    measured = features_colour.measure(square, DISC)
    assert measured["colours"] == 2
    assert measured["share_black"] == pytest.approx(0.5, abs=0.01)
    assert measured["share_light_brown"] == pytest.approx(0.5, abs=0.01)
    assert measured["share_red"] == measured["share_white"] == 0
    # halves at two colours are half their distance from their mean
    one, other = (
        features_colour.shape.lab(square[[[row]], [[column]]][0])[0] for row, column in ((112, 90), (112, 130))
    )
    assert measured["variegation"] == pytest.approx(np.linalg.norm(one - other) / 2, rel=0.01)
    assert measured["sd_lightness"] == pytest.approx(abs(one[0] - other[0]) / 2, rel=0.01)


def test_each_reference_is_its_own_colour() -> None:
    for name, colour in features_colour.REFERENCES.items():
        measured = features_colour.measure(painted(DISC, colour), DISC)
        assert measured[f"share_{name}"] == 1
        assert measured["colours"] == 1


def test_blue_white_veil_is_measured_against_the_skin() -> None:
    square = painted(DISC, (120, 70, 50))
    veil = DISC & (ROWS < SIDE / 2)
    # red 105 below the skin's, blue 40% of the sum
    square[veil] = (120, 125, 160)
    assert features_colour.measure(square, DISC)["blue_white"] == pytest.approx(0.5, abs=0.01)
    assert features_colour.measure(painted(DISC), DISC)["blue_white"] == 0


def test_the_colour_of_the_skin_is_compared() -> None:
    measured = features_colour.measure(painted(DISC), DISC)
    lesion, skin = features_colour.shape.lab(np.array([(120, 70, 50), SKIN], np.uint8))
    assert [measured[f"skin_{name}"] for name in features_colour.AXES] == pytest.approx(list(lesion - skin))


def test_co_occurrence_of_stripes() -> None:
    # upright stripes of one pixel, 16 steps apart: three of four directions differ at each pair
    grey = np.where(COLUMNS.astype(int) % 2, 28.0, 156.0)
    measured = features_texture.co_occurrence(grey, DISC)
    assert measured["contrast_1"] == pytest.approx(0.75 * 16**2, rel=0.02)
    # at 4 pixels the stripes repeat, except on the diagonals, where the pair is 3 columns apart
    assert measured["contrast_4"] == pytest.approx(0.5 * 16**2, rel=0.02)
    assert measured["correlation_4"] == pytest.approx(0, abs=0.01)
    # so the four pairs of two levels are equally common
    assert measured["entropy_4"] == pytest.approx(2, abs=0.01)
    assert measured["energy_4"] == pytest.approx(0.5, abs=0.01)
    assert measured["homogeneity_4"] == pytest.approx((1 + 1 / (1 + 16**2)) / 2, abs=0.01)


def test_nothing_outside_the_lesion_changes_its_texture() -> None:
    square = rough(DISC)
    before = features_texture.measure(square, DISC)
    square[~DISC] = np.random.default_rng(1).integers(0, 256, ((~DISC).sum(), 3))
    assert features_texture.measure(square, DISC) == before


def test_binary_patterns_of_an_edge_and_of_noise() -> None:
    # on the bright side of an upright edge, five of eight neighbours are as bright as the pixel
    grey = np.where(COLUMNS % 20 < 10, 60.0, 180.0)
    measured = features_texture.binary_patterns(grey, DISC)
    assert measured["pattern_1_5"] == pytest.approx(0.1, abs=0.01)
    assert measured["pattern_1_8"] == pytest.approx(0.9, abs=0.01)
    noise = features_texture.binary_patterns(np.random.default_rng(0).uniform(0, 255, (SIDE, SIDE)), DISC)
    assert measured["pattern_1_9"] == 0
    assert noise["pattern_1_9"] > 0.2
    assert sum(noise[f"pattern_1_{bin_}"] for bin_ in range(10)) == pytest.approx(1)


@pytest.mark.parametrize(("cycles", "ring"), [(6, "ring_4_8"), (20, "ring_16_32"), (45, "ring_32_64")])
def test_waves_are_found_in_their_ring_and_direction(cycles: int, ring: str) -> None:
    for degrees in (0, 45, 90, 135):
        along = COLUMNS * np.cos(np.radians(degrees)) - ROWS * np.sin(np.radians(degrees))
        grey = 128 + 60 * np.sin(2 * np.pi * cycles * along / SIDE)
        measured = features_texture.spectrum(grey, DISC)
        assert measured[ring] > 0.85
        assert measured["orientation_0"] > 0.85


def test_directions_are_counted_counter_clockwise_from_the_strongest() -> None:
    upright = np.sin(2 * np.pi * 20 * COLUMNS / SIDE)
    rising = np.sin(2 * np.pi * 20 * (COLUMNS - ROWS) / np.sqrt(2) / SIDE)
    measured = features_texture.spectrum(128 + 60 * upright + 30 * rising, DISC)
    # the power is the square of the amplitude
    assert measured["orientation_0"] == pytest.approx(0.8, abs=0.02)
    assert measured["orientation_45"] == pytest.approx(0.2, abs=0.02)


def test_the_slope_of_noise_is_flat_and_of_blurred_noise_steep() -> None:
    noise = np.random.default_rng(0).normal(128, 30, (SIDE, SIDE))
    assert features_texture.spectrum(noise, DISC)["spectral_slope"] == pytest.approx(0, abs=0.3)
    blurred = features_texture.ndimage.gaussian_filter(noise, 3)
    assert features_texture.spectrum(blurred, DISC)["spectral_slope"] < -2


def test_every_feature_of_a_whole_lesion_is_measured() -> None:
    measured = features.of_mask(rough(DISC), DISC)
    assert not measured.notes
    assert np.isfinite(measured.values).all()
    assert len(measured.values) == len(features.TITLES)


def test_a_segmentation_that_covers_everything_measures_nothing() -> None:
    mask = np.ones((SIDE, SIDE), bool)
    mask[0, :50] = False
    measured = features.of_mask(rough(mask), mask)
    assert np.isnan(measured.values).all()
    assert measured.notes == (features.COVERS,)


def test_a_lesion_cut_off_by_the_frame_has_colour_and_texture_but_no_shape() -> None:
    mask = np.hypot(ROWS - SIDE / 2, COLUMNS - 170) <= 65
    measured = features.of_mask(rough(mask), mask)
    values = named(measured)
    assert measured.notes == (features.CUT_OFF,)
    assert all(np.isnan(values[name]) for name in features_border.TITLES)
    assert not any(np.isnan(values[name]) for name in (*features_colour.TITLES, *features_texture.TITLES))


def test_a_lesion_that_only_grazes_the_frame_keeps_its_shape() -> None:
    mask = np.roll(DISC, 52, axis=1)
    assert mask[:, -1].any()
    assert not features.is_cut_off(mask)


def test_one_colour_has_no_texture() -> None:
    measured = features.of_mask(painted(DISC), DISC)
    values = named(measured)
    assert measured.notes == (features.ONE_GREY,)
    assert all(np.isnan(values[name]) for name in features_texture.TITLES)
    # these also apply to a single colour
    assert values["variegation"] == pytest.approx(0, abs=1e-6)
    assert values["colours"] == 1


def test_without_skin_around_it_a_lesion_is_not_compared_with_skin() -> None:
    square = rough(DISC)
    square[~DISC] = 0
    measured = features.of_mask(square, DISC)
    assert measured.notes == (features.NO_SKIN,)
    assert all(np.isnan(named(measured)[name]) for name in features_colour.OF_SKIN)


def test_a_tiny_lesion_lacks_features_that_need_more_pixels() -> None:
    mask = at_radius(9)
    measured = features.of_mask(rough(mask), mask)
    assert measured.notes == (features.TOO_SMALL,)
    assert np.isnan(named(measured)["fractal_dimension"])


@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("start", [100, 101])
def test_a_line_is_measured(start: int, width: int) -> None:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[20:200, start : start + width] = True
    for one in (mask, mask.T):
        values = named(features.of_mask(rough(one), one))
        assert values["share"] == pytest.approx(one.mean())
        assert values["irregularity"] > 20


@pytest.mark.parametrize("colour", [SKIN, (255, 255, 255), (0, 0, 0)])
def test_an_image_of_one_colour_has_no_lesion(colour: tuple[int, int, int]) -> None:
    measured = features.measure(np.full((SIDE, SIDE, 3), colour, np.uint8))
    assert np.isnan(measured.values).all()
    assert measured.notes == (features.NO_LESION,)


@pytest.mark.parametrize("seed", range(4))
def test_a_ruler_alone_is_not_a_lesion(seed: int) -> None:
    generator = np.random.default_rng(seed)
    skin = np.array(SKIN) + generator.normal(0, 4, (SIDE, SIDE, 3))
    image = drawn_artefacts.ruler(Image.fromarray(skin.clip(0, 255).astype(np.uint8)), generator)
    measured = features.measure(np.asarray(image))
    assert np.isnan(measured.values).all()
    assert measured.notes


def test_a_region_away_from_the_middle_is_not_a_lesion() -> None:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[:, :40] = True
    assert features.of_mask(rough(mask), mask).notes == (features.AT_EDGE,)


def test_a_drawn_lesion_is_segmented_and_measured() -> None:
    square = imaging.crop_resize(synthetic.draw(1), SIDE)
    measured = features.measure(square)
    assert measured.values == features.of_mask(square, segmentation.segment(square).mask).values
    assert np.isfinite(named(measured)["colours"])
