"""Copies of a model with random weights, to test whether a map looks the same without learning.

Adebayo et al. 2018, https://arxiv.org/abs/1810.03292.
"""

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np

from skinapp.attention.gradients import keras_network
from skinapp.attention.randomisation import SEED
from skinapp.inference import registry
from skinapp.inference.registry import Model

PARTS = ("head", "network")
"""The part that is randomised: the last dense layer alone, or every layer."""


def untrained(model: Model, part: str, folder: Path, seed: int = SEED) -> Model:
    """A complete model below `folder`, like `model` but with random weights in `part`. It is made once and then
    reused."""
    target = folder / part / model.id
    if (target / "model.json").exists():
        return registry.read_model(target)
    import keras

    from train.fit.network import build, copy_weights
    from train.publish.export import save_compressed, to_litert

    keras.utils.set_random_seed(seed)
    network = build(model.card["architecture"]["name"], model.input_size, len(model.labels.codes), "none")
    if part == "head":
        # get_weights may return the variable's own memory, which the next line overwrites
        kernel, bias = (weights.copy() for weights in network.get_layer("logits").get_weights())
        copy_weights(keras_network(model), network)
        network.get_layer("logits").set_weights([kernel, np.zeros_like(bias)])
    target.mkdir(parents=True, exist_ok=True)
    for name in ("README.md", "history.csv", "predictions.csv"):
        shutil.copy(model.folder / name, target)
    save_compressed(network, target / "model.keras")
    (target / "model.tflite").write_bytes(to_litert(network))
    write_card(dataclasses.replace(model, folder=target), ("model.keras", "model.tflite"))
    return registry.read_model(target)


def write_card(model: Model, changed: tuple[str, ...]) -> None:
    """Write the model's `model.json` with new hashes for the files that were added or changed."""
    card = dict(model.card)
    card["files"] = {name: entry for name, entry in card["files"].items() if (model.folder / name).exists()}
    for name in changed:
        content = (model.folder / name).read_bytes()
        card["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    card["files"] = dict(sorted(card["files"].items()))
    partial = model.folder / "partial-model.json"
    partial.write_text(json.dumps(card, indent=2) + "\n")
    partial.replace(model.folder / "model.json")
