"""Maps of copies of a network whose parts have not learnt: would this map look the same without what was learnt?

The cascading randomisation of Adebayo et al. 2018, arXiv:1810.03292: first the head is drawn anew, then block after
block towards the image. TensorFlow is loaded on first use.
"""

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from skinapp.attention.gradients import keras_network
from skinapp.inference.registry import Model

SEED = 20_260
"""None that training starts from: a trained last layer still resembles the random one that it began as."""
HEAD = "the head"
PART = re.compile(r"block\d+")


def cascade(
    model: Model, pixels: np.ndarray, index: int, progress: Callable[[float], None] | None = None
) -> dict[str, np.ndarray]:
    """Grad-CAM of class `index` at the last convolution, float32 [h, w] in 0-1, of uint8 `pixels` [S, S, 3], by what
    was drawn anew last; everything nearer to the head is new as well.

    ModelError where TensorFlow or the network is not here.
    """
    import keras

    trained = keras_network(model)
    keras.utils.set_random_seed(SEED)
    # a clone has the layers, and weights of its own
    fresh, copy = keras.models.clone_model(trained), keras.models.clone_model(trained)
    copy.set_weights(trained.get_weights())
    features = keras.Model(copy.input, copy.get_layer("embedding").input)
    image = pixels[np.newaxis].astype(np.float32)
    maps = {}
    parts = _parts(trained)
    for number, (name, layers) in enumerate(parts.items(), 1):
        for layer in layers:
            copy.get_layer(layer).set_weights(fresh.get_layer(layer).get_weights())
        kernel, _ = copy.get_layer("logits").get_weights()
        positive = np.maximum(features(image, training=False)[0].numpy() @ kernel[:, index], 0)
        peak = positive.max()
        maps[name] = (positive / peak if peak > 0 else positive).astype(np.float32)
        if progress:
            progress(number / len(parts))
    return maps


def _parts(network: Any) -> dict[str, list[str]]:
    """The layers with weights, by part, from the head to the stem."""
    parts: dict[str, list[str]] = {HEAD: []}
    for layer in reversed(network.layers):
        if not layer.weights or layer.__class__.__name__ == "Normalization":
            continue
        found = PART.match(layer.name)
        name = found[0].replace("block", "block ") if found else "the stem"
        if layer.name == "logits":
            name = HEAD
        elif layer.name.startswith("top_"):
            name = "the last convolution"
        parts.setdefault(name, []).append(layer.name)
    return parts
