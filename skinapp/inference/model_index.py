"""A model's scores in machine-readable form: the metadata at the top of its README.md, as the Hugging Face Hub reads
it.

https://huggingface.co/docs/hub/model-cards#model-card-metadata describes the fields.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from skinapp.datasets.registry import DATASETS

Card = Mapping[str, Any]
LICENCES = {"CC BY-NC 4.0": "cc-by-nc-4.0", "CC BY 4.0": "cc-by-4.0", "CC0 1.0": "cc0-1.0", "Apache-2.0": "apache-2.0"}
"""The names of licences on the Hub."""
PIPELINES = {"segmentation": "image-segmentation"}
"""The Hub's task names by kind of model; all other kinds classify."""
OTHER_TASK = "image-classification"
NAMES = {
    "roc auc": "ROC AUC",
    "f1": "F1",
    "brier": "Brier score",
    " malignancy": " for malignancy",
    "dice below": "share with Dice below",
    "dice": "Dice",
    "jaccard": "Jaccard",
    "not found": "share not found",
}
"""Parts of the names of scores that are not written as in their keys."""


def metadata(card: Card) -> dict[str, Any]:
    """The fields for the Hub, in the order of its documentation."""
    licence = LICENCES.get(card["licence"])
    task = PIPELINES.get(card["kind"], OTHER_TASK)
    return {
        "license": licence or "other",
        **({} if licence else {"license_name": card["licence"]}),
        # the Hub knows no library for the trees of a features model
        **({} if card["kind"] == "features" else {"library_name": "tflite"}),
        "pipeline_tag": task,
        "tags": ["dermatology", "skin-lesion", *card["modality"].split(" and ")],
        "model-index": [{"name": card["id"], "results": [_result(task, test) for test in _tests(card)]}],
    }


def score_name(key: str) -> str:
    """The name of a score of a card."""
    words = key.replace("_", " ")
    for part, name in NAMES.items():
        words = words.replace(part, name)
    return words


def _tests(card: Card) -> list[Card]:
    """The test sets on which this network itself was scored, each with its name and scores."""
    # a segmentation network's card names no test data set: it is the same as for training
    first = {"name": card["test"].get("dataset", card["training"]["dataset"]), "scores": card["scores"]}
    return [first, *(test for test in card.get("other_tests", ()) if "predictions" in test)]


def _result(task: str, test: Card) -> dict[str, Any]:
    known = {dataset.name: dataset.id for dataset in DATASETS.values()}
    name = test["name"]
    identifier = known.get(name) or re.sub(r"\W+", "_", name).strip("_").lower()
    return {
        "task": {"type": task},
        "dataset": {"type": identifier, "name": name},
        "metrics": [_metric(key, score) for key, score in test["scores"].items() if not math.isnan(score["value"])],
    }


def _metric(key: str, score: Card) -> dict[str, Any]:
    low, high = score["low"], score["high"]
    interval = "" if low is None or math.isnan(low) else f", 95% interval {low:.4f} to {high:.4f}"
    return {"type": key, "value": score["value"], "name": score_name(key) + interval}
