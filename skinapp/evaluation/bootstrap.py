"""95% intervals of scores, from a bootstrap over whole groups: lesions or patients.

Every interval of an evaluation is computed here, in one way: for proportions, areas and means, and for the difference
of two models on the same images. Images of one group are not independent, so groups are resampled and counted, never
images.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from skinapp.demographics.statistics import wilson
from skinapp.inference.cores import usable_cores

RESAMPLES = 2000
SEED = 0
MIN_GROUPS = 20
"""A score computed from fewer lesions or patients has no interval."""
NO_WIDTH = 1e-12

Score = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Labels [n] (class indices), probabilities [n, classes] and weights [r, n] -> [r] values."""


@dataclass(frozen=True)
class Proportion:
    """A score that is the share of correct rows among the eligible ones.

    `eligible(labels)` and `correct(labels, probabilities)` are boolean [n]. NaN if a resample has no eligible row.
    """

    eligible: Callable[[np.ndarray], np.ndarray]
    correct: Callable[[np.ndarray, np.ndarray], np.ndarray]

    def __call__(self, labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
        rows = self.eligible(labels)
        with np.errstate(invalid="ignore"):
            return (weights @ (rows & self.correct(labels, probabilities))) / (weights @ rows)


@dataclass(frozen=True)
class Area:
    """How well images of some classes, those that are True in `positive` [classes], are ranked above the others by the
    sum of their probabilities; `area` takes booleans [n], sums [n] and weights [r, n]."""

    positive: tuple[bool, ...]
    area: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]

    def __call__(self, labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
        chosen = np.array(self.positive)
        return self.area(chosen[labels], probabilities[:, chosen].sum(axis=1), weights)


@dataclass(frozen=True)
class Interval:
    """A value with its 95% interval; `low` and `high` are NaN if it has none."""

    value: float
    low: float
    high: float

    @property
    def exists(self) -> bool:
        return not np.isnan(self.low)

    def text(self, form: str = ".3f") -> str:
        """0.695 (0.650 to 0.739), or 0.695 (no interval)."""
        if np.isnan(self.value):
            return "not defined"
        limits = f"{self.low:{form}} to {self.high:{form}}" if self.exists else "no interval"
        return f"{self.value:{form}} ({limits})"


def count(groups: np.ndarray, rows: np.ndarray | None = None) -> int:
    """The number of distinct groups [n], or of those with a row in the boolean `rows` [n]."""
    return len(np.unique(groups if rows is None else groups[rows]))


def weights(groups: np.ndarray, resamples: int = RESAMPLES, seed: int = SEED) -> np.ndarray:
    """How often each row is drawn when whole groups are resampled with replacement: float64 [resamples, n].

    All resamples of a row lie next to each other in memory, since ranks are summed over rows.
    """
    codes = np.unique(groups, return_inverse=True)[1]
    total = codes.max() + 1
    generator = np.random.default_rng(seed)
    counts = generator.multinomial(total, np.full(total, 1 / total), size=resamples)
    return counts.T.astype(np.float64)[codes].T


def draws(
    scores: dict[str, Score], labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Each score [1 + r]: the plain value, then the value in each resample of `weights`. The cores share the
    resamples."""
    cores = usable_cores()
    shares = [np.ones((1, len(labels))), *np.array_split(weights, cores)]
    with ThreadPoolExecutor(cores) as pool:
        return {
            name: np.concatenate(list(pool.map(partial(score, labels, probabilities), shares)))
            for name, score in scores.items()
        }


def interval(values: np.ndarray, groups: int, proportion: bool = False) -> Interval:
    """The first of `values` [1 + r] with the 95% percentile interval of the others that are defined.

    `groups` is the number of groups behind the value; below MIN_GROUPS there is no interval. If every resample gives
    the same value, as at 0 and 1, percentiles would claim certainty: a proportion then gets Wilson's interval, with
    groups as the number of cases, and any other score gets none.
    """
    spread = percentiles(values)
    value = spread.value
    if groups < MIN_GROUPS:
        return Interval(value, np.nan, np.nan)
    if not spread.high - spread.low <= NO_WIDTH:
        return spread
    if not proportion:
        return Interval(value, np.nan, np.nan)
    low, high = wilson(value * groups, groups)
    return Interval(value, min(low, value), max(high, value))


def mean(values: np.ndarray, rows: np.ndarray, groups: np.ndarray, weights: np.ndarray, proportion: bool) -> Interval:
    """The mean of values [n] over the boolean `rows` [n] with its interval; NaN if there is no row."""
    if not rows.any():
        return Interval(np.nan, np.nan, np.nan)
    with np.errstate(invalid="ignore"):
        resampled = (weights[:, rows] @ values[rows]) / weights[:, rows].sum(axis=1)
    return interval(np.r_[values[rows].mean(), resampled], count(groups, rows), proportion)


def percentiles(values: np.ndarray) -> Interval:
    """The first of `values` [1 + r] with the 95% percentile interval of the others that are defined, for any number of
    groups. Use it for the spread of a mean, not for how good a model is."""
    defined = values[1:][~np.isnan(values[1:])]
    low, high = np.percentile(defined, (2.5, 97.5)) if len(defined) else (np.nan, np.nan)
    return Interval(float(values[0]), float(low), float(high))


def score_interval(score: Score, values: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> Interval:
    """The interval of a score's `draws` [1 + r] over rows with these labels [n] and groups [n]."""
    return interval(values, _behind(score, labels, groups), proportion=isinstance(score, Proportion))


def difference(
    score: Score, first: np.ndarray, second: np.ndarray, labels: np.ndarray, groups: np.ndarray, identical: bool
) -> Interval:
    """One model's `draws` [1 + r] of a score minus another's, over the same resamples.

    `identical` models have the same probabilities, so they differ by 0 on any images. If others differ by the same
    amount in every resample, there is no interval.
    """
    if identical:
        return Interval(0.0, 0.0, 0.0)
    return interval(first - second, _behind(score, labels, groups))


def _behind(score: Score, labels: np.ndarray, groups: np.ndarray) -> int:
    """The number of groups that a score is computed from: of an area, those of the rarer side."""
    if isinstance(score, Proportion):
        return count(groups, score.eligible(labels))
    if isinstance(score, Area):
        positive = np.array(score.positive)[labels]
        return min(count(groups, positive), count(groups, ~positive))
    return count(groups)


def intervals(
    scores: dict[str, Score],
    labels: np.ndarray,
    probabilities: np.ndarray,
    groups: np.ndarray,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> dict[str, Interval]:
    """Each score with its 95% interval."""
    samples = draws(scores, labels, probabilities, weights(groups, resamples, seed))
    return {name: score_interval(score, samples[name], labels, groups) for name, score in scores.items()}


def paired_differences(
    scores: dict[str, Score],
    labels: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    groups: np.ndarray,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> dict[str, Interval]:
    """Each score of `first` minus that of `second`, both probabilities [n, classes] of the same rows.

    Both are scored on the same resamples of groups, so images that are hard for both models cancel out.
    """
    resample_weights = weights(groups, resamples, seed)
    one, other = (draws(scores, labels, probabilities, resample_weights) for probabilities in (first, second))
    identical = np.array_equal(first, second)
    return {
        name: difference(score, one[name], other[name], labels, groups, identical) for name, score in scores.items()
    }
