"""One file per method: `explain(model, pixels, direction, layer, progress, **settings)` gives the raw map.

pixels uint8 [S, S, 3]; direction float32 [K] turns logits into the score that is explained; layer the name of a block,
or None for the last; progress is told the share that is done, 0-1. The map is float32 [h, w], its values in the
method's own units; what is negative speaks against the target.
"""

from collections.abc import Callable

import numpy as np

from skinapp.inference import runtime
from skinapp.inference.registry import Model

Progress = Callable[[float], None]


def logits(model: Model, images: np.ndarray, progress: Progress | None = None) -> np.ndarray:
    """Logits [n, K] that LiteRT gives for images [n, S, S, 3], values 0-255."""
    classifier = runtime.classifier(model)
    found = np.empty((len(images), len(model.labels.codes)), np.float32)
    for index, image in enumerate(images):
        found[index] = classifier.predict(image.round().astype(np.uint8)).logits
        if progress:
            progress((index + 1) / len(images))
    return found


def clipped(values: np.ndarray, percent: float = 99) -> np.ndarray:
    """Values of single pixels, the few largest cut to a percentile, so that these alone do not set the scale."""
    return np.minimum(values, np.percentile(values, percent)).astype(np.float32)
