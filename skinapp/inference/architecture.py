"""The convolution blocks of a network, from its card, or read from its file without running it: for maps and for the
diagram."""

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
"""Keras names the layers of EfficientNets by the unit that they belong to."""


@dataclass(frozen=True)
class Block:
    """A unit of the backbone. `layer` is the Keras layer that gives its output [side, side, channels]; `kernel` is the
    side of its largest kernel."""

    name: str
    layer: str
    side: int
    channels: int
    kernel: int

    @property
    def stage(self) -> str:
        """The number shared by the blocks of one stage, "5" for "block5e"; empty for the stem and the last
        convolution."""
        return "".join(letter for letter in self.name if letter.isdigit())

    @property
    def title(self) -> str:
        words = {"stem": "Stem", "top": "Last convolution"}.get(self.name, self.name.replace("block", "Block "))
        return f"{words}, {self.side} x {self.side}"


def blocks(model: Model) -> tuple[Block, ...]:
    """The blocks from the image to the head: those listed in the card, or those recognised by the names of the layers.
    Empty if the network is not in the folder or its layers have other names."""
    file = model.card["files"].get("model.keras")
    if file and "blocks" in model.card["architecture"]:
        return tuple(Block(**one) for one in model.card["architecture"]["blocks"])
    return _blocks(str(model.folder), file["sha256"], model.input_size) if file else ()


def block(model: Model, name: str | None) -> Block:
    """The block of that name, by default the last. ModelError if there is none, or the layer is not a map."""
    known = {block.name: block for block in blocks(model)}
    if not known:
        raise ModelError(
            f"The model '{model.id}' comes without the network that gradients need; occlusion and RISE work without it."
        )
    if name is None:
        return list(known.values())[-1]
    if name in known:
        return known[name]
    if name in ("embedding", "head_dropout", "logits"):
        raise ModelError(
            f"The layer '{name}' has one number for each feature or class, not one for each part of the image, so "
            f"there is no map of it. Choose one of {', '.join(known)}."
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
    units, channels = [], 0
    for name, group in itertools.groupby(named, key=lambda pair: pair[0]):
        parts = [layer for _, layer in group]
        kernel = 1
        for layer in parts:
            # the convolutions in squeeze-and-excitation modules see the mean over the image
            if layer["class_name"] in ("Conv2D", "DepthwiseConv2D") and "_se_" not in layer["config"]["name"]:
                size = math.ceil(size / _first(layer["config"].get("strides", 1)))
                channels = layer["config"].get("filters") or channels
                kernel = max(kernel, _first(layer["config"]["kernel_size"]))
        units.append(Block(name, parts[-1]["config"]["name"], size, channels, kernel))
    return tuple(units)


def _first(value: Any) -> int:
    return int(value[0] if isinstance(value, list | tuple) else value)
