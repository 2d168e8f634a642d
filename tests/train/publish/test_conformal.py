"""Prediction sets: from evaluate and export, and added to a model that was exported without them."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from skinapp.inference import conformal, registry
from tests.train.conftest import Published
from train.__main__ import main as train


def without_sets(published: Published, root: Path, **validation: float) -> registry.Model:
    """A copy of the model without prediction sets, and with other validation scores."""
    folder = shutil.copytree(published.models / published.config.id, root / published.config.id)
    card: dict[str, Any] = json.loads((folder / registry.CARD_FILE).read_text())
    del card["conformal"], card["operating_points"]
    for name, value in validation.items():
        card["validation"][name]["value"] = value
    (folder / registry.CARD_FILE).write_text(json.dumps(card))
    return registry.read_model(folder)


def thresholds(model: registry.Model) -> np.ndarray:
    stored = conformal.of_model(model)
    assert stored is not None
    return np.array(list(stored.thresholds.values()))


def command(published: Published, models: Path) -> list[str]:
    config = published.runs.parent / "tiny.yaml"
    return ["conformal", "--model", published.config.id, "--config", str(config), "--models", str(models)]


def test_the_sets_of_a_cross_validation_come_from_its_out_of_fold_predictions(
    crossed: Published, tmp_path: Path
) -> None:
    exported = registry.read_model(crossed.models / "crossed")
    stored = exported.card["conformal"]
    assert stored["images"] == "HAM10000, out of fold"
    # two lesions of each class were held out, three images
    assert {one["groups"] for one in stored["classes"].values()} == {2}
    table = pd.read_csv(exported.folder / "predictions.csv")
    own = table[table["label"] == "mel"].drop_duplicates("group")["p_mel"]
    # at 80%, a fifth may be left out: none of three
    assert own.min() > 0
    assert stored["classes"]["mel"]["thresholds"] == [0.0] * 4
    old = without_sets(crossed, tmp_path)
    assert train(command(crossed, tmp_path)) == 0
    new = registry.read_model(old.folder)
    assert (thresholds(new) == thresholds(exported)).all()
    for point, same in zip(new.card["operating_points"], exported.card["operating_points"], strict=True):
        assert point["threshold"] == pytest.approx(same["threshold"], abs=2e-6)
        # the images that chose the points are those that are tested
        assert [row["name"] for row in point["measured"]] == ["HAM10000, out of fold"]


@pytest.mark.usefixtures("tiny")
def test_validation_images_are_classified_again(published: Published, tmp_path: Path) -> None:
    exported = registry.read_model(published.models / "tiny")
    assert exported.card["conformal"]["images"] == "Validation images"
    old = without_sets(published, tmp_path)
    assert train(command(published, tmp_path)) == 0
    new = registry.model("tiny", tmp_path)
    assert new.card["conformal"]["classes"].keys() == exported.card["conformal"]["classes"].keys()
    assert thresholds(new) == pytest.approx(thresholds(exported), abs=0.02)
    assert new.card["changelog"][-1]["changes"] == "Prediction sets and operating points."
    for point, same in zip(new.card["operating_points"], exported.card["operating_points"], strict=True):
        assert point["threshold"] == pytest.approx(same["threshold"], abs=0.02)
        chosen, tested = point["measured"]
        assert chosen["sensitivity"]["value"] >= point["sensitivity"]
        assert (tested["name"], tested["images"]) == ("HAM10000", same["measured"][1]["images"])
        assert set(tested) == {"name", "images", "sensitivity", "specificity", "accuracy"}
    assert new.card["version"] != old.card["version"]
    assert "## Prediction sets" in (new.folder / "README.md").read_text()
    for name in ("predictions.csv", "model.tflite"):
        assert new.card["files"][name] == old.card["files"][name]


@pytest.mark.usefixtures("tiny")
def test_other_images_than_those_of_the_model_are_refused(
    published: Published, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    without_sets(published, tmp_path, accuracy=0.987)
    assert train(command(published, tmp_path)) == 2
    assert "are not those of the model" in capsys.readouterr().err
    assert "conformal" not in registry.model("tiny", tmp_path).card


def test_a_model_without_weights_has_no_sets(
    published: Published, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    old = without_sets(published, tmp_path)
    card = old.card | {"files": {name: at for name, at in old.card["files"].items() if "tflite" not in name}}
    (old.folder / "model.tflite").unlink()
    (old.folder / registry.CARD_FILE).write_text(json.dumps(card))
    assert train(command(published, tmp_path)) == 2
    assert "The weights of 'tiny' are not here" in capsys.readouterr().err
