"""Tests of two models on the same rows: McNemar's and DeLong's, and Holm's correction for several tests.

The tests assume independent rows. If lesions or patients have several images, the intervals of `bootstrap` are more
reliable.
"""

from dataclasses import dataclass

import numpy as np
import scipy

from skinapp.evaluation.bootstrap import Interval


def mcnemar(first_correct: np.ndarray, second_correct: np.ndarray) -> float:
    """McNemar's test (1947): the exact two-sided p-value that both are correct equally often, from boolean [n] each.

    Binomial over the rows on which only one of the two is correct; 1 if there is no such row.
    """
    only_first = int((first_correct & ~second_correct).sum())
    only_second = int((~first_correct & second_correct).sum())
    discordant = only_first + only_second
    return float(scipy.stats.binomtest(only_first, discordant).pvalue) if discordant else 1.0


@dataclass(frozen=True)
class AreaTest:
    """DeLong's test: the difference of two areas under ROC curves, and the p-value of no difference."""

    difference: Interval
    first: float
    second: float
    standard_error: float
    p_value: float


def delong(positive: np.ndarray, first: np.ndarray, second: np.ndarray) -> AreaTest:
    """Two-sided test of two ROC areas on the same rows: boolean `positive` [n], scores `first` and `second` [n].

    DeLong, DeLong and Clarke-Pearson 1988 (Biometrics 44:837), by ranks (Sun and Xu 2014, IEEE SPL 21:1389). NaN
    if a side has fewer than two rows; p is 1 if both rank all rows alike.
    """
    ups, downs = int(positive.sum()), int((~positive).sum())
    if min(ups, downs) < 2:
        return AreaTest(Interval(np.nan, np.nan, np.nan), np.nan, np.nan, np.nan, np.nan)
    shares_below, shares_above = [], []
    for scores in (first, second):
        ranks = scipy.stats.rankdata(scores)
        shares_below.append((ranks[positive] - scipy.stats.rankdata(scores[positive])) / downs)
        shares_above.append(1 - (ranks[~positive] - scipy.stats.rankdata(scores[~positive])) / ups)
    one, other = (float(shares.mean()) for shares in shares_below)
    variance = sum(
        np.var(shares[0] - shares[1], ddof=1) / count for shares, count in ((shares_below, ups), (shares_above, downs))
    )
    error = float(np.sqrt(variance))
    difference = one - other
    p_value = float(2 * scipy.stats.norm.sf(abs(difference) / error)) if error > 0 else float(difference == 0)
    margin = float(scipy.stats.norm.isf(0.025)) * error
    return AreaTest(Interval(difference, difference - margin, difference + margin), one, other, error, p_value)


def holm(p_values: np.ndarray) -> np.ndarray:
    """P-values [n] of n tests, corrected for multiple testing (Holm 1979, step-down)."""
    order = np.argsort(p_values)
    raised = np.maximum.accumulate(np.asarray(p_values)[order] * np.arange(len(p_values), 0, -1)).clip(max=1)
    result = np.empty(len(p_values))
    result[order] = raised
    return result
