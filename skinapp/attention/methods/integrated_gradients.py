"""Integrated gradients: each pixel's share of the score's change from a black image to this one.

Sundararajan et al. 2017, https://proceedings.mlr.press/v70/sundararajan17a.html, equation 3, by the midpoint rule.
"""

import numpy as np

from skinapp.attention import gradients
from skinapp.attention.methods import Progress, clipped
from skinapp.inference.registry import Model


def explain(
    model: Model,
    pixels: np.ndarray,
    class_weights: np.ndarray,
    layer: str | None,
    progress: Progress | None,
    steps: int = 32,
) -> np.ndarray:
    return clipped(shares(model, pixels, class_weights, progress, steps))


def shares(
    model: Model, pixels: np.ndarray, class_weights: np.ndarray, progress: Progress | None = None, steps: int = 32
) -> np.ndarray:
    """[S, S], summed over the channels. The map sums to the change of the score, up to the integration error."""
    image = pixels.astype(np.float32)
    total = np.zeros_like(image)
    for start in range(0, steps, gradients.BATCH):
        along = (np.arange(start, min(start + gradients.BATCH, steps), dtype=np.float32) + 0.5) / steps
        total += gradients.input_gradients(model, along[:, None, None, None] * image, class_weights).sum(axis=0)
        if progress:
            progress(min(start + gradients.BATCH, steps) / steps)
    return (image * total / steps).sum(axis=-1)
