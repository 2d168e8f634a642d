"""A model's network in Keras: features, and gradients of a score. TensorFlow is loaded on first use."""

import functools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from skinapp.errors import ModelError
from skinapp.inference import registry
from skinapp.inference.architecture import block, blocks
from skinapp.inference.registry import Model

BATCH = 8
"""Images per gradient computation, chosen to fit into 1 GB of memory."""


@dataclass(frozen=True, eq=False, kw_only=True)
class NetworkCopy(Model):
    """A model whose network is a copy in memory, with weights that may be changed.

    `network` is a keras.Model with the published layers; `graphs` holds its traced graphs, which use the current
    weights on every call.
    """

    network: Any
    graphs: dict[str, Callable] = field(default_factory=dict)


def features_and_gradients(
    model: Model, pixels: np.ndarray, class_weights: np.ndarray, name: str | None
) -> tuple[np.ndarray, np.ndarray]:
    """A block's features [h, w, C] for uint8 [S, S, 3], and the score's gradient with respect to them [h, w, C].

    The first call for a model builds one graph for all of its blocks, which takes some seconds. ModelError if the block
    does not exist or TensorFlow is not installed.
    """
    chosen = block(model, name)
    features, gradients = _graph("blocks", model)(
        pixels[np.newaxis].astype(np.float32), class_weights[np.newaxis].astype(np.float32)
    )
    return features[chosen.name][0].numpy(), gradients[chosen.name][0].numpy()


def input_gradients(model: Model, images: np.ndarray, class_weights: np.ndarray) -> np.ndarray:
    """The score's gradient with respect to images [n, S, S, 3], values 0-255: float32 of the same shape."""
    run = _graph("input", model)
    result = np.empty(images.shape, np.float32)
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH].astype(np.float32)
        result[start : start + BATCH] = run(batch, np.repeat(class_weights[np.newaxis], len(batch), 0)).numpy()
    return result


def logits_and_class_maps(copy: NetworkCopy, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Logits [K] and class maps [h, w, K] of a copy for uint8 [S, S, 3]; None for a network without class maps. For
    published networks LiteRT computes them."""
    logits, features = _graph("logits", copy)(pixels[np.newaxis].astype(np.float32))
    if not copy.has_class_maps:
        return logits[0].numpy(), None
    kernel, _ = copy.network.get_layer("logits").get_weights()
    return logits[0].numpy(), features[0].numpy() @ kernel


def keras_network(model: Model) -> Any:
    """The model's network, a keras.Model, loaded once per process. ModelError if it or TensorFlow is missing."""
    if isinstance(model, NetworkCopy):
        return model.network
    block(model, None)
    return loaded(*key(model))


def key(model: Model) -> tuple[str, str, str]:
    return model.id, str(model.folder), model.card["files"]["model.keras"]["sha256"]


@functools.lru_cache(maxsize=4)
def loaded(model_id: str, folder: str, sha256: str) -> Any:
    try:
        import tensorflow  # noqa: F401
    except ImportError as error:
        raise ModelError(
            f"This method needs TensorFlow, which is not installed ({error}). Grad-CAM at the last convolution, "
            "occlusion and RISE work without it; `.venv/bin/python -m pip install -r requirements.txt` adds it."
        ) from error
    return from_verified_bytes(registry.read_model(Path(folder)))


def from_verified_bytes(model: Model) -> Any:
    """The network in `model.keras`, a keras.Model, from exactly the bytes whose hash was checked, so that a file
    replaced after the check is not loaded. ModelError as for `registry.verified_bytes`."""
    import keras

    with tempfile.TemporaryDirectory() as folder:
        # Keras loads from a path, not from bytes
        file = Path(folder) / "model.keras"
        file.write_bytes(registry.verified_bytes(model, file.name))
        return keras.saving.load_model(file, compile=False)


def _graph(kind: str, model: Model) -> Any:
    if isinstance(model, NetworkCopy):
        if kind not in model.graphs:
            model.graphs[kind] = _traced(kind, model, model.network)
        return model.graphs[kind]
    keras_network(model)
    return _published_graph(kind, *key(model))


@functools.lru_cache(maxsize=8)
def _published_graph(kind: str, model_id: str, folder: str, sha256: str) -> Any:
    return _traced(kind, registry.read_model(Path(folder)), loaded(model_id, folder, sha256))


def _traced(kind: str, model: Model, network: Any) -> Any:
    """A graph over images [n, S, S, 3] and, for gradients, class weights [n, K]; the score is logits * class weights.

    Kind `blocks` returns features and gradients of every block by name, `input` the gradient at the image, `logits` the
    logits and what the head pools: the features of the last convolution, where class maps are made of them.
    """
    import keras
    import tensorflow as tf

    layers = {one.name: one.layer for one in blocks(model)}
    images = tf.TensorSpec((None, *network.input_shape[1:]), tf.float32)
    class_weights = tf.TensorSpec((None, network.output_shape[-1]), tf.float32)
    if kind == "logits":
        last = network.get_layer("embedding").input if model.has_class_maps else network.output
        outputs = keras.Model(network.input, [network.output, last])
        return tf.function(lambda image: outputs(image, training=False), input_signature=[images])
    outputs = keras.Model(
        network.input, [network.output, *(network.get_layer(layer).output for layer in layers.values())]
    )

    def block_gradients(image: Any, weights: Any) -> Any:
        with tf.GradientTape() as tape:
            logits, *features = outputs(image, training=False)
            score = tf.reduce_sum(logits * weights)
        gradients = tape.gradient(score, features)
        return dict(zip(layers, features, strict=True)), dict(zip(layers, gradients, strict=True))

    def image_gradient(image: Any, weights: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(image)
            score = tf.reduce_sum(network(image, training=False) * weights)
        return tape.gradient(score, image)

    return tf.function(block_gradients if kind == "blocks" else image_gradient, input_signature=[images, class_weights])
