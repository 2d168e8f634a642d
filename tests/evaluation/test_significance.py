"""Tests of two models, against published figures and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skinapp.evaluation import significance
from tests.evaluation.strategies import two_sided

OVARIAN = """
3.0 5.8 10 0  3.2 6.3 5 1  3.9 6.8 3 1  2.8 4.8 6 0  3.2 5.8 3 1  0.9 4.0 5 0  2.5 5.7 8 0  1.6 5.6 5 1  3.8 5.7 5 1
3.7 6.7 6 1   3.2 5.4 4 1  3.8 6.6 6 1  4.1 6.6 5 1  3.6 5.7 5 1  4.3 7.0 4 1  3.6 6.7 4 0  2.3 4.4 6 1  4.2 7.6 4 0
4.0 6.6 6 0   3.5 5.8 6 1  3.8 6.8 7 1  3.0 4.7 8 0  4.5 7.4 5 1  3.7 7.4 5 1  3.1 6.6 6 1  4.1 8.2 6 1  4.3 7.0 5 1
4.3 6.5 4 1   3.2 5.1 5 1  2.6 4.7 6 1  3.3 6.8 6 0  1.7 4.0 7 0  3.7 6.1 5 1  3.3 6.3 7 1  4.2 7.7 6 1  3.5 6.2 5 1
2.9 5.7 9 0   2.1 4.8 7 1  2.8 6.2 8 0  4.0 7.0 7 1  3.3 5.7 6 1  3.7 6.9 5 1  3.6 6.6 5 1
"""
"""Albumin, total protein, K-G score and outcome of 43 women: the data of DeLong et al. 1988, as far as complete, in
SAS/STAT's documentation of PROC LOGISTIC, "Comparing Receiver Operating Characteristic Curves"."""


@pytest.mark.parametrize(
    ("only_first", "only_second", "p_value"),
    # twice the tail of a fair coin: 2 * (1 + 6) / 2**6, 2 / 2**5, and no more than 1
    [(5, 1, 14 / 64), (0, 5, 2 / 32), (3, 3, 1), (0, 0, 1)],
)
def test_mcnemar_worked_by_hand(only_first: int, only_second: int, p_value: float) -> None:
    first = np.array([True] * only_first + [False] * only_second + [True, True, False])
    second = np.array([False] * only_first + [True] * only_second + [True, True, False])
    assert significance.mcnemar(first, second) == pytest.approx(p_value)
    assert significance.mcnemar(second, first) == pytest.approx(p_value)


def test_holm_worked_by_hand() -> None:
    # in order 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1, and none below the one before
    result = significance.holm(np.array([0.04, 0.01, 0.03, 0.02]))
    assert result == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert significance.holm(np.array([0.9, 0.6])) == pytest.approx([1, 1])


def test_delong_as_published() -> None:
    albumin, protein, score, outcome = np.array(OVARIAN.split(), float).reshape(-1, 4).T
    # SAS: areas 0.6478, 0.7258 and 0.7366; contrasts with the K-G score
    for marker, area, difference, error, low, high, p_value in (
        (protein, 0.6478, -0.0780, 0.1046, -0.2830, 0.1271, 0.4561),
        (albumin, 0.7366, 0.0108, 0.0953, -0.1761, 0.1976, 0.9102),
    ):
        result = significance.delong(outcome == 0, -marker, score)
        assert (result.first, result.second) == pytest.approx((area, 0.7258), abs=5e-5)
        assert result.standard_error == pytest.approx(error, abs=5e-5)
        interval = (result.difference.value, result.difference.low, result.difference.high)
        assert interval == pytest.approx((difference, low, high), abs=5e-5)
        assert result.p_value == pytest.approx(p_value, abs=5e-5)


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
    result = significance.delong(positive, first, second)
    assert result.difference.value == pytest.approx(apart.mean())
    assert result.standard_error == pytest.approx(np.sqrt(variance), abs=1e-9)
    swapped = significance.delong(positive, second, first)
    assert swapped.p_value == pytest.approx(result.p_value)
    assert swapped.difference.value == pytest.approx(-result.difference.value)


def test_delong_without_differences_or_with_too_few_rows() -> None:
    positive, scores = np.array([True, True, False, False]), np.array([0.9, 0.2, 0.4, 0.1])
    assert significance.delong(positive, scores, scores).p_value == 1
    assert np.isnan(significance.delong(np.array([True, False, False]), scores[:3], scores[1:]).p_value)


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
    assert significance.mcnemar(first, second) == pytest.approx(p_value, abs=5e-4)
