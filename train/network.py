"""The network: a published backbone, global average pooling, one dense layer. Flat, and saved whole."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import keras

from skinapp.errors import DataError

ARCHITECTURES: dict[str, Callable[..., keras.Model]] = {
    "efficientnetb1": keras.applications.EfficientNetB1,
    "efficientnetv2b0": keras.applications.EfficientNetV2B0,
}


def build(architecture: str, size: int, classes: int, init: str, dropout: float = 0.0) -> keras.Model:
    """RGB 0-255 [n, size, size, 3] -> logits [n, classes].

    `init` is `imagenet` (downloaded by Keras), `none`, or the name of a backbone weights file in the folder that the
    environment variable SKINAPP_WEIGHTS names. The layer `embedding`, the average of the last activation, stands before
    `logits`.
    """
    base = ARCHITECTURES[architecture](
        include_top=False, weights="imagenet" if init == "imagenet" else None, input_shape=(size, size, 3)
    )
    if init not in ("imagenet", "none"):
        base.load_weights(weights_file(init))
    embedding = keras.layers.GlobalAveragePooling2D(name="embedding")(base.output)
    logits = keras.layers.Dense(classes, name="logits", dtype="float32")(
        keras.layers.Dropout(dropout, name="head_dropout")(embedding)
    )
    return keras.Model(base.input, logits, name=architecture)


def resized(network: keras.Model, architecture: str, size: int, dropout: float) -> keras.Model:
    """The same weights in a network for another image size: padding, and so the graph, depends on the size."""
    other = build(architecture, size, network.output_shape[-1], "none", dropout)
    # through a file, since that is when layers with derived state (the input normalisation) bring it up to date
    with tempfile.TemporaryDirectory() as folder:
        network.save_weights(Path(folder) / "all.weights.h5")
        other.load_weights(Path(folder) / "all.weights.h5")
    return other


def weights_file(name: str) -> Path:
    path = Path(os.environ.get("SKINAPP_WEIGHTS", "weights")) / name
    if not path.is_file():
        raise DataError(f"There is no weights file {path}; set SKINAPP_WEIGHTS, or use 'init: imagenet'.")
    return path
