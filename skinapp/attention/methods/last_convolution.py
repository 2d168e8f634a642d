"""Grad-CAM at the last convolution, exact and without gradients, from the class maps that come with every prediction.

Selvaraju et al. 2017, doi:10.1109/ICCV.2017.74. For these networks it equals CAM (Zhou et al. 2016,
doi:10.1109/CVPR.2016.319).
"""

import numpy as np

from skinapp.attention import gradients
from skinapp.attention.gradients import NetworkCopy
from skinapp.attention.methods import Progress
from skinapp.errors import ModelError
from skinapp.inference import runtime
from skinapp.inference.registry import Model


def explain(
    model: Model, pixels: np.ndarray, class_weights: np.ndarray, layer: str | None, progress: Progress | None
) -> np.ndarray:
    """Class maps times the class weights, [h, w]. ModelError if the network ends in dense layers."""
    if isinstance(model, NetworkCopy):
        class_maps = gradients.logits_and_class_maps(model, pixels)[1]
    else:
        class_maps = runtime.classifier(model).predict_input(pixels).class_maps
    if class_maps is None:
        raise ModelError(
            f"The model '{model.id}' ends in dense layers and has no class maps; occlusion and RISE work with it."
        )
    return class_maps @ class_weights
