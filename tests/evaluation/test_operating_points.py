"""What a threshold costs, counted by another route."""

import dataclasses

import numpy as np
import pytest
from sklearn import metrics as reference

from skinapp.evaluation import operating_points
from skinapp.evaluation.comparison import Shared
from skinapp.labels.sets import HAM10000, MALIGNANCY, PAD_UFES_20, LabelSet
from tests.evaluation.conftest import repeats


def test_an_operating_point_equals_counting(shared: Shared, weights: np.ndarray) -> None:
    point = operating_points.operating_point(shared, weights, "one", 0.3, 0.02)
    called = shared.malignancy["one"] >= 0.3
    (true_negatives, false_positives), (false_negatives, true_positives) = reference.confusion_matrix(
        shared.malignant, called
    )
    counts = (point.true_positives, point.false_negatives, point.false_positives, point.true_negatives)
    assert counts == (true_positives, false_negatives, false_positives, true_negatives)
    sensitivity, specificity = (
        true_positives / (true_positives + false_negatives),
        true_negatives / (true_negatives + false_positives),
    )
    assert point.missed_cancers.value == pytest.approx(1000 * 0.02 * (1 - sensitivity))
    assert point.false_alarms.value == pytest.approx(1000 * 0.98 * (1 - specificity))
    assert point.positive_predictive_value.value == pytest.approx(
        0.02 * sensitivity / (0.02 * sensitivity + 0.98 * (1 - specificity))
    )
    assert point.net_benefit == pytest.approx((true_positives - false_positives * 0.3 / 0.7) / len(called))
    resampled = [reference.recall_score(shared.malignant[take], called[take]) for take in repeats(weights)]
    limits = tuple(np.percentile(resampled, (2.5, 97.5)))
    assert (point.sensitivity.low, point.sensitivity.high) == pytest.approx(limits)


@pytest.mark.parametrize("wanted", [0.5, 0.9, 1.0])
def test_a_threshold_for_a_sensitivity_is_the_highest_that_reaches_it(shared: Shared, wanted: float) -> None:
    threshold = operating_points.threshold_for(shared, "one", wanted)
    positive = shared.malignancy["one"][shared.malignant]
    assert (positive >= threshold).mean() >= wanted
    assert (positive > threshold).mean() < wanted


def test_a_sensitivity_of_one_is_not_certain(shared: Shared, weights: np.ndarray) -> None:
    malignant = np.where(shared.malignant, 0.9, 0.2)
    perfect = dataclasses.replace(shared, malignancy={"one": malignant}, groups=np.arange(len(shared.images)))
    point = operating_points.operating_point(perfect, perfect.weights(100), "one", 0.5, 0.05)
    assert (point.sensitivity.value, point.sensitivity.high) == (1, 1)
    assert point.sensitivity.low < 1
    assert point.missed_cancers.value == point.missed_cancers.low == 0
    assert point.missed_cancers.high == pytest.approx(1000 * 0.05 * (1 - point.sensitivity.low))
    for interval in (point.positive_predictive_value, point.negative_predictive_value):
        assert interval.value == interval.high == 1
        assert interval.low < 1


def test_few_lesions_have_no_interval(shared: Shared) -> None:
    few = dataclasses.replace(shared, groups=np.zeros(len(shared.images), int))
    point = operating_points.operating_point(few, few.weights(100), "one", 0.5, 0.05)
    assert not any(value.exists for value in vars(point).values() if hasattr(value, "exists"))
    assert 0 < point.sensitivity.value < 1


def test_thresholds_are_one_for_all_or_each_models_own(shared: Shared) -> None:
    assert operating_points.thresholds(shared, 0.4) == {"one": 0.4, "two": 0.4}
    own = operating_points.thresholds(shared, 0.4, 0.9)
    assert own == {name: operating_points.threshold_for(shared, name, 0.9) for name in shared.ids}


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
    sensitivity, specificity = operating_points.measure(
        ("mel",), points["melanoma-90"].threshold, HAM10000, truth, probabilities, np.arange(20)
    )
    assert (sensitivity.value, specificity.value) == (0.9, 0.2)
    by_class = dict(zip(HAM10000.codes, probabilities[1], strict=True))
    assert points["melanoma-90"].reached(by_class)
    assert not points["melanoma-90"].reached(by_class | {"mel": 0.19})


def test_two_classes_have_no_point_for_melanoma() -> None:
    assert operating_points.targets(MALIGNANCY) == {"cancer": ("malignant",)}


def test_a_model_of_malignancy_has_points_for_melanoma_where_it_is_known_which_images_show_one() -> None:
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
    sensitivity, specificity = operating_points.measure(
        point.classes, point.threshold, MALIGNANCY, truth, probabilities, np.arange(8), melanoma
    )
    assert (sensitivity.value, specificity.value) == (1, 0.75)
    none = operating_points.choose(MALIGNANCY, truth, probabilities, np.zeros(8, dtype=bool))
    assert {one.id for one in none} == {"cancer-90", "cancer-95"}
    # where it is a class, the class counts
    seven = np.eye(7)[[4, 4, 5]]
    points = {one.id: one for one in operating_points.choose(HAM10000, np.array([4, 4, 5]), seven, np.ones(3, bool))}
    assert (points["melanoma-90"].classes, points["melanoma-90"].of) == (("mel",), "")


@pytest.mark.parametrize("labels", [HAM10000, PAD_UFES_20])
def test_every_diagnosis_set_has_a_melanoma(labels: LabelSet) -> None:
    assert operating_points.targets(labels)["melanoma"] in (("mel",), ("MEL",))
