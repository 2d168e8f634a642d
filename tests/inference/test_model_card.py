"""Every README.md is generated from its model.json, and agrees with its figures."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from skinapp.images.removal import KINDS
from skinapp.inference import model_card, registry

FOLDERS = sorted(folder for folder in registry.default_root().iterdir() if folder.is_dir())
by_folder = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


def read(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "model.json").read_text())


@by_folder
def test_the_card_is_exactly_what_model_json_generates(folder: Path) -> None:
    assert (folder / "README.md").read_text() == model_card.markdown(read(folder))


@by_folder
def test_strengths_follow_from_the_measured_figures(folder: Path) -> None:
    card = read(folder)
    measured = model_card.dice_sentences if card["kind"] == "segmentation" else model_card.sensitivity_sentences
    assert measured(card) == (card["good_at"], card["bad_at"])


@by_folder
def test_sensitivity_is_that_of_the_predictions(folder: Path) -> None:
    card = read(folder)
    if card["kind"] == "segmentation":
        pytest.skip("it classifies nothing")
    with (folder / "predictions.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    rows = [row for row in rows if row["dataset"] == rows[0]["dataset"]]
    codes = card["labels"]["codes"]
    recognised = [row["label"] for row in rows if max(codes, key=lambda code: float(row[f"p_{code}"])) == row["label"]]
    for code, recall in card["test"]["recalls"].items():
        # predictions are rounded, so a tie may go either way
        assert recall["correct"] == pytest.approx(recognised.count(code), abs=1)
        assert recall["images"] == [row["label"] for row in rows].count(code)


@by_folder
def test_the_card_states_scores_limits_and_use(folder: Path) -> None:
    card, text = read(folder), (folder / "README.md").read_text()
    for score in card["scores"].values():
        value, interval = f"{score['value']:.3f}", f"{score['low']:.3f} to {score['high']:.3f}"
        assert f"| {value} | {interval} |" in text or f"| {value} ({interval}) |" in text
    for sentence in (*card["limits"], *card["good_at"], *card["bad_at"], card["intended_use"], card["licence"]):
        assert sentence in text
    assert not re.search(r"\bnan\b", text)


def test_the_card_says_what_is_removed_and_the_schema_knows_its_kinds() -> None:
    card = read(registry.default_root() / "ham10000-efficientnetb1")
    card["input"]["remove"] = ["hair", "dark-corners"]
    jsonschema.validate(card, json.loads(registry.SCHEMA_FILE.read_text()))
    assert "; hairs and dark corners are removed first." in model_card.markdown(card)
    card["input"]["remove"] = list(KINDS)
    jsonschema.validate(card, json.loads(registry.SCHEMA_FILE.read_text()))
    card["input"]["remove"] = ["freckles"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(card, json.loads(registry.SCHEMA_FILE.read_text()))


def test_strengths_worked_by_hand() -> None:
    recalls = {
        "nv": {"correct": 80, "images": 100},
        "mel": {"correct": 69, "images": 100},
        "bcc": {"correct": 70, "images": 100},
        "df": {"correct": 19, "images": 19},
    }
    card = {"labels": {"set": "ham10000"}, "test": {"recalls": recalls}}
    (good,), (bad,) = model_card.sensitivity_sentences(card)
    assert good.endswith(": 80 of 100 test images recognised (80%).")
    assert bad.endswith(": 69 of 100 test images recognised (69%).")


def test_a_table_is_markdown() -> None:
    assert model_card.table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_a_score_of_too_few_groups_has_no_interval() -> None:
    card = read(registry.default_root() / "malignancy-cnn64")
    card["scores"]["accuracy"] |= {"low": float("nan"), "high": float("nan")}
    text = model_card.markdown(card)
    assert f"| accuracy | {card['scores']['accuracy']['value']:.3f} | too few groups |" in text
    assert not re.search(r"\bnan\b", text)
