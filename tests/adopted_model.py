"""Tiny networks that were not made here, labelled pictures for them, and the command that adopts them."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.pictures import lesion

SIDE = 32
CODES = ("wart", "nv", "scar")
"""Two unknown classes, and a known one."""
OPTIONS = ("--labels", "wart,nv,scar=An old scar", "--malignant", "wart", "--modality", "dermoscopy")
HEADS = ("maps", "dense", "odd", "single", "convolution")


def network(head: str, seed: int = 1) -> Any:
    """A network for values 0-1: a nested backbone with a sum of two branches, and one of HEADS."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    inside = keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(8, 3, 2, "same", activation="relu", name="first")(inside)
    x = x + layers.Conv2D(8, 3, 1, "same")(x)
    backbone = keras.Model(inside, layers.Conv2D(16, 3, 2, "same", activation="relu")(x), name="backbone")
    image = keras.Input((SIDE, SIDE, 3))
    x = backbone(image)
    if head == "maps":
        x = layers.Dropout(0.3)(layers.GlobalAveragePooling2D()(x))
        outputs = layers.Dense(3, activation="softmax")(x)
    elif head == "dense":
        # a name that the backbone also uses
        x = layers.Dropout(0.2)(layers.Dense(12, activation="relu", name="first")(layers.Flatten()(x)))
        outputs = layers.Dense(3)(x)
    elif head == "odd":
        x = layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(x))
        outputs = layers.Reshape((3,))(x)
    elif head == "single":
        outputs = layers.Dense(1, activation="sigmoid", use_bias=False)(layers.GlobalAveragePooling2D()(x))
    else:
        x = layers.GlobalAveragePooling2D()(layers.Conv2D(3, 1)(x))
        outputs = layers.Activation("softmax")(x)
    result = keras.Model(image, outputs)
    # far from constant, like a trained network
    result.set_weights([2 * weights for weights in result.get_weights()])
    return result


def pictures(folder: Path, codes: tuple[str, ...] = CODES, count: int = 60, per_lesion: int = 1) -> Path:
    """Labelled pictures in `folder`/images, and their table, whose path is returned."""
    images = folder / "images"
    images.mkdir(parents=True)
    rows = []
    for number in range(count):
        lesion(80, 72, seed=number).save(images / f"p{number:03}.png")
        group = number // per_lesion
        rows.append((f"p{number:03}.png", codes[group % len(codes)], f"L{group}", 30 + number % 40, 1 + number % 6))
    table = pd.DataFrame(rows, columns=["image", "label", "lesion_id", "age", "fitzpatrick"])
    table.to_csv(folder / "table.csv", index=False)
    return folder / "table.csv"


def adopt(file: Path, table: Path, models: Path, model_id: str, *more: str) -> int:
    """The exit code of `python -m train adopt`."""
    from train.__main__ import main

    options = more if "--labels" in more else (*OPTIONS, *more)
    where = ["--images", str(table.parent / "images"), "--table", str(table), "--models", str(models)]
    return main(["adopt", str(file), "--id", model_id, *where, "--preprocessing", "0-1", *options])


def scaled(pixels: np.ndarray) -> np.ndarray:
    """Uint8 values as the networks here take them."""
    return pixels.astype(np.float32) / 255
