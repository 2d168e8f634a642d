"""Attribution to features that dermatologists use: how far an answer depends on a lesion's border, colour and texture.

Each is removed from the square, and the model classifies the result:

- border: the ring along the outline is blurred, so that the lesion fades into the skin;
- colour: the colours inside the outline are reduced to their mean, and the fine detail stays;
- texture: the inside of the outline is blurred, so that the detail goes and the colours stay.

Any change to an image affects the answer, so the same change is also made to an area of skin of the same size and shape
next to the lesion. Only the additional effect on the lesion counts.

`python -m train attribution` measures this on test images: attribution.json next to this file has the figures,
docs/attribution.md the tables.
"""

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from skinapp.attention import sanity_check
from skinapp.formatting import percent
from skinapp.inference.registry import Model

CARD_FILE = Path(__file__).with_name("attribution.json")

FEATURES = {"border": "Border", "colour": "Colour", "texture": "Texture"}
"""Code -> name, in the order in which they are shown."""

BORDER = 0.1
"""How far the ring reaches to either side of the outline, and the standard deviation of its blur: a share of the
diameter of a disc as large as the lesion."""
DETAIL = 0.03
"""The standard deviation of the Gaussian that separates detail from colour, as a share of the square's side."""
FEATHER = 0.01
"""The standard deviation of the Gaussian that softens the edge of each change, so that no new edge appears."""
OVERLAP = 0.02
"""The largest share of the moved area that may still be on the lesion, or on the black rim of a lens."""
BLACK = 40
"""Grey value up to which a pixel belongs to the black rim."""
NEGLIGIBLE = sanity_check.NEGLIGIBLE

Probabilities = Callable[[np.ndarray], np.ndarray]
"""Maps uint8 [S, S, 3] to the probabilities [K]."""


@dataclass(frozen=True, eq=False)
class Change:
    """The square, uint8 [S, S, 3], without a feature of the lesion, and with the same change to the skin next to the
    lesion; None if the lesion leaves too little skin."""

    lesion: np.ndarray
    skin: np.ndarray | None


@dataclass(frozen=True)
class Effect:
    """The probability of the class without a feature of the lesion, and after the same change to the skin next to it,
    None if that was not possible; and whether either changes the most likely class."""

    lesion: float
    skin: float | None
    lesion_changes_class: bool
    skin_changes_class: bool

    @property
    def difference(self) -> float | None:
        """How much more the probability falls without the lesion's feature than with the same change to the skin."""
        return None if self.skin is None else self.skin - self.lesion


@dataclass(frozen=True)
class Attribution:
    """The probability of the class for the whole square, and the effect of each of FEATURES."""

    unchanged: float
    effects: dict[str, Effect]


def changes(pixels: np.ndarray, mask: np.ndarray) -> dict[str, Change]:
    """Each of FEATURES removed from a square, uint8 [S, S, 3], whose lesion is `mask`, bool of any size.

    ValueError if the mask covers nothing or everything.
    """
    side = pixels.shape[0]
    lesion = np.asarray(Image.fromarray(mask).resize((side, side), Image.Resampling.NEAREST))
    if lesion.all() or not lesion.any():
        raise ValueError("the mask must cover a part of the square, not all or none of it")
    shift = shift_to_skin(pixels, lesion)
    result = {}
    for feature in FEATURES:
        skin = None
        if shift is not None:
            # moving the skin under the outline and back is the same as moving the outline onto the skin
            back = (-shift[0], -shift[1])
            skin = np.roll(without_feature(feature, np.roll(pixels, back, (0, 1)), lesion), shift, (0, 1))
        result[feature] = Change(without_feature(feature, pixels, lesion), skin)
    return result


def measure(probabilities: Probabilities, changed: dict[str, Change], pixels: np.ndarray, index: int) -> Attribution:
    """The effect of the `changes` of a square on the probability of class `index`."""
    unchanged = probabilities(pixels)
    effects = {}
    for feature, change in changed.items():
        lesion = probabilities(change.lesion)
        skin = None if change.skin is None else probabilities(change.skin)
        effects[feature] = Effect(
            float(lesion[index]),
            None if skin is None else float(skin[index]),
            bool(lesion.argmax() != unchanged.argmax()),
            skin is not None and bool(skin.argmax() != unchanged.argmax()),
        )
    return Attribution(float(unchanged[index]), effects)


