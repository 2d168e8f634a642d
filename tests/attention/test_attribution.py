"""Border, colour and texture, with classifiers that depend on only one of them."""

import numpy as np
import pytest
from scipy import ndimage

from skinapp.attention import attribution
from skinapp.attention.attribution import FEATURES, Attribution, Effect

SIDE = 160
Y, X = np.mgrid[0:SIDE, 0:SIDE]
SKIN = np.array([205.0, 160.0, 140.0])


def disc(row: float, column: float, radius: float) -> np.ndarray:
    return (Y - row) ** 2 + (X - column) ** 2 < radius**2


LESION = disc(60, 66, 26)


def drawing(texture: float = 0.0, colours: float = 0.0, mask: np.ndarray = LESION) -> np.ndarray:
    """A brown disc on skin, with stripes of this amplitude inside it, and left and right halves of different brown."""
    inside = np.array([110.0, 70.0, 55.0]) + texture * np.where(X // 2 % 2, 1, -1)[..., np.newaxis]
    inside = inside + colours * np.where(X < 66, 1, -1)[..., np.newaxis] * np.array([1.0, 0.4, 0.0])
    return np.where(mask[..., np.newaxis], inside, SKIN).round().clip(0, 255).astype(np.uint8)


def fine(square: np.ndarray) -> np.ndarray:
    """How much each pixel differs from its left neighbour, far from any edge of the drawing."""
    grey = square.astype(float).mean(axis=-1)
    return np.abs(np.diff(grey, axis=1, prepend=grey[:, :1]))


def steepness(square: np.ndarray) -> float:
    """The slope across the outline."""
    grey = ndimage.gaussian_filter(square.astype(float).mean(axis=-1), 1.5)
    slope = np.hypot(*np.gradient(grey))
    return float(slope[attribution.ring(LESION, 2)].mean())


def halves(square: np.ndarray) -> float:
    """How different the left and the right half of the lesion are in red."""
    red = square[..., 0].astype(float)
    inner = disc(60, 66, 20)
    return float(abs(red[inner & (X < 60)].mean() - red[inner & (X > 72)].mean()))


def stripes(square: np.ndarray) -> float:
    return float(fine(square)[disc(60, 66, 18)].mean())


DRAWINGS = {
    "border": (drawing(), steepness),
    "colour": (drawing(colours=30), halves),
    "texture": (drawing(texture=25), stripes),
}


@pytest.mark.parametrize("seen", FEATURES)
def test_only_the_feature_that_a_classifier_looks_at_counts(seen: str) -> None:
    square, look = DRAWINGS[seen]
    before = look(square)

    def probabilities(pixels: np.ndarray) -> np.ndarray:
        share = min(look(pixels) / before, 1.0)
        return np.array([1 - share, share])

    result = attribution.measure(probabilities, attribution.changes(square, LESION), square, 1)
    assert result.unchanged == 1
    for feature, effect in result.effects.items():
        assert effect.skin == pytest.approx(1, abs=0.02)
        assert not effect.skin_changes_class
        if feature == seen:
            assert effect.lesion < 0.48
            assert effect.lesion_changes_class
            assert effect.difference is not None
            assert effect.difference > 0.5
        else:
            assert effect.lesion > 0.85
            assert not effect.lesion_changes_class


def test_texture_of_the_skin_counts_against_the_lesion() -> None:
    """A classifier that looks at the skin loses nothing when the lesion changes, and everything when the skin next to
    it does."""
    square = drawing()
    shift = attribution.shift_to_skin(square, LESION)
    assert shift is not None
    skin = np.roll(LESION, shift, (0, 1))
    square = np.where(skin[..., np.newaxis], square + 20 * (X // 2 % 2)[..., np.newaxis], square).astype(np.uint8)
    inner = ndimage.binary_erosion(skin, iterations=5)
    before = fine(square)[inner].mean()

    def probabilities(pixels: np.ndarray) -> np.ndarray:
        return np.array([fine(pixels)[inner].mean() / before, 0])

    result = attribution.measure(probabilities, attribution.changes(square, LESION), square, 0)
    texture = result.effects["texture"]
    assert texture.lesion == pytest.approx(1, abs=0.02)
    assert texture.skin is not None
    assert texture.skin < 0.3


def test_colour_keeps_the_mean_and_texture_keeps_the_colours() -> None:
    square = drawing(texture=25, colours=30)
    inner = disc(60, 66, 20)
    for feature in ("colour", "texture"):
        changed = attribution.without_feature(feature, square, LESION)
        assert changed[inner].mean(axis=0) == pytest.approx(square[inner].mean(axis=0), abs=3)
    assert halves(attribution.without_feature("texture", square, LESION)) > 0.8 * halves(square)
    assert stripes(attribution.without_feature("colour", square, LESION)) > 0.8 * stripes(square)


def test_the_area_next_to_the_lesion_is_as_large_and_does_not_overlap_it() -> None:
    square = drawing()
    shift = attribution.shift_to_skin(square, LESION)
    assert shift is not None
    moved = np.roll(LESION, shift, (0, 1))
    assert moved.sum() == LESION.sum()
    assert not (moved & LESION).any()
    # as near as the rings allow
    assert np.hypot(*shift) < 2 * 26 * (1 + 2 * attribution.BORDER) + 6
    changed = attribution.changes(square, LESION)
    for change in changed.values():
        assert change.skin is not None
        assert np.abs(change.skin[LESION].astype(int) - square[LESION]).max() <= 2


def test_the_area_is_not_moved_onto_the_black_rim_of_a_lens() -> None:
    square = drawing(mask=disc(80, 80, 18))
    square[~disc(80, 80, 70)] = 0
    shift = attribution.shift_to_skin(square, disc(80, 80, 18))
    assert shift is not None
    moved = np.roll(disc(80, 80, 18), shift, (0, 1))
    assert (square[moved].max(axis=-1) > attribution.BLACK).mean() > 0.97


def test_a_lesion_that_leaves_too_little_skin_has_no_comparison() -> None:
    mask = disc(80, 80, 76)
    changed = attribution.changes(drawing(mask=mask), mask)
    assert all(change.skin is None for change in changed.values())
    result = attribution.measure(lambda _: np.array([0.7, 0.3]), changed, drawing(mask=mask), 0)
    assert all(effect.difference is None for effect in result.effects.values())
    assert "too little skin" in attribution.sentence(result, "Melanoma")


@pytest.mark.parametrize("mask", [np.zeros((8, 8), bool), np.ones((8, 8), bool)])
def test_a_mask_of_nothing_or_everything_is_refused(mask: np.ndarray) -> None:
    with pytest.raises(ValueError, match="must cover a part"):
        attribution.changes(drawing(), mask)


def test_the_sentence_names_the_feature_that_counts_most_beyond_the_skin() -> None:
    def with_texture_effect(texture: float) -> Attribution:
        effects = {
            "border": Effect(0.5, 0.52, False, False),
            "colour": Effect(0.8, 0.81, False, False),
            "texture": Effect(texture, 0.81, True, False),
        }
        return Attribution(0.83, effects)

    # removing the border has a larger effect, but so has the same change to the skin
    words = attribution.sentence(with_texture_effect(0.6), "Melanoma")
    assert "most on the lesion's texture: without its texture, it is 60% instead of 83%" in words
    assert "leaves it at 81%" in words
    assert "does not depend mainly on any one of the three" in attribution.sentence(
        with_texture_effect(0.8), "Melanoma"
    )
