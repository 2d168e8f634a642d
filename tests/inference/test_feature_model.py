"""Features models run like any other model, are never the default, and give the same numbers as in training."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skinapp.datasets.registry import files_in
from skinapp.errors import ModelError
from skinapp.images import imaging
from skinapp.inference import registry, runtime
from skinapp.lesion import features
from tests import model_folder

MODELS = ("ham10000-features", "malignancy-features")


@pytest.fixture
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A models folder with a features model, a small network for the same images, and the segmentation."""
    for name in ("ham10000-features", "ham10000-cnn32", "lesion-segmentation"):
        shutil.copytree(registry.default_root() / name, tmp_path / name)
    monkeypatch.setenv("SKINAPP_MODELS", str(tmp_path))
    return tmp_path


def test_it_is_never_the_default(copies: Path) -> None:
    file = copies / "ham10000-features" / registry.CARD_FILE
    card = json.loads(file.read_text())
    card["validation"]["balanced_accuracy"]["value"] = 0.999
    file.write_text(json.dumps(card))
    assert [model.id for model in registry.ranked()] == ["ham10000-cnn32", "ham10000-features"]


def test_trees_that_were_changed_are_refused(copies: Path) -> None:
    model_folder.change_byte(copies / "ham10000-features" / registry.TREES_FILE)
    with pytest.raises(ModelError, match=r"trees\.npz .* was changed"):
        runtime.Classifier(registry.model("ham10000-features"))


def test_a_network_has_no_contributions(model: registry.Model, inputs: list[np.ndarray]) -> None:
    classifier = runtime.classifier(model)
    with pytest.raises(ModelError, match="measures no features"):
        classifier.contributions(classifier.predict(inputs[0]))


@pytest.mark.parametrize("name", MODELS)
def test_an_answer_is_made_of_its_contributions(name: str, photos: list[bytes]) -> None:
    model = registry.model(name)
    classifier = runtime.classifier(model)
    prediction = classifier.predict(imaging.load(photos[0], model.input_size))
    assert prediction.measured is not None
    assert prediction.measured.names == tuple(features.TITLES)
    explained = classifier.contributions(prediction)
    assert explained.added.sum(axis=0) + explained.base == pytest.approx(prediction.logits, abs=1e-5)


def test_the_time_is_that_of_an_image_with_a_lesion(copies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = []
    original = features.measure

    def measure(square: np.ndarray) -> object:
        measured.append(original(square))
        return measured[-1]

    monkeypatch.setattr(features, "measure", measure)
    median, least, most = runtime.milliseconds(registry.model("ham10000-features"))
    assert least <= median <= most
    assert measured
    assert all(np.isfinite(one.values).all() for one in measured)


@pytest.mark.data
@pytest.mark.parametrize("name", MODELS)
def test_the_app_measures_what_training_measured(name: str, data_root: Path) -> None:
    model = registry.model(name)
    files = files_in(data_root / "ham10000", ("images",))
    table = pd.read_csv(model.folder / "predictions.csv").iloc[[0, 700, 1500]]
    for row in table.to_dict("records"):
        prediction = runtime.classifier(model).predict(imaging.load(files[row["image"]], model.input_size))
        expected = [row[f"p_{code}"] for code in model.labels.codes]
        # the temperature has four decimals in the card
        assert prediction.probabilities == pytest.approx(expected, abs=2e-4)
