"""Patient metadata, added to an unchanged network."""

import dataclasses
import functools
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skinapp.errors import DataError
from skinapp.images import imaging
from skinapp.inference import metadata, registry, runtime
from tests.train.conftest import Published
from train.config import Config
from train.data import datasets
from train.fit import metadata as clinical_fit
from train.publish import fuse

pytestmark = pytest.mark.filterwarnings("ignore:The least populated class")


@pytest.fixture(autouse=True)
def _few_lesions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two lesions a class are too few to choose a penalty by."""
    monkeypatch.setattr(clinical_fit, "best_penalty", lambda *_: 1.0)
    monkeypatch.setattr(clinical_fit, "fit", functools.partial(clinical_fit.fit, folds=2))


def fused(run: Published, folder: Path, adjustment: float = 0.0) -> Path:
    """The model folder, in a copy of the run's."""
    models = shutil.copytree(run.models, folder / "models")
    return fuse.fuse(run.config, "With metadata", adjustment, run.runs, models)


@pytest.mark.usefixtures("tiny")
def test_after_a_cross_validation_every_image_is_scored(crossed: Published, tmp_path: Path) -> None:
    folder = fused(crossed, tmp_path)
    predictions = pd.read_csv(folder / "predictions.csv")
    assert len(predictions) == len(pd.read_csv(crossed.runs / "crossed" / "predictions.csv"))
    assert predictions.filter(like="p_").sum(axis=1).to_numpy() == pytest.approx(np.ones(len(predictions)), abs=1e-5)


@pytest.mark.usefixtures("tiny")
def test_a_fusion_fitted_on_validation_is_scored_on_test(published: Published, tmp_path: Path) -> None:
    folder = fused(published, tmp_path, 0.5)
    model = registry.model("tiny-clinical", folder.parent)
    assert [field.name for field in model.clinical] == ["age", "sex", "site"]
    assert not (folder / "model.keras").exists()
    card = (folder / "README.md").read_text()
    assert "biopsy" in card
    assert "--adjustment 0.5" in card

    predictions = pd.read_csv(folder / "predictions.csv").set_index("image")
    table = datasets.read("ham10000").set_index("image")
    image = predictions.index[0]
    patient = metadata.parse(model.clinical, {"age": 50.0, "sex": "female", "site": "back"})
    prediction = runtime.Classifier(model).predict(imaging.load(table["path"][image], model.input_size), patient)
    row = predictions.loc[image, [f"p_{code}" for code in model.labels.codes]].to_numpy(float)
    assert prediction.probabilities == pytest.approx(row, abs=0.02)


def test_a_data_set_without_metadata_is_refused(tiny: Config, tmp_path: Path) -> None:
    config = dataclasses.replace(tiny, dataset="malignant_benign", labels="malignancy")
    with pytest.raises(DataError, match="publishes no patient metadata"):
        fuse.fuse(config, "With metadata", 0.0, tmp_path, tmp_path)
