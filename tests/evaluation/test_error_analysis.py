"""Errors by class and by image."""

import dataclasses

import numpy as np
import pytest
from sklearn import metrics as reference

from skinapp.evaluation import bootstrap, error_analysis
from skinapp.evaluation.comparison import Shared
from skinapp.labels.sets import HAM10000


def test_confusion_equals_scikit_learns(shared: Shared, weights: np.ndarray) -> None:
    named = shared.probabilities["one"].argmax(axis=1)
    expected = reference.confusion_matrix(shared.truth, named, labels=range(7))
    table = error_analysis.confusion(shared, "one")
    assert table["images"].to_numpy().reshape(7, 7).tolist() == expected.tolist()
    wrong = error_analysis.error_rates(shared, weights)
    mel = wrong[(wrong["model"] == "one") & (wrong["label"] == "mel")].iloc[0]
    rows = shared.truth == HAM10000.codes.index("mel")
    assert mel["value"] == pytest.approx((named[rows] != shared.truth[rows]).mean())
    assert mel["images"] == rows.sum()


def test_the_most_confident_errors_come_first(shared: Shared) -> None:
    table = error_analysis.errors(shared, "two")
    assert len(table) == (~shared.correct("two")).sum()
    assert (table["label"] != table["predicted"]).all()
    assert table["confidence"].is_monotonic_decreasing
    both = error_analysis.disagreements(shared, "one", "two")
    assert len(both) == (shared.correct("one") != shared.correct("two")).sum()
    for _, row in both.iterrows():
        named = row["first"] if row["correct"] == "one" else row["second"]
        assert named == row["label"]


def test_an_error_rate_is_of_the_lesions_of_its_class(shared: Shared) -> None:
    images = len(shared.images)
    mel = shared.truth == HAM10000.codes.index("mel")
    always_right = {"one": np.eye(7)[shared.truth] * 0.93 + 0.01}
    apart = dataclasses.replace(shared, probabilities=always_right, groups=np.arange(images))
    few = error_analysis.error_rates(apart, apart.weights(20)).set_index("label").loc["mel"]
    assert mel.sum() < bootstrap.MIN_GROUPS
    assert few["value"] == 0
    assert np.isnan(few["high"])
    twice = dataclasses.replace(
        apart,
        truth=np.tile(shared.truth, 3),
        images=np.tile(shared.images, 3),
        groups=np.arange(3 * images),
        probabilities={"one": np.tile(always_right["one"], (3, 1))},
    )
    many = error_analysis.error_rates(twice, twice.weights(20)).set_index("label").loc["mel"]
    assert many["value"] == many["low"] == 0
    assert many["high"] > 0
