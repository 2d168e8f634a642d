"""Scores of predicted probabilities, with confidence intervals from a bootstrap over lesions or patients.

Every score takes labels [n] (class indices), probabilities [n, classes] and weights [r, n], and gives [r] values. A
weight counts how often a row was drawn, so all resamples of a bootstrap are computed at once; weights of 1 give the
plain score, which equals scikit-learn's.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

Score = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Interval:
    """A value with its 95% percentile interval."""

    value: float
    low: float
    high: float


def accuracy(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The share of rows whose most probable class is the label."""
    correct = probabilities.argmax(axis=1) == labels
    return weights @ correct / weights.sum(axis=1)


def balanced_accuracy(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean recall over the classes that have a row in the resample."""
    recalls = class_recalls(labels, probabilities, weights)
    return np.nanmean(recalls, axis=1)


def class_recalls(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Recall (sensitivity) of each class, [r, classes]; NaN where a class has no row in a resample."""
    truth = np.eye(probabilities.shape[1])[labels]
    found = truth * (probabilities.argmax(axis=1) == labels)[:, np.newaxis]
    with np.errstate(invalid="ignore"):
        return (weights @ found) / (weights @ truth)


def macro_f1(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean over all classes of the harmonic mean of precision and recall; 0 for a class neither present nor named."""
    classes = probabilities.shape[1]
    truth, named = np.eye(classes)[labels], np.eye(classes)[probabilities.argmax(axis=1)]
    total = weights @ truth + weights @ named
    return np.divide(2 * (weights @ (truth * named)), total, out=np.zeros_like(total), where=total > 0).mean(axis=1)


def expected_calibration_error(
    labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray, bins: int = 15
) -> np.ndarray:
    """Mean gap between confidence and accuracy over equal-width bins of confidence, weighted by the bins' share.

    Guo et al. 2017 (arXiv:1706.04599), eq. 3, of the most probable class.
    """
    confidence = probabilities.max(axis=1)
    gap = (probabilities.argmax(axis=1) == labels) - confidence
    in_bin = np.eye(bins)[np.minimum((confidence * bins).astype(int), bins - 1)]
    return np.abs(weights @ (in_bin * gap[:, np.newaxis])).sum(axis=1) / weights.sum(axis=1)


def reliability(labels: np.ndarray, probabilities: np.ndarray, bins: int = 10) -> list[dict[str, float]]:
    """The reliability diagram's rows, of the most probable class: one for each equal-width bin that is not empty.

    `low` and `high` bound the bin; `images` counts, `confidence` and `accuracy` are means over it (0 to 1).
    """
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    return [
        {
            "low": number / bins,
            "high": (number + 1) / bins,
            "images": int((bin_of == number).sum()),
            "confidence": float(confidence[bin_of == number].mean()),
            "accuracy": float(correct[bin_of == number].mean()),
        }
        for number in np.unique(bin_of).tolist()
    ]


def brier(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean squared distance of the probabilities from the truth, summed over classes: 0 to 2 (Brier 1950)."""
    errors = ((probabilities - np.eye(probabilities.shape[1])[labels]) ** 2).sum(axis=1)
    return weights @ errors / weights.sum(axis=1)


def log_loss(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean negative logarithm of the probability of the label, in nats."""
    losses = -np.log(np.maximum(probabilities[np.arange(len(labels)), labels], np.finfo(float).tiny))
    return weights @ losses / weights.sum(axis=1)


def balanced_log_loss(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean, over the classes that have a row in the resample, of the mean log loss of their rows, in nats."""
    truth = np.eye(probabilities.shape[1])[labels]
    losses = -np.log(np.maximum(probabilities[np.arange(len(labels)), labels], np.finfo(float).tiny))
    with np.errstate(invalid="ignore"):
        return np.nanmean((weights * losses) @ truth / (weights @ truth), axis=1)


def roc_auc(positive: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of boolean `positive` [n] and `scores` [n]; ties count half. NaN with one class only."""
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(scores[order]) > 0])
    ups = np.add.reduceat((weights * positive)[:, order], starts, axis=1)
    downs = np.add.reduceat((weights * ~positive)[:, order], starts, axis=1)
    below = np.cumsum(downs, axis=1) - downs / 2
    with np.errstate(invalid="ignore"):
        return (ups * below).sum(axis=1) / (ups.sum(axis=1) * downs.sum(axis=1))


def macro_roc_auc(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean over classes of the area under the ROC curve of that class against the rest. NaN with one class only."""
    areas = np.array([roc_auc(labels == k, probabilities[:, k], weights) for k in range(probabilities.shape[1])])
    defined = (~np.isnan(areas)).sum(axis=0)
    return np.divide(np.nansum(areas, axis=0), defined, out=np.full(len(weights), np.nan), where=defined > 0)


def malignancy_scores(malignant: tuple[bool, ...], threshold: float = 0.5) -> dict[str, Score]:
    """Scores of the summed malignant probability, for classes of which `malignant` tells the malignant ones."""
    chosen = np.asarray(malignant)

    def area(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return roc_auc(chosen[labels], probabilities[:, chosen].sum(axis=1), weights)

    def rate(of: bool) -> Score:
        def score(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
            rows = chosen[labels] == of
            right = rows & ((probabilities[:, chosen].sum(axis=1) >= threshold) == of)
            with np.errstate(invalid="ignore"):
                return (weights @ right) / (weights @ rows)

        return score

    return {
        "roc_auc_malignancy": area,
        "sensitivity_malignancy": rate(True),
        "specificity_malignancy": rate(False),
    }


DIAGNOSIS_SCORES: dict[str, Score] = {
    "balanced_accuracy": balanced_accuracy,
    "accuracy": accuracy,
    "macro_f1": macro_f1,
    "macro_roc_auc": macro_roc_auc,
    "log_loss": log_loss,
    "brier": brier,
    "expected_calibration_error": expected_calibration_error,
}


def bootstrap_weights(groups: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """How often each row is drawn when whole groups are resampled with replacement: float64 [resamples, n]."""
    codes = np.unique(groups, return_inverse=True)[1]
    count = codes.max() + 1
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(count, np.full(count, 1 / count), size=resamples)
    return drawn[:, codes].astype(np.float64)


def intervals(
    scores: dict[str, Score],
    labels: np.ndarray,
    probabilities: np.ndarray,
    groups: np.ndarray,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Each score with its 95% interval from a bootstrap over groups (lesions or patients), percentile method."""
    plain = np.ones((1, len(labels)))
    weights = bootstrap_weights(groups, resamples, seed)
    result = {}
    for name, score in scores.items():
        low, high = np.nanpercentile(score(labels, probabilities, weights), (2.5, 97.5))
        result[name] = Interval(float(score(labels, probabilities, plain)[0]), float(low), float(high))
    return result


def paired_differences(
    scores: dict[str, Score],
    labels: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    groups: np.ndarray,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Each score of `first` minus that of `second`, both probabilities [n, classes] of the same rows.

    The interval is from the same resamples of groups for both, so what makes images hard for both cancels out.
    """
    plain = np.ones((1, len(labels)))
    weights = bootstrap_weights(groups, resamples, seed)
    result = {}
    for name, score in scores.items():
        value = score(labels, first, plain)[0] - score(labels, second, plain)[0]
        low, high = np.nanpercentile(score(labels, first, weights) - score(labels, second, weights), (2.5, 97.5))
        result[name] = Interval(float(value), float(low), float(high))
    return result


def mcnemar(first_correct: np.ndarray, second_correct: np.ndarray) -> float:
    """The exact two-sided p-value of McNemar's test (1947) that both are right equally often, of boolean [n] each.

    Binomial over the rows on which only one of the two is right; 1 where there is no such row.
    """
    only_first = int((first_correct & ~second_correct).sum())
    only_second = int((~first_correct & second_correct).sum())
    discordant = only_first + only_second
    return float(stats.binomtest(only_first, discordant).pvalue) if discordant else 1.0


def holm(p_values: np.ndarray) -> np.ndarray:
    """P-values [n] of n tests, raised so that together they err at the level of one (Holm 1979, step-down)."""
    order = np.argsort(p_values)
    raised = np.maximum.accumulate(np.asarray(p_values)[order] * np.arange(len(p_values), 0, -1)).clip(max=1)
    result = np.empty(len(p_values))
    result[order] = raised
    return result
