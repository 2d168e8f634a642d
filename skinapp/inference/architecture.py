"""The convolution blocks of a network at which a map can be made, read from its file without running it."""

import functools
import itertools
import json
import math
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skinapp.errors import ModelError
from skinapp.inference.registry import Model

UNIT = re.compile(r"(stem|block\d+[a-z]|top)_")
"""How Keras names the layers of EfficientNets: by the unit that they belong to."""


@dataclass(frozen=True)
class Block:
    """A unit of the backbone. `layer` is the Keras layer whose output it hands on: [side, side, channels]."""

    name: str
    layer: str
    side: int
    channels: int

    @property
    def title(self) -> str:
        words = {"stem": "Stem", "top": "Last convolution"}.get(self.name, self.name.replace("block", "Block "))
        return f"{words}, {self.side} x {self.side}"


def blocks(model: Model) -> tuple[Block, ...]:
    """From the image to the head; empty where the network is not here, or has no such blocks."""
    file = model.card["files"].get("model.keras")
    return _blocks(str(model.folder), file["sha256"], model.input_size) if file else ()


def block(model: Model, name: str | None) -> Block:
    """The block of that name, by default the last. ModelError where there is none, or the layer has no places."""
    known = {block.name: block for block in blocks(model)}
    if not known:
        raise ModelError(
            f"The network of the model '{model.id}' is not here in a form with gradients; occlusion and RISE work "
            "without them."
        )
    if name is None:
        return list(known.values())[-1]
    if name in known:
        return known[name]
    if name in ("embedding", "head_dropout", "logits"):
        raise ModelError(
            f"The layer '{name}' holds one number for each feature or class and no places of the image, so there is no "
            f"map of it. Choose one of {', '.join(known)}."
        )
    raise ModelError(f"The model '{model.id}' has no block '{name}'; it has {', '.join(known)}.")


@functools.lru_cache(maxsize=16)
def _blocks(folder: str, sha256: str, size: int) -> tuple[Block, ...]:
    try:
        with zipfile.ZipFile(Path(folder) / "model.keras") as file:
            layers = json.loads(file.read("config.json"))["config"]["layers"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return ()
    named = [(match[1], layer) for layer in layers if (match := UNIT.match(layer["config"].get("name", "")))]
    found, channels = [], 0
    for name, group in itertools.groupby(named, key=lambda pair: pair[0]):
        parts = [layer for _, layer in group]
        for layer in parts:
            # the convolutions of squeeze and excitation see no places
            if layer["class_name"] in ("Conv2D", "DepthwiseConv2D") and "_se_" not in layer["config"]["name"]:
                size = math.ceil(size / _first(layer["config"].get("strides", 1)))
                channels = layer["config"].get("filters") or channels
        found.append(Block(name, parts[-1]["config"]["name"], size, channels))
    return tuple(found)


def _first(value: Any) -> int:
    return int(value[0] if isinstance(value, list | tuple) else value)
