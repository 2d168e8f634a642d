"""The metadata at the top of every card are what the Hugging Face Hub reads, and hold the card's scores."""

import json
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results

from skinapp.inference import model_index, registry

FOLDERS = sorted(folder for folder in registry.default_root().iterdir() if folder.is_dir())


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_hub_reads_every_score_of_the_card(folder: Path) -> None:
    card = json.loads((folder / "model.json").read_text())
    data = ModelCard((folder / "README.md").read_text()).data
    tests = [card, *(test for test in card.get("other_tests", ()) if "predictions" in test)]
    expected = [(name, score["value"]) for test in tests for name, score in test["scores"].items()]
    assert [(result.metric_type, result.metric_value) for result in data.eval_results] == expected
    assert all("95% interval" in result.metric_name for result in data.eval_results)
    assert data.model_name == card["id"]
    assert data.license == "cc-by-nc-4.0"
    assert {result.task_type for result in data.eval_results} == {data.pipeline_tag}


def test_a_further_test_set_has_separate_results_and_another_protocol_has_none() -> None:
    card = json.loads((registry.default_root() / "malignancy-cnn64" / "model.json").read_text())
    scores = {"accuracy": {"value": 0.5, "low": None, "high": None}}
    card["other_tests"] = [
        {"name": "MILK10k", "predictions": "predictions-milk10k.csv", "scores": scores},
        {"name": "Another protocol", "scores": scores},
    ]
    _, results = model_index_to_eval_results(model_index.metadata(card)["model-index"])
    assert [(result.metric_value, result.metric_name) for result in results if result.dataset_type == "milk10k"] == [
        (0.5, "accuracy")
    ]
    assert "Another protocol" not in {result.dataset_name for result in results}


def test_a_licence_that_the_hub_does_not_know_is_named() -> None:
    card = json.loads((registry.default_root() / "malignancy-cnn64" / "model.json").read_text())
    written = model_index.metadata(card | {"licence": "Ask the hospital"})
    assert (written["license"], written["license_name"]) == ("other", "Ask the hospital")
