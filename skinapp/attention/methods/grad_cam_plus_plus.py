"""Grad-CAM++ at any block: features, each weighted by its positive gradients, with more weight where several pixels
share them.

Chattopadhay et al. 2018, doi:10.1109/WACV.2018.00097, equations 7 and 19.
"""

import numpy as np

from skinapp.attention import gradients
from skinapp.attention.methods import Progress
from skinapp.inference.registry import Model


def explain(
    model: Model, pixels: np.ndarray, class_weights: np.ndarray, layer: str | None, progress: Progress | None
) -> np.ndarray:
    return combine(*gradients.features_and_gradients(model, pixels, class_weights, layer))


def combine(features: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Features [h, w, C] and the score's gradients [h, w, C] -> [h, w].

    Equation 19 for the exponential of the score: alpha = g^2 / (2 g^2 + sum(A) g^3), that is 1 / (2 + sum(A) g). The
    derivation takes features as rectified, so a sum below 0, which these networks have, counts as 0.
    """
    total = np.maximum(features.sum(axis=(0, 1)), 0)
    positive = np.maximum(gradient, 0)
    channel_weights = (positive / (2 + total * positive)).sum(axis=(0, 1))
    return features @ channel_weights
