import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from skinapp.evaluation import metrics
from tests.evaluation.strategies import Rows, ones, predictions, two_sided


def expected(name: str, labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> float:
    """The score by scikit-learn, of rows repeated by their weight."""
    repeated = np.repeat(np.arange(len(labels)), weights.astype(int))
    labels, probabilities = labels[repeated], probabilities[repeated]
    classes = range(probabilities.shape[1])
    present = np.unique(labels)
    predicted = probabilities.argmax(axis=1)
    match name:
        case "accuracy":
            return reference.accuracy_score(labels, predicted)
        case "balanced_accuracy":
            return reference.recall_score(labels, predicted, labels=present, average="macro")
        case "macro_f1":
            return reference.f1_score(labels, predicted, labels=classes, average="macro", zero_division=0)
        case "macro_roc_auc":
            return float(np.mean([reference.roc_auc_score(labels == k, probabilities[:, k]) for k in present]))
        case "log_loss":
            return reference.log_loss(labels, probabilities, labels=classes)
        case "brier":
            return reference.brier_score_loss(labels, probabilities, labels=classes, scale_by_half=False)
    raise AssertionError(name)


SAME_AS_REFERENCE = sorted(metrics.DIAGNOSIS_SCORES.keys() - {"expected_calibration_error"})


@pytest.mark.parametrize("name", SAME_AS_REFERENCE)
@given(rows=predictions())
def test_equals_scikit_learn(name: str, rows: Rows) -> None:
    weights = ones(len(rows[0]))
    assert metrics.DIAGNOSIS_SCORES[name](*rows, weights)[0] == pytest.approx(expected(name, *rows, weights[0]))


@pytest.mark.parametrize("name", SAME_AS_REFERENCE)
@given(rows=predictions(), seed=st.integers(0, 1000))
def test_a_weight_counts_a_row_that_often(name: str, rows: Rows, seed: int) -> None:
    classes = rows[1].shape[1]
    weights = np.random.default_rng(seed).integers(0, 4, (3, len(rows[0]))).astype(float)
    weights[:, :classes] += 1  # keep one row of every class
    scored = metrics.DIAGNOSIS_SCORES[name](*rows, weights)
    assert scored == pytest.approx([expected(name, *rows, row) for row in weights])


@pytest.mark.parametrize("name", metrics.DIAGNOSIS_SCORES)
@given(rows=predictions(), seed=st.integers(0, 1000))
def test_the_order_of_rows_does_not_matter(name: str, rows: Rows, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(rows[0]))
    score, weights = metrics.DIAGNOSIS_SCORES[name], ones(len(rows[0]))
    assert score(rows[0][order], rows[1][order], weights) == pytest.approx(score(*rows, weights))


@given(rows=predictions(all_classes=False))
def test_classes_without_a_row_do_not_count(rows: Rows) -> None:
    labels, probabilities = rows
    weights = ones(len(labels))
    recalls = metrics.class_recalls(labels, probabilities, weights)[0]
    present = np.unique(labels)
    assert np.isnan(np.delete(recalls, present)).all()
    by_reference = reference.recall_score(
        labels, probabilities.argmax(axis=1), labels=present, average=None, zero_division=0
    )
    assert recalls[present] == pytest.approx(by_reference)
    assert metrics.balanced_accuracy(*rows, weights)[0] == pytest.approx(by_reference.mean())
    if len(present) > 1:
        assert metrics.macro_roc_auc(*rows, weights)[0] == pytest.approx(expected("macro_roc_auc", *rows, weights[0]))


@given(rows=predictions(all_classes=False))
def test_the_balanced_log_loss_weights_present_classes_equally(rows: Rows) -> None:
    labels, probabilities = rows
    balance = 1 / np.bincount(labels)[labels]
    by_reference = reference.log_loss(
        labels, probabilities, sample_weight=balance, labels=range(probabilities.shape[1])
    )
    assert metrics.balanced_log_loss(*rows, ones(len(labels)))[0] == pytest.approx(by_reference)


def test_a_resample_of_one_class_has_no_area_and_warns_of_nothing() -> None:
    labels, probabilities = np.array([0, 0, 1]), np.array([[0.9, 0.1], [0.6, 0.4], [0.7, 0.3]])
    weights = np.array([[1.0, 1.0, 1.0], [1.0, 2.0, 0.0]])
    scored = metrics.macro_roc_auc(labels, probabilities, weights)
    assert scored[0] == pytest.approx(1 / 2)
    assert np.isnan(scored[1])


def test_area_under_the_curve_worked_by_hand() -> None:
    # of the four pairs, three are in order and one is a tie
    positive = np.array([True, True, False, False])
    scores = np.array([0.8, 0.4, 0.4, 0.2])
    assert metrics.roc_auc(positive, scores, ones(4)) == pytest.approx([3.5 / 4])
    assert np.isnan(metrics.roc_auc(np.array([True, True]), scores[:2], ones(2))).all()


def test_certain_and_wrong_is_finite() -> None:
    probabilities = np.array([[1.0, 0.0]])
    assert np.isfinite(metrics.log_loss(np.array([1]), probabilities, ones(1))).all()
    assert metrics.brier(np.array([1]), probabilities, ones(1)) == pytest.approx([2])


def test_malignancy_scores_worked_by_hand() -> None:
    # classes 0 and 2 are malignant; their summed probabilities are 0.7, 0.4, 0.5, 0.1
    probabilities = np.array([[0.3, 0.3, 0.4], [0.2, 0.6, 0.2], [0.5, 0.5, 0.0], [0.0, 0.9, 0.1]])
    labels = np.array([0, 2, 1, 1])
    scored = {
        name: score(labels, probabilities, ones(4))[0]
        for name, score in metrics.malignancy_scores((True, False, True)).items()
    }
    assert scored == pytest.approx(
        {"roc_auc_malignancy": 3 / 4, "sensitivity_malignancy": 1 / 2, "specificity_malignancy": 1 / 2}
    )
    careful = metrics.malignancy_scores((True, False, True), threshold=0.3)["sensitivity_malignancy"]
    assert careful(labels, probabilities, ones(4)) == pytest.approx([1])


@given(rows=two_sided())
def test_areas_equal_scikit_learns_on_repeated_rows(rows: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    positive, scores, weights = rows
    for ours, reference_score in (
        (metrics.roc_auc, reference.roc_auc_score),
        (metrics.average_precision, reference.average_precision_score),
    ):
        repeated = [np.repeat(np.arange(len(scores)), row.astype(int)) for row in weights]
        expected_scores = [reference_score(positive[take], scores[take]) for take in repeated]
        assert ours(positive, scores, weights) == pytest.approx(expected_scores)
        # the memory layout of `bootstrap.weights` is faster, and must not change the result
        assert ours(positive, scores, np.asfortranarray(weights)) == pytest.approx(expected_scores)


def test_average_precision_worked_by_hand() -> None:
    # from the top: positive, negative, positive; precision 1 at half the recall, then 2/3 at all of it
    scored = metrics.average_precision(np.array([True, False, True]), np.array([0.9, 0.5, 0.1]), ones(3))
    assert scored == pytest.approx([1 / 2 * 1 + 1 / 2 * 2 / 3])


def test_areas_with_one_class_are_not_defined() -> None:
    for positive in (np.ones(3, bool), np.zeros(3, bool)):
        assert np.isnan(metrics.roc_auc(positive, np.array([0.1, 0.2, 0.3]), ones(3))).all()
    assert np.isnan(metrics.average_precision(np.zeros(3, bool), np.array([0.1, 0.2, 0.3]), ones(3))).all()


@given(rows=two_sided(), threshold=st.sampled_from([0.0, 0.1, 0.5, 0.55, 1.0]))
def test_rates_equal_a_count(rows: tuple[np.ndarray, np.ndarray, np.ndarray], threshold: float) -> None:
    positive, scores, weights = rows
    sensitivity, specificity = metrics.rates(positive, scores, np.array([threshold]), weights)
    for row, scored, specific in zip(weights, sensitivity[:, 0], specificity[:, 0], strict=True):
        take = np.repeat(np.arange(len(scores)), row.astype(int))
        truth, called = positive[take], scores[take] >= threshold
        assert scored == pytest.approx(reference.recall_score(truth, called))
        assert specific == pytest.approx(reference.recall_score(~truth, ~called))


def test_predictive_values_worked_by_hand() -> None:
    # of 1,000 people 100 have it: 90 detected, 10 missed; of the 900 others 180 false alarms
    positive, negative = metrics.predictive_values(np.array([0.9]), np.array([0.8]), 0.1)
    assert positive == pytest.approx([90 / 270])
    assert negative == pytest.approx([720 / 730])


@given(rows=two_sided())
def test_predictive_values_at_the_prevalence_here_are_precisions(
    rows: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    positive, scores, _ = rows
    called = scores >= np.median(scores)
    sensitivity, specificity = metrics.rates(positive, scores, np.array([np.median(scores)]), ones(len(scores)))
    scored, _ = metrics.predictive_values(sensitivity[0], specificity[0], float(positive.mean()))
    assert scored == pytest.approx([reference.precision_score(positive, called)])


def test_net_benefit_of_treating_all_as_published() -> None:
    # PMC6993280, table 4, "intervention to all patients": 30% have hepatocellular carcinoma
    published = {0.10: 0.222, 0.20: 0.125, 0.30: 0.000, 0.40: -0.167, 0.50: -0.400, 0.60: -0.750, 0.80: -2.500}
    positive = np.arange(1000) < 300
    scored = metrics.net_benefit(positive, np.ones(1000), np.array(list(published)), ones(1000))[0]
    assert scored == pytest.approx(list(published.values()), abs=5e-4)


def test_net_benefit_worked_by_hand() -> None:
    # at one quarter: 2 of 3 detected, 1 false alarm at a third each, of 6 rows
    positive = np.array([True, True, True, False, False, False])
    scores = np.array([0.9, 0.3, 0.1, 0.25, 0.2, 0.0])
    scored = metrics.net_benefit(positive, scores, np.array([0.25]), ones(6))
    assert scored[0] == pytest.approx([(2 - 1 / 3) / 6])
    # a resample without a positive row has no true positives
    weights = np.array([[0.0, 0, 0, 1, 1, 1]])
    assert metrics.net_benefit(positive, scores, np.array([0.25]), weights)[0] == pytest.approx([-1 / 3 / 3])


def test_selective_risk_worked_by_hand() -> None:
    # most confident first: right, wrong, then two that tie, one of them wrong
    correct, confidence = np.array([True, False, True, False]), np.array([0.9, 0.8, 0.6, 0.6])
    coverage = np.array([0.25, 0.5, 0.75, 1.0])
    scored = metrics.selective_risk(correct, confidence, coverage, ones(4))
    assert scored[0] == pytest.approx([0, 1 / 2, 1.5 / 3, 2 / 4])


@given(rows=two_sided(), seed=st.integers(0, 100))
def test_selective_risk_ends_at_the_error_rate_in_any_order(
    rows: tuple[np.ndarray, np.ndarray, np.ndarray], seed: int
) -> None:
    correct, confidence, weights = rows
    coverage = np.array([0.3, 1.0])
    scored = metrics.selective_risk(correct, confidence, coverage, weights)
    assert scored[:, 1] == pytest.approx((weights @ ~correct) / weights.sum(axis=1))
    order = np.random.default_rng(seed).permutation(len(correct))
    again = metrics.selective_risk(correct[order], confidence[order], coverage, weights[:, order])
    assert again == pytest.approx(scored)
