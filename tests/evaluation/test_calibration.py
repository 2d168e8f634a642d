"""Calibration: bins, reliability and temperature."""

import numpy as np
import pytest

from skinapp.evaluation import bootstrap, calibration
from skinapp.evaluation.comparison import Shared


def test_probabilities_before_the_temperature() -> None:
    logits = np.random.default_rng(0).normal(size=(20, 5))
    calibrated = np.exp(logits / 0.7) / np.exp(logits / 0.7).sum(axis=1, keepdims=True)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert calibration.before_temperature(calibrated, 0.7) == pytest.approx(expected)


def test_reliability_counts_every_image(shared: Shared, weights: np.ndarray) -> None:
    event = calibration.most_likely(shared.truth, shared.probabilities["one"])
    table = calibration.reliability_intervals(*event, shared.groups, weights)
    assert table["images"].sum() == len(shared.images)
    assert (table["images"] @ table["accuracy"]) == pytest.approx(shared.correct("one").sum())
    [whole] = calibration.reliability_intervals(*event, shared.groups, weights, bins=1).to_dict("records")
    assert whole["accuracy_low"] < shared.correct("one").mean() < whole["accuracy_high"]


def test_calibration_error_worked_by_hand() -> None:
    # five bins: 0.55 alone and right, 0.75 alone and wrong, 0.95 twice, once right
    confidence = np.array([0.55, 0.75, 0.95, 0.95])
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    labels = np.array([0, 1, 0, 1])
    error = calibration.expected_calibration_error(labels, probabilities, np.ones((1, 4)), bins=5)
    assert error == pytest.approx([(0.45 + 0.75 + 2 * 0.45) / 4])


def test_a_confidence_of_one_has_a_bin() -> None:
    probabilities = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert calibration.expected_calibration_error(np.array([0, 1]), probabilities, np.ones((1, 2))) == pytest.approx(
        [0.5]
    )


def test_the_bins_are_those_of_one_function(monkeypatch: pytest.MonkeyPatch) -> None:
    probabilities = np.array([[0.95, 0.05], [0.55, 0.45]])
    labels = np.array([0, 1])
    assert [row["low"] for row in calibration.reliability(labels, probabilities)] == [0.5, 0.9]
    monkeypatch.setattr(calibration, "bin_of", lambda confidence, bins: np.zeros(len(confidence), int))
    [row] = calibration.reliability(labels, probabilities)
    assert (row["images"], row["accuracy"]) == (2, 0.5)
    assert calibration.expected_calibration_error(labels, probabilities, np.ones((1, 2)))[0] == pytest.approx(0.25)


def test_a_bin_of_few_lesions_has_no_interval_and_one_without_errors_has_some_width() -> None:
    confidence = np.r_[np.full(40, 0.95), np.full(10, 0.65)]
    correct, groups = np.ones(50, bool), np.arange(50)
    weights = bootstrap.weights(groups, 50)
    few, many = calibration.reliability_intervals(confidence, correct, groups, weights).to_dict("records")
    assert np.isnan(few["accuracy_low"])
    assert many["accuracy"] == many["accuracy_high"] == 1
    assert many["accuracy_low"] == pytest.approx(40 / (40 + 1.959964**2), abs=1e-6)


def test_the_calibration_of_any_probability_by_hand() -> None:
    # 15 bins: three images near 0.1, for one of which the event occurred, and one at 0.9 for which it did
    predicted, came_true = np.array([0.1, 0.1, 0.1, 0.9]), np.array([False, False, True, True])
    assert calibration.gap(predicted, came_true, np.ones((1, 4))) == pytest.approx([(0.7 + 0.1) / 4])
    error = calibration.gap_interval(predicted, came_true, np.arange(4), bootstrap.weights(np.arange(4), 20))
    assert error.value == pytest.approx(0.2)
    assert not error.exists
