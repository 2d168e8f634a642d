"""Paired differences from published models, as the compare page and the report show them."""

import dataclasses

import pandas as pd
import pytest

from skinapp.inference import registry
from skinapp.report import comparison_views

PUBLISHED = registry.default_root() / "published.csv"


def test_differences_from_published_models_are_those_of_the_paired_comparison() -> None:
    model = registry.model("ham10000-efficientnetb1")
    table = comparison_views.against_published([model], {model.id: "B1"})
    measured = pd.read_csv(PUBLISHED)
    measured = measured[measured["our_model"] == model.id].set_index(["score", "model"])
    assert len(table) == 16
    for row in table.to_dict("records"):
        score = {"Balanced accuracy": "balanced_accuracy", "Accuracy": "accuracy"}[row["Score"]]
        expected = measured.loc[(score, row["Published model"])]
        assert float(row["Its score"]) == pytest.approx(expected["value"], abs=5.1e-4)
        assert float(row["B1 minus published"].split()[0]) == pytest.approx(expected["ours_minus_theirs"], abs=6e-4)
    balanced = table[table["Score"] == "Balanced accuracy"]["Its score"].astype(float)
    assert balanced.is_monotonic_decreasing


def test_models_without_the_comparison_have_no_column() -> None:
    model = registry.model("ham10000-efficientnetb1")
    card = {key: value for key, value in model.card.items() if key != "published"}
    without = dataclasses.replace(model, id="without", card=card)
    names = {model.id: "B1", "without": "Another"}
    assert "Another minus published" not in comparison_views.against_published([model, without, None], names)
    assert comparison_views.against_published([without, None], names).empty
