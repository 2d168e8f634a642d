import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from skinapp.evaluation import metrics

Rows = tuple[np.ndarray, np.ndarray]


def ones(rows: int) -> np.ndarray:
    return np.ones((1, rows))


@st.composite
def predictions(draw: st.DrawFn, all_classes: bool = True) -> Rows:
    """Labels [n] and probabilities [n, classes]; sometimes rounded, so that there are ties."""
    classes = draw(st.integers(2, 5))
    rows = draw(st.integers(classes + 3, 60))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    present = classes if all_classes else draw(st.integers(1, classes))
    labels = np.concatenate([np.arange(present), generator.integers(0, present, rows - present)])
    probabilities = generator.dirichlet(np.full(classes, draw(st.sampled_from([0.3, 1.0, 5.0]))), rows)
    # nothing below what scikit-learn's log loss raises a probability to
    probabilities = probabilities.round(1) + 1e-3 if draw(st.booleans()) else probabilities.clip(1e-12)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return labels, probabilities


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
    weights[:, :classes] += 1  # one row of every class stays
    found = metrics.DIAGNOSIS_SCORES[name](*rows, weights)
    assert found == pytest.approx([expected(name, *rows, row) for row in weights])


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
def test_the_balanced_log_loss_weighs_present_classes_alike(rows: Rows) -> None:
    labels, probabilities = rows
    balance = 1 / np.bincount(labels)[labels]
    by_reference = reference.log_loss(
        labels, probabilities, sample_weight=balance, labels=range(probabilities.shape[1])
    )
    assert metrics.balanced_log_loss(*rows, ones(len(labels)))[0] == pytest.approx(by_reference)


def test_a_resample_of_one_class_has_no_area_and_warns_of_nothing() -> None:
    labels, probabilities = np.array([0, 0, 1]), np.array([[0.9, 0.1], [0.6, 0.4], [0.7, 0.3]])
    weights = np.array([[1.0, 1.0, 1.0], [1.0, 2.0, 0.0]])
    found = metrics.macro_roc_auc(labels, probabilities, weights)
    assert found[0] == pytest.approx(1 / 2)
    assert np.isnan(found[1])


def test_area_under_the_curve_worked_by_hand() -> None:
    # of the four pairs, three are in order and one is a tie
    positive = np.array([True, True, False, False])
    scores = np.array([0.8, 0.4, 0.4, 0.2])
    assert metrics.roc_auc(positive, scores, ones(4)) == pytest.approx([3.5 / 4])
    assert np.isnan(metrics.roc_auc(np.array([True, True]), scores[:2], ones(2))).all()


def test_calibration_error_worked_by_hand() -> None:
    # five bins: 0.55 alone and right, 0.75 alone and wrong, 0.95 twice, once right
    confidence = np.array([0.55, 0.75, 0.95, 0.95])
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    labels = np.array([0, 1, 0, 1])
    found = metrics.expected_calibration_error(labels, probabilities, ones(4), bins=5)
    assert found == pytest.approx([(0.45 + 0.75 + 2 * 0.45) / 4])


def test_a_confidence_of_one_has_a_bin() -> None:
    probabilities = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert metrics.expected_calibration_error(np.array([0, 1]), probabilities, ones(2)) == pytest.approx([0.5])


def test_certain_and_wrong_is_finite() -> None:
    probabilities = np.array([[1.0, 0.0]])
    assert np.isfinite(metrics.log_loss(np.array([1]), probabilities, ones(1))).all()
    assert metrics.brier(np.array([1]), probabilities, ones(1)) == pytest.approx([2])


def test_malignancy_scores_worked_by_hand() -> None:
    # classes 0 and 2 are malignant; their summed probabilities are 0.7, 0.4, 0.5, 0.1
    probabilities = np.array([[0.3, 0.3, 0.4], [0.2, 0.6, 0.2], [0.5, 0.5, 0.0], [0.0, 0.9, 0.1]])
    labels = np.array([0, 2, 1, 1])
    found = {
        name: score(labels, probabilities, ones(4))[0]
        for name, score in metrics.malignancy_scores((True, False, True)).items()
    }
    assert found == pytest.approx(
        {"roc_auc_malignancy": 3 / 4, "sensitivity_malignancy": 1 / 2, "specificity_malignancy": 1 / 2}
    )
    careful = metrics.malignancy_scores((True, False, True), threshold=0.3)["sensitivity_malignancy"]
    assert careful(labels, probabilities, ones(4)) == pytest.approx([1])


