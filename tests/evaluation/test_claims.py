"""Published claims next to our models: every figure of ours comes from the model folders."""

import dataclasses

import numpy as np
import pytest

from skinapp.evaluation import claims, predictions
from skinapp.evaluation.claims import CLAIMS, SEVEN, TWO, Compared
from skinapp.evaluation.predictions import Predictions


@pytest.fixture(scope="module")
def known() -> dict[str, Predictions]:
    return predictions.shipped()[0]


@pytest.fixture(scope="module")
def compared(known: dict[str, Predictions]) -> list[Compared]:
    return claims.compare(known)


def test_every_published_score_is_there(compared: list[Compared]) -> None:
    assert {(one.claim.question, one.claim.score, one.claim.value) for one in compared} == {
        (SEVEN, "accuracy", "84.3%"),
        (SEVEN, "accuracy", "71% to 75%"),
        (TWO, "accuracy", "91%"),
        (TWO, "sensitivity_malignancy", "90%"),
        (TWO, "accuracy", "85% to 90%"),
        (TWO, "roc_auc_malignancy", "over 0.90"),
    }


def test_ours_for_seven_classes_are_those_of_the_cards(known: dict[str, Predictions], compared: list[Compared]) -> None:
    for one in compared:
        if one.claim.question == SEVEN:
            assert one.repeated is not None
            model = known[one.repeated.model].model
            assert model is not None
            card = model.card["scores"]["accuracy"]
            assert dataclasses.astuple(one.repeated.score) == pytest.approx(
                (card["value"], card["low"], card["high"]), abs=2e-4
            )
            assert one.repeated.images == model.card["test"]["images"]


def test_the_same_test_is_that_of_the_claim_or_missing(known: dict[str, Predictions], compared: list[Compared]) -> None:
    by_value = {one.claim.value: one for one in compared}
    for claim, model_id, protocol in (
        ("84.3%", "ham10000-efficientnetb1", "split by image"),
        ("71% to 75%", "ham10000-cnn32", "resampled"),
    ):
        again = by_value[claim].same_test
        assert again is not None
        model = known[model_id].model
        assert model is not None
        [test] = [test for test in model.card["other_tests"] if protocol in test["name"]]
        assert (again.score.value, again.images) == (test["scores"]["accuracy"]["value"], test["images"])
    assert by_value["85% to 90%"].same_test is by_value["85% to 90%"].repeated is None


def test_malignancy_is_scored_at_a_threshold_that_held_out_training_images_chose(
    known: dict[str, Predictions], compared: list[Compared]
) -> None:
    accuracy, sensitivity = (one.repeated for one in compared if one.claim.value in ("91%", "90%"))
    assert accuracy is not None
    assert sensitivity is not None
    assert accuracy.threshold == sensitivity.threshold
    assert accuracy.threshold is not None
    assert accuracy.threshold.chosen_on == "Validation images"
    rows = known[accuracy.model].rows_of("malignant_benign")
    flagged = rows["p_malignant"] >= accuracy.threshold.value
    malignant = rows["label"] == "malignant"
    assert accuracy.score.value == pytest.approx((flagged == malignant).mean())
    assert sensitivity.score.value == pytest.approx(flagged[malignant].mean())
    assert accuracy.images == len(rows)
    for figure in (accuracy, sensitivity):
        assert figure.score.low < figure.score.value < figure.score.high


def test_without_the_models_the_claims_stand_alone(known: dict[str, Predictions]) -> None:
    assert all(one.same_test is one.repeated is one.ours is None for one in claims.compare({}))
    # a model of other images says nothing about these
    other = dataclasses.replace(CLAIMS[0], dataset="pad_ufes_20")
    [alone] = claims.compare(known, [other])
    assert alone.repeated is None


def test_a_model_without_an_operating_point_has_only_the_area(known: dict[str, Predictions]) -> None:
    # without weights, its validation images cannot be classified
    vgg16 = [dataclasses.replace(claim, ours="malignancy-vgg16") for claim in CLAIMS if claim.question == TWO]
    figures = {one.claim.score: one.ours for one in claims.compare(known, vgg16)}
    area = figures.pop("roc_auc_malignancy")
    assert area is not None
    assert np.isfinite(area.score.low)
    assert set(figures.values()) == {None}
