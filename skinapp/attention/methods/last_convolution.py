"""Grad-CAM at the last convolution, from the class maps that a model gives with its answer: exact, without gradients.

Selvaraju et al. 2017, doi:10.1109/ICCV.2017.74; before it, for such networks, Zhou et al. 2016 (CAM),
doi:10.1109/CVPR.2016.319.
"""

import numpy as np

from skinapp.attention.methods import Progress
from skinapp.errors import ModelError
from skinapp.inference import runtime
from skinapp.inference.registry import Model


def explain(
    model: Model, pixels: np.ndarray, direction: np.ndarray, layer: str | None, progress: Progress | None
) -> np.ndarray:
    """Class maps times the direction, [h, w]. ModelError where the network ends in dense layers."""
    class_maps = runtime.classifier(model).predict(pixels).class_maps
    if class_maps is None:
        raise ModelError(
            f"The model '{model.id}' ends in dense layers and has no class maps; occlusion and RISE work for it."
        )
    return class_maps @ direction
