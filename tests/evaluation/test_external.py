"""One model on its own test images and on another data set."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from skinapp.evaluation import external, predictions
from skinapp.evaluation.predictions import Predictions
from skinapp.inference import registry
from skinapp.labels.sets import HAM10000
from tests.evaluation.conftest import made

RESAMPLES = 200


@pytest.fixture(scope="module")
def tested() -> Predictions:
    """Ninety own images, and ninety from elsewhere on which the model is worse."""
    own, other = made("m", HAM10000, seed=1, skill=4), made("m", HAM10000, seed=2, skill=1, start=100)
    table = pd.concat([own.table, other.table.assign(dataset="elsewhere")])
    return dataclasses.replace(own, table=table, further=("elsewhere",))


def test_every_test_set_has_its_score_and_external_ones_their_change(tested: Predictions) -> None:
    own, other = external.results(tested, "accuracy", "mel", RESAMPLES)
    assert (own.dataset, own.external, own.images, own.groups) == ("made", False, 90, 45)
    assert (other.dataset, other.external, other.images) == ("elsewhere", True, 90)
    for one in (own, other):
        rows = tested.rows_of(one.dataset)
        predicted = rows[tested.columns].to_numpy().argmax(axis=1)
        right = np.array(HAM10000.codes)[predicted] == rows["label"]
        assert one.score.value == pytest.approx(right.mean())
        assert one.score.low < one.score.value < one.score.high
    assert not own.change.exists
    assert other.change.value == pytest.approx(other.score.value - own.score.value)
    # different images: the variances add up
    widths = [(one.high - one.low) for one in (own.score, other.score)]
    assert other.change.high - other.change.low == pytest.approx(np.hypot(*widths), rel=0.2)
    assert other.change.high < 0


def test_a_set_without_the_target_has_no_score_of_it(tested: Predictions) -> None:
    without = dataclasses.replace(
        tested, table=tested.table[(tested.table["dataset"] == "made") | (tested.table["label"] != "mel")]
    )
    own, other = external.results(without, "roc_auc_target", "mel", RESAMPLES)
    assert own.score.value > 0.9
    assert np.isnan(other.score.value)
    assert np.isnan(other.change.value)
    assert (other.dataset, other.images) == ("elsewhere", len(without.rows_of("elsewhere")))


def test_a_change_to_a_score_without_an_interval_has_none() -> None:
    own, other = made("m", HAM10000, images=300, seed=1), made("m", HAM10000, seed=2, start=300)
    malignant = other.table["label"].isin([label.code for label in HAM10000.labels if label.malignant])
    few = other.table.drop(other.table.index[malignant][4:]).assign(dataset="elsewhere")
    both = dataclasses.replace(own, table=pd.concat([own.table, few]), further=("elsewhere",))
    own_result, other_result = external.results(both, "roc_auc_malignancy", "mel", RESAMPLES)
    assert own_result.score.exists
    assert other_result.groups >= 20
    assert not other_result.score.exists
    assert other_result.change.value == pytest.approx(other_result.score.value - own_result.score.value)
    assert not other_result.change.exists


def test_a_set_that_gave_training_images_is_internal() -> None:
    committee, single = (
        predictions.of_model(registry.model(f"ham10000-{name}")) for name in ("committee", "efficientnetv2b0")
    )
    assert [external.is_external(committee, name) for name in ("ham10000", "milk10k")] == [False, False]
    assert [external.is_external(single, name) for name in ("ham10000", "milk10k")] == [False, True]
    phone = predictions.of_model(registry.model("smartphone-efficientnetb1-6class"))
    assert not external.is_external(phone, "milk10k-clinical"), "it was trained on other close-ups of MILK10k"
