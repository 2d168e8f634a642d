"""A record of exactly how a map was made, and the map as a NumPy file, so that others can reproduce and use it."""

import hashlib
import importlib.metadata
import io
import json
from typing import Any

import numpy as np

from skinapp.attention import catalogue, targets
from skinapp.attention.targets import Target
from skinapp.images.imaging import Crop
from skinapp.inference import architecture
from skinapp.inference.registry import Model

LIBRARIES = {
    "litert": ("ai-edge-litert",),
    "tensorflow": ("tensorflow", "keras"),
    "torch": ("torch", "grad-cam"),
}


def describe(
    method_id: str,
    model: Model,
    pixels: np.ndarray,
    target: Target,
    layer: str | None,
    settings: dict[str, Any],
    raw: np.ndarray,
    crop: Crop,
) -> dict[str, Any]:
    """The record of a map `raw` [h, w] of the square `pixels`. A hash identifies the image, never a file name."""
    method = catalogue.method(method_id)
    files = model.weights if method.needs == catalogue.LITERT else ("model.keras",)
    hashes = [model.card["files"][name]["sha256"] for name in files]
    network: dict[str, Any] = {"file": files[0], "sha256": hashes[0]}
    if len(files) > 1:
        network = {"files": dict(zip(files, hashes, strict=True)), "views": list(model.views)}
    return {
        "method": {"id": method.id, "title": method.title, "source": method.source},
        "settings": {**method.settings, **settings},
        "layer": architecture.block(model, layer).layer if method.layered else None,
        "model": {"id": model.id, **network},
        "target": {
            "class": target if isinstance(target, str) else target[0],
            "rather_than": None if isinstance(target, str) else target[1],
            "words": targets.name(model, target),
        },
        "image": {
            "sha256_of_rgb_pixels": hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest(),
            "size": list(pixels.shape[:2]),
            "square": {"x": crop.x, "y": crop.y, "side": crop.side},
            "resize": model.card["input"]["resize"],
        },
        "map": {
            "shape": list(raw.shape),
            "raw": "the method's own values, negative where they are evidence against the class",
            "map": "raw, with values below 0 set to 0, divided by `maximum`",
            "maximum": float(max(raw.max(), 0)),
        },
        "versions": {
            name: importlib.metadata.version(name)
            for part in ("litert", *sorted(method.needs - {"litert"}))
            for name in LIBRARIES[part]
        }
        | {"numpy": np.__version__},
    }


def to_json(record: dict[str, Any]) -> str:
    return json.dumps(record, indent=2) + "\n"


def to_npz(raw: np.ndarray, record: dict[str, Any]) -> bytes:
    """A NumPy archive with `raw` and `map`, float32 [h, w], and the record as the string `json`."""
    file = io.BytesIO()
    np.savez_compressed(file, raw=raw, map=catalogue.scaled(raw), json=np.array(to_json(record)))
    return file.getvalue()
