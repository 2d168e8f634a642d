"""Patient metadata, added to an unchanged network."""

import dataclasses
import functools
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from skinapp.errors import DataError
from skinapp.images import imaging
from skinapp.inference import metadata, registry, runtime
from tests.train.conftest import Published, light_augmentation
from train.config import Config
from train.data import datasets
from train.fit import augmentation, trained_metadata, training
from train.fit import metadata as clinical_fit
from train.publish import conformal, evaluate, export, fuse

pytestmark = [pytest.mark.usefixtures("without_graphs"), pytest.mark.filterwarnings("ignore:The least populated class")]


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
    card = registry.model("crossed-clinical", folder.parent).card
    assert "validation" not in card
    assert registry.held_out_score(card) == card["scores"]["balanced_accuracy"]["value"]
    for point in card["operating_points"]:
        [chosen] = point["measured"]
        assert chosen["name"] == "HAM10000, out of fold"
        assert chosen["sensitivity"]["value"] >= point["sensitivity"]


@pytest.mark.usefixtures("tiny")
def test_a_fusion_fitted_on_validation_is_scored_on_test(published: Published, tmp_path: Path) -> None:
    folder = fused(published, tmp_path, 0.5)
    model = registry.model("tiny-clinical", folder.parent)
    assert [field.name for field in model.clinical] == ["age", "sex", "site"]
    assert not (folder / "model.keras").exists()
    # one file for both models
    assert (folder / "model.tflite").readlink() == Path("../tiny/model.tflite")
    registry.verify(model)
    assert registry.held_out_score(model.card) == model.card["validation"]["balanced_accuracy"]["value"]
    card = (folder / "README.md").read_text()
    assert "biopsy" in card
    assert "--adjustment 0.5" in card
    assert "from a fit that had not seen its lesion" in card

    predictions = pd.read_csv(folder / "predictions.csv").set_index("image")
    table = datasets.read("ham10000").set_index("image")
    image = predictions.index[0]
    patient = metadata.parse(model.clinical, {"age": 50.0, "sex": "female", "site": "back"})
    prediction = runtime.Classifier(model).predict(imaging.load(table["path"][image], model.input_size), patient)
    row = predictions.loc[image, [f"p_{code}" for code in model.labels.codes]].to_numpy(float)
    assert prediction.probabilities == pytest.approx(row, abs=0.02)


