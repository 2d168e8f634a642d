"""Losses on logits: functions of one-hot or mixed targets [n, K] and logits [n, K] that return [n]."""

from collections.abc import Callable

import keras
import numpy as np
from keras import ops

Loss = Callable[[keras.KerasTensor, keras.KerasTensor], keras.KerasTensor]


def build(name: str, counts: np.ndarray, shares: np.ndarray, label_smoothing: float = 0.0) -> Loss:
    """The loss of that name, for classes with `counts` [K] training images and `shares` [K] of the sampled images.

    `cross-entropy`; `focal` with gamma 2 (Lin et al. 2017, arXiv:1708.02002); `class-balanced`, cross-entropy weighted
    by the effective number of images with beta 0.999 (Cui et al. 2019, arXiv:1901.05555), mean weight 1;
    `logit-adjusted`, cross-entropy of the logits plus the logarithm of each class's share, so that the logits alone
    predict as if classes were equally common (Menon et al. 2021, arXiv:2007.07314, section 4.2, tau 1).
    """
    classes = len(counts)
    weights = np.ones(classes)
    if name == "class-balanced":
        weights = (1 - 0.999) / (1 - 0.999**counts)
        weights *= classes / weights.sum()
    offsets = np.log(shares) if name == "logit-adjusted" else np.zeros(classes)

    def loss(targets: keras.KerasTensor, logits: keras.KerasTensor) -> keras.KerasTensor:
        smoothed = targets * (1 - label_smoothing) + label_smoothing / classes
        log_probabilities = ops.log_softmax(ops.cast(logits, "float32") + offsets.astype(np.float32))
        terms = -smoothed * weights.astype(np.float32) * log_probabilities
        if name == "focal":
            terms *= (1 - ops.exp(log_probabilities)) ** 2
        return ops.sum(terms, axis=-1)

    return loss


LOSSES = ("cross-entropy", "focal", "class-balanced", "logit-adjusted")
