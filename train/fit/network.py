"""The networks: a published backbone with a new head, or a small network from a tutorial."""

import os
import re
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import keras
from keras import layers

from skinapp.errors import DataError
from skinapp.inference import registry


def vgg16(include_top: bool, weights: str | None, input_shape: tuple[int, int, int]) -> keras.Model:
    """Keras's VGG16 for RGB 0-255: its preprocessing (BGR, minus the ImageNet means) is included."""
    images = keras.Input(input_shape)
    bgr = layers.Rescaling(1.0, offset=[-103.939, -116.779, -123.68])(images[..., ::-1])
    return keras.applications.VGG16(include_top=include_top, weights=weights, input_tensor=bgr)


ARCHITECTURES: dict[str, Callable[..., keras.Model]] = {
    "efficientnetb1": keras.applications.EfficientNetB1,
    "efficientnetv2b0": keras.applications.EfficientNetV2B0,
    "vgg16": vgg16,
}
"""Functions of `include_top`, `weights` and `input_shape` that build a backbone without a head."""


def cnn64(size: int, classes: int, dropout: float) -> keras.Model:
    """A tutorial's benign/malignant network: three convolutions, one dense layer, one output; L2 of 0.001."""
    decay = keras.regularizers.L2(0.001)
    images = keras.Input((size, size, 3))
    x = layers.Rescaling(1 / 255)(images)
    for filters in (32, 64, 128):
        x = layers.Conv2D(filters, 3, activation="relu", kernel_regularizer=decay)(x)
        x = layers.MaxPooling2D()(layers.BatchNormalization()(x))
    x = layers.Dense(128, activation="relu", kernel_regularizer=decay, name="embedding")(layers.Flatten()(x))
    return keras.Model(images, _one_output(layers.Dropout(dropout)(x)), name="cnn64")


def mlp64(size: int, classes: int, dropout: float) -> keras.Model:
    """The pixels, two dense layers, one output."""
    images = keras.Input((size, size, 3))
    x = layers.Flatten()(layers.Rescaling(1 / 255)(images))
    x = layers.Dropout(dropout)(layers.Dense(256, activation="relu")(x))
    x = layers.Dense(128, activation="relu", name="embedding")(x)
    return keras.Model(images, _one_output(layers.Dropout(dropout)(x)), name="mlp64")


def cnn32(size: int, classes: int, dropout: float) -> keras.Model:
    """The seven-class network that a tutorial's architecture search produced."""
    images = keras.Input((size, size, 3))
    x = layers.Rescaling(1 / 255)(images)
    for filters in (256, 128, 64):
        x = layers.Dropout(dropout)(layers.MaxPooling2D()(layers.Conv2D(filters, 3, activation="relu")(x)))
    x = layers.Dense(32, name="embedding")(layers.Flatten()(x))
    return keras.Model(images, layers.Dense(classes, name="logits", dtype="float32")(x), name="cnn32")


SMALL: dict[str, Callable[[int, int, float], keras.Model]] = {"cnn64": cnn64, "mlp64": mlp64, "cnn32": cnn32}
"""Whole networks, without class maps: RGB 0-255 [n, size, size, 3] -> logits [n, classes]."""


def build(architecture: str, size: int, classes: int, init: str, dropout: float = 0.0) -> keras.Model:
    """RGB 0-255 [n, size, size, 3] -> logits [n, classes].

    `init` is `imagenet` (downloaded by Keras), `none`, a backbone weights file (.h5) in the folder SKINAPP_WEIGHTS, or
    a whole model whose backbone is reused: the id of one in models/ or the path of a .keras file. Before the layer
    `logits` is the layer `embedding`, which for a backbone is the average of its last activation.
    """
    if architecture in SMALL:
        return SMALL[architecture](size, classes, dropout)
    base = ARCHITECTURES[architecture](
        include_top=False, weights="imagenet" if init == "imagenet" else None, input_shape=(size, size, 3)
    )
    file = initial_file(init)
    try:
        with warnings.catch_warnings():
            # if a file lacks a layer, Keras only warns and leaves its weights random
            warnings.filterwarnings("error", message="Skipping", category=UserWarning)
            if file and file.suffix == ".keras":
                source = keras.saving.load_model(file, compile=False)
                copy_weights(keras.Model(source.input, source.get_layer("embedding").input), base)
            elif file:
                base.load_weights(file)
    except (ValueError, OSError, UserWarning) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"The weights of init '{init}' do not fit the network '{architecture}' ({reason}).") from None
    embedding = layers.GlobalAveragePooling2D(name="embedding")(base.output)
    logits = layers.Dense(classes, name="logits", dtype="float32")(
        layers.Dropout(dropout, name="head_dropout")(embedding)
    )
    return keras.Model(base.input, logits, name=architecture)


def initial_file(init: str) -> Path | None:
    """The file of initial weights that `init` names, or None. DataError if the file is missing."""
    if init in ("imagenet", "none"):
        return None
    if init.endswith(".keras"):
        return Path(init)
    if not init.endswith(".h5"):
        return registry.model(init).folder / "model.keras"
    path = Path(os.environ.get("SKINAPP_WEIGHTS", "weights")) / init
    if not path.is_file():
        raise DataError(f"There is no weights file {path}; set SKINAPP_WEIGHTS, or use 'init: imagenet'.")
    return path


def resized(network: keras.Model, architecture: str, size: int, dropout: float) -> keras.Model:
    """A network with the same weights for another image size; padding, and so the graph, depends on the size."""
    other = build(architecture, size, network.output_shape[-1], "none", dropout)
    copy_weights(network, other)
    return other


def copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Copy all weights of one network into another with the same layers."""
    # via a file, since layers with derived state (input normalisation) update it only on loading
    with tempfile.TemporaryDirectory() as folder:
        source.save_weights(Path(folder) / "all.weights.h5")
        target.load_weights(Path(folder) / "all.weights.h5")


def freeze(network: keras.Model, blocks: int) -> None:
    """Freeze the stem and the first `blocks` blocks, batch-norm statistics included; the rest trains.

    The head, starting with the layer `embedding`, always trains. With all blocks frozen, nothing else does.
    """
    frozen = blocks > 0
    for layer in network.layers:
        block = re.match(r"block(\d+)", layer.name)
        frozen = frozen and layer.name != "embedding" and not (block and int(block[1]) > blocks)
        layer.trainable = not frozen


def _one_output(embedding: keras.KerasTensor) -> keras.KerasTensor:
    """One dense output z as the two logits [0, z], so that the softmax of both is the sigmoid of z."""
    z = layers.Dense(1, dtype="float32", name="malignant")(embedding)
    return layers.Concatenate(name="logits")([layers.Rescaling(0.0, dtype="float32")(z), z])
