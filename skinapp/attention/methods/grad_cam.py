"""Grad-CAM at any block: features, each weighted by the mean of its gradient.

Selvaraju et al. 2017, doi:10.1109/ICCV.2017.74, equations 1 and 2; the rectifier of equation 2 comes last, in
`catalogue.scaled`.
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
    """Features [h, w, C] and the score's gradients [h, w, C] -> [h, w]."""
    return features @ gradient.mean(axis=(0, 1))
