"""One file per method: `explain(model, pixels, class_weights, layer, progress, **settings)` returns the raw map.

`pixels` is uint8 [S, S, 3]; `class_weights` float32 [K], whose product with the logits is the score to explain; `layer`
the name of a block, or None for the last; `progress` is called with the share done, 0-1. The map is float32 [h, w] in
the method's own units; negative values are evidence against the target.
"""

from collections.abc import Callable

import numpy as np

from skinapp.attention import gradients
from skinapp.attention.gradients import NetworkCopy
from skinapp.inference import runtime
from skinapp.inference.registry import Model

Progress = Callable[[float], None]


def logits(model: Model, images: np.ndarray, progress: Progress | None = None) -> np.ndarray:
    """Logits [n, K] of images [n, S, S, 3], values 0-255. Published networks run in LiteRT, copies in Keras."""
    result = np.empty((len(images), len(model.labels.codes)), np.float32)
    for index, image in enumerate(images):
        pixels = image.round().astype(np.uint8)
        if isinstance(model, NetworkCopy):
            result[index] = gradients.logits_and_class_maps(model, pixels)[0]
        else:
            result[index] = runtime.classifier(model).predict_input(pixels).logits
        if progress:
            progress((index + 1) / len(images))
    return result


def clipped(values: np.ndarray, percent: float = 99) -> np.ndarray:
    """Pixel values with the largest clipped to a percentile, so that a few pixels do not set the scale."""
    return np.minimum(values, np.percentile(values, percent)).astype(np.float32)
