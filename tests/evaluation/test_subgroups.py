"""Scores in subgroups of people: one set of age bands, and the intervals of `bootstrap`."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from skinapp.demographics import records
from skinapp.demographics.records import Filters
from skinapp.evaluation import bootstrap, comparison, subgroups
from skinapp.evaluation.comparison import CLASSES, Shared
from skinapp.evaluation.predictions import of_model
from skinapp.inference import registry
from skinapp.labels.sets import HAM10000
from tests.evaluation.conftest import made

BANDS = ["0 to 29", "30 to 44", "45 to 59", "60 to 74", "75 and over"]


@pytest.fixture
def tested() -> pd.DataFrame:
    """Eighty images of eighty lesions: three in four malignant ones are classified as malignant, and none of the
    others."""
    ten = 10
    raw = pd.DataFrame(
        {
            "lesion": [f"{letter}{number}" for number in range(ten) for letter in "abcdefgh"],
            "diagnosis": (["mel"] * 4 + ["nv"] * 4) * ten,
            "sex": (["male"] * 6 + ["female"] * 2) * ten,
            "age": [20, 30, 45, 60, 75, 80, 50, np.nan] * ten,
            "probability": [0.9, 0.8, 0.6, 0.4, 0.1, 0.2, 0.3, 0.1] * ten,
            "truth": ([True] * 4 + [False] * 4) * ten,
            "predicted": ["mel", "mel", "bcc", "nv", "nv", "nv", "nv", "mel"] * ten,
        }
    )
    return records.tidy(raw, HAM10000)


def test_sensitivity_specificity_and_calibration_by_hand(tested: pd.DataFrame) -> None:
    table = subgroups.cells(tested, "sex", 1.0).set_index("cell")
    assert table.loc["All", "sensitivity"] == 0.75
    assert table.loc["All", "specificity"] == table.loc["All", "specificity_high"] == 1
    # of 40 lesions, all called correctly: Wilson
    assert table.loc["All", "specificity_low"] == pytest.approx(40 / (40 + 1.959964**2), abs=1e-6)
    assert table.loc["All", "calibration"] == pytest.approx((2.7 + 0.7) / 8 - 0.5)
    assert table["images"].to_dict() == {"All": 80, "male": 60, "female": 20}
    assert np.isnan(table.loc["female", "sensitivity"])


def test_the_intervals_are_those_of_the_comparison(tested: pd.DataFrame) -> None:
    row = subgroups.cells(tested, "sex", 1.0).iloc[0]
    weights = bootstrap.weights(tested["lesion"].to_numpy())
    called, truth = tested["probability"].to_numpy() >= 0.5, tested["truth"].to_numpy()
    resampled = (weights @ (truth & called)) / (weights @ truth)
    limits = tuple(np.percentile(resampled, (2.5, 97.5)))
    assert (row["sensitivity_low"], row["sensitivity_high"]) == pytest.approx(limits)


def test_results_with_wide_intervals_are_not_shown(tested: pd.DataFrame) -> None:
    table = subgroups.cells(tested, "sex", 0.3).set_index("cell")
    assert table["sensitivity_shown"].tolist() == [True, True, False]
    assert table["specificity_shown"].tolist() == [True, True, True]
    assert not subgroups.cells(tested, "sex", 0.05)["sensitivity_shown"].any()


def test_under_twenty_lesions_have_no_interval(tested: pd.DataFrame) -> None:
    few = tested[tested["lesion"] < 32]
    row = subgroups.cells(few, "sex", 1.0).iloc[0]
    assert row["lesions"] == 32
    assert 0 < row["sensitivity"] < 1
    assert np.isnan(row["sensitivity_low"])
    assert not row["sensitivity_shown"]
    assert row["calibration_shown"]


def test_several_images_of_a_lesion_do_not_narrow_the_interval(tested: pd.DataFrame) -> None:
    twice = pd.concat([tested, tested], ignore_index=True)
    one, two = (subgroups.cells(frame, "sex", 1.0).iloc[0] for frame in (tested, twice))
    assert two["images"] == 2 * one["images"]
    for measure in subgroups.MEASURES:
        assert two[f"{measure}_low"] == pytest.approx(one[f"{measure}_low"])


def test_ages_fall_into_the_same_bands_everywhere(tested: pd.DataFrame, shared: Shared, weights: np.ndarray) -> None:
    table = subgroups.cells(tested, "age", 1.0).set_index("cell")["images"]
    assert table.to_dict() == dict(zip(["All", *BANDS, records.NOT_STATED], [80, 10, 10, 20, 10, 20, 10], strict=True))
    assert by_fact(shared, weights, "age", "accuracy", ["one"])["subgroup"].tolist() == BANDS


def test_the_cells_agree_with_the_models_card(model: registry.Model) -> None:
    frame = subgroups.predictions(model, "ham10000").frame
    whole = subgroups.cells(frame, "sex", 1.0).iloc[0]
    for name in ("sensitivity", "specificity"):
        assert whole[name] == pytest.approx(model.card["scores"][f"{name}_malignancy"]["value"], abs=1e-3)
    assert whole["images"] == 1503


def test_how_often_a_class_is_predicted(tested: pd.DataFrame) -> None:
    recall = subgroups.recall(tested, "mel")
    assert recall
    assert (recall.images, recall.lesions, recall.share.value) == (40, 40, 0.5)
    assert recall.share.low < 0.5 < recall.share.high
    few = subgroups.recall(tested[tested["lesion"] < 20], "mel")
    assert few
    assert not few.share.exists
    assert subgroups.recall(tested, "vasc") is None


def test_images_of_the_malignant_benign_set_get_their_metadata_from_ham10000() -> None:
    models = registry.models()
    name = next(key for key, each in models.items() if "malignant_benign" in subgroups.tested_on(each))
    table = subgroups.predictions(models[name], "malignant_benign")
    assert table.frame["age"].notna().any()
    women = records.select(table, Filters(sex=("female",)))
    assert 0 < len(women) < len(table.frame)


def test_predictions_without_metadata_get_it_from_the_shipped_table(monkeypatch: pytest.MonkeyPatch) -> None:
    models = registry.models()
    name = next(key for key, each in models.items() if "malignant_benign" in subgroups.tested_on(each))
    complete = subgroups.of_model(models[name])
    bare = complete.table.drop(columns=["sex", "age", "site", "confirmation"])
    monkeypatch.setattr(subgroups, "of_model", lambda _: dataclasses.replace(complete, table=bare))
    assert subgroups.predictions(models[name], "malignant_benign").frame["age"].notna().any()


def test_a_model_has_no_rows_of_a_data_set_that_it_was_not_tested_on(model: registry.Model) -> None:
    assert "pad_ufes_20" not in subgroups.tested_on(model)
    assert subgroups.predictions(model, "malignant_benign").frame.empty


def by_fact(shared: Shared, weights: np.ndarray, fact: str, score: str, models: list[str]) -> pd.DataFrame:
    return subgroups.by_subgroup(
        shared, weights, subgroups.values(shared.facts, fact), score, models, dict.fromkeys(models, 0.3)
    )


def test_rates_at_the_threshold_equal_counting() -> None:
    shared = comparison.share([made("one", HAM10000, 300, seed=1)], CLASSES)
    weights = shared.weights(50)
    women = (shared.facts["sex"] == "female").to_numpy()
    flagged = shared.probability("one") >= 0.3
    for score, side, right in (
        (subgroups.SENSITIVITY, shared.positive, flagged),
        (subgroups.SPECIFICITY, ~shared.positive, ~flagged),
    ):
        row = by_fact(shared, weights, "sex", score, ["one"]).set_index("subgroup").loc["female"]
        assert row["positive"] == (shared.positive & women).sum()
        assert row["value"] == pytest.approx(right[side & women].mean())
        assert row["low"] < row["value"] < row["high"]


def test_skin_type_and_tone_come_from_the_shipped_tables() -> None:
    for model_id, dataset, column, known in (
        ("ham10000-efficientnetb1", "milk10k", "skin_tone", {"2", "3"}),
        ("smartphone-efficientnetb1-6class", "milk10k-clinical", "skin_tone", {"2", "3"}),
        ("smartphone-efficientnetb1-6class", "pad_ufes_20", "fitzpatrick", {"1", "2", "3"}),
    ):
        predictions = of_model(registry.model(model_id))
        shared = comparison.share([predictions], CLASSES, dataset)
        facts = subgroups.with_skin(shared)
        assert column in subgroups.columns(facts)
        assert known <= set(subgroups.values(facts, column).dropna())


def test_subgroups_equal_the_score_of_their_rows(shared: Shared, weights: np.ndarray) -> None:
    table = by_fact(shared, weights, "sex", "accuracy", shared.ids)
    for _, row in table.iterrows():
        rows = (shared.facts["sex"] == row["subgroup"]).to_numpy()
        assert row["images"] == rows.sum()
        if rows.sum() >= subgroups.FEW_IMAGES:
            assert row["value"] == pytest.approx(shared.correct(row["model"])[rows].mean())
            assert row["low"] <= row["value"] <= row["high"]
        else:
            assert np.isnan(row["value"])
    assert subgroups.columns(shared.facts) == ["sex", "age"]
    ages = by_fact(shared, weights, "age", "accuracy", ["one"])
    assert ages["subgroup"].tolist() == ["0 to 29", "30 to 44", "45 to 59", "60 to 74", "75 and over"]
    assert ages["images"].sum() == shared.facts["age"].notna().sum()


def test_scores_of_malignancy_do_not_depend_on_the_target(model: registry.Model) -> None:
    tables = []
    for target in (None, comparison.targets(HAM10000)["df"]):
        shared = comparison.share([of_model(model)], CLASSES, target=target)
        facts = subgroups.values(shared.facts, "age")
        tables.append(subgroups.by_subgroup(shared, shared.weights(100), facts, "roc_auc_malignancy", shared.ids, {}))
    assert tables[0]["value"].notna().sum() > 2
    pd.testing.assert_series_equal(tables[0]["value"], tables[1]["value"])


def test_the_largest_gap_is_named() -> None:
    rows = [
        ("m", "male", 0.9, 0.85, 0.95),
        ("m", "female", 0.6, 0.5, 0.7),
        ("n", "male", 0.8, 0.7, 0.9),
        ("n", "female", 0.7, 0.6, 0.8),
        ("n", "other", np.nan, np.nan, np.nan),
    ]
    table = pd.DataFrame(rows, columns=["model", "subgroup", "value", "low", "high"])
    gap = subgroups.largest_gap(table)
    assert gap
    assert (gap.model, gap.best, gap.worst, gap.overlap) == ("m", "male", "female", False)
    assert gap.difference == pytest.approx(0.3)
    lower = subgroups.largest_gap(table, higher=False)
    assert lower
    assert (lower.best, lower.worst) == ("female", "male")
    assert subgroups.largest_gap(table.iloc[4:]) is None


def test_how_a_diagnosis_was_confirmed_is_named_in_words() -> None:
    facts = pd.DataFrame({"confirmation": ["histo", "follow_up", "unknown", None]})
    assert subgroups.values(facts, "confirmation").tolist()[:2] == ["histology", "follow-up"]
    assert subgroups.values(facts, "confirmation").isna().tolist() == [False, False, True, True]
