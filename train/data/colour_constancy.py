"""Colour constancy: images as if they had been taken in white light."""

import numpy as np

POWER = 6
"""The norm that Finlayson and Trezzi recommend."""


def shades_of_grey(pixels: np.ndarray) -> np.ndarray:
    """Uint8 pixels [h, w, 3] without the colour of the light, by shades of grey (Finlayson and Trezzi 2004, 12th Color
    Imaging Conference): the light's colour is the Minkowski norm of each channel, and the brightness stays."""
    light = np.maximum(np.mean(pixels.astype(np.float64) ** POWER, axis=(0, 1)) ** (1 / POWER), 1)
    gain = np.sqrt((light**2).mean()) / light
    return np.clip(np.rint(pixels * gain), 0, 255).astype(np.uint8)
