"""Grad-CAM from class maps, and maps in colour. Needs no deep learning library."""

import functools

import numpy as np
import plotly.colors
from PIL import Image

COLOUR_MAP = "Cividis"
"""It looks similar with and without colour vision deficiency (Nunez et al. 2018, doi:10.1371/journal.pone.0199239)."""


def grad_cam(class_maps: np.ndarray, index: int) -> np.ndarray:
    """Grad-CAM of class `index` at the last convolution, from a model's class maps [h, w, K]: float32 [h, w] in 0-1.

    With global average pooling and one dense layer the gradient of a logit with respect to a feature is the dense
    weight over h * w, so relu(class map) is Grad-CAM (Selvaraju et al. 2017, doi:10.1109/ICCV.2017.74) up to a factor;
    it is scaled to a maximum of 1. All zeros if no part of the image is evidence for the class.
    """
    if not 0 <= index < class_maps.shape[-1]:
        raise IndexError(f"class {index} of {class_maps.shape[-1]}")
    positive = np.maximum(class_maps[..., index], 0).astype(np.float32)
    peak = positive.max()
    return positive / peak if peak > 0 else positive


def overlay(pixels: np.ndarray, cam: np.ndarray, opacity: float = 0.5) -> np.ndarray:
    """A map [h, w] in 0-1, smoothly enlarged and coloured, over uint8 [H, W, 3]: uint8 [H, W, 3].

    `opacity` (0-1) applies to the strongest pixels; where the map is 0 the image is unchanged.
    """
    height, width = pixels.shape[:2]
    enlarged = np.asarray(
        Image.fromarray(cam.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
    ).clip(0, 1)
    alpha = (enlarged * opacity)[..., np.newaxis]
    return (pixels * (1 - alpha) + _colours()[_levels(enlarged)] * alpha).round().astype(np.uint8)


def coloured(cam: np.ndarray) -> np.ndarray:
    """A map [h, w] in 0-1 as colours: uint8 [h, w, 3]."""
    return _colours()[_levels(cam)].round().astype(np.uint8)


def _levels(cam: np.ndarray) -> np.ndarray:
    return (cam * 255).round().astype(np.uint8)


@functools.cache
def _colours() -> np.ndarray:
    """The colour map as float32 [256, 3], values 0-255."""
    samples = plotly.colors.sample_colorscale(COLOUR_MAP, np.linspace(0, 1, 256).tolist(), colortype="tuple")
    return np.asarray(samples, dtype=np.float32) * 255
