"""The CAM family of the grad-cam package, run on our network by the adapter in `pytorch_grad_cam`.

The package computes the weights. Its scaling is skipped, so that 0 keeps its meaning and maps keep their units.
"""

import functools
from typing import Any

import numpy as np

from skinapp.attention import pytorch_grad_cam
from skinapp.attention.methods import Progress
from skinapp.errors import ModelError
from skinapp.inference.architecture import block
from skinapp.inference.registry import Model

WHOLE_SVD = 56
"""The largest map side for the package's full singular value decomposition: with 112 it takes 1 GB."""
EIGEN = ("EigenCAM", "EigenGradCAM")
BY_PROBABILITY = ("AblationCAM",)
"""Methods that divide by the score, whose sign a logit below 0 would flip."""


def explain(
    model: Model,
    pixels: np.ndarray,
    class_weights: np.ndarray,
    layer: str | None,
    progress: Progress | None,
    *,
    name: str,
) -> np.ndarray:
    """The map of the package's class `name`, [h, w] like the block's features. ModelError if the method cannot run on
    the block."""
    torch, _ = pytorch_grad_cam.load()
    chosen = block(model, layer)
    if name in EIGEN and chosen.side > WHOLE_SVD:
        raise ModelError(
            f"{name} decomposes the whole map at once, which takes too much memory at {chosen.side} x {chosen.side}; "
            "choose a later block."
        )
    network = pytorch_grad_cam.adapter(model, layer)
    if progress:
        # the package does not report progress; an exception raised by `progress` still stops it
        network.register_forward_pre_hook(lambda *_: progress(0.0))
    image = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)[np.newaxis], dtype=np.float32))
    with _cam(name, network) as cam:
        if name == "FinerCAM" and not (class_weights < 0).any():
            # FinerCAM itself chooses the classes to contrast with: those with the nearest logits
            values = cam(image, None, target_idx=int(class_weights.argmax()))[0]
        else:
            values = cam(image, [_target(torch, class_weights, model.temperature if name in BY_PROBABILITY else None)])[
                0
            ]
    if name in EIGEN and -values.min() > values.max():
        # the sign of a singular vector is arbitrary; it is fixed as in Seg-Eigen-CAM (doi:10.3390/app15137562, equation
        # 13)
        values = -values
    return np.asarray(values)


def _target(torch: Any, class_weights: np.ndarray, temperature: float | None) -> Any:
    """The score of a row of logits [K]: a logit or a difference of two or, with a temperature, the probability."""
    weights = torch.from_numpy(class_weights)

    def score(logits: Any) -> Any:
        if temperature is None:
            return (logits * weights).sum()
        if (class_weights < 0).any():
            return torch.sigmoid((logits * weights).sum() / temperature)
        return (torch.softmax(logits / temperature, dim=-1) * weights).sum()

    return score


def _cam(name: str, network: Any) -> Any:
    """The package's object for `name` at the network's block, changed to return unscaled maps."""
    _, grad_cam = pytorch_grad_cam.load()
    layers = [network.features]
    if name == "FinerCAM":
        return grad_cam.FinerCAM(network, layers, base_method=_unscaled("GradCAM"))
    if name == "AblationCAM":
        return _unscaled(name)(network, layers, ablation_layer=_zeroing(), batch_size=32)
    return _unscaled(name)(network, layers)


@functools.cache
def _unscaled(name: str) -> Any:
    _, grad_cam = pytorch_grad_cam.load()

    base: Any = getattr(grad_cam, name)

    class Unscaled(base):
        def compute_cam_per_layer(self, images: Any, targets: Any, smooth: bool) -> list[np.ndarray]:
            [features], gradients = self.activations_and_grads.activations, self.activations_and_grads.gradients
            gradient = gradients[0] if gradients else None
            if self.detach:
                features, gradient = features.numpy(), None if gradient is None else gradient.numpy()
            return [np.asarray(self.get_cam_image(images, self.target_layers[0], targets, features, gradient, smooth))]

        def aggregate_multi_layers(self, maps: list[np.ndarray]) -> np.ndarray:
            return maps[0]

    return Unscaled


def _zeroing() -> Any:
    """Removes a channel by setting it to 0, as the paper does. The package subtracts 10 million, which is wrong for
    channels that can be negative, like those of EfficientNets."""
    _, grad_cam = pytorch_grad_cam.load()

    base: Any = grad_cam.AblationLayer

    class Zeroing(base):
        def __call__(self, features: Any) -> Any:
            output = self.activations
            for row in range(output.size(0)):
                output[row, self.indices[row]] = 0
            return output

    return Zeroing()
