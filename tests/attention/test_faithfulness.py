import numpy as np
import pytest

from skinapp.attention import faithfulness


def brightness_left(images: np.ndarray) -> np.ndarray:
    """A synthetic probability that depends on the left half alone."""
    return images[:, :, : images.shape[2] // 2].mean(axis=(1, 2, 3)) / 255


def bright_left() -> np.ndarray:
    pixels = np.zeros((40, 40, 3), dtype=np.uint8)
    pixels[10:30, 4:12] = 255
    return pixels


def test_pixels_that_decide_the_prediction_matter_early() -> None:
    pixels = bright_left()
    right_map = pixels[..., 0] / np.float32(255)
    wrong_map = right_map[:, ::-1].copy()
    good = faithfulness.insertion_deletion(brightness_left, pixels, right_map, 20)
    bad = faithfulness.insertion_deletion(brightness_left, pixels, wrong_map, 20)
    assert good[0] > bad[0]
    assert good[1] < bad[1]


def test_curves_start_and_end_at_the_whole_and_the_blurred_square() -> None:
    pixels = bright_left()
    whole, blurred = brightness_left(np.stack([pixels, faithfulness.blur(pixels)]))
    inserted, deleted = faithfulness.curves(brightness_left, pixels, faithfulness.centred_blob((7, 7)), 4)
    assert inserted.shape == deleted.shape == (5,)
    assert inserted[[0, -1]].tolist() == pytest.approx([blurred, whole])
    assert deleted[[0, -1]].tolist() == pytest.approx([whole, blurred])


def test_area_under_a_curve_worked_by_hand() -> None:
    assert faithfulness.area(np.array([0.0, 1.0, 1.0])) == 0.75
    assert faithfulness.area(np.full(5, 0.4)) == pytest.approx(0.4)


def test_no_steps() -> None:
    with pytest.raises(ValueError, match="at least one step"):
        faithfulness.curves(brightness_left, bright_left(), np.ones((2, 2), dtype=np.float32), 0)


def test_a_flat_map_ranks_pixels_at_random() -> None:
    ranks = faithfulness.pixel_ranks(np.ones((3, 3), dtype=np.float32), 30)
    assert sorted(ranks.ravel().tolist()) == list(range(900))
    # a row-by-row order would put the first pixels at the top
    assert abs(ranks[:15].mean() - ranks[15:].mean()) < 60


def test_energy_inside_worked_by_hand() -> None:
    cam = np.array([[1.0, 0.5], [0.5, 0.0]], dtype=np.float32)
    mask = np.array([[True, False], [True, False]])
    assert faithfulness.energy_inside(cam, mask) == pytest.approx(0.75)
    assert faithfulness.energy_inside(np.zeros((2, 2), dtype=np.float32), mask) == 0


def test_similarity_is_the_correlation_of_ranks() -> None:
    cam = np.array([[0.0, 0.1], [0.2, 1.0]], dtype=np.float32)
    assert faithfulness.similarity(cam, cam**3) == pytest.approx(1)
    assert faithfulness.similarity(cam, 1 - cam) == pytest.approx(-1)
    # ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: 4.5 / sqrt(4.5 * 5)
    tied = np.array([[0.0, 0.5], [0.5, 1.0]], dtype=np.float32)
    assert faithfulness.similarity(tied, cam) == pytest.approx(4.5 / np.sqrt(4.5 * 5))


def test_a_flat_map_has_similarity_zero() -> None:
    assert faithfulness.similarity(np.zeros((4, 4), dtype=np.float32), faithfulness.random_map((4, 4))) == 0


def test_maps_of_different_sizes_are_compared_at_the_smaller() -> None:
    small = faithfulness.random_map((3, 3))
    assert faithfulness.similarity(small, np.kron(small, np.ones((4, 4), dtype=np.float32))) == pytest.approx(1)


def test_stability_of_a_map_that_follows_the_image_and_of_a_fixed_one() -> None:
    pixels = np.zeros((60, 60, 3), dtype=np.uint8)
    ramp = np.linspace(0, 200, 60, dtype=np.uint8)
    pixels[...] = (ramp[:, np.newaxis] // 2 + ramp // 3)[..., np.newaxis]

    def follows(image: np.ndarray) -> np.ndarray:
        return faithfulness.resized(image[..., 0] / np.float32(255), (7, 7))

    fixed = faithfulness.random_map((7, 7))
    followed = faithfulness.stability(follows, pixels, follows(pixels))
    assert set(followed) == {"small noise", "mirrored", "upside down", "cropped by 5%"}
    assert min(followed.values()) > 0.9
    stuck = faithfulness.stability(lambda _: fixed, pixels, fixed)
    assert stuck["mirrored"] < 0.5
    assert stuck["small noise"] == pytest.approx(1)


def test_parts_hide_the_lesion_or_the_skin_behind_the_mean_colour_of_the_skin() -> None:
    pixels = np.full((20, 20, 3), 200, dtype=np.uint8)
    mask = np.zeros((20, 20), dtype=bool)
    mask[5:15, 5:15] = True
    pixels[mask] = 50
    parts = faithfulness.parts(lambda images: images.mean(axis=(1, 2, 3)), pixels, mask)
    assert parts.unchanged == pytest.approx(162.5)
    assert parts.lesion == pytest.approx(162.5)
    assert parts.background == pytest.approx(200)


@pytest.mark.parametrize("filled", [True, False])
def test_parts_need_a_lesion_and_skin(filled: bool) -> None:
    with pytest.raises(ValueError, match="cover a part of the square"):
        faithfulness.parts(brightness_left, bright_left(), np.full((8, 8), filled))


def test_baselines() -> None:
    blob = faithfulness.centred_blob((8, 8))
    assert blob.shape == (8, 8)
    assert (blob == blob[::-1]).all()
    assert blob[3, 3] > blob[0, 3] > blob[0, 0] > 0
    random = faithfulness.random_map((4, 6))
    assert random.shape == (4, 6)
    assert (random == faithfulness.random_map((4, 6))).all()
    assert (random != faithfulness.random_map((4, 6), seed=1)).any()
