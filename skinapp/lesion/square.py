"""Finds the lesions in an image, and the square around each that is cropped for a model.

`python -m train square` uses validation images to choose which lesions get a square, and with what margin, and measures
the effect on test images; it writes the figures that are read here.
"""

import functools
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from skinapp.images import imaging
from skinapp.images.imaging import CENTRE, Crop
from skinapp.lesion import segmentation

FIGURES_FILE = Path(__file__).with_name("square.json")
SIDE = 96
"""Shorter side, in pixels, of the image in which lesions are searched for: the input of the segmentation network."""
SMALL = 0.4
"""A lesion whose box is a smaller share of the shorter side is segmented again in a closer view."""
AROUND = 2.0
"""The side of that closer view, as a multiple of the box."""
SECOND = 0.2
"""Another region counts as a lesion if its area is at least this share of the largest one's."""
CERTAIN = 0.75
"""The minimum mean probability of such a region."""
APART = 0.1
"""The minimum gap between the boxes of two lesions, as a share of the shorter side."""
MAX_LESIONS = 2
"""The maximum number of lesions that a visitor is offered."""


@dataclass(frozen=True)
class Box:
    """The bounding box of a lesion, in pixels of the image: left, top, right, bottom."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def side(self) -> float:
        """The longer side."""
        return max(self.right - self.left, self.bottom - self.top)

    @property
    def centre(self) -> tuple[float, float]:
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2


@dataclass(frozen=True)
class Proposal:
    """The `squares` around the lesions of an image, the largest lesion first; `used`: whether, on validation images,
    models for this kind of image did better with the first square than with the centre of the image."""

    squares: tuple[Crop, ...] = ()
    used: bool = False


def lesions(image: Image.Image) -> list[Box]:
    """The boxes of at most MAX_LESIONS lesions in an upright RGB image, the largest first; empty if none is found.

    ModelError if the segmentation network is missing or was altered.
    """
    shorter = min(image.size)
    boxes: list[Box] = []
    for box in _regions(image):
        closer = _closer(image, box) if box.side < SMALL * shorter else box
        if all(_gap(closer, other) >= APART * shorter for other in boxes):
            boxes.append(closer)
    return boxes[:MAX_LESIONS]


def around(box: Box, size: tuple[int, int], margin: float) -> Crop:
    """The square around a box in an image of this width and height, with a side `margin` times that of the box, at most
    the shorter side of the image and at least imaging.MIN_SIDE pixels."""
    width, height = size
    shorter = min(size)
    side = min(max(margin * box.side, imaging.MIN_SIDE), shorter)
    left, top, right, bottom = Crop(box.centre[0] / width, box.centre[1] / height, side / shorter).box(width, height)
    return Crop((left + right) / 2 / width, (top + bottom) / 2 / height, side / shorter)


def propose(image: Image.Image, kind: str) -> Proposal:
    """The squares for an upright RGB image of a kind, "dermoscopy" or "smartphone". ModelError as for `lesions`."""
    measured = figures()[kind]
    boxes = lesions(image)
    small = bool(boxes) and boxes[0].side <= measured["largest"] * min(image.size)
    return Proposal(
        tuple(around(box, image.size, measured["margin"]) for box in boxes), bool(measured["used"]) and small
    )


@functools.cache
def figures() -> dict[str, Any]:
    """What `python -m train square` measured, by kind of image."""
    return json.loads(FIGURES_FILE.read_text())


def _regions(image: Image.Image) -> list[Box]:
    """The boxes of lesion-like regions, the largest first."""
    width, height = image.size
    scale = SIDE / min(image.size)
    columns, rows = round(width * scale), round(height * scale)
    total, count = np.zeros((rows, columns)), np.zeros((rows, columns))
    for crop in _cover(width, height):
        square = imaging.crop_resize(image, SIDE, crop)
        left, top = (round(edge * scale) for edge in crop.box(width, height)[:2])
        left, top = min(left, columns - SIDE), min(top, rows - SIDE)
        part = np.s_[top : top + SIDE, left : left + SIDE]
        if square.std(axis=(0, 1)).max() >= segmentation.FLAT:
            total[part] += segmentation.probabilities(square)
        count[part] += 1
    probabilities = total / np.maximum(count, 1)
    regions, number = ndimage.label(probabilities >= segmentation.card()["threshold"])
    areas = np.bincount(regions.ravel(), minlength=number + 1)[1:]
    boxes: list[Box] = []
    for index in np.argsort(-areas, kind="stable"):
        share = areas[index] / SIDE**2
        if share < segmentation.SMALLEST or areas[index] < SECOND * areas.max():
            break
        region = regions == index + 1
        box = _box(region, 1 / scale)
        if areas[index] > segmentation.LARGEST * region.size or _is_background(box, image.size):
            continue
        if not boxes or probabilities[region].mean() >= CERTAIN:
            boxes.append(box)
    return boxes


def _is_background(box: Box, size: tuple[int, int]) -> bool:
    """Whether a region lies at the edge of an image and does not reach its middle: clothes, a nail, a shadow."""
    width, height = size
    at_edge = box.left <= 0 or box.top <= 0 or box.right >= width - 1 or box.bottom >= height - 1
    return at_edge and not (box.left < width / 2 < box.right and box.top < height / 2 < box.bottom)


def _cover(width: int, height: int) -> list[Crop]:
    """Overlapping squares, with the shorter side of the image as their side, that cover it; for a nearly square image,
    only the centre square."""
    ratio = max(width, height) / min(width, height)
    if ratio < 1.05:
        return [CENTRE]
    shares = np.linspace(0, 1, math.ceil(2 * (ratio - 1)) + 1)
    # Crop.box moves a square at the very edge inwards by half its side
    return [Crop(x=share) if width > height else Crop(y=share) for share in _centres(shares, ratio)]


def _centres(shares: np.ndarray, ratio: float) -> list[float]:
    """The centres, as shares of the longer side, of squares spread from one end (0) to the other (1)."""
    return [float(0.5 / ratio + share * (1 - 1 / ratio)) for share in shares]


def _closer(image: Image.Image, box: Box) -> Box:
    """A small lesion's box from a closer view; unchanged if nothing is found there."""
    crop = around(box, image.size, AROUND)
    square = imaging.crop_resize(image, SIDE, crop)
    mask = segmentation.probabilities(square) >= segmentation.card()["threshold"]
    regions, number = ndimage.label(mask)
    if not number:
        return box
    largest = regions == 1 + int(np.argmax(np.bincount(regions.ravel())[1:]))
    if largest.mean() > segmentation.LARGEST:
        return box
    left, top, right, _ = crop.box(*image.size)
    near = _box(largest, (right - left) / SIDE)
    return Box(left + near.left, top + near.top, left + near.right, top + near.bottom)


def _box(region: np.ndarray, pixel: float) -> Box:
    """The box around a region, bool [h, w], whose pixels are `pixel` wide."""
    rows, columns = np.nonzero(region)
    return Box(
        float(columns.min() * pixel),
        float(rows.min() * pixel),
        float((columns.max() + 1) * pixel),
        float((rows.max() + 1) * pixel),
    )


def _gap(one: Box, other: Box) -> float:
    """The distance between two boxes along the axis in which they are further apart; negative where they overlap."""
    across = max(one.left, other.left) - min(one.right, other.right)
    down = max(one.top, other.top) - min(one.bottom, other.bottom)
    return max(across, down)