@pytest.fixture(scope="module")
def aged(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny data set with ages that differ."""
    data = tmp_path_factory.mktemp("aged")
    (data / "ham10000").mkdir()
    (data / "ham10000" / "images").symlink_to(tiny_data / "ham10000" / "images")
    table = pd.read_csv(tiny_data / "ham10000" / "metadata.csv")
    table.assign(age=np.where(table["dx"] == "mel", 85.0, 40.0)).to_csv(data / "ham10000" / "metadata.csv", index=False)
    return data


@pytest.fixture(scope="module")
def trained_in(tiny: Config, aged: Path, tmp_path_factory: pytest.TempPathFactory) -> Published:
    """A run that trained metadata with the network."""
    folder = tmp_path_factory.mktemp("with-metadata")
    config = dataclasses.replace(tiny, id="with-metadata", metadata=True, stages=tiny.stages[:1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SKINAPP_DATA", str(aged))
        patch.setitem(augmentation.POLICIES, "standard", light_augmentation)
        training.fit(config, folder / "runs")
        evaluate.evaluate(config, folder / "runs")
        export.export(config, folder / "runs", folder / "models")
    return Published(config, folder / "runs", folder / "models")


@pytest.fixture
def metadata_run(trained_in: Published, aged: Path, monkeypatch: pytest.MonkeyPatch) -> Published:
    monkeypatch.setenv("SKINAPP_DATA", str(aged))
    return trained_in


@pytest.mark.slow
def test_trained_in_metadata_are_published_with_a_temperature_from_validation(
    metadata_run: Published, tmp_path: Path
) -> None:
    folder = fused(metadata_run, tmp_path)
    model = registry.model("with-metadata-clinical", folder.parent)
    fields, fusion = trained_metadata.read(
        metadata_run.runs / "with-metadata" / "stage-1" / trained_metadata.FILES["best"]
    )
    assert model.clinical == fields
    published = metadata.from_json((folder / metadata.WEIGHTS_FILE).read_bytes(), fields, 7)
    assert published.scale == 1
    assert not published.bias.any()
    assert (published.weights == fusion.weights).all()
    assert fusion.weights.any()

    table = clinical_fit.published("ham10000")
    validation, _ = fuse.held_out(metadata_run.config, metadata_run.runs, metadata_run.models)
    totals = fuse.added(fields, fusion, table, validation)
    assert model.temperature == round(evaluate.fit_temperature(totals, validation.labels), 4)
    card = (folder / "README.md").read_text()
    assert "trained together with the network. Each value was left out with probability 0.5" in card
    assert "multinomial" not in card

    predictions = pd.read_csv(folder / "predictions.csv").set_index("image")
    image = predictions.index[0]
    path = datasets.read("ham10000").set_index("image")["path"][image]
    patient = metadata.parse(fields, {str(name): cell for name, cell in table.loc[image].items()})
    prediction = runtime.Classifier(model).predict(imaging.load(path, model.input_size), patient)
    row = predictions.loc[image, [f"p_{code}" for code in model.labels.codes]].to_numpy(float)
    assert prediction.probabilities == pytest.approx(row, abs=0.02)

    # the published folder gives the same held-out probabilities
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(json.loads(json.dumps(dataclasses.asdict(metadata_run.config)))))
    held_out = dict(zip(("truth", "probabilities", "groups", "name"), conformal.held_out(model, config), strict=True))
    assert held_out["name"] == "Validation images"
    assert held_out["probabilities"] == pytest.approx(evaluate.softmax(totals / model.temperature), abs=0.02)
    chosen, tested = model.card["operating_points"][0]["measured"]
    assert (chosen["name"], chosen["images"]) == ("Validation images", len(totals))
    assert (tested["name"], tested["images"]) == ("HAM10000", len(predictions))


@pytest.mark.slow
def test_trained_in_metadata_can_also_be_fitted_afterwards(metadata_run: Published, tmp_path: Path) -> None:
    models = shutil.copytree(metadata_run.models, tmp_path / "models")
    folder = fuse.fuse(metadata_run.config, "With metadata", 0.0, metadata_run.runs, models, afterwards=True)
    card = (folder / "README.md").read_text()
    assert "multinomial logistic regression" in card
    assert "--adjustment 0 --afterwards" in card


def test_after_a_cross_validation_each_part_has_the_metadata_of_its_own_network(
    crossed: Published, tiny: Config, tmp_path: Path
) -> None:
    """Adds hand-written metadata weights to the networks of `crossed`: in fold 1, an age of 50 means melanoma, in fold
    0 it does not."""
    runs = shutil.copytree(crossed.runs, tmp_path / "runs")
    table = clinical_fit.published("ham10000")
    fields = clinical_fit.with_coding(
        clinical_fit.questions(table), clinical_fit.parse(clinical_fit.questions(table), table)
    )
    fields = tuple(
        dataclasses.replace(field, coding=field.coding | {"centre": [0.0] * len(field.coding["centre"])})
        for field in fields
    )
    for name, weight in (("crossed", 0.5), ("crossed-fold-0", 0.0), ("crossed-fold-1", 1.0)):
        weights = np.zeros((len(clinical_fit.field_indices(fields)), 7))
        weights[0, 4] = weight
        content = {
            "clinical": metadata.described(fields),
            "weights": json.loads(metadata.to_json(metadata.Fusion(1.0, np.zeros(7), weights), fields)),
        }
        (runs / name / "stage-1" / trained_metadata.FILES["last"]).write_text(json.dumps(content))
        (runs / name / "config.json").unlink()
    config = dataclasses.replace(crossed.config, metadata=True)
    rows, tested = fuse.held_out(config, runs, crossed.models)
    assert rows is tested
    totals = fuse.trained_logits(config, table, runs, rows) - rows.logits
    assert not totals[rows.folds == 0].any()
    assert (totals[rows.folds == 1][:, 4] == 50).all()
    made = fuse.trained(config, table, 0.0, runs, rows, rows)
    assert made.fusion.weights[0, 4] == 0.5
    assert made.probabilities.sum(axis=1) == pytest.approx(np.ones(len(rows.labels)))
    assert made.made == {"dropout": 0.5}


def test_a_data_set_without_metadata_is_refused(tiny: Config, tmp_path: Path) -> None:
    config = dataclasses.replace(tiny, dataset="malignant_benign", labels="malignancy")
    with pytest.raises(DataError, match="publishes no patient metadata"):
        fuse.fuse(config, "With metadata", 0.0, tmp_path, tmp_path)
