"""A committee of tiny networks, based on a bundled model."""

import functools
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from skinapp.inference import registry
from skinapp.inference.views import VIEWS
from tests.tiny_network import SIDE, network

OPERATING_POINT = {
    "id": "cancer-95",
    "classes": ["akiec", "bcc", "mel"],
    "sensitivity": 0.95,
    "threshold": 0.001,
    "measured": [
        {
            "name": name,
            "images": 100,
            "sensitivity": {"value": 0.95, "low": 0.9, "high": 0.98},
            "specificity": {"value": specificity, "low": 0.5, "high": 0.7},
        }
        for name, specificity in (("HAM10000, out of fold", 0.65), ("HAM10000", 0.61))
    ],
}


def make(source: registry.Model, root: Path, members: int = 3, views: tuple[str, ...] = tuple(VIEWS)) -> registry.Model:
    """A committee `committee` in `root`: tiny networks of different weights that see these views."""
    folder = root / "committee"
    folder.mkdir(parents=True)
    for name in ("README.md", "predictions.csv", "history.csv"):
        shutil.copy(source.folder / name, folder)
    for number in range(1, members + 1):
        (folder / f"member-{number}.tflite").write_bytes(member(len(source.labels.codes), seed=number))
    card = json.loads((source.folder / "model.json").read_text())
    card |= {"id": "committee", "kind": "committee", "title": "A committee of tiny networks"}
    card["members"] = [{"file": f"member-{number}.tflite", "fold": number - 1} for number in range(1, members + 1)]
    card["input"] |= {"size": SIDE, "views": list(views)}
    card["outputs"] |= {"class_maps": [SIDE // 4, SIDE // 4, len(source.labels.codes)], "embedding": [16]}
    card["operating_points"] = [OPERATING_POINT]
    write(folder, card)
    return registry.read_model(folder)


@functools.cache
def member(classes: int, seed: int) -> bytes:
    """A LiteRT file of a tiny network whose logits vary between images and have a bias."""
    from train.publish.export import to_litert

    tiny = network(classes, seed)
    kernel, _ = tiny.get_layer("logits").get_weights()
    bias = np.random.default_rng(seed).normal(size=classes)
    tiny.get_layer("logits").set_weights([100 * kernel, bias])
    return to_litert(tiny)


def write(folder: Path, card: dict[str, Any]) -> None:
    """Write the card, with the hashes of the files in the folder."""
    card["files"] = {
        file.name: {"sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "size": file.stat().st_size}
        for file in sorted(folder.iterdir())
        if file.name != "model.json"
    }
    (folder / "model.json").write_text(json.dumps(card))
