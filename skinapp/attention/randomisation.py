"""Maps of copies of a network with randomised weights: does the map depend on what the network learned?

The cascading randomisation of Adebayo et al. 2018, arXiv:1810.03292: first the head is randomised, then block after
block towards the image. Maps are only compared with maps of the same method.
TensorFlow is loaded on first use.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from skinapp.attention import faithfulness
from skinapp.attention.gradients import NetworkCopy, keras_network
from skinapp.attention.sanity_check import MAX_SIMILARITY
from skinapp.inference.registry import Model

SEED = 20_260
"""Different from the seeds of training: a trained last layer still resembles its random initial weights."""
HEAD = "head"
PART = re.compile(r"block\d+")


def cascade(
    model: Model,
    explain: Callable[[Model], np.ndarray],
    every_part: bool = True,
    progress: Callable[[float], None] | None = None,
) -> dict[str, np.ndarray]:
    """The maps [h, w] that `explain` makes of randomised copies, by the last part that was randomised.

    All parts nearer to the head are also random. Without `every_part`, only the copies with a random head and with all
    weights random are explained. ModelError if TensorFlow or the network is missing.
    """
    maps = {}
    for name, copy, share in _copies(model, every_part):
        maps[name] = explain(copy)
        if progress:
            progress(share)
    return maps


def similarities(cam: np.ndarray, maps: dict[str, np.ndarray]) -> dict[str, float]:
    """The rank correlation of a map [h, w] with the map of each copy."""
    return {name: faithfulness.similarity(other, cam) for name, other in maps.items()}


def passed(correlations: dict[str, float]) -> bool:
    """Whether the map changes when weights are randomised: no copy has a similar map."""
    return max(correlations.values()) <= MAX_SIMILARITY


def _copies(model: Model, every_part: bool) -> Iterator[tuple[str, NetworkCopy, float]]:
    """Each part's name, the copy (always the same object) randomised down to it, and the share of parts done."""
    # raises ModelError if keras is missing
    trained = keras_network(model)
    import keras

    keras.utils.set_random_seed(SEED)
    # a clone has the same layers with its own weights
    fresh, network = keras.models.clone_model(trained), keras.models.clone_model(trained)
    network.set_weights(trained.get_weights())
    copy = NetworkCopy(**{name: getattr(model, name) for name in Model.__dataclass_fields__}, network=network)
    parts = _parts(trained)
    for number, (name, layers) in enumerate(parts.items(), 1):
        for layer in layers:
            network.get_layer(layer).set_weights(fresh.get_layer(layer).get_weights())
        if every_part or number in (1, len(parts)):
            yield name, copy, number / len(parts)


def _parts(network: Any) -> dict[str, list[str]]:
    """The layers with weights, by part, from the head to the stem."""
    parts: dict[str, list[str]] = {HEAD: []}
    for layer in reversed(network.layers):
        if not layer.weights or layer.__class__.__name__ == "Normalization":
            continue
        match = PART.match(layer.name)
        name = match[0].replace("block", "block ") if match else "stem"
        if layer.name == "logits":
            name = HEAD
        elif layer.name.startswith("top_"):
            name = "last convolution"
        parts.setdefault(name, []).append(layer.name)
    return parts
