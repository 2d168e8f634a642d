"""Keras on PyTorch: batch normalisation by PyTorch's own kernel, instead of a dozen elementwise operations."""

from typing import Any

import keras


def install() -> None:
    """Use PyTorch's kernel, which halves the time of a training step on a CPU; does nothing on other backends."""
    if keras.backend.backend() == "torch":
        keras.layers.BatchNormalization.call = batch_normalisation


def batch_normalisation(
    layer: keras.layers.BatchNormalization, inputs: Any, training: Any = None, mask: Any = None
) -> Any:
    """`keras.layers.BatchNormalization.call` of inputs [n, h, w, c] or [n, c], without a mask.

    PyTorch's moving variance is of the sample, n / (n - 1) times Keras's, with n the values per channel.
    """
    import torch

    # channels first for PyTorch, in the memory order of channels last, which its kernels accept
    planes = inputs.permute(0, 3, 1, 2) if inputs.ndim == 4 else inputs
    normalised = torch.nn.functional.batch_norm(
        planes,
        layer.moving_mean.value,
        layer.moving_variance.value,
        layer.gamma.value,
        layer.beta.value,
        training=bool(training and layer.trainable),
        momentum=1 - layer.momentum,
        eps=layer.epsilon,
    )
    return normalised.permute(0, 2, 3, 1) if inputs.ndim == 4 else normalised
