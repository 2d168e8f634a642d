"""The views of an image over which a model averages its logits: the image itself, and mirrored and rotated copies."""

from collections.abc import Sequence

import numpy as np

UPRIGHT = "upright"
VIEWS = {UPRIGHT: (False, 0), "mirrored": (True, 0), "upside down": (False, 2), "quarter turn": (False, 1)}
"""Maps each name to whether the image is first mirrored left to right, and how many anticlockwise quarter turns
follow."""


def seen(pixels: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Square images [..., S, S, 3] in each of the named views: [views, ..., S, S, 3], of the same dtype."""
    return np.stack([_rotated(pixels, *VIEWS[name]) for name in names])


def upright_again(maps: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Square maps of views [views, s, s, K], transformed back to the orientation of the upright image."""
    return np.stack([_back(one, *VIEWS[name]) for one, name in zip(maps, names, strict=True)])


def _rotated(image: np.ndarray, mirrored: bool, quarters: int) -> np.ndarray:
    image = image[..., ::-1, :] if mirrored else image
    return np.rot90(image, quarters, axes=(-3, -2))


def _back(image: np.ndarray, mirrored: bool, quarters: int) -> np.ndarray:
    image = np.rot90(image, -quarters, axes=(-3, -2))
    return image[..., ::-1, :] if mirrored else image