@given(
    st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), min_size=1, max_size=40),
    st.integers(1, 50),
    st.integers(0, 1000),
)
def test_the_bootstrap_draws_whole_groups(names: list[str], resamples: int, seed: int) -> None:
    groups = np.array(names)
    weights = metrics.bootstrap_weights(groups, resamples, seed)
    assert weights.shape == (resamples, len(groups))
    drawn = np.stack([weights[:, np.flatnonzero(groups == name)[0]] for name in np.unique(groups)], axis=1)
    assert (drawn.sum(axis=1) == len(np.unique(groups))).all()
    for name, column in zip(np.unique(groups), drawn.T, strict=True):
        assert (weights[:, groups == name] == column[:, np.newaxis]).all()


def test_the_bootstrap_is_repeatable_and_fair() -> None:
    groups = np.repeat(np.arange(20), 2)
    weights = metrics.bootstrap_weights(groups, 4000, seed=1)
    assert (weights == metrics.bootstrap_weights(groups, 4000, seed=1)).all()
    assert (weights != metrics.bootstrap_weights(groups, 4000, seed=2)).any()
    assert weights.mean(axis=0) == pytest.approx(np.ones(40), abs=0.1)


@given(rows=predictions())
def test_copies_of_an_image_add_no_certainty(rows: Rows) -> None:
    names = np.arange(len(rows[0]))
    once = metrics.intervals({"accuracy": metrics.accuracy}, *rows, names, resamples=200)
    copied = metrics.intervals(
        {"accuracy": metrics.accuracy},
        np.repeat(rows[0], 4),
        np.repeat(rows[1], 4, axis=0),
        np.repeat(names, 4),
        resamples=200,
    )
    for side in ("value", "low", "high"):
        assert getattr(copied["accuracy"], side) == pytest.approx(getattr(once["accuracy"], side))


@given(rows=predictions())
def test_an_interval_contains_its_value(rows: Rows) -> None:
    interval = metrics.intervals({"accuracy": metrics.accuracy}, *rows, np.arange(len(rows[0])), 500)["accuracy"]
    assert 0 <= interval.low <= interval.value <= interval.high <= 1


def test_an_interval_is_as_wide_as_theory_has_it() -> None:
    generator = np.random.default_rng(0)
    labels = np.zeros(1000, dtype=int)
    right = generator.random(1000) < 0.8
    probabilities = np.stack([right, ~right], axis=1).astype(float)
    interval = metrics.intervals({"accuracy": metrics.accuracy}, labels, probabilities, np.arange(1000))["accuracy"]
    share = right.mean()
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * np.sqrt(share * (1 - share) / 1000), rel=0.08)


@given(rows=predictions(), seed=st.integers(0, 1000))
def test_a_paired_difference_is_that_of_the_scores(rows: Rows, seed: int) -> None:
    labels, first = rows
    second = np.random.default_rng(seed).permutation(first)
    groups = np.arange(len(labels))
    scores: dict[str, metrics.Score] = {"accuracy": metrics.accuracy}
    found = metrics.paired_differences(scores, labels, first, second, groups, 100)["accuracy"]
    weights = ones(len(labels))
    apart = metrics.accuracy(labels, first, weights)[0] - metrics.accuracy(labels, second, weights)[0]
    assert found.value == pytest.approx(apart)
    assert found.low <= found.value + 1e-12
    assert found.value <= found.high + 1e-12
    same = metrics.paired_differences(scores, labels, first, first, groups, 100)["accuracy"]
    assert (same.value, same.low, same.high) == (0, 0, 0)


@pytest.mark.parametrize(
    ("only_first", "only_second", "p_value"),
    # twice the tail of a fair coin: 2 * (1 + 6) / 2**6, 2 / 2**5, and no more than 1
    [(5, 1, 14 / 64), (0, 5, 2 / 32), (3, 3, 1), (0, 0, 1)],
)
def test_mcnemar_worked_by_hand(only_first: int, only_second: int, p_value: float) -> None:
    first = np.array([True] * only_first + [False] * only_second + [True, True, False])
    second = np.array([False] * only_first + [True] * only_second + [True, True, False])
    assert metrics.mcnemar(first, second) == pytest.approx(p_value)
    assert metrics.mcnemar(second, first) == pytest.approx(p_value)


def test_holm_worked_by_hand() -> None:
    # in order 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1, and none below the one before
    found = metrics.holm(np.array([0.04, 0.01, 0.03, 0.02]))
    assert found == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert metrics.holm(np.array([0.9, 0.6])) == pytest.approx([1, 1])


