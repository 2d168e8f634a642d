"""The study of border, colour and texture, on drawings and one real model."""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skinapp.attention import attribution as library
from skinapp.errors import SkinappError
from skinapp.inference import registry
from tests.train.studies.conftest import IMAGES
from train.studies import attribution


def run(data: Path, *arguments: object) -> int:
    parser = argparse.ArgumentParser()
    attribution.add_arguments(parser)
    files = ["--runs", data / "runs", "--out", data / "attribution.json", "--table", data / "attribution.md"]
    return attribution.run(parser.parse_args([str(argument) for argument in (*arguments, *files)]))


@pytest.mark.slow
def test_the_tables_are_written_resume_and_name_what_was_measured(
    data: Path, model: registry.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    # figures of missing models and of replaced networks are removed
    old = {"networks": ["0" * 64]}
    (data / "attribution.json").write_text(json.dumps({"models": {"gone": old, "ham10000-cnn32": old}}))
    assert run(data, "--model", model.id, "--images", 2) == 0
    [file] = (data / "runs" / "attribution").iterdir()
    before = file.read_text()
    # more than available: all of them
    assert run(data, "--model", model.id, "--images", IMAGES + 3) == 0
    assert file.read_text().startswith(before)
    assert len(pd.read_csv(file)) == IMAGES
    card = json.loads((data / "attribution.json").read_text())
    [entry] = card["models"].values()
    monkeypatch.setattr(library, "card", lambda: card)
    assert library.measured(model) == entry
    assert entry["all"]["images"] == IMAGES
    assert entry["all"]["lesions"] == IMAGES - 1
    # too few lesions for an interval
    assert entry["all"]["whole"]["low"] is None
    assert entry["classes"] == {}
    for figures in entry["all"]["features"].values():
        lost = figures["lesion"]["value"] - figures["skin"]["value"]
        assert figures["difference"]["value"] == pytest.approx(lost, abs=2e-4)
    table = (data / "attribution.md").read_text()
    assert f"{IMAGES} test images of {IMAGES - 1} lesions of HAM10000, with the published lesion masks" in table
    assert table.count("| all (6) |") == 3


def test_figures_of_other_networks_are_not_shown(model: registry.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "card", lambda: {"models": {model.id: {"networks": ["0" * 64]}}})
    assert library.measured(model) is None


def test_the_effect_of_each_feature_is_a_mean_with_its_interval() -> None:
    rows = pd.DataFrame({"group": np.arange(40), "whole": 0.8})
    for number, feature in enumerate(library.FEATURES):
        rows[f"{feature}_lesion"] = 0.8 - 0.1 * number - np.tile([0.0, 0.1], 20)
        rows[f"{feature}_skin"] = 0.75
        rows[f"{feature}_lesion_changes"] = np.tile([0, 0, 0, 1], 10)
        rows[f"{feature}_skin_changes"] = 0
    figures = attribution.of_rows(rows)["features"]["texture"]
    assert figures["lesion"]["value"] == pytest.approx(0.25)
    assert figures["lesion"]["low"] < 0.25 < figures["lesion"]["high"]
    assert figures["skin"]["value"] == pytest.approx(0.05)
    assert figures["difference"]["value"] == pytest.approx(0.2)
    assert figures["lesion_changes"]["value"] == 0.25
    assert figures["skin_changes"]["value"] == 0
    assert figures["skin_changes"]["high"] > 0.05
    assert attribution.points(figures["difference"]).startswith("20.0 (18.")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [(("--images", 0), "at least 1"), (("--model", "malignancy-vgg16"), "shipped without its network")],
)
def test_impossible_requests_are_reported(arguments: tuple, sentence: str, data: Path) -> None:
    with pytest.raises(SkinappError, match=sentence):
        run(data, *arguments)


def test_a_lesion_without_skin_around_it_is_counted_and_left_out(
    data: Path, model: registry.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "shift_to_skin", lambda *_: None)
    with pytest.raises(SkinappError, match="No image has enough skin"):
        run(data, "--model", model.id)
