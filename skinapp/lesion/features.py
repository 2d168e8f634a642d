"""What can be measured of a lesion after its segmentation: its shape, colour and texture, as numbers for a classifier.

A feature that cannot be measured in a square is missing (NaN), and a note says why.
"""

import numpy as np
from scipy import ndimage

from skinapp.errors import SegmentationError
from skinapp.inference.feature_model import Measured
from skinapp.lesion import features_border, features_colour, features_texture, segmentation

GROUPS = {"Shape": features_border.TITLES, "Colour": features_colour.TITLES, "Texture": features_texture.TITLES}
"""The titles of the features of each group, by name."""
TITLES = {name: title for titles in GROUPS.values() for name, title in titles.items()}
SIDE = 224
"""Pixels of the square in which features are measured."""
CUT = 0.05
"""A lesion with a larger share of its border pixels than this at the edge of the square is cut off there."""

NO_LESION = "No lesion was found in the square, so no feature can be measured. Put the lesion in the middle."
COVERS = (
    "The lesion covers the whole square, so its border is not visible and no feature can be measured. Choose a larger "
    "square."
)
AT_EDGE = (
    "What looks most like a lesion lies at the edge of the square: it may be a ruler, clothes or a shadow. No feature "
    "is measured. Put the lesion in the middle."
)
CUT_OFF = "The lesion is cut off by the edge of the square, so its shape cannot be measured. Choose a larger square."
NO_SKIN = "Hardly any skin is visible around the lesion, so its colour cannot be compared with the skin's."
TOO_SMALL = "The lesion is too small in the square to measure every feature. Choose a smaller square."
ONE_GREY = "The lesion has the same grey value throughout, so it has no texture to measure."


def measure(square: np.ndarray) -> Measured:
    """The features of TITLES of the lesion in uint8 RGB [S, S, 3], as the segmentation network segments it.

    ModelError if the network is missing or was altered.
    """
    try:
        lesion = segmentation.segment(square)
    except SegmentationError:
        return _none(NO_LESION)
    return of_mask(square, lesion.mask)


def of_mask(square: np.ndarray, mask: np.ndarray) -> Measured:
    """The features of TITLES of the lesion in uint8 RGB [S, S, 3] that a bool mask [S, S] shows.

    None can be measured if the mask is empty, covers the square, or lies at its edge without reaching its middle; no
    shape if the lesion is cut off by the edge.
    """
    share = mask.mean()
    if share < segmentation.SMALLEST:
        return _none(NO_LESION)
    if share > segmentation.LARGEST:
        return _none(COVERS)
    if _is_beside(mask):
        return _none(AT_EDGE)
    notes = []
    if is_cut_off(mask):
        notes.append(CUT_OFF)
        border = dict.fromkeys(features_border.TITLES, np.nan)
    else:
        border = features_border.measure(mask)
    colour = features_colour.measure(square, mask)
    texture = features_texture.measure(square, mask)
    if any(np.isnan(colour[name]) for name in features_colour.OF_SKIN):
        notes.append(NO_SKIN)
    if all(np.isnan(value) for value in texture.values()):
        notes.append(ONE_GREY)
    elif any(np.isnan(value) for value in texture.values()) or (CUT_OFF not in notes and _any_missing(border)):
        notes.append(TOO_SMALL)
    values = border | colour | texture
    return Measured(tuple(TITLES), tuple(float(values[name]) for name in TITLES), tuple(notes))


def is_cut_off(mask: np.ndarray) -> bool:
    """Whether more than CUT of the lesion's border pixels lie at the edge of the square."""
    edge = np.ones_like(mask)
    edge[1:-1, 1:-1] = False
    border = mask & ~ndimage.binary_erosion(mask)
    return bool((mask & edge).sum() > CUT * border.sum())


def _is_beside(mask: np.ndarray) -> bool:
    """Whether a region touches an edge and does not reach the middle of the square."""
    spans = [np.nonzero(mask.any(axis=axis))[0] for axis in (0, 1)]
    size = mask.shape[0]
    at_edge = any(span[0] == 0 or span[-1] == size - 1 for span in spans)
    return at_edge and not all(span[0] < size / 2 < span[-1] + 1 for span in spans)


def _any_missing(values: dict[str, float]) -> bool:
    return any(np.isnan(value) for value in values.values())


def _none(note: str) -> Measured:
    return Measured(tuple(TITLES), (np.nan,) * len(TITLES), (note,))
