"""Copies of a model with random weights, to test whether a map looks the same without training.

Adebayo et al. 2018, https://arxiv.org/abs/1810.03292.
"""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from skinapp.attention.gradients import keras_network
from skinapp.attention.randomisation import SEED
from skinapp.errors import DataError
from skinapp.inference import registry
from skinapp.inference.registry import Model
from train.publish.folder import write_card

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
        # copied, since get_weights may return the variable's own memory, which the next line overwrites
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


def with_random_head(model: Model, folder: Path, seed: int = SEED) -> Model:
    """The model with random weights in the last layer of each of its networks, below `folder`; it is made each time.

    The weights are replaced in the LiteRT files, which hold them once, in half precision, for the logits and the class
    maps alike. So it needs no Keras network, which a committee lacks. DataError if the weights are not found.
    """
    target = folder / "head" / model.id
    target.mkdir(parents=True, exist_ok=True)
    for file in model.folder.iterdir():
        if file.is_file() and file.name not in ("model.keras", *model.weights):
            shutil.copy(file, target)
    for number, name in enumerate(model.weights):
        (target / name).write_bytes(random_head(model, (model.folder / name).read_bytes(), seed + number))
    write_card(dataclasses.replace(model, folder=target), model.weights)
    return registry.read_model(target)


def random_head(model: Model, content: bytes, seed: int) -> bytes:
    """A LiteRT file with weights of Glorot and Bengio (2010) in the last layer, and unchanged biases."""
    classes, width = len(model.labels.codes), model.card["outputs"]["embedding"][0]
    interpreter = Interpreter(model_content=content)
    details = interpreter.get_tensor_details()
    kernels = {
        interpreter.get_tensor(detail["index"]).tobytes()
        for detail in details
        if detail["dtype"] == np.float16 and [size for size in detail["shape"] if size > 1] == [classes, width]
    }
    if len(kernels) != 1 or content.count(kernel := kernels.pop()) != 1:
        raise DataError(f"The last layer of the model '{model.id}' was not found in its LiteRT file; export it again.")
    reach = np.sqrt(6 / (classes + width))
    random = np.random.default_rng(seed).uniform(-reach, reach, (classes, width)).astype(np.float16)
    return content.replace(kernel, random.tobytes())