def without_feature(feature: str, pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A copy of uint8 [S, S, 3] without one of FEATURES inside bool [S, S], or along its edge."""
    values, side = pixels.astype(np.float32), pixels.shape[0]
    if feature == "border":
        width = BORDER * diameter(mask)
        area = ring(mask, width)
        new = ndimage.gaussian_filter(values, (width, width, 0), mode="nearest")
    else:
        area = mask
        coarse = _blurred_inside(values, mask, DETAIL * side)
        new = coarse if feature == "texture" else values - coarse + values[mask].mean(axis=0)
    weight = ndimage.gaussian_filter(area.astype(np.float32), FEATHER * side, mode="nearest")[..., np.newaxis]
    return (values + weight * (new - values)).round().clip(0, 255).astype(np.uint8)


def ring(mask: np.ndarray, width: float) -> np.ndarray:
    """The pixels within `width` of the outline, on either side: bool [S, S]. The edge of the square does not count as
    outline."""
    distance = np.where(mask, ndimage.distance_transform_edt(mask), ndimage.distance_transform_edt(~mask))
    return distance <= width


def diameter(mask: np.ndarray) -> float:
    """The diameter in pixels of a disc as large as the mask."""
    return 2 * float(np.sqrt(mask.sum() / np.pi))


def shift_to_skin(pixels: np.ndarray, mask: np.ndarray) -> tuple[int, int] | None:
    """The shortest move, in pixels down and to the right, that takes bool [S, S] off the lesion onto skin, with its
    ring if there is room; None if the lesion leaves too little skin.

    Pixels that leave the square on one side reappear on the other, so that the area keeps its size.
    """
    rim = pixels.max(axis=-1) <= BLACK
    grown = mask | ring(mask, BORDER * diameter(mask))
    overlap, overlap_grown = _overlap(mask, mask | rim), _overlap(grown, grown | rim)
    steps = np.fft.fftfreq(len(mask), 1 / len(mask)).round().astype(int)
    rows, columns = np.nonzero(overlap <= OVERLAP * mask.sum())
    if not len(rows):
        return None
    best = np.lexsort((np.hypot(steps[rows], steps[columns]), overlap_grown[rows, columns]))[0]
    return int(steps[rows[best]]), int(steps[columns[best]])


def sentence(result: Attribution, name: str) -> str:
    """A sentence on the feature on which the probability of the class `name` depends most."""
    known = {feature: effect for feature, effect in result.effects.items() if effect.difference is not None}
    if not known:
        return "There is too little skin around the lesion to make the same changes beside it."
    feature = max(known, key=lambda one: known[one].skin - known[one].lesion)  # type: ignore[operator]
    effect = known[feature]
    assert effect.skin is not None
    if effect.skin - effect.lesion < NEGLIGIBLE:
        return (
            f"The probability of “{name}” does not depend mainly on any one of the three: removing the lesion's "
            f"border, colours or texture lowers it by hardly more (less than {NEGLIGIBLE * 100:.0f} points) than the "
            "same change to the skin does."
        )
    lost = {"border": "its border", "colour": "its colours", "texture": "its texture"}[feature]
    return (
        f"The probability of “{name}” depends most on the lesion's {feature}: without {lost}, it is "
        f"{percent(effect.lesion)} instead of {percent(result.unchanged)}. The same change to the skin beside the "
        f"lesion leaves it at {percent(effect.skin)}."
    )


@functools.cache
def card() -> dict[str, Any]:
    """The results of the command: how far the answers of each model depend on each feature, on test images."""
    return json.loads(CARD_FILE.read_text())


def measured(model: Model) -> dict[str, Any] | None:
    """The figures of the model; None if they were not measured for the current networks."""
    networks = model.hashes
    return next((one for one in card()["models"].values() if one["networks"] == networks), None)


def _overlap(area: np.ndarray, occupied: np.ndarray) -> np.ndarray:
    """How many pixels of an area, bool [S, S], are occupied after each move around the square: int [S, S]."""
    moved, there = np.fft.rfft2(area.astype(float)), np.fft.rfft2(occupied.astype(float))
    return np.fft.irfft2(there * moved.conj(), s=area.shape).round().astype(int)


def _blurred_inside(values: np.ndarray, mask: np.ndarray, deviation: float) -> np.ndarray:
    """Values [S, S, 3], each the Gaussian mean of those inside the mask alone."""
    inside = mask[..., np.newaxis].astype(np.float32)
    total, weight = (
        ndimage.gaussian_filter(one, (deviation, deviation, 0), mode="constant") for one in (values * inside, inside)
    )
    return np.where(weight > 1e-3, total / np.maximum(weight, 1e-3), values)
