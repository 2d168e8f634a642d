"""SmoothGrad: how strongly each pixel moves the score, averaged over noisy copies of the image.

Smilkov et al. 2017, https://arxiv.org/abs/1706.03825. The map is the magnitude of the averaged gradient in its largest
channel: it shows where the score is sensitive, not whether it rises or falls.
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
    samples: int = 24,
    noise: float = 0.15,
    seed: int = 0,
) -> np.ndarray:
    """`noise` is the standard deviation as a share of the image's range."""
    generator = np.random.default_rng(seed)
    spread = noise * (int(pixels.max()) - int(pixels.min()))
    total = np.zeros(pixels.shape, np.float32)
    for start in range(0, samples, gradients.BATCH):
        count = min(gradients.BATCH, samples - start)
        noisy = pixels + generator.normal(0, spread, (count, *pixels.shape)).astype(np.float32)
        total += gradients.input_gradients(model, noisy, class_weights).sum(axis=0)
        if progress:
            progress((start + count) / samples)
    return clipped(np.abs(total / samples).max(axis=-1))
