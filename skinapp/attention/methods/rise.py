"""RISE: how much more likely the target is when a pixel is shown than when it is hidden, over random masks.

Petsiuk et al. 2018, https://arxiv.org/abs/1806.07421. Two things differ from the paper. Hidden pixels are filled with
the image's mean colour rather than black, since dermoscopy images often have a black rim. The mean probability is
subtracted: this keeps the ranking, and 0 then means that showing a pixel does not help.
"""

import numpy as np
from PIL import Image

from skinapp.attention import targets
from skinapp.attention.methods import Progress, logits
from skinapp.inference.registry import Model

SHOWN = 0.5
"""The probability that a cell of the grid is shown."""
BATCH = 20


def explain(
    model: Model,
    pixels: np.ndarray,
    class_weights: np.ndarray,
    layer: str | None,
    progress: Progress | None,
    masks: int = 500,
    grid: int = 7,
    seed: int = 0,
) -> np.ndarray:
    """[S, S]: the calibrated probability when the pixel is shown, minus its mean over all masks."""
    generator = np.random.default_rng(seed)
    colour = pixels.mean(axis=(0, 1))
    weighted, shown, total = np.zeros(pixels.shape[:2]), np.zeros(pixels.shape[:2]), 0.0
    for start in range(0, masks, BATCH):
        some = np.stack([mask(generator, len(pixels), grid) for _ in range(min(BATCH, masks - start))])
        images = colour + some[..., np.newaxis] * (pixels - colour)
        probabilities = targets.probability(logits(model, images), class_weights, model.temperature)
        weighted += np.tensordot(probabilities, some, 1)
        shown += some.sum(axis=0)
        total += probabilities.sum()
        if progress:
            progress((start + len(some)) / masks)
    return (weighted / np.maximum(shown, 1e-9) - total / masks).astype(np.float32)


def mask(generator: np.random.Generator, size: int, grid: int) -> np.ndarray:
    """Float32 [size, size] in 0-1: a random grid, smoothly enlarged and shifted by less than a cell."""
    cell = -(-size // grid)
    coarse = (generator.random((grid + 1, grid + 1)) < SHOWN).astype(np.float32)
    large = np.asarray(Image.fromarray(coarse).resize(((grid + 1) * cell,) * 2, Image.Resampling.BILINEAR))
    top, left = generator.integers(0, cell, 2)
    return large[top : top + size, left : left + size]