@st.composite
def two_sided(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boolean positive [n] with both sides, scores [n] that often tie, and weights [3, n] with both sides drawn."""
    rows = draw(st.integers(4, 50))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    positive = generator.random(rows) < draw(st.sampled_from([0.2, 0.5, 0.8]))
    positive[:2], positive[2:4] = True, False
    scores = generator.random(rows).round(draw(st.sampled_from([1, 6])))
    weights = generator.integers(0, 4, (3, rows)).astype(float)
    weights[:, :4] += 1
    return positive, scores, weights


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
        # the layout that bootstrap_weights gives is faster, and must not be different
        assert ours(positive, scores, np.asfortranarray(weights)) == pytest.approx(expected_scores)


def test_average_precision_worked_by_hand() -> None:
    # from the top: positive, negative, positive; precision 1 at half the recall, then 2/3 at all of it
    found = metrics.average_precision(np.array([True, False, True]), np.array([0.9, 0.5, 0.1]), ones(3))
    assert found == pytest.approx([1 / 2 * 1 + 1 / 2 * 2 / 3])


def test_areas_with_one_class_are_not_defined() -> None:
    for positive in (np.ones(3, bool), np.zeros(3, bool)):
        assert np.isnan(metrics.roc_auc(positive, np.array([0.1, 0.2, 0.3]), ones(3))).all()
    assert np.isnan(metrics.average_precision(np.zeros(3, bool), np.array([0.1, 0.2, 0.3]), ones(3))).all()


@given(rows=two_sided(), threshold=st.sampled_from([0.0, 0.1, 0.5, 0.55, 1.0]))
def test_rates_equal_a_count(rows: tuple[np.ndarray, np.ndarray, np.ndarray], threshold: float) -> None:
    positive, scores, weights = rows
    sensitivity, specificity = metrics.rates(positive, scores, np.array([threshold]), weights)
    for row, found, cleared in zip(weights, sensitivity[:, 0], specificity[:, 0], strict=True):
        take = np.repeat(np.arange(len(scores)), row.astype(int))
        truth, called = positive[take], scores[take] >= threshold
        assert found == pytest.approx(reference.recall_score(truth, called))
        assert cleared == pytest.approx(reference.recall_score(~truth, ~called))


def test_predictive_values_worked_by_hand() -> None:
    # of 1,000 people 100 have it: 90 found, 10 missed; of the 900 others 180 alarmed, 720 cleared
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
    found, _ = metrics.predictive_values(sensitivity[0], specificity[0], float(positive.mean()))
    assert found == pytest.approx([reference.precision_score(positive, called)])


def test_net_benefit_of_treating_all_as_published() -> None:
    # PMC6993280, table 4, "intervention to all patients": 30% have hepatocellular carcinoma
    published = {0.10: 0.222, 0.20: 0.125, 0.30: 0.000, 0.40: -0.167, 0.50: -0.400, 0.60: -0.750, 0.80: -2.500}
    positive = np.arange(1000) < 300
    found = metrics.net_benefit(positive, np.ones(1000), np.array(list(published)), ones(1000))[0]
    assert found == pytest.approx(list(published.values()), abs=5e-4)


def test_net_benefit_worked_by_hand() -> None:
    # at one quarter: 2 of 3 found, 1 false alarm at a third each, of 6 rows
    positive = np.array([True, True, True, False, False, False])
    scores = np.array([0.9, 0.3, 0.1, 0.25, 0.2, 0.0])
    found = metrics.net_benefit(positive, scores, np.array([0.25]), ones(6))
    assert found[0] == pytest.approx([(2 - 1 / 3) / 6])
    # a resample without a positive row has no true positives
    weights = np.array([[0.0, 0, 0, 1, 1, 1]])
    assert metrics.net_benefit(positive, scores, np.array([0.25]), weights)[0] == pytest.approx([-1 / 3 / 3])


def test_selective_risk_worked_by_hand() -> None:
    # surest first: right, wrong, then two that tie, one of them wrong
    correct, confidence = np.array([True, False, True, False]), np.array([0.9, 0.8, 0.6, 0.6])
    coverage = np.array([0.25, 0.5, 0.75, 1.0])
    found = metrics.selective_risk(correct, confidence, coverage, ones(4))
    assert found[0] == pytest.approx([0, 1 / 2, 1.5 / 3, 2 / 4])


@given(rows=two_sided(), seed=st.integers(0, 100))
def test_selective_risk_ends_at_the_error_rate_in_any_order(
    rows: tuple[np.ndarray, np.ndarray, np.ndarray], seed: int
) -> None:
    correct, confidence, weights = rows
    coverage = np.array([0.3, 1.0])
    found = metrics.selective_risk(correct, confidence, coverage, weights)
    assert found[:, 1] == pytest.approx((weights @ ~correct) / weights.sum(axis=1))
    order = np.random.default_rng(seed).permutation(len(correct))
    again = metrics.selective_risk(correct[order], confidence[order], coverage, weights[:, order])
    assert again == pytest.approx(found)


OVARIAN = """
3.0 5.8 10 0  3.2 6.3 5 1  3.9 6.8 3 1  2.8 4.8 6 0  3.2 5.8 3 1  0.9 4.0 5 0  2.5 5.7 8 0  1.6 5.6 5 1  3.8 5.7 5 1
3.7 6.7 6 1   3.2 5.4 4 1  3.8 6.6 6 1  4.1 6.6 5 1  3.6 5.7 5 1  4.3 7.0 4 1  3.6 6.7 4 0  2.3 4.4 6 1  4.2 7.6 4 0
4.0 6.6 6 0   3.5 5.8 6 1  3.8 6.8 7 1  3.0 4.7 8 0  4.5 7.4 5 1  3.7 7.4 5 1  3.1 6.6 6 1  4.1 8.2 6 1  4.3 7.0 5 1
4.3 6.5 4 1   3.2 5.1 5 1  2.6 4.7 6 1  3.3 6.8 6 0  1.7 4.0 7 0  3.7 6.1 5 1  3.3 6.3 7 1  4.2 7.7 6 1  3.5 6.2 5 1
2.9 5.7 9 0   2.1 4.8 7 1  2.8 6.2 8 0  4.0 7.0 7 1  3.3 5.7 6 1  3.7 6.9 5 1  3.6 6.6 5 1
"""
"""Albumin, total protein, K-G score and outcome of 43 women: the data of DeLong et al. 1988, as far as complete, in
SAS/STAT's documentation of PROC LOGISTIC, "Comparing Receiver Operating Characteristic Curves"."""


def test_delong_as_published() -> None:
    albumin, protein, score, outcome = np.array(OVARIAN.split(), float).reshape(-1, 4).T
    # SAS: areas 0.6478, 0.7258 and 0.7366; contrasts with the K-G score
    for marker, area, difference, error, low, high, p_value in (
        (protein, 0.6478, -0.0780, 0.1046, -0.2830, 0.1271, 0.4561),
        (albumin, 0.7366, 0.0108, 0.0953, -0.1761, 0.1976, 0.9102),
    ):
        found = metrics.delong(outcome == 0, -marker, score)
        assert (found.first, found.second) == pytest.approx((area, 0.7258), abs=5e-5)
        assert found.standard_error == pytest.approx(error, abs=5e-5)
        interval = (found.difference.value, found.difference.low, found.difference.high)
        assert interval == pytest.approx((difference, low, high), abs=5e-5)
        assert found.p_value == pytest.approx(p_value, abs=5e-5)


@given(rows=two_sided(), seed=st.integers(0, 100))
def test_delong_equals_the_sum_over_pairs(rows: tuple[np.ndarray, np.ndarray, np.ndarray], seed: int) -> None:
    positive, first, _ = rows
    second = np.random.default_rng(seed).permutation(first)
    wins = [
        (scores[positive][:, np.newaxis] > scores[~positive])
        + 0.5 * (scores[positive][:, np.newaxis] == scores[~positive])
        for scores in (first, second)
    ]
    apart = wins[0] - wins[1]
    variance = np.var(apart.mean(axis=1), ddof=1) / len(apart) + np.var(apart.mean(axis=0), ddof=1) / len(apart.T)
    found = metrics.delong(positive, first, second)
    assert found.difference.value == pytest.approx(apart.mean())
    assert found.standard_error == pytest.approx(np.sqrt(variance), abs=1e-9)
    swapped = metrics.delong(positive, second, first)
    assert swapped.p_value == pytest.approx(found.p_value)
    assert swapped.difference.value == pytest.approx(-found.difference.value)


def test_delong_where_nothing_differs_or_nothing_can_be_said() -> None:
    positive, scores = np.array([True, True, False, False]), np.array([0.9, 0.2, 0.4, 0.1])
    assert metrics.delong(positive, scores, scores).p_value == 1
    assert np.isnan(metrics.delong(np.array([True, False, False]), scores[:3], scores[1:]).p_value)


@pytest.mark.parametrize(
    ("only_first", "only_second", "both", "p_value"),
    [
        # Fagerland et al. 2013 (BMC Med Res Methodol 13:91): airway hyper-responsiveness of 21 children; 0.070
        (1, 7, 13, 0.070),
        # Armitage and Berry 1994, p. 127, two media for one sputum, the exact test as StatsDirect's manual gives it
        (12, 2, 36, 0.0129),
    ],
)
def test_mcnemar_as_published(only_first: int, only_second: int, both: int, p_value: float) -> None:
    first = np.array([True] * only_first + [False] * only_second + [True] * both)
    second = np.array([False] * only_first + [True] * only_second + [True] * both)
    assert metrics.mcnemar(first, second) == pytest.approx(p_value, abs=5e-4)


def test_an_interval_of_what_is_not_defined() -> None:
    found = metrics.interval(np.array([0.5, np.nan, np.nan]))
    assert found.value == 0.5
    assert np.isnan(found.low)
