"""The tables of the prediction sets' coverage agree with the measurements."""

import shutil
from pathlib import Path

import pytest

from skinapp.evaluation import conformal, predictions
from skinapp.inference import registry
from train.__main__ import main as train

MODEL = "malignancy-mlp64"


def test_the_tables_hold_what_was_measured(tmp_path: Path) -> None:
    shutil.copytree(registry.model(MODEL).folder, tmp_path / MODEL)
    file = tmp_path / "coverage.md"
    assert train(["coverage", "--models", str(tmp_path), "--out", str(file)]) == 0
    text = file.read_text()
    test, *_ = conformal.on_every_test_set(predictions.of_model(registry.model(MODEL)), 0.95)
    rows = test.table.set_index(["by", "value"])
    everything, benign = rows.loc[("all", "All")], rows.loc[("class", "benign")]
    overall, *_ = (line for line in text.splitlines() if line.startswith(f"| `{MODEL}`"))
    assert f"Malignant/benign, {int(everything['images'])} |" in overall
    held = f"{everything['coverage']:.2f} ({everything['coverage_low']:.2f} to {everything['coverage_high']:.2f})"
    assert f"| {held}; {everything['size']:.1f} |" in overall
    by_class, *_ = (line for line in text.splitlines() if line.startswith("| Class: Benign"))
    assert f"| {int(benign['images'])} | {benign['coverage']:.2f} (" in by_class


def test_without_sets_there_is_nothing_to_measure(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    shutil.copytree(registry.model("malignancy-vgg16").folder, tmp_path / "malignancy-vgg16")
    assert train(["coverage", "--models", str(tmp_path), "--out", str(tmp_path / "coverage.md")]) == 2
    assert "has prediction sets" in capsys.readouterr().err
    assert not (tmp_path / "coverage.md").exists()
