"""Hair removal, after DullRazor (Lee et al. 1997, doi:10.1016/S0010-4825(97)00020-6)."""

import numpy as np
import scipy
from PIL import Image

REACH = 9
"""Reach of the hair detection, in pixels of a 224 px image: a dark structure that is thinner and longer than this is a
hair."""
CONTRAST = 18
"""Grey values, of 255, by which a hair is darker than the skin on both sides of it."""
STRAIGHT = 20
"""Length over which a hair runs straight to within a pixel, in pixels of a 224 px image: dots, and a lesion's pigment
network, do not."""
ANGLES = 16
FULL_SIZE_BLUR = 6
"""The largest blur, in pixels, that `fill` computes at full size."""


def mask(pixels: np.ndarray) -> np.ndarray:
    """Uint8 RGB [H, W, 3] -> bool [H, W], True on dark hairs.

    A black-hat transform (closing less the image) along lines at four angles finds dark, thin structures; those that
    run straight at any of ANGLES angles are hairs.
    """
    scale = min(pixels.shape[:2]) / 224
    grey = pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    reach = max(3, round(REACH * scale))
    thin = black_hat(grey, reach) > CONTRAST
    if not thin.any():
        return thin
    # dilated slightly, so that a bend is still straight enough
    wide = scipy.ndimage.binary_dilation(thin, iterations=max(1, round(scale)))
    turns = np.arange(ANGLES) * np.pi / ANGLES
    straight = np.any([_opened(wide, round(STRAIGHT * scale), float(turn)) for turn in turns], axis=0)
    return scipy.ndimage.binary_dilation(thin & straight, np.ones((3, 3)), iterations=max(1, round(scale)))


def remove(pixels: np.ndarray) -> np.ndarray:
    """Uint8 RGB [H, W, 3] -> the same with dark hairs filled in from the skin around them."""
    return fill(pixels, mask(pixels))


def fill(pixels: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """The image with the pixels that `hidden` [H, W] marks filled in from their surroundings, nearer ones first."""
    if not hidden.any() or hidden.all():
        return pixels
    filled = pixels.astype(np.float32)
    known = (~hidden).astype(np.float32)
    layers = np.dstack([pixels * known[..., np.newaxis], known])
    open_ = hidden.copy()
    sigma = 1.5
    while open_.any():
        blurred = _blurred(layers, sigma)
        reached = open_ & (blurred[..., 3] > 0.05)
        filled[reached] = blurred[reached, :3] / blurred[reached, 3:]
        open_ &= ~reached
        sigma *= 2
    return filled.round().clip(0, 255).astype(np.uint8)


def _blurred(layers: np.ndarray, sigma: float) -> np.ndarray:
    """Float32 [H, W, n], blurred; with a large sigma it is computed on a smaller copy, which looks the same."""
    factor = max(1, int(sigma / FULL_SIZE_BLUR))
    height, width = layers.shape[:2]
    padding = [(0, -height % factor), (0, -width % factor), (0, 0)]
    blocks = np.pad(layers, padding).reshape(-(-height // factor), factor, -(-width // factor), factor, -1)
    blurred = scipy.ndimage.gaussian_filter(blocks.mean(axis=(1, 3)), (sigma / factor, sigma / factor, 0), truncate=3)
    if factor == 1:
        return blurred
    size = blurred.shape[1] * factor, blurred.shape[0] * factor
    larger = [
        np.asarray(Image.fromarray(np.ascontiguousarray(layer)).resize(size, Image.Resampling.BILINEAR))
        for layer in np.moveaxis(blurred, -1, 0)
    ]
    return np.dstack(larger)[:height, :width]


def black_hat(grey: np.ndarray, reach: int) -> np.ndarray:
    """Float [H, W] -> by how much each pixel is darker than its surroundings within `reach` pixels on both sides, along
    the line where the difference is largest: it marks dark, thin structures."""
    return np.max([scipy.ndimage.grey_closing(grey, footprint=line) - grey for line in _lines(reach)], axis=0)


def _lines(length: int) -> list[np.ndarray]:
    """Footprints across which a hair is thin: flat, upright and the two diagonals."""
    diagonal = np.eye(length, dtype=bool)
    return [np.ones((1, length), bool), np.ones((length, 1), bool), diagonal, diagonal[::-1]]


def _opened(chosen: np.ndarray, length: int, angle: float) -> np.ndarray:
    """Bool [H, W] -> the part of it on a straight run of `length` pixels within it, at that angle.

    Binary opening with a line; shifted views are a hundred times faster than a footprint. Pixels outside count as
    chosen, so that a run may end at the edge.
    """
    steps = np.arange(length) - length // 2
    shifts = sorted({(round(step * np.sin(angle)), round(step * np.cos(angle))) for step in steps})
    height, width = chosen.shape

    def views(of: np.ndarray, sign: int) -> list[np.ndarray]:
        starts = [(length + sign * down, length + sign * across) for down, across in shifts]
        return [of[down : down + height, across : across + width] for down, across in starts]

    eroded = np.logical_and.reduce(views(np.pad(chosen, length, constant_values=True), 1))
    return np.logical_or.reduce(views(np.pad(eroded, length), -1)) & chosen
