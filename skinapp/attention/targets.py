"""What a map explains: one class, or one class rather than another."""

import numpy as np

from skinapp.errors import ModelError
from skinapp.inference.registry import Model

Target = str | tuple[str, str]
"""The code of a class, or two codes: the first rather than the second."""


def class_weights(model: Model, target: Target) -> np.ndarray:
    """Float32 [K], whose product with the logits is the target's score: a logit, or the difference of two.

    ModelError if the model has no such class, or both classes are the same.
    """
    codes = (target,) if isinstance(target, str) else target
    known = model.labels.codes
    for code in codes:
        if code not in known:
            raise ModelError(f"The model '{model.id}' has no class '{code}'; it has {', '.join(known)}.")
    if len(set(codes)) < len(codes):
        raise ModelError("A class cannot be compared with itself; choose two different ones.")
    weights = np.zeros(len(known), np.float32)
    weights[known.index(codes[0])] = 1
    if len(codes) == 2:
        weights[known.index(codes[1])] = -1
    return weights


def name(model: Model, target: Target) -> str:
    """The target as text."""
    if isinstance(target, str):
        return model.labels[target].name
    first, second = (model.labels[code].name for code in target)
    return f"{first} rather than {second}"


def code(target: Target) -> str:
    """The target in a file name."""
    return target if isinstance(target, str) else "-not-".join(target)


def probability(logits: np.ndarray, weights: np.ndarray, temperature: float) -> np.ndarray:
    """The target's calibrated probability [n] for logits [n, K]: of the class, or of the first class out of the two."""
    scaled = logits.astype(np.float64) / temperature
    if (weights < 0).any():
        return 1 / (1 + np.exp(-scaled @ weights))
    exponentials = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return exponentials @ weights / exponentials.sum(axis=-1)
