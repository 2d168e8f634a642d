"""From a folder of images to a model that the app runs, using the commands."""

import json
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import yaml

from skinapp.__main__ import main as skinapp
from skinapp.images import imaging
from skinapp.inference import registry, runtime
from tests.train.conftest import nth_call
from train.__main__ import main as train
from train.config import Config, load_config
from train.data.datasets import prepare, with_validation
from train.fit import callbacks, run_folder
from train.fit.validation import predict
from train.publish import evaluate, export

# trained at one size, used at another, cached at a third; and with adjusted logits
OVERRIDES = (
    "stages=[{image_size: 32, epochs: 2, learning_rate: 0.01}]",
    "input_size=40",
    "logit_adjustment=0.5",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pipeline")


@pytest.fixture(scope="module")
def config(tiny: Config, folder: Path) -> Config:
    settings = {field: getattr(tiny, field) for field in tiny.__dataclass_fields__} | {"stages": [vars(tiny.stages[0])]}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(settings))
    return load_config(folder / "tiny.yaml", OVERRIDES)


def run(folder: Path, command: str, *more: str) -> int:
    return train([command, "--config", str(folder / "tiny.yaml"), "--runs", str(folder / "runs"), *more, *OVERRIDES])


@pytest.fixture(scope="module")
def exported(config: Config, folder: Path) -> registry.Model:
    """The tiny model, made by the four commands."""
    for command in ("prepare", "fit", "evaluate"):
        assert run(folder, command) == 0
    assert run(folder, "export", "--models", str(folder / "models")) == 0
    return registry.model("tiny", folder / "models")


def test_the_folder_is_complete(exported: registry.Model, folder: Path, config: Config) -> None:
    registry.verify(exported)
    assert registry.problems(folder / "models") == {}
    assert exported.input_size == config.image_size
    images = exported.card["training"]["images"]
    assert (images["test"], images["excluded"], images["train"] + images["validation"]) == (7, 1, 21)
    assert not list((folder / "models").glob(".*"))


