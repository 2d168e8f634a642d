"""The consequences of a threshold, counted independently."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as reference

from skinapp.evaluation import comparison, operating_points
from skinapp.evaluation.comparison import Shared
from skinapp.evaluation.operating_points import Threshold
from skinapp.evaluation.predictions import Predictions
from skinapp.inference import registry
from skinapp.labels.sets import HAM10000, MALIGNANCY, PAD_UFES_20, LabelSet
from tests.evaluation.conftest import made, repeats

NOTHING = {"value": 0.9, "low": 0.8, "high": 1.0}


def test_an_operating_point_equals_counting(shared: Shared, weights: np.ndarray) -> None:
    point = operating_points.operating_point(shared, weights, "one", Threshold(0.3), 0.02)
    called = shared.probability("one") >= 0.3
    (true_negatives, false_positives), (false_negatives, true_positives) = reference.confusion_matrix(
        shared.positive, called
    )
    counts = (point.true_positives, point.false_negatives, point.false_positives, point.true_negatives)
    assert counts == (true_positives, false_negatives, false_positives, true_negatives)
    sensitivity, specificity = (
        true_positives / (true_positives + false_negatives),
        true_negatives / (true_negatives + false_positives),
    )
    assert point.missed.value == pytest.approx(1000 * 0.02 * (1 - sensitivity))
    assert point.false_alarms.value == pytest.approx(1000 * 0.98 * (1 - specificity))
    assert point.positive_predictive_value.value == pytest.approx(
        0.02 * sensitivity / (0.02 * sensitivity + 0.98 * (1 - specificity))
    )
    assert point.net_benefit == pytest.approx((true_positives - false_positives * 0.3 / 0.7) / len(called))
    resampled = [reference.recall_score(shared.positive[take], called[take]) for take in repeats(weights)]
    limits = tuple(np.percentile(resampled, (2.5, 97.5)))
    assert (point.sensitivity.low, point.sensitivity.high) == pytest.approx(limits)


@pytest.mark.parametrize("wanted", [0.5, 0.9, 1.0])
def test_a_threshold_for_a_sensitivity_is_the_highest_that_reaches_it(shared: Shared, wanted: float) -> None:
    threshold = operating_points.threshold_for(shared, "one", wanted)
    positive = shared.probability("one")[shared.positive]
    assert (positive >= threshold).mean() >= wanted
    assert (positive > threshold).mean() < wanted


def test_a_sensitivity_of_one_is_not_certain(shared: Shared, weights: np.ndarray) -> None:
    certain = np.eye(7)[shared.truth]
    perfect = dataclasses.replace(shared, probabilities={"one": certain}, groups=np.arange(len(shared.images)))
    point = operating_points.operating_point(perfect, perfect.weights(100), "one", Threshold(0.5), 0.05)
    assert (point.sensitivity.value, point.sensitivity.high) == (1, 1)
    assert point.sensitivity.low < 1
    assert point.missed.value == point.missed.low == 0
    assert point.missed.high == pytest.approx(1000 * 0.05 * (1 - point.sensitivity.low))
    for interval in (point.positive_predictive_value, point.negative_predictive_value):
        assert interval.value == interval.high == 1
        assert interval.low < 1


def test_few_lesions_have_no_interval(shared: Shared) -> None:
    few = dataclasses.replace(shared, groups=np.zeros(len(shared.images), int))
    point = operating_points.operating_point(few, few.weights(100), "one", Threshold(0.5), 0.05)
    assert not any(value.exists for value in vars(point).values() if hasattr(value, "exists"))
    assert 0 < point.sensitivity.value < 1


def by_hand(shared: Shared, name: str, take: np.ndarray, sensitivity: float) -> tuple[float, float]:
    """Sensitivity and specificity of the highest threshold that finds that share of the rows `take`."""
    positive, chance = shared.positive[take], shared.probability(name)[take]
    for threshold in np.unique(chance)[::-1]:
        detected = (chance[positive] >= threshold).mean()
        if detected >= sensitivity - 1e-9:
            return detected, (chance[~positive] < threshold).mean()
    raise AssertionError


def test_a_threshold_chosen_here_is_chosen_again_in_every_resample(shared: Shared, weights: np.ndarray) -> None:
    [threshold] = operating_points.chosen_here(shared, ["two"], 0.9).values()
    assert threshold.sensitivity == 0.9
    detected, passed = operating_points.draws(shared, weights, "two", threshold)
    takes = [np.arange(len(shared.images)), *repeats(weights)]
    expected = np.array([by_hand(shared, "two", take, 0.9) for take in takes])
    assert detected == pytest.approx(expected[:, 0])
    assert passed == pytest.approx(expected[:, 1])
    assert len(np.unique(passed)) > 5


def test_the_difference_of_two_models_at_their_thresholds(shared: Shared, weights: np.ndarray) -> None:
    thresholds = {"one": Threshold(0.3), "two": Threshold(0.5)}
    apart = operating_points.difference(shared, weights, "one", "two", thresholds, 0.1)
    flagged = {name: shared.probability(name) >= threshold.value for name, threshold in thresholds.items()}
    for interval, rows in ((apart.detected, shared.positive), (apart.flagged, ~shared.positive)):
        counts = (flagged["one"] & rows).astype(int) - (flagged["two"] & rows)
        resampled = [counts[take].sum() / rows[take].sum() * rows.sum() for take in repeats(weights)]
        assert interval.value == pytest.approx(counts.sum())
        assert (interval.low, interval.high) == pytest.approx(tuple(np.percentile(resampled, (2.5, 97.5))))
    points = {
        name: operating_points.operating_point(shared, weights, name, threshold, 0.1)
        for name, threshold in thresholds.items()
    }
    for name in ("missed", "false_alarms"):
        one, two = (getattr(points[model], name).value for model in ("one", "two"))
        assert getattr(apart, name).value == pytest.approx(one - two)
    assert apart.missed.low < apart.missed.value < apart.missed.high
    same = operating_points.difference(shared, weights, "one", "one", thresholds, 0.1)
    assert (same.detected.value, same.flagged.low, same.flagged.high) == (0, 0, 0)


@pytest.fixture
def with_a_card(shared: Shared) -> Callable[..., Predictions]:
    """A model of seven classes with these contents in its card."""
    model = registry.models()["ham10000-cnn32"]

    def with_a_card(files: Mapping[str, Any] = {}, **card: Any) -> Predictions:
        chosen = ("conformal", "operating_points")
        plain = {name: value for name, value in model.card.items() if name not in chosen}
        made_model = dataclasses.replace(model, card=plain | card | {"files": dict(files)})
        return dataclasses.replace(made("one", HAM10000), model=made_model)

    return with_a_card


SETS = {
    "images": "Validation images",
    "coverages": [0.9, 0.95],
    "classes": {code: {"groups": 40, "thresholds": [0.2, 0.0 if code == "df" else 0.1]} for code in HAM10000.codes},
}


def test_a_threshold_comes_from_held_out_training_images(
    shared: Shared, with_a_card: Callable[..., Predictions], monkeypatch: pytest.MonkeyPatch
) -> None:
    melanoma, together = (
        dataclasses.replace(shared, target=comparison.targets(HAM10000)[name]) for name in ("mel", "cancer")
    )

    def chosen(predictions_of: Predictions, of: Shared, sensitivity: float) -> Threshold | None:
        return operating_points.held_out(predictions_of, of, sensitivity, "made")

    # the thresholds of prediction sets are those of single classes, and 0 where there were too few lesions
    with_sets = with_a_card(conformal=SETS)
    assert chosen(with_sets, melanoma, 0.95) == Threshold(0.1, "Validation images")
    assert chosen(with_sets, together, 0.95) is None
    assert chosen(with_sets, melanoma, 0.93) is None
    rare = dataclasses.replace(shared, target=comparison.targets(HAM10000)["df"])
    assert chosen(with_sets, rare, 0.95) is None
    # a published operating point comes first
    measured = [{"name": "HAM10000, out of fold", "sensitivity": NOTHING, "specificity": NOTHING}]
    point = {"id": "melanoma-95", "classes": ["mel"], "sensitivity": 0.95, "threshold": 0.07, "measured": measured}
    published = with_a_card(conformal=SETS, operating_points=[point])
    assert chosen(published, melanoma, 0.95) == Threshold(0.07, "HAM10000, out of fold")
    # out-of-fold predictions give any sensitivity, of any classes
    held_out = made("held", HAM10000, seed=5)
    monkeypatch.setattr("skinapp.evaluation.predictions.out_of_fold", lambda model: held_out)
    detected = chosen(with_sets, together, 0.8)
    chances = held_out.table.loc[held_out.table["label"].isin(["bcc", "mel"]), ["p_bcc", "p_mel"]].sum(axis=1)
    assert detected
    assert (chances >= detected.value - 1e-9).mean() >= 0.8 > (chances > detected.value + 1e-9).mean()


def test_a_cross_validated_model_has_a_threshold_only_for_other_images(
    shared: Shared, with_a_card: Callable[..., Predictions]
) -> None:
    melanoma = dataclasses.replace(shared, target=comparison.targets(HAM10000)["mel"])
    crossed = with_a_card(conformal=SETS, training={"images": {"train": 90}})
    assert operating_points.held_out(crossed, melanoma, 0.95, "made") is None
    elsewhere = dataclasses.replace(crossed, further=("made",))
    assert operating_points.held_out(elsewhere, melanoma, 0.95, "made") == Threshold(0.1, "Validation images")


def test_models_are_compared_by_one_rule(shared: Shared, with_a_card: Callable[..., Predictions]) -> None:
    melanoma = dataclasses.replace(shared, target=comparison.targets(HAM10000)["mel"])
    known = {"one": with_a_card(conformal=SETS), "two": made("two", HAM10000)}
    thresholds = operating_points.for_sensitivity(melanoma, known, 0.95, "made")
    assert thresholds == operating_points.chosen_here(melanoma, ["one", "two"], 0.95)
    known["two"] = known["one"]
    thresholds = operating_points.for_sensitivity(melanoma, known, 0.95, "made")
    assert set(thresholds.values()) == {Threshold(0.1, "Validation images")}


def test_published_points_by_hand() -> None:
    # melanomas at 0.1, 0.2, ..., 1.0, and as many moles at 0.05, 0.15, ...
    melanoma, nevus = HAM10000.codes.index("mel"), HAM10000.codes.index("nv")
    truth = np.repeat([melanoma, nevus], 10)
    probabilities = np.zeros((20, 7))
    probabilities[:, melanoma] = np.r_[np.arange(1, 11) / 10, np.arange(10) / 10 + 0.05]
    probabilities[:, nevus] = 1 - probabilities[:, melanoma]
    points = {point.id: point for point in operating_points.choose(HAM10000, truth, probabilities)}
    assert {name: point.threshold for name, point in points.items()} == {
        "cancer-90": 0.2,
        "cancer-95": 0.1,
        "melanoma-90": 0.2,
        "melanoma-95": 0.1,
    }
    assert points["cancer-90"].classes == ("akiec", "bcc", "mel")
    rates = operating_points.measure(
        ("mel",), points["melanoma-90"].threshold, HAM10000, truth, probabilities, np.arange(20)
    )
    # 9 of 10 melanomas and 2 of 10 moles
    assert {name: rate.value for name, rate in rates.items()} == {
        "sensitivity": 0.9,
        "specificity": 0.2,
        "accuracy": 0.55,
    }
    by_class = dict(zip(HAM10000.codes, probabilities[1], strict=True))
    assert points["melanoma-90"].reached(by_class)
    assert not points["melanoma-90"].reached(by_class | {"mel": 0.19})


def test_two_classes_have_no_point_for_melanoma() -> None:
    assert operating_points.targets(MALIGNANCY) == {"cancer": ("malignant",)}


def test_a_malignancy_model_has_operating_points_for_melanoma_if_melanomas_are_labelled() -> None:
    # the two melanomas have the highest probabilities of the malignant images; three of the four others are lower
    malignant = np.array([0.2, 0.4, 0.7, 0.9, 0.1, 0.3, 0.6, 0.8])
    probabilities = np.stack([1 - malignant, malignant], axis=1)
    truth = np.array([1, 1, 1, 1, 0, 0, 0, 0])
    melanoma = np.array([False, False, True, True, False, False, False, False])
    points = {one.id: one for one in operating_points.choose(MALIGNANCY, truth, probabilities, melanoma)}
    assert set(points) == {"cancer-90", "cancer-95", "melanoma-90", "melanoma-95"}
    assert (points["cancer-90"].threshold, points["cancer-90"].of) == (0.2, "")
    point = points["melanoma-90"]
    assert (point.threshold, point.of, point.classes) == (0.7, "melanoma", ("malignant",))
    rates = operating_points.measure(
        point.classes, point.threshold, MALIGNANCY, truth, probabilities, np.arange(8), melanoma
    )
    assert {name: rate.value for name, rate in rates.items()} == {"sensitivity": 1, "specificity": 0.75}
    none = operating_points.choose(MALIGNANCY, truth, probabilities, np.zeros(8, dtype=bool))
    assert {one.id for one in none} == {"cancer-90", "cancer-95"}
    # if melanoma is a class, the class is used
    seven = np.eye(7)[[4, 4, 5]]
    points = {one.id: one for one in operating_points.choose(HAM10000, np.array([4, 4, 5]), seven, np.ones(3, bool))}
    assert (points["melanoma-90"].classes, points["melanoma-90"].of) == (("mel",), "")


@pytest.mark.parametrize("labels", [HAM10000, PAD_UFES_20])
def test_every_diagnosis_set_has_a_melanoma(labels: LabelSet) -> None:
    assert operating_points.targets(labels)["melanoma"] in (("mel",), ("MEL",))
