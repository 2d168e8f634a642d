"""A map as a picture: alone and unsmoothed, with a contour around its strongest part, or over the image."""

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from skinapp.attention import heatmap
from skinapp.images.imaging import Crop

SMOOTHING = 0.05
"""The standard deviation of the Gaussian that smooths a map before its contour is drawn, as a share of the side. Maps
whose cells are larger than that are not smoothed: they have no specks."""
LIGHT, DARK = np.array([255, 255, 255], np.uint8), np.array([20, 20, 20], np.uint8)


def map_alone(cam: np.ndarray, side: int) -> np.ndarray:
    """A map [h, w] in 0-1 on its own, without smoothing: uint8 [side, side, 3]."""
    cells = Image.fromarray(cam.astype(np.float32)).resize((side, side), Image.Resampling.NEAREST)
    return heatmap.coloured(np.asarray(cells))


def strongest(cam: np.ndarray, share: float, side: int) -> np.ndarray:
    """The fewest pixels that hold this share of the sum of the map, smoothed if it is fine, bool [side, side]; none if
    the map is all zeros."""
    width = SMOOTHING * min(cam.shape)
    smooth = ndimage.gaussian_filter(cam.astype(np.float32), width) if width > 1 else cam.astype(np.float32)
    large = np.asarray(Image.fromarray(smooth).resize((side, side), Image.Resampling.BILINEAR))
    values = np.sort(large.clip(0, None).ravel().astype(np.float64))[::-1]
    if not values.any():
        return np.zeros((side, side), bool)
    count = int(np.searchsorted(np.cumsum(values), share * values.sum()))
    return (large >= values[min(count, len(values) - 1)]) & (large > 0)


def with_contour(pixels: np.ndarray, region: np.ndarray) -> np.ndarray:
    """A copy of uint8 [S, S, 3] with a contour around the region, light on dark so that it shows on any skin."""
    result = pixels.copy()
    inner = eroded(eroded(region))
    result[region & ~inner] = DARK
    result[inner & ~eroded(eroded(inner))] = LIGHT
    return result


def in_image(image: Image.Image, crop: Crop, cam: np.ndarray | None = None, opacity: float = 0.5) -> Image.Image:
    """A copy of an RGB image, pale outside the square and with a line around it. If there is a map `cam` [h, w] in 0-1,
    it is over the square."""
    left, top, right, bottom = (round(edge) for edge in crop.box(*image.size))
    square = image.crop((left, top, right, bottom))
    if cam is not None:
        square = Image.fromarray(heatmap.overlay(np.asarray(square), cam, opacity))
    picture = Image.blend(image, Image.new("RGB", image.size, "white"), 0.6)
    picture.paste(square, (left, top))
    pen = ImageDraw.Draw(picture)
    # dark within light, so that the line shows on any skin
    pen.rectangle((left, top, right - 1, bottom - 1), outline="white", width=4)
    pen.rectangle((left + 1, top + 1, right - 2, bottom - 2), outline="black", width=2)
    return picture


def eroded(region: np.ndarray) -> np.ndarray:
    """The region without its edge pixels; the edge of the picture does not count as one."""
    framed = np.pad(region, 1, constant_values=True)
    return region & framed[:-2, 1:-1] & framed[2:, 1:-1] & framed[1:-1, :-2] & framed[1:-1, 2:]


def scale(width: int = 320, height: int = 14) -> np.ndarray:
    """The colours from 0 to 1, left to right: uint8 [height, width, 3]."""
    return heatmap.coloured(np.repeat(np.linspace(0, 1, width, dtype=np.float32)[np.newaxis], height, 0))
