"""Hairs taken out of an image, after DullRazor (Lee et al. 1997, doi:10.1016/S0010-4825(97)00020-6)."""

import numpy as np
from scipy import ndimage

REACH = 9
"""Pixels of a 224 px image over which a hair is looked for: what is dark, thinner than this and longer is a hair."""
CONTRAST = 18
"""Grey values, of 255, by which a hair is darker than the skin on both sides of it."""
SHORTEST = 24
"""Pixels of a 224 px image: what is darker but shorter stays, such as the dots and the net of a lesion."""


def mask(pixels: np.ndarray) -> np.ndarray:
    """Uint8 RGB [H, W, 3] -> bool [H, W], True on dark hairs.

    A black-hat transform (closing less the image) along lines of four directions finds dark lines; long connected ones
    of them are hairs.
    """
    scale = min(pixels.shape[:2]) / 224
    grey = pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    reach = max(3, round(REACH * scale))
    hat = np.max([ndimage.grey_closing(grey, footprint=line) - grey for line in _lines(reach)], axis=0)
    dark = ndimage.binary_closing(np.pad(hat > CONTRAST, 2), iterations=2)[2:-2, 2:-2]
    parts, count = ndimage.label(dark, np.ones((3, 3)))
    found = np.zeros(count + 1, dtype=bool)
    for number, (down, across) in enumerate(ndimage.find_objects(parts), 1):
        length = np.hypot(down.stop - down.start, across.stop - across.start)
        area = int((parts[down, across] == number).sum())
        # a line has little area for its length; a patch has much
        found[number] = length >= SHORTEST * scale and area <= length * reach * 0.8
    return ndimage.binary_dilation(found[parts], iterations=max(1, round(scale)))


def remove(pixels: np.ndarray) -> np.ndarray:
    """Uint8 RGB [H, W, 3] -> the same with dark hairs filled in from the skin around them."""
    return fill(pixels, mask(pixels))


def fill(pixels: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """The image with the places that `hidden` [H, W] marks filled in by their surroundings, nearer ones first."""
    if not hidden.any() or hidden.all():
        return pixels
    filled = pixels.astype(np.float32)
    known = (~hidden).astype(np.float32)
    open_ = hidden.copy()
    for sigma in (1.5, 3, 6, 12, 24, 48, 96):
        weight = ndimage.gaussian_filter(known, sigma, truncate=3)
        reached = open_ & (weight > 0.05)
        blurred = ndimage.gaussian_filter(pixels * known[..., np.newaxis], (sigma, sigma, 0), truncate=3)
        filled[reached] = blurred[reached] / weight[reached, np.newaxis]
        open_ &= ~reached
        if not open_.any():
            break
    return filled.round().clip(0, 255).astype(np.uint8)


def _lines(length: int) -> list[np.ndarray]:
    """Footprints across which a hair is thin: flat, upright and the two diagonals."""
    diagonal = np.eye(length, dtype=bool)
    return [np.ones((1, length), bool), np.ones((length, 1), bool), diagonal, diagonal[::-1]]
