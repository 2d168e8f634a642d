"""Checks that a model's card agrees with the other files in its folder."""

import fnmatch
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skinapp.evaluation import metrics, operating_points
from skinapp.inference import registry


def table(model: registry.Model, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Class indices [n] and probabilities [n, classes] of one of the model's files."""
    rows = pd.read_csv(model.folder / name)
    codes = model.labels.codes
    return rows["label"].map(codes.index).to_numpy(), rows[[f"p_{code}" for code in codes]].to_numpy()


def check_further_tests(model: registry.Model) -> None:
    """Each predictions file of a further test set is listed, and its scores are those of the card."""
    listed = {test["predictions"]: test for test in model.card.get("other_tests", ()) if "predictions" in test}
    assert set(listed) == {name for name in model.card["files"] if fnmatch.fnmatch(name, "predictions-*.csv")}
    for name, test in listed.items():
        labels, probabilities = table(model, name)
        assert len(labels) == test["images"]
        for score in ("accuracy", "balanced_accuracy"):
            value = getattr(metrics, score)(labels, probabilities, np.ones((1, len(labels))))[0]
            assert value == pytest.approx(test["scores"][score]["value"], abs=2e-4)


def check_operating_points(model: registry.Model) -> None:
    """Thresholds follow from the out-of-fold predictions alone, and reach their sensitivity there."""
    points = operating_points.of_card(model.card)
    if "out_of_fold.csv" in model.card["files"]:
        assert points
        labels, probabilities = table(model, "out_of_fold.csv")
        assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
        chosen = {point.id: point.threshold for point in operating_points.choose(model.labels, labels, probabilities)}
        # the file of a two-class model does not say which malignant images are melanomas
        assert chosen
        assert {point.id: point.threshold for point in points if point.id in chosen} == chosen
        assert next(iter(points[0].measured.values()))[0].value >= points[0].sensitivity - 1e-9


def change_byte(file: Path) -> None:
    """Change one byte in the middle of a file."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def with_own_tests_alone(model_id: str, root: Path) -> registry.Model:
    """A copy of a bundled model below `root` that has no predictions for further test sets."""
    bundled = registry.model(model_id)
    folder = root / model_id
    shutil.copytree(bundled.folder, folder, ignore=shutil.ignore_patterns("predictions-*.csv"))
    card = bundled.card | {"other_tests": [one for one in bundled.card["other_tests"] if "predictions" not in one]}
    card["files"] = registry.fingerprint(folder)
    (folder / registry.CARD_FILE).write_text(json.dumps(card))
    return registry.read_model(folder)
