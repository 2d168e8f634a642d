"""An adapter that runs the grad-cam package (https://github.com/jacobgil/pytorch-grad-cam) on our Keras networks.

Two PyTorch modules represent the network before and after a block; each passes its input to Keras and gets values and
gradients back. So the package's hooks see the features and gradients of the same network that the other methods use.
PyTorch is loaded on first use.
"""

import contextlib
import functools
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy.sparse import csc_matrix
from scipy.sparse.linalg import spsolve

from skinapp.attention import gradients
from skinapp.errors import ModelError
from skinapp.inference import runtime
from skinapp.inference.architecture import Block, block
from skinapp.inference.registry import Model

INSTALL = "`make research`"


def load() -> tuple[Any, Any]:
    """The modules torch and pytorch_grad_cam. ModelError says what is missing and how to install it."""
    try:
        import torch
    except (ImportError, OSError) as error:
        raise ModelError(
            f"This method needs PyTorch, which is not installed ({error}). Add it with {INSTALL}."
        ) from error
    try:
        import torchvision  # noqa: F401
    except ImportError as error:
        raise ModelError(
            f"PyTorch is installed, but torchvision is not ({error}), and the grad-cam package needs both. Add it with "
            f"{INSTALL}."
        ) from error
    except (RuntimeError, AttributeError, OSError):
        # torchvision was built for another PyTorch, for example the default torchvision with a +cpu build of PyTorch;
        # nothing here uses it
        with _without_torchvision():
            return torch, _package()
    return torch, _package()


def _package() -> Any:
    try:
        import pytorch_grad_cam
    except ImportError as error:
        raise ModelError(f"This method needs the grad-cam package ({error}). Add it with {INSTALL}.") from error
    return pytorch_grad_cam


@contextlib.contextmanager
def _without_torchvision() -> Iterator[None]:
    """Replace the four names that the package imports from torchvision with empty stubs during the import."""
    names = {"torchvision": (), "torchvision.transforms": ("Compose", "Normalize", "ToTensor")}
    names["torchvision.transforms.functional"] = ("resize",)
    before = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    for name, attributes in names.items():
        stand_in = types.ModuleType(name)
        vars(stand_in).update(dict.fromkeys(attributes))
        sys.modules[name] = stand_in
    try:
        yield
    finally:
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(before)


def adapter(model: Model, layer: str | None) -> Any:
    """The network as a torch.nn.Module: float32 [n, 3, S, S] in 0-255 -> logits [n, K].

    Its child `features` computes a block's features [n, C, h, w]; its child `head` turns them into logits.
    """
    torch, _ = load()
    function: Any = torch.autograd.Function
    module: Any = torch.nn.Module
    chosen = block(model, layer)
    gradients.keras_network(model)
    before, after, gradient_of, curvature = _halves(*gradients.key(model), chosen)

    class Features(function):
        @staticmethod
        def forward(context: Any, images: Any, anchor: Any) -> Any:
            context.shape = images.shape
            return to_torch(torch, before(to_keras(images)))

        @staticmethod
        def backward(context: Any, gradient: Any) -> Any:
            # the package requests the image's gradient only to run the backward pass; it uses the block's
            return gradient.new_zeros(context.shape), None

    class Head(function):
        @staticmethod
        def forward(context: Any, features: Any) -> Any:
            context.save_for_backward(features)
            return torch.from_numpy(after(to_keras(features)).numpy())

        @staticmethod
        def backward(context: Any, gradient: Any) -> Any:
            (features,) = context.saved_tensors
            return HeadGradient.apply(features, gradient)

    class HeadGradient(function):
        """The gradient of the head. It is itself differentiable, since ShapleyCAM needs the second derivative."""

        @staticmethod
        def forward(context: Any, features: Any, gradient: Any) -> Any:
            context.save_for_backward(features, gradient)
            return to_torch(torch, gradient_of(to_keras(features), gradient.detach().numpy()))

        @staticmethod
        def backward(context: Any, along: Any) -> Any:
            features, gradient = context.saved_tensors
            return to_torch(torch, curvature(to_keras(features), gradient.detach().numpy(), to_keras(along))), None

    class First(module):
        def __init__(self) -> None:
            super().__init__()
            # PyTorch builds a graph only after a tensor with a gradient, and the package gets the device from it
            self.anchor = torch.nn.Parameter(torch.zeros(1))

        def forward(self, images: Any) -> Any:
            return Features.apply(images, self.anchor)

    class Second(module):
        def forward(self, features: Any) -> Any:
            return Head.apply(features)

    class Halves(module):
        def __init__(self) -> None:
            super().__init__()
            self.features, self.head = First(), Second()
            self.anchor = self.features.anchor

        def forward(self, images: Any) -> Any:
            return self.head(self.features(images))

    return Halves()


