"""A model with patient metadata, based on a bundled one."""

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from skinapp.inference import metadata, registry
from skinapp.inference.metadata import Field, Fusion

QUESTIONS = {question.name: question for question in metadata.QUESTIONS}


def _coded(name: str, **coding: Any) -> Field:
    return dataclasses.replace(QUESTIONS[name], coding=coding)


FIELDS = (
    _coded("age", seen=[20, 90], log=False, knots=[50], centre=[60, 12], spread=[10, 8]),
    _coded("sex", centre=[0.6, 0.4], spread=[1, 1]),
    _coded("itch", centre=[0.25], spread=[1]),
    _coded("diameter_1", seen=[2, 20], log=True, knots=[], centre=[2], spread=[1]),
)
FUSION = Fusion(2.0, np.array([0.5, -0.5]), np.arange(12.0).reshape(6, 2))


def make(
    source: registry.Model, root: Path, model_id: str, modality: str, rank: float = 0.99, older: float = 3.0
) -> registry.Model:
    """A copy of `source` in `root` with FIELDS, this modality and this balanced accuracy.

    Age increases the logit of the model's first class by `older`; no other field has an effect.
    """
    folder = root / model_id
    shutil.copytree(source.folder, folder)
    classes = len(source.labels.codes)
    weights = np.zeros((6, classes))
    weights[0, 0] = older
    fusion = Fusion(1.0, np.zeros(classes), weights)
    (folder / metadata.WEIGHTS_FILE).write_text(metadata.to_json(fusion, FIELDS))
    card = json.loads((folder / "model.json").read_text())
    card |= {"id": model_id, "title": f"A clinical model, {model_id}", "short_name": f"Clinical, {model_id}"}
    card["modality"] = modality
    card["inputs"] = {"clinical": metadata.described(FIELDS)}
    for scores in (card["scores"], card["validation"]):
        scores["balanced_accuracy"]["value"] = rank
    content = (folder / metadata.WEIGHTS_FILE).read_bytes()
    card["files"][metadata.WEIGHTS_FILE] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    (folder / "model.json").write_text(json.dumps(card))
    return registry.read_model(folder)
