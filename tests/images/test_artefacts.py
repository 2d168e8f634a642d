"""Rulers, stickers, dark corners and ink are detected and filled in; skin, lesions and fully covered images are
unchanged."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from skinapp.images import artefacts, hair, removal, synthetic
from skinapp.images.removal import DARK_CORNERS, HAIR, INK, KINDS, RULER, STICKER
from train.studies.drawn_artefacts import DRAWINGS

OTHERS = (RULER, STICKER, DARK_CORNERS, INK)


def square(side: int = 224, seed: int = 2) -> Image.Image:
    return synthetic.draw(seed, side, side)


def distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(float) - other).mean())


@pytest.mark.parametrize("kind", KINDS)
def test_drawn_artefacts_are_removed(kind: str) -> None:
    # two rulers of paper and a scale bar; some drawn rulers are missed, as docs/artefacts.md says
    for seed in (1, 2, 4):
        bare = square(seed=seed)
        with_artefact = np.asarray(DRAWINGS[kind](bare, np.random.default_rng(seed + 1)))
        if kind == RULER:
            # drawing a ruler may rotate the image
            turned = bare.transpose(Image.Transpose.ROTATE_90)
            bare = min(bare, turned, key=lambda one: distance(np.asarray(one), with_artefact))
        removed = artefacts.remove(with_artefact, [kind])
        assert removed.shares[kind] > 0
        assert distance(removed.pixels, np.asarray(bare)) < 0.6 * distance(with_artefact, np.asarray(bare))


@pytest.mark.parametrize("seed", range(6))
def test_a_lesion_on_skin_is_not_changed(seed: int) -> None:
    pixels = np.asarray(square(seed=seed))
    removed = artefacts.remove(pixels, OTHERS)
    assert removed.pixels is pixels
    assert removed.shares == dict.fromkeys(OTHERS, 0.0)


def test_without_kinds_nothing_is_detected() -> None:
    pixels = np.asarray(DRAWINGS[INK](square(), np.random.default_rng(0)))
    assert artefacts.remove(pixels, ()).pixels is pixels


def test_each_kind_is_detected_by_itself() -> None:
    image = square()
    for kind in (STICKER, DARK_CORNERS, INK):
        marked = artefacts.masks(np.asarray(DRAWINGS[kind](image, np.random.default_rng(1))), OTHERS)
        assert [name for name, mask in marked.items() if mask.any()] == [kind]


def test_hairs_are_those_of_the_hair_module() -> None:
    pixels = np.asarray(DRAWINGS[HAIR](square(), np.random.default_rng(0)))
    assert (artefacts.remove(pixels, [HAIR]).pixels == hair.remove(pixels)).all()


@pytest.mark.parametrize("kind", OTHERS)
def test_a_larger_image_has_the_same_share_marked(kind: str) -> None:
    small = DRAWINGS[kind](square(), np.random.default_rng(4))
    shares = [
        artefacts.masks(np.asarray(small.resize((side, side), Image.Resampling.BICUBIC)), [kind])[kind].mean()
        for side in (224, 600)
    ]
    assert shares[0] == pytest.approx(shares[1], abs=0.015)


NOISE = np.random.default_rng(0)


@pytest.mark.parametrize(
    "pixels",
    [
        np.full((224, 224, 3), 200, np.uint8),
        np.zeros((224, 224, 3), np.uint8),
        np.full((224, 224, 3), 255, np.uint8),
        np.full((300, 200, 3), (30, 90, 190), np.uint8),
        NOISE.integers(0, 256, (224, 224, 3), dtype=np.uint8),
        NOISE.integers(0, 256, (16, 16, 3), dtype=np.uint8),
        np.full((1, 1, 3), 90, np.uint8),
    ],
    ids=["grey", "black", "white", "blue", "noise", "tiny noise", "one pixel"],
)
def test_an_image_without_content_is_not_changed(pixels: np.ndarray) -> None:
    """Uniform colour, noise, no lesion: nothing is detected as a ruler, a sticker, a dark corner or ink."""
    removed = artefacts.remove(pixels, OTHERS)
    assert removed.pixels is pixels
    assert removal.sentence(removed).startswith("Nothing was removed")


def test_a_ruler_on_paper_is_found() -> None:
    paper = Image.new("RGB", (224, 224), (236, 236, 230))
    pen = ImageDraw.Draw(paper)
    for tick in range(28):
        pen.line((8 * tick, 0, 8 * tick, 30 if tick % 5 == 0 else 16), fill=(20, 20, 20))
    removed = artefacts.remove(np.asarray(paper), KINDS)
    assert 0.02 < removed.shares[RULER] < artefacts.LARGEST
    assert "rulers" in removal.sentence(removed)


def test_what_covers_most_of_the_square_is_left_and_reported() -> None:
    # nearly all of the image is within the frame of a dermatoscope: there is no skin to fill it from
    framed = Image.new("RGB", (224, 224), (4, 4, 4))
    framed.paste(Image.new("RGB", (80, 80), (220, 180, 160)), (72, 72))
    lit = Image.new("L", (224, 224))
    ImageDraw.Draw(lit).ellipse((58, 58, 166, 166), fill=255)
    pixels = np.asarray(Image.composite(Image.new("RGB", (224, 224), (220, 180, 160)), framed, lit))
    removed = artefacts.remove(pixels, [DARK_CORNERS])
    assert removed.too_much
    assert removed.pixels is pixels
    assert removal.sentence(removed).startswith("Nothing was removed: dark corners would cover most of the square")


def test_a_lesion_cut_by_the_frame_is_not_a_dark_corner() -> None:
    image = Image.new("RGB", (224, 224), (220, 180, 160))
    ImageDraw.Draw(image).ellipse((-70, -70, 80, 80), fill=(45, 30, 28))
    assert not artefacts.dark_corners(np.asarray(image)).any()


def test_black_bars_are_dark_corners() -> None:
    pixels = np.asarray(square()).copy()
    pixels[:20] = 5
    bars = artefacts.dark_corners(pixels)
    assert bars[:20].all()
    assert not bars[40:].any()


def test_a_blue_lesion_in_the_middle_is_neither_ink_nor_a_sticker() -> None:
    image = Image.new("RGB", (224, 224), (220, 180, 160))
    ImageDraw.Draw(image).ellipse((80, 85, 140, 140), fill=(60, 60, 120))
    pixels = np.asarray(image)
    assert not artefacts.ink(pixels).any()
    assert not artefacts.stickers(pixels).any()


def test_a_straight_line_without_ticks_is_not_a_ruler() -> None:
    image = square()
    ImageDraw.Draw(image).line((20, 190, 200, 195), fill=(40, 30, 30), width=1)
    assert not artefacts.rulers(np.asarray(image)).any()