def to_keras(values: Any) -> np.ndarray:
    """A tensor [n, C, h, w] as float32 [n, h, w, C]."""
    return np.ascontiguousarray(values.detach().numpy().transpose(0, 2, 3, 1), dtype=np.float32)


def to_torch(torch: Any, values: Any) -> Any:
    """A TensorFlow value [n, h, w, C] as a tensor [n, C, h, w]."""
    return torch.from_numpy(np.ascontiguousarray(np.asarray(values).transpose(0, 3, 1, 2)))


@functools.lru_cache(maxsize=6)
def _halves(model_id: str, folder: str, sha256: str, chosen: Block) -> tuple[Any, Any, Any, Any]:
    """Graphs of the network before a block and after it, and of the first and second derivatives of the part after
    it."""
    import keras
    import tensorflow as tf

    whole = gradients.loaded(model_id, folder, sha256)
    features = whole.get_layer(chosen.layer).output
    first, second = keras.Model(whole.input, features), keras.Model(features, whole.output)
    image = tf.TensorSpec((None, *whole.input_shape[1:]), tf.float32)
    feature = tf.TensorSpec((None, *features.shape[1:]), tf.float32)
    logit = tf.TensorSpec((None, whole.output_shape[-1]), tf.float32)

    def gradient_of(values: Any, gradient: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(values)
            score = tf.reduce_sum(second(values, training=False) * gradient)
        return tape.gradient(score, values)

    def curvature(values: Any, gradient: Any, along: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(values)
            product = tf.reduce_sum(gradient_of(values, gradient) * along)
        # it is None if everything after the block is linear
        return tape.gradient(product, values, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    return (
        tf.function(lambda images: first(images, training=False), input_signature=[image]),
        tf.function(lambda values: second(values, training=False), input_signature=[feature]),
        tf.function(gradient_of, input_signature=[feature, logit]),
        tf.function(curvature, input_signature=[feature, logit, feature]),
    )


def road(
    model: Model, pixels: np.ndarray, cam: np.ndarray, index: int, percentiles: tuple[int, ...] = (20, 50, 80)
) -> float:
    """The package's ROAD of a map [S, S] for class `index`: Rong et al. 2022, https://arxiv.org/abs/2202.00449.

    Half the difference, averaged over the percentiles, between the calibrated probability with the weakest pixels
    removed and with the strongest removed. Removed pixels are filled in from their neighbours. Above 0 is better than
    random.
    """
    torch, _ = load()
    from pytorch_grad_cam.metrics import perturbation_confidence as confidence

    classifier = runtime.classifier(model)
    module: Any = torch.nn.Module

    class Probabilities(module):
        def forward(self, images: Any) -> Any:
            squares = (to_keras(images) * 255).round().clip(0, 255).astype(np.uint8)
            return torch.from_numpy(np.stack([classifier.predict_input(square).probabilities for square in squares]))

    image = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)[np.newaxis], dtype=np.float32) / 255)
    imputer = _imputer(torch)
    orders = (confidence.RemoveLeastRelevantFirst, confidence.RemoveMostRelevantFirst)
    least, most = (
        np.mean(
            [
                confidence.PerturbationConfidenceMetric(order(percentile, imputer))(
                    image, cam[np.newaxis], [lambda output: output[index]], Probabilities()
                )
                for percentile in percentiles
            ]
        )
        for order in orders
    )
    return float(least - most) / 2


def _imputer(torch: Any) -> Callable[[Any, Any], Any]:
    """The package's noisy linear imputation. Its own call passes tensors to NumPy in a way that NumPy 2.4 rejects, so
    its equations are solved here."""
    from pytorch_grad_cam.metrics.road import NoisyLinearImputer, neighbors_weights

    generator = np.random.default_rng(0)
    noise = NoisyLinearImputer().noise

    def impute(image: Any, shown: Any) -> Any:
        filled = image.numpy().reshape(len(image), -1).copy()
        missing = np.flatnonzero(shown.numpy() == 0)
        left, right = NoisyLinearImputer.setup_sparse_system(shown.numpy(), image.numpy(), neighbors_weights)
        values = spsolve(csc_matrix(left), right)
        filled[:, missing] = values.T + noise * generator.normal(size=values.T.shape)
        return torch.from_numpy(filled.reshape(image.shape))

    return impute
