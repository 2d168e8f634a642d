"""A model's network in Keras: features, and gradients of a score. TensorFlow is loaded on first use."""

import functools
from pathlib import Path
from typing import Any

import numpy as np

from skinapp.errors import ModelError
from skinapp.inference import registry
from skinapp.inference.architecture import block, blocks
from skinapp.inference.registry import Model

BATCH = 8
"""Images whose gradients are taken at once: what 1 GB of memory is enough for."""


def features_and_slopes(
    model: Model, pixels: np.ndarray, direction: np.ndarray, name: str | None
) -> tuple[np.ndarray, np.ndarray]:
    """A block's features [h, w, C] for uint8 [S, S, 3], and the score's gradient with respect to them [h, w, C].

    The first call for a model builds one graph for all of its blocks and takes some seconds. ModelError where there
    is no such block or no TensorFlow.
    """
    chosen = block(model, name)
    features, slopes = _function("blocks", model)(
        pixels[np.newaxis].astype(np.float32), direction[np.newaxis].astype(np.float32)
    )
    return features[chosen.name][0].numpy(), slopes[chosen.name][0].numpy()


def input_slopes(model: Model, images: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """The score's gradient with respect to images [n, S, S, 3], values 0-255: float32 of the same shape."""
    run = _function("input", model)
    found = np.empty(images.shape, np.float32)
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH].astype(np.float32)
        found[start : start + BATCH] = run(batch, np.repeat(direction[np.newaxis], len(batch), 0)).numpy()
    return found


def keras_network(model: Model) -> Any:
    """The model's network, a keras.Model, loaded once per process. ModelError where it or TensorFlow is not here."""
    block(model, None)
    return loaded(*key(model))


def key(model: Model) -> tuple[str, str, str]:
    return model.id, str(model.folder), model.card["files"]["model.keras"]["sha256"]


def _function(kind: str, model: Model) -> Any:
    keras_network(model)
    return _traced(kind, *key(model))


@functools.lru_cache(maxsize=4)
def loaded(model_id: str, folder: str, sha256: str) -> Any:
    try:
        import keras
        import tensorflow  # noqa: F401
    except ImportError as error:
        raise ModelError(
            f"This method needs TensorFlow, which is not installed ({error}). Grad-CAM at the last convolution, "
            "occlusion and RISE work without it; `.venv/bin/python -m pip install -r requirements.txt` adds it."
        ) from error
    model = registry.read_model(Path(folder))
    registry.verified_bytes(model, "model.keras")
    return keras.saving.load_model(model.folder / "model.keras", compile=False)


@functools.lru_cache(maxsize=8)
def _traced(kind: str, model_id: str, folder: str, sha256: str) -> Any:
    """A graph from images [n, S, S, 3] and directions [n, K] to gradients of the score logits * direction.

    `blocks` gives features and gradients of every block by name, `input` the gradient at the image.
    """
    import keras
    import tensorflow as tf

    network = loaded(model_id, folder, sha256)
    layers = {one.name: one.layer for one in blocks(registry.read_model(Path(folder)))}
    outputs = keras.Model(
        network.input, [network.output, *(network.get_layer(layer).output for layer in layers.values())]
    )
    images = tf.TensorSpec((None, *network.input_shape[1:]), tf.float32)
    directions = tf.TensorSpec((None, network.output_shape[-1]), tf.float32)

    def of_blocks(image: Any, direction: Any) -> Any:
        with tf.GradientTape() as tape:
            logits, *features = outputs(image, training=False)
            score = tf.reduce_sum(logits * direction)
        slopes = tape.gradient(score, features)
        return dict(zip(layers, features, strict=True)), dict(zip(layers, slopes, strict=True))

    def of_input(image: Any, direction: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(image)
            score = tf.reduce_sum(network(image, training=False) * direction)
        return tape.gradient(score, image)

    return tf.function(of_blocks if kind == "blocks" else of_input, input_signature=[images, directions])
