"""The outcomes for real maps, the choice of their limits, and the copies with a random last layer."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from skinapp.attention import sanity_check as published_sanity_check
from skinapp.attention.sanity_check import Limits, Outcome
from skinapp.errors import DataError
from skinapp.inference import registry
from skinapp.inference.runtime import Classifier
from tests.pictures import lesion
from train.__main__ import main
from train.studies import randomised, sanity_check

LIMITS = Limits(1.2, 0.1)


def row(copy: str, group: int, **changes: Any) -> dict[str, Any]:
    supported = {"log_odds_change": 3.0, "similarity": 0.1, "matters": True, "lead": 0.3}
    judged = {"published_lead": 0.2, "covered_matters": True}
    return {"model": "one", "copy": copy, "group": group, **supported, **judged, **changes}


def test_counts_of_outcomes_and_of_those_that_are_right() -> None:
    rows = [row("shipped", number) for number in range(18)]
    rows += [row("shipped", 18, published_lead=-0.1), row("shipped", 19, covered_matters=False)]
    rows += [row("shipped", 20, lead=np.nan), row("shipped", 21, log_odds_change=1.0)]
    rows += [row("head", number, similarity=0.9) for number in range(22)]
    found = sanity_check.counts(pd.DataFrame(rows), LIMITS)
    assert found["shipped"]["outcomes"] == {Outcome.SUPPORTED: 20, Outcome.WEAK: 1, Outcome.DO_NOT_USE: 1}
    assert found["shipped"]["right"]["value"] == 0.9
    assert found["shipped"]["right"]["low"] < 0.9 < found["shipped"]["right"]["high"]
    assert found["head"]["supported"]["value"] == 0
    assert found["head"]["right"] is None
    card = {"limits": vars(LIMITS), "models": {"one": {"networks": ["x"], **found}}}
    assert "| `one` | 22 | 20 | 1 | 1 | 18 of 20 (" in sanity_check.markdown(card)
    assert "Not reached by `one`." in sanity_check.markdown(card)


def test_limits_keep_wrong_maps_and_those_of_copies_out() -> None:
    """In these data, maps are right if the lead is large, and the predictions of copies depend less on the picture."""
    rows = [row("shipped", number, lead=0.06, published_lead=-0.1) for number in range(10)]
    rows += [row("shipped", number, lead=0.3) for number in range(10, 40)]
    rows += [row("head", number, log_odds_change=2.9, lead=0.3) for number in range(40)]
    table = pd.DataFrame(rows)
    limits = sanity_check.choose(table)
    assert limits.lead == 0.07
    assert limits.log_odds_change > 2.9
    supported = sanity_check.outcomes(table, limits) == Outcome.SUPPORTED
    assert supported.sum() == 30
    assert not supported[:10].any()


def test_without_limits_that_keep_the_promise_the_strictest_are_taken() -> None:
    rows = [row(copy, number, published_lead=-0.1) for copy in ("shipped", "head") for number in range(20)]
    limits = sanity_check.choose(pd.DataFrame(rows))
    assert limits.lead == 0.2


def test_a_copy_has_another_last_layer_and_nothing_else(model: registry.Model, tmp_path: Path) -> None:
    copy = randomised.with_random_head(model, tmp_path)
    pixels = np.asarray(lesion().resize((model.input_size, model.input_size)))
    ours, other = Classifier(model).predict(pixels), Classifier(copy).predict(pixels)
    np.testing.assert_allclose(ours.embedding, other.embedding, atol=1e-6)
    assert not np.allclose(ours.logits, other.logits, atol=0.1)
    assert ours.class_maps is not None
    assert other.class_maps is not None
    # the maps are of the same random weights as the logits
    spread = other.logits - other.class_maps.mean(axis=(0, 1)) - (ours.logits - ours.class_maps.mean(axis=(0, 1)))
    np.testing.assert_allclose(spread, 0, atol=0.02)


def test_a_network_without_a_dense_last_layer_is_refused(model: registry.Model) -> None:
    content = (model.folder / "model.tflite").read_bytes()
    with pytest.raises(DataError, match="last layer of the model"):
        randomised.random_head(registry.model("malignancy-efficientnetb1"), content, 0)


def test_a_single_model_is_measured_with_the_limits_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: registry.Model
) -> None:
    rows = {"image": ["a", "b", "c"], "group": [0, 1, 2], "split": ["validation", "test", "test"]}
    monkeypatch.setattr(sanity_check, "lesions", lambda modality: pd.DataFrame(rows))
    monkeypatch.setattr(sanity_check, "sample", lambda table, images: table)
    measured = {name: value for name, value in row("shipped", 0).items() if name not in ("model", "copy", "group")}
    monkeypatch.setattr(sanity_check, "measure", lambda classifier, record: measured)
    out, table = tmp_path / "card.json", tmp_path / "table.md"
    options = ["sanity-check", "--models", model.id, "--runs", str(tmp_path), "--out", str(out), "--table", str(table)]
    assert main(options) == 0
    published, written = published_sanity_check.card(), json.loads(out.read_text())
    assert written["limits"] == published["limits"]
    assert written["models"].keys() >= published["models"].keys()
    assert written["models"][model.id]["shipped"]["images"] == 2
    for name in published["models"].keys() - {model.id}:
        assert written["models"][name] == published["models"][name]
