"""Hairs are detected and filled in; everything else is unchanged."""

import numpy as np
from PIL import Image

from skinapp.images import hair, synthetic

SKIN = (214, 168, 142)


def skin(side: int = 224) -> Image.Image:
    generator = np.random.default_rng(0)
    grain = generator.normal(0, 3, (side, side, 1))
    return Image.fromarray((np.array(SKIN) + grain).clip(0, 255).astype(np.uint8))


def test_skin_without_hairs_is_not_changed() -> None:
    pixels = np.asarray(skin())
    assert not hair.mask(pixels).any()
    assert hair.remove(pixels) is pixels


def test_hairs_are_taken_out() -> None:
    bare = skin()
    hairy = synthetic.with_hairs(bare.copy(), np.random.default_rng(1), 8)
    before = np.abs(np.asarray(hairy, float) - np.asarray(bare)).mean()
    after = np.abs(np.asarray(hair.remove(np.asarray(hairy)), float) - np.asarray(bare)).mean()
    assert before > 3
    assert after < before / 3


def test_a_dark_spot_is_not_a_hair() -> None:
    y, x = np.mgrid[:224, :224]
    pixels = np.asarray(skin()).copy()
    pixels[np.hypot(y - 112, x - 112) < 50] = (96, 54, 38)
    assert not hair.mask(pixels).any()


def test_a_short_stroke_stays_and_a_long_one_goes() -> None:
    pixels = np.asarray(skin()).copy()
    pixels[50:52, 20:32] = 40
    pixels[120:122, 20:200] = 40
    hairs = hair.mask(pixels)
    assert not hairs[40:60].any()
    assert hairs[121, 30:190].all()


def test_the_size_of_the_picture_does_not_matter() -> None:
    small = synthetic.with_hairs(skin(224), np.random.default_rng(2), 6)
    shares = [hair.mask(np.asarray(small.resize((side, side), Image.Resampling.BICUBIC))).mean() for side in (224, 448)]
    assert shares[0] > 0.01
    assert shares[1] > shares[0] / 3


def test_hidden_pixels_are_filled_from_their_surroundings() -> None:
    pixels = np.zeros((60, 60, 3), np.uint8)
    pixels[:, :30], pixels[:, 30:] = 100, 200
    hidden = np.zeros((60, 60), bool)
    hidden[20:24, 5:55] = True
    degraded = pixels.copy()
    degraded[hidden] = 0
    filled = hair.fill(degraded, hidden)
    assert np.abs(filled[22, 8:22].astype(int) - 100).max() <= 2
    assert np.abs(filled[22, 38:52].astype(int) - 200).max() <= 2
    np.testing.assert_array_equal(filled[~hidden], pixels[~hidden])
