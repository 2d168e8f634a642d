"""The views of an image that a model averages its logits over: the image itself, mirrored and turned."""

from collections.abc import Sequence

import numpy as np

UPRIGHT = "upright"
VIEWS = {UPRIGHT: (False, 0), "mirrored": (True, 0), "upside down": (False, 2), "quarter turn": (False, 1)}
"""Name -> whether left and right are exchanged first, and how many quarter turns, anticlockwise, follow."""


def seen(pixels: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Square images [..., S, S, 3] in each of the named views: [views, ..., S, S, 3], of the same dtype."""
    return np.stack([_rotated(pixels, *VIEWS[name]) for name in names])


def upright_again(maps: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Square maps of views [views, s, s, K] in the orientation of the upright image."""
    return np.stack([_back(one, *VIEWS[name]) for one, name in zip(maps, names, strict=True)])


def _rotated(image: np.ndarray, mirrored: bool, quarters: int) -> np.ndarray:
    image = image[..., ::-1, :] if mirrored else image
    return np.rot90(image, quarters, axes=(-3, -2))


def _back(image: np.ndarray, mirrored: bool, quarters: int) -> np.ndarray:
    image = np.rot90(image, -quarters, axes=(-3, -2))
    return image[..., ::-1, :] if mirrored else image
