"""Intervals: whole groups are resampled, and the number of groups determines the certainty."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skinapp.evaluation import bootstrap, metrics
from skinapp.evaluation.bootstrap import Area
from tests.evaluation.strategies import Rows, ones, predictions


@given(
    st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), min_size=1, max_size=40),
    st.integers(1, 50),
    st.integers(0, 1000),
)
def test_the_bootstrap_draws_whole_groups(names: list[str], resamples: int, seed: int) -> None:
    groups = np.array(names)
    weights = bootstrap.weights(groups, resamples, seed)
    assert weights.shape == (resamples, len(groups))
    group_counts = np.stack([weights[:, np.flatnonzero(groups == name)[0]] for name in np.unique(groups)], axis=1)
    assert (group_counts.sum(axis=1) == len(np.unique(groups))).all()
    for name, column in zip(np.unique(groups), group_counts.T, strict=True):
        assert (weights[:, groups == name] == column[:, np.newaxis]).all()


def test_the_bootstrap_is_repeatable_and_fair() -> None:
    groups = np.repeat(np.arange(20), 2)
    weights = bootstrap.weights(groups, 4000, seed=1)
    assert (weights == bootstrap.weights(groups, 4000, seed=1)).all()
    assert (weights != bootstrap.weights(groups, 4000, seed=2)).any()
    assert weights.mean(axis=0) == pytest.approx(np.ones(40), abs=0.1)


@given(rows=predictions())
def test_copies_of_an_image_do_not_narrow_the_interval(rows: Rows) -> None:
    names = np.arange(len(rows[0]))
    once = bootstrap.intervals({"accuracy": metrics.accuracy}, *rows, names, resamples=200)
    copied = bootstrap.intervals(
        {"accuracy": metrics.accuracy},
        np.repeat(rows[0], 4),
        np.repeat(rows[1], 4, axis=0),
        np.repeat(names, 4),
        resamples=200,
    )
    for side in ("value", "low", "high"):
        assert getattr(copied["accuracy"], side) == pytest.approx(getattr(once["accuracy"], side), nan_ok=True)


@given(rows=predictions())
def test_an_interval_contains_its_value(rows: Rows) -> None:
    interval = bootstrap.intervals({"accuracy": metrics.accuracy}, *rows, np.arange(len(rows[0])), 500)["accuracy"]
    if len(rows[0]) < bootstrap.MIN_GROUPS:
        assert not interval.exists
    else:
        assert 0 <= interval.low <= interval.value <= interval.high <= 1


def test_an_interval_is_as_wide_as_theory_has_it() -> None:
    generator = np.random.default_rng(0)
    labels = np.zeros(1000, dtype=int)
    right = generator.random(1000) < 0.8
    probabilities = np.stack([right, ~right], axis=1).astype(float)
    interval = bootstrap.intervals({"accuracy": metrics.accuracy}, labels, probabilities, np.arange(1000))["accuracy"]
    share = right.mean()
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * np.sqrt(share * (1 - share) / 1000), rel=0.08)


@given(rows=predictions(), seed=st.integers(0, 1000))
def test_a_paired_difference_is_that_of_the_scores(rows: Rows, seed: int) -> None:
    labels, first = rows
    second = np.random.default_rng(seed).permutation(first)
    groups = np.arange(len(labels))
    scores: dict[str, bootstrap.Score] = {"accuracy": metrics.accuracy}
    result = bootstrap.paired_differences(scores, labels, first, second, groups, 200)["accuracy"]
    weights = ones(len(labels))
    apart = metrics.accuracy(labels, first, weights)[0] - metrics.accuracy(labels, second, weights)[0]
    assert result.value == pytest.approx(apart)
    if result.exists:
        assert result.low - 1e-12 <= result.value <= result.high + 1e-12
    same = bootstrap.paired_differences(scores, labels, first, first, groups, 100)["accuracy"]
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_an_undefined_score_has_no_interval() -> None:
    result = bootstrap.interval(np.array([0.5, np.nan, np.nan]), groups=100)
    assert result.value == 0.5
    assert np.isnan(result.low)


def certain(images: int, right: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
    """Images of class 1 that are all classified correctly."""
    labels = np.ones(images, dtype=int)
    return labels, np.tile([1 - right, right], (images, 1))


def test_a_proportion_at_its_end_is_not_certain() -> None:
    # Wilson 1927 at 294 of 294: the lower limit is n / (n + z^2)
    result = bootstrap.intervals({"it": metrics.accuracy}, *certain(294), np.arange(294), 200)["it"]
    assert (result.value, result.high) == (1, 1)
    assert result.low == pytest.approx(294 / (294 + 1.959964**2), abs=1e-6)
    labels, probabilities = certain(294)
    none = bootstrap.intervals({"it": metrics.accuracy}, 1 - labels, probabilities, np.arange(294), 200)["it"]
    assert (none.value, none.low) == (0, 0)
    assert none.high == pytest.approx(1 - result.low)


def test_lesions_and_not_images_are_the_cases_of_wilsons_interval() -> None:
    once = bootstrap.intervals({"it": metrics.accuracy}, *certain(50), np.arange(50), 100)["it"]
    copied = bootstrap.intervals({"it": metrics.accuracy}, *certain(500), np.arange(500) // 10, 100)["it"]
    assert copied.low == pytest.approx(once.low)


def test_a_share_counts_the_lesions_of_its_own_side() -> None:
    # 40 benign lesions and 25 malignant ones, all called correctly
    labels = np.r_[np.zeros(40, int), np.ones(25, int)]
    probabilities = np.where(labels[:, np.newaxis] == np.arange(2), 0.9, 0.1)
    result = bootstrap.intervals(metrics.malignancy_scores((False, True)), labels, probabilities, np.arange(65), 100)
    z2 = 1.959964**2
    assert result["sensitivity_malignancy"].low == pytest.approx(25 / (25 + z2), abs=1e-6)
    assert result["specificity_malignancy"].low == pytest.approx(40 / (40 + z2), abs=1e-6)
    # an area is not a proportion, even if it is 1 in every resample
    assert result["roc_auc_malignancy"].value == 1
    assert not result["roc_auc_malignancy"].exists


@pytest.mark.parametrize(("groups", "exists"), [(1, False), (19, False), (20, True)])
def test_few_groups_give_no_interval(groups: int, exists: bool) -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 300)
    first, second = (generator.dirichlet([1, 1], 300) for _ in range(2))
    names = np.arange(300) % groups
    scores = metrics.DIAGNOSIS_SCORES
    for result in (
        bootstrap.intervals(scores, labels, first, names, 100),
        bootstrap.paired_differences(scores, labels, first, second, names, 100),
    ):
        assert all(one.exists == exists for one in result.values())
        assert not any(np.isnan(one.value) for one in result.values())


def test_models_that_agree_on_every_image_are_not_certain_to_be_equal() -> None:
    labels, first = certain(100)
    _, second = certain(100, 0.8)
    scores: dict[str, bootstrap.Score] = {"it": metrics.accuracy}
    result = bootstrap.paired_differences(scores, labels, first, second, np.arange(100), 100)["it"]
    assert result.value == 0
    assert not result.exists
    same = bootstrap.paired_differences(scores, labels, first, first, np.arange(100), 100)["it"]
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_an_interval_in_words() -> None:
    assert bootstrap.Interval(0.6951, 0.65, 0.739).text() == "0.695 (0.650 to 0.739)"
    assert bootstrap.Interval(1, np.nan, np.nan).text(".0%") == "100% (no interval)"
    assert bootstrap.Interval(np.nan, np.nan, np.nan).text() == "not defined"


def test_an_area_needs_twenty_groups_on_both_sides() -> None:
    labels, groups = np.repeat([0, 1], (19, 100)), np.arange(119)
    score = Area((True, False), metrics.roc_auc)
    values = np.linspace(0.8, 0.9, 101)
    assert not bootstrap.score_interval(score, values, labels, groups).exists
    labels[19] = 0
    assert bootstrap.score_interval(score, values, labels, groups).exists
