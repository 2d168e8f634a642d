"""The commands with a committee: additional output, and the default model."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from skinapp.__main__ import main
from skinapp.images import imaging
from skinapp.inference import registry, runtime
from tests import committee
from tests.pictures import encode, lesion

MODEL = "ham10000-efficientnetv2b0"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = registry.model(MODEL)
    folder = tmp_path_factory.mktemp("models")
    made = committee.make(source, folder)
    shutil.copytree(source.folder, folder / MODEL)
    card = json.loads((made.folder / "model.json").read_text())
    card["scores"]["balanced_accuracy"]["value"] = 0.99
    (made.folder / "model.json").write_text(json.dumps(card))
    return folder


@pytest.fixture
def photo(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SKINAPP_MODELS", str(root))
    (tmp_path / "photo.jpg").write_bytes(encode(lesion()))
    return tmp_path / "photo.jpg"


def predicted(root: Path, photo: Path) -> runtime.Prediction:
    model = registry.model("committee", root)
    return runtime.classifier(model).predict(imaging.load(photo, model.input_size))


def test_classify_says_how_far_the_networks_agree(root: Path, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    agreed = runtime.agreement(predicted(root, photo))
    assert agreed is not None
    assert main(["classify", str(photo), "--model", "committee", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["agreement"] == pytest.approx(vars(agreed))
    assert printed["operating_points"] == {"cancer-95": True}
    assert main(["classify", str(photo), "--model", "committee"]) == 0
    text = capsys.readouterr().out
    assert f"{agreed.agreeing} of 3 networks predicted this class" in text
    assert "At 95% sensitivity for cancer or pre-cancer, this image is at or above the threshold" in text


def test_a_single_network_reports_no_agreement(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classify", str(photo), "--model", MODEL, "--json"]) == 0
    assert "agreement" not in json.loads(capsys.readouterr().out)


def test_a_single_network_classifies_where_no_model_is_named(
    root: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert next(iter(registry.ranked(root))).id == "committee"
    assert main(["classify", str(photo), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == MODEL


def test_score_has_columns_for_the_agreement_and_resumes(root: Path, photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    for _ in range(2):
        assert main(["score", str(photo.parent), "--model", "committee", "--out", str(out)]) == 0
        with out.open() as stream:
            [row] = list(csv.DictReader(stream))
    prediction = predicted(root, photo)
    agreed = runtime.agreement(prediction)
    assert agreed is not None
    assert float(row["malignancy"]) == pytest.approx(prediction.malignancy, abs=1e-4)
    assert int(row["networks_agreeing"]) == agreed.agreeing
    assert float(row["malignancy_low"]) == pytest.approx(agreed.low, abs=1e-4)
    assert float(row["malignancy_high"]) == pytest.approx(agreed.high, abs=1e-4)


def test_a_missing_member_is_reported(
    root: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = shutil.copytree(root, tmp_path / "models")
    (own / "committee" / "member-3.tflite").unlink()
    monkeypatch.setenv("SKINAPP_MODELS", str(own))
    assert main(["classify", str(photo), "--model", "committee"]) == 2
    assert "lacks its file member-3.tflite" in capsys.readouterr().err
    assert main(["classify", str(photo)]) == 0


@pytest.mark.slow
def test_compare_takes_a_further_test_set(
    root: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = shutil.copytree(root, tmp_path / "models")
    for name in ("committee", MODEL):
        table = (own / name / "predictions.csv").read_text().replace("ISIC_", "other_").replace(",ham10000,", ",other,")
        lines = table.splitlines(keepends=True)
        (own / name / "predictions-other.csv").write_text("".join(lines[:401]))
        committee.write(own / name, json.loads((own / name / "model.json").read_text()))
    monkeypatch.setenv("SKINAPP_MODELS", str(own))
    assert main(["compare", "committee", MODEL, "--test", "other", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 400
    assert main(["compare", "committee", MODEL, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 1503
    assert main(["compare", "committee", MODEL, "--test", "nowhere"]) == 2
    assert "no images in common" in capsys.readouterr().err
