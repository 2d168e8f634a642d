"""A pair of tiny networks, based on a bundled model."""

import json
import shutil
from pathlib import Path
from typing import Any

from skinapp.inference import registry
from tests.committee import OPERATING_POINT, member, write
from tests.tiny_network import SIDE

WEIGHTS = (0.7, 0.4)
FILES = ("dermoscopy.tflite", "close-up.tflite")


def make(source: registry.Model, root: Path, weights: tuple[float, float] = WEIGHTS) -> registry.Model:
    """A pair `pair` in `root`: tiny networks of different weights for the dermoscopy image and the close-up."""
    folder = root / "pair"
    folder.mkdir(parents=True)
    for name in ("README.md", "predictions.csv", "history.csv"):
        shutil.copy(source.folder / name, folder)
    classes = len(source.labels.codes)
    for number, name in enumerate(FILES, 1):
        (folder / name).write_bytes(member(classes, seed=number))
    card = json.loads((source.folder / "model.json").read_text())
    card |= {
        "id": "pair",
        "kind": "pair",
        "title": "A pair of tiny networks",
        "modality": "dermoscopy and close-up",
        "temperature": 1.0,
    }
    card["input"] |= {"size": SIDE}
    card["outputs"] |= {"class_maps": [SIDE // 4, SIDE // 4, classes], "embedding": [16]}
    card["operating_points"] = [OPERATING_POINT]
    settings = ("stages", "settings", "minutes", "cores", "backend", "note")
    card["pair"] = {
        "pictures": [
            {
                "modality": modality,
                "file": file,
                "weight": weight,
                "alone": {"weight": 0.9, "bias": [0.1 * number for number in range(classes)]},
                "run": f"pair-{modality}",
                "training": {name: card["training"].pop(name) if last else card["training"][name] for name in settings},
                "scores": card["scores"],
                "differences": card["scores"],
            }
            for modality, file, weight, last in zip(
                ("dermoscopy", "smartphone"), FILES, weights, (False, True), strict=True
            )
        ],
        "bias": [0.3, -0.2, *[0.0] * (classes - 2)],
        "adjustment": 0.0,
    }
    write(folder, card)
    return registry.read_model(folder)


def edit(folder: Path, **changes: Any) -> None:
    """Change keys of the card, and update the hashes to those of the files in the folder."""
    write(folder, json.loads((folder / "model.json").read_text()) | changes)
