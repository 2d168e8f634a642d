"""Losses on logits, each a function of one-hot or mixed targets [n, K] and logits [n, K] that gives [n]."""

from collections.abc import Callable

import keras
import numpy as np
from keras import ops

Loss = Callable[[keras.KerasTensor, keras.KerasTensor], keras.KerasTensor]


def build(name: str, counts: np.ndarray, label_smoothing: float = 0.0) -> Loss:
    """The loss of that name, for classes that have `counts` [K] training images.

    `cross-entropy`; `focal` with gamma 2 (Lin et al. 2017, arXiv:1708.02002); `class-balanced`, cross-entropy weighted
    by the effective number of images with beta 0.999 (Cui et al. 2019, arXiv:1901.05555), mean weight 1.
    """
    classes = len(counts)
    weights = np.ones(classes)
    if name == "class-balanced":
        weights = (1 - 0.999) / (1 - 0.999**counts)
        weights *= classes / weights.sum()

    def loss(targets: keras.KerasTensor, logits: keras.KerasTensor) -> keras.KerasTensor:
        smoothed = targets * (1 - label_smoothing) + label_smoothing / classes
        log_probabilities = ops.log_softmax(ops.cast(logits, "float32"))
        terms = -smoothed * weights.astype(np.float32) * log_probabilities
        if name == "focal":
            terms *= (1 - ops.exp(log_probabilities)) ** 2
        return ops.sum(terms, axis=-1)

    return loss


LOSSES = ("cross-entropy", "focal", "class-balanced")
