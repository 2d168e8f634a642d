"""Occlusion: how much the score falls when a patch is hidden behind the image's mean colour, patch by patch.

Zeiler and Fergus 2014, doi:10.1007/978-3-319-10590-1_53.
"""

import numpy as np

from skinapp.attention.methods import Progress, logits
from skinapp.inference.registry import Model


def classifications(cells: int, patch: int) -> int:
    """How many images a map classifies: one for each place of the patch, and the whole image."""
    return (cells + patch - 1) ** 2 + 1


def explain(
    model: Model,
    pixels: np.ndarray,
    class_weights: np.ndarray,
    layer: str | None,
    progress: Progress | None,
    cells: int = 14,
    patch: int = 3,
) -> np.ndarray:
    """[cells, cells]: the drop in the score, averaged over the patches of `patch` x `patch` cells that hide a cell."""
    edges = np.linspace(0, len(pixels), cells + 1).round().astype(int)
    colour = pixels.mean(axis=(0, 1))
    # patches may extend beyond the image, so that a cell at the edge is hidden as often as one inside
    starts = [(row, column) for row in range(1 - patch, cells) for column in range(1 - patch, cells)]
    patches = [
        (slice(max(row, 0), min(row + patch, cells)), slice(max(column, 0), min(column + patch, cells)))
        for row, column in starts
    ]
    whole = logits(model, pixels[np.newaxis])[0] @ class_weights
    total = np.zeros((cells, cells), np.float32)
    for number, (rows, columns) in enumerate(patches):
        hidden = pixels.astype(np.float32)
        hidden[edges[rows.start] : edges[rows.stop], edges[columns.start] : edges[columns.stop]] = colour
        total[rows, columns] += whole - logits(model, hidden[np.newaxis])[0] @ class_weights
        if progress:
            progress((number + 1) / len(patches))
    return total / patch**2
