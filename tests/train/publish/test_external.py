"""Scores on images from elsewhere, under a name in the model's folder."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skinapp.evaluation import metrics, predictions
from skinapp.inference import model_card, registry
from tests import adopted_model, model_folder
from train.__main__ import main
from train.publish import evaluate, evaluate_folder, external
from train.publish.folder import draft, publish

MODEL = "ham10000-cnn32"
CODES = ("nv", "mel", "bkl")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return adopted_model.pictures(tmp_path_factory.mktemp("external"), CODES, count=30)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "models"
    model_folder.with_own_tests_alone(MODEL, root)
    monkeypatch.setenv("SKINAPP_MODELS", str(root))
    monkeypatch.setattr(evaluate, "RESAMPLES", 50)
    monkeypatch.setattr(evaluate_folder, "RESAMPLES", 50)
    return root


def add(table: Path, name: str, *more: str, model: str = MODEL) -> int:
    images = str(table.parent / "images")
    return main(["evaluate", "--model", model, "--images", images, "--labels", str(table), "--name", name, *more])


def test_the_folder_holds_the_named_result(root: Path, table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = registry.model(MODEL)
    assert add(table, "Clinic B, 2024", "--group-column", "lesion_id") == 0
    model = registry.model(MODEL)
    registry.verify(model)
    model_folder.check_further_tests(model)
    [test] = [test for test in model.card["other_tests"] if test.get("external")]
    assert (test["name"], test["images"], test["groups"]) == ("Clinic B, 2024", 30, 30)
    assert test["predictions"] == "predictions-clinic-b-2024.csv"
    rows = pd.read_csv(model.folder / test["predictions"])
    assert rows["image"].tolist()[:2] == ["p000", "p001"]
    assert set(rows["dataset"]) == {"Clinic B, 2024"}
    assert rows["fitzpatrick"].notna().all()
    codes = model.labels.codes
    truth = rows["label"].map(codes.index).to_numpy()
    accuracy = metrics.accuracy(truth, rows[[f"p_{code}" for code in codes]].to_numpy(), np.ones((1, 30)))[0]
    score = test["scores"]["accuracy"]
    assert score["value"] == pytest.approx(accuracy, abs=1e-4)
    assert score["low"] <= score["value"] <= score["high"]
    # the version, the changelog and the card follow; the model's own results stay
    assert model.card["version"] == "1.0.1" if before.card["version"] == "1.0.0" else True
    assert model.card["changelog"][-1]["changes"] == "Scored on Clinic B, 2024: 30 images."
    assert len(model.card["changelog"]) == len(before.card["changelog"]) + 1
    assert (model.card["scores"], model.card["test"]) == (before.card["scores"], before.card["test"])
    readme = (model.folder / "README.md").read_text()
    assert readme == model_card.markdown(model.card)
    assert "| score | HAM10000, 1,503 images | Clinic B, 2024, 30 images |" in readme
    known = predictions.of_model(model)
    assert known.further == ("Clinic B, 2024",)
    assert "Added to" in capsys.readouterr().out


def test_the_same_name_replaces_its_result(root: Path, table: Path, tmp_path: Path) -> None:
    assert add(table, "Clinic B") == 0
    fewer = tmp_path / "fewer.csv"
    pd.read_csv(table).head(25).to_csv(fewer, index=False)
    (tmp_path / "images").symlink_to(table.parent / "images")
    assert add(fewer, "clinic b") == 0
    [test] = [test for test in registry.model(MODEL).card["other_tests"] if test.get("external")]
    assert (test["name"], test["images"]) == ("clinic b", 25)
    assert "Each image counts as a separate lesion" in test["protocol"]


def test_it_stays_when_the_same_network_is_exported_again(root: Path, table: Path) -> None:
    original = registry.model(MODEL).card
    assert add(table, "Clinic B") == 0
    with draft(root, MODEL) as folder:
        for name in original["files"]:
            shutil.copy2(root / MODEL / name, folder)
        publish(folder, original, root)
    model = registry.model(MODEL)
    assert [test["name"] for test in model.card["other_tests"] if test.get("external")] == ["Clinic B"]
    model_folder.check_further_tests(model)


@pytest.mark.parametrize(
    ("change", "name", "words"),
    [
        ({}, "HAM10000", "is one of the model's own test sets"),
        ({}, "ham10000", "is one of the model's own test sets"),
        ({}, "  -- ", "needs letters or digits"),
        ({"label": "lichen"}, "Clinic B", "lichen. Correct them"),
        ({"label": "benign"}, "Clinic B", "leave out --name to score malignant and benign only"),
        ({"lesion_id": "L1"}, "Clinic B", "1 lesions or patients are too few"),
        ({"image": "p999.png"}, "Clinic B", "1 of 30 labelled images are not in"),
        ({"image": "ISIC_0024306.png"}, "Clinic B", "labelled images are not in"),
    ],
)
def test_images_that_cannot_be_added_are_refused(
    root: Path,
    table: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, str],
    name: str,
    words: str,
) -> None:
    rows = pd.read_csv(table)
    for column, value in change.items():
        rows[column] = [value, *rows[column][1:]] if column in ("image", "label") else value
    (tmp_path / "images").symlink_to(table.parent / "images")
    rows.to_csv(tmp_path / "table.csv", index=False)
    before = json.loads((root / MODEL / "model.json").read_text())
    assert add(tmp_path / "table.csv", name, "--group-column", "lesion_id") == 2
    assert words in capsys.readouterr().err
    assert json.loads((root / MODEL / "model.json").read_text()) == before


def test_an_image_of_the_models_own_test_is_refused(root: Path) -> None:
    model = registry.model(MODEL)
    own = str(predictions.of_model(model).table.index[0])
    labels = pd.DataFrame({"image": [f"{own}.jpg", *(f"p{n}" for n in range(29))], "label": "nv"})
    with pytest.raises(external.DataError, match=f"such as {own}"):
        external.check(model, "Clinic B", labels.assign(group=labels["image"]))


def test_an_unknown_model_is_refused(root: Path, table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert add(table, "Clinic B", model="nobody") == 2
    assert f"There is no model 'nobody'; choose one of: {MODEL}." in capsys.readouterr().err