def test_one_image_has_one_prediction_by_every_route(
    exported: registry.Model,
    folder: Path,
    config: Config,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = prepare(config.dataset, config.image_size, folder / "runs")
    rows = np.flatnonzero(data.table["split"] == "test")
    table = with_validation(data.table, config.folds, config.fold, config.seed)
    trained = predict(
        evaluate.best_network(config, run_folder.best_file(config, folder / "runs" / "tiny"), table), data.images[rows]
    )
    saved = predict(keras.saving.load_model(exported.folder / "model.keras", compile=False), data.images[rows])
    evaluated = pd.read_csv(exported.folder / "predictions.csv").set_index("image")
    classifier = runtime.Classifier(exported)
    monkeypatch.setenv("SKINAPP_MODELS", str(folder / "models"))
    columns = [f"p_{code}" for code in exported.labels.codes]

    for row, by_training, by_file in zip(rows, trained, saved, strict=True):
        path = data.table["path"].iloc[row]
        by_app = classifier.predict(imaging.load(path, exported.input_size))
        assert by_app.logits == pytest.approx(by_training, abs=5e-3)
        assert by_app.logits == pytest.approx(by_file, abs=5e-3)
        by_evaluation = evaluated.loc[data.table["image"].iloc[row], columns].to_numpy(dtype=float)
        assert by_evaluation == pytest.approx(by_app.probabilities, abs=1e-3)
        assert skinapp(["classify", str(path), "--model", "tiny", "--json"]) == 0
        by_command = json.loads(capsys.readouterr().out)
        assert list(by_command["probabilities"].values()) == pytest.approx(by_app.probabilities, abs=1e-5)
        assert by_command["predicted"] == by_app.predicted
        assert by_command["malignancy"] == pytest.approx(by_app.malignancy, abs=1e-5)
    assert trained.std(axis=0).max() > 1e-3, "predictions depend on the image"


def test_evaluation_sees_the_pixels_that_the_app_sees(
    exported: registry.Model, folder: Path, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[np.ndarray] = []

    def recording(network: keras.Model, images: np.ndarray) -> np.ndarray:
        seen.append(np.asarray(images))
        return predict(network, images)

    monkeypatch.setattr(evaluate, "predict", recording)
    assert run(folder, "evaluate") == 0
    table = prepare(config.dataset, config.image_size, folder / "runs").table
    paths = table["path"][table["split"] == "test"]
    in_the_app = np.stack([imaging.load(path, exported.input_size) for path in paths])
    assert any(np.array_equal(images, in_the_app) for images in seen)


def test_predictions_are_one_row_per_test_image(exported: registry.Model, config: Config, folder: Path) -> None:
    table = pd.read_csv(exported.folder / "predictions.csv")
    source = prepare(config.dataset, config.image_size, folder / "runs").table
    assert set(table["image"]) == set(source["image"][source["split"] == "test"])
    assert table.columns.tolist()[:3] == ["image", "group", "label"]
    assert table.columns.tolist()[-4:] == ["age", "sex", "site", "confirmation"]


def test_the_history_marks_the_exported_epoch(exported: registry.Model) -> None:
    table = pd.read_csv(exported.folder / "history.csv")
    assert table["epoch"].tolist() == [1, 2]
    assert table["chosen"].sum() == 1
    assert table.loc[table["chosen"], "val_balanced_log_loss"].item() == table["val_balanced_log_loss"].min()


def test_a_disagreeing_export_leaves_the_older_model_alone(
    exported: registry.Model, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    agreeing = export.run_litert
    monkeypatch.setattr(export, "run_litert", lambda *arguments: agreeing(*arguments)[:, ::-1] * 9)
    assert run(folder, "export", "--models", str(folder / "models")) == 2
    assert "LiteRT and Keras differ" in capsys.readouterr().err
    registry.verify(registry.model("tiny", folder / "models"))
    assert not list((folder / "models").glob(".*"))


def test_commands_out_of_order_say_what_comes_first(
    config: Config, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--config", str(folder / "tiny.yaml"), "--runs", str(tmp_path), *OVERRIDES]
    for command, first in (("evaluate", "fit"), ("export", "evaluate")):
        assert train([command, *arguments]) == 2
        assert f"run {first} first" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.usefixtures("without_graphs")
def test_a_stopped_run_is_evaluated_and_exported_until_it_resumes(
    config: Config,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    models = tmp_path / "models"

    def command(name: str, *more: str) -> int:
        folders = ["--config", str(folder / "tiny.yaml"), "--runs", str(tmp_path)]
        return train([name, *folders, *more, *OVERRIDES, "augmentation=none"])

    with monkeypatch.context() as patch:
        nth_call(patch, callbacks.StartEpoch, "on_epoch_begin", 2)
        assert command("fit") == 130
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("Stopped after 1 of 2 epochs; the best network so far, for evaluate and export, is ")
    assert command("evaluate") == 0
    assert json.loads((tmp_path / "tiny" / "evaluation.json").read_text())["epochs"] == {"done": 1, "planned": 2}
    assert command("export", "--models", str(models)) == 0
    stopped = registry.model("tiny", models)
    registry.verify(stopped)
    assert len(pd.read_csv(stopped.folder / "history.csv")) == 1
    assert command("fit") == 0
    assert command("export", "--models", str(models)) == 2
    assert "was trained further after its evaluation" in capsys.readouterr().err
    registry.verify(registry.model("tiny", models))


def test_a_wrong_setting_is_reported(folder: Path, config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "fit", "colour=red") == 2
    assert "There is no setting 'colour'" in capsys.readouterr().err
    assert train(["prepare", "--config", str(folder / "none.yaml")]) == 2
    assert "no configuration file" in capsys.readouterr().err


def test_the_adjustment_is_in_the_exported_network(exported: registry.Model, config: Config, folder: Path) -> None:
    trained = keras.saving.load_model(folder / "runs" / "tiny" / "stage-1" / "best.keras", compile=False)
    saved = keras.saving.load_model(exported.folder / "model.keras", compile=False)
    before, after = (network.get_layer("logits").get_weights()[1] for network in (trained, saved))
    # three training images of each class, of which some are validation
    table = with_validation(prepare(config.dataset, 40, folder / "runs").table, config.folds, config.fold, config.seed)
    counts = table.loc[table["split"] == "train", "label"].value_counts().reindex(list(exported.labels.codes))
    roots = np.sqrt(counts.to_numpy(dtype=float))
    assert len(set(counts)) > 1
    assert before - after == pytest.approx(0.5 * np.log(roots / roots.sum()), abs=1e-5)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_fitted_temperature_is_the_one_that_made_the_logits(temperature: float) -> None:
    generator = np.random.default_rng(0)
    calibrated = generator.normal(0, 2, (20_000, 4))
    labels = (runtime.softmax(calibrated).cumsum(axis=1) < generator.random((20_000, 1))).sum(axis=1)
    assert evaluate.fit_temperature(calibrated * temperature, labels) == pytest.approx(temperature, rel=0.05)
