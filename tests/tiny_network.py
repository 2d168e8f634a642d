"""A model with a network of a few hundred weights, with layers named like those of EfficientNets."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from skinapp.inference import registry

SIDE = 32


def network(classes: int, seed: int) -> Any:
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    images = keras.Input((SIDE, SIDE, 3))
    x = layers.Rescaling(1 / 127.5, offset=-1)(images)
    for name, filters, strides in (("stem", 8, 2), ("block1a", 8, 1), ("top", 16, 2)):
        x = layers.Conv2D(filters, 3, strides, "same", name=f"{name}_conv", activation="swish")(x)
    embedding = layers.GlobalAveragePooling2D(name="embedding")(x)
    return keras.Model(images, layers.Dense(classes, name="logits")(embedding))


def make(source: registry.Model, root: Path, seed: int = 1, randomised_head: bool = False) -> registry.Model:
    """A copy of `source` in `root` with a tiny network; optionally with the same random head as the sanity check's
    copies."""
    import keras

    from skinapp.attention.randomisation import SEED
    from train.publish.export import save_compressed, to_litert

    folder = root / source.id
    # the index of similar cases belongs to the embedding of the other network
    shutil.copytree(source.folder, folder, ignore=shutil.ignore_patterns("similar.*"))
    tiny = network(len(source.labels.codes), seed)
    if randomised_head:
        keras.utils.set_random_seed(SEED)
        fresh = keras.models.clone_model(tiny)
        tiny.get_layer("logits").set_weights(fresh.get_layer("logits").get_weights())
    save_compressed(tiny, folder / "model.keras")
    (folder / "model.tflite").write_bytes(to_litert(tiny))
    card = json.loads((folder / "model.json").read_text())
    card["input"]["size"] = SIDE
    card["outputs"] |= {"class_maps": [SIDE // 4, SIDE // 4, len(source.labels.codes)], "embedding": [16]}
    card["files"] = {name: entry for name, entry in card["files"].items() if (folder / name).exists()}
    for name in ("model.keras", "model.tflite"):
        content = (folder / name).read_bytes()
        card["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    (folder / "model.json").write_text(json.dumps(card))
    return registry.read_model(folder)
