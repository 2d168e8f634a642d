"""Thresholds on a probability: curves with bands, reliability, and what one operating point costs."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from skinapp.evaluation import metrics
from skinapp.evaluation.comparison import Shared
from skinapp.evaluation.metrics import Interval

GRID = 101
"""Places at which a curve is drawn."""
MOST_THRESHOLDS = 400


def curve(shared: Shared, weights: np.ndarray, model_id: str, kind: str, code: str | None = None) -> pd.DataFrame:
    """A curve with its 95% band, pointwise: x, y, low, high.

    `kind` is roc (x 1 - specificity, y sensitivity), precision (x recall, y precision), benefit (x threshold, y net
    benefit) or risk (x coverage, y share wrong). Of class `code` against the rest, or of the malignant classes together
    where it is None; risk is of all classes.
    """
    weights = np.concatenate([np.ones((1, weights.shape[1])), weights])
    if kind == "risk":
        x = np.linspace(0.05, 1, 96)
        confidence = shared.probabilities[model_id].max(axis=1)
        return _banded(x, metrics.selective_risk(shared.correct(model_id), confidence, x, weights))
    positive, chance = side(shared, model_id, code)
    if kind == "benefit":
        x = np.arange(1, 100) / 100
        return _banded(x, metrics.net_benefit(positive, chance, x, weights))
    x = np.linspace(0, 1, GRID)
    thresholds = np.unique(chance)
    if len(thresholds) > MOST_THRESHOLDS:
        # half of them from either side, so that a rare side keeps its steps
        parts = [np.quantile(chance[rows], np.linspace(0, 1, MOST_THRESHOLDS // 2)) for rows in (positive, ~positive)]
        thresholds = np.unique(np.concatenate(parts))
    sensitivity, specificity = metrics.rates(positive, chance, np.r_[thresholds, np.inf][::-1], weights)
    y = np.full((len(weights), GRID), np.nan)
    if kind == "roc":
        for row, (found, cleared) in enumerate(zip(sensitivity, specificity, strict=True)):
            y[row] = np.interp(x, 1 - cleared, found)
    else:
        prevalence = ((weights @ positive) / weights.sum(axis=1))[:, np.newaxis]
        true, false = prevalence * sensitivity, (1 - prevalence) * (1 - specificity)
        precision = np.divide(true, true + false, out=np.ones_like(true), where=true + false > 0)
        for row, (found, right) in enumerate(zip(sensitivity, precision, strict=True)):
            # the highest threshold that finds at least this much
            y[row] = right[np.minimum(np.searchsorted(found, x - 1e-12), len(found) - 1)]
    return _banded(x, y)


def side(shared: Shared, model_id: str, code: str | None) -> tuple[np.ndarray, np.ndarray]:
    """What is looked for, boolean [n], and its probability [n]: class `code`, or the malignant classes together."""
    if code is None:
        return shared.malignant, shared.malignancy[model_id]
    number = shared.labels.codes.index(code)
    return shared.truth == number, shared.probabilities[model_id][:, number]


def _banded(x: np.ndarray, y: np.ndarray) -> pd.DataFrame:
    """Of y [1 + r, x]: the first row, and the pointwise 95% band of the others where they are defined."""
    y = y[~np.isnan(y).any(axis=1)]
    low, high = np.percentile(y[1:], (2.5, 97.5), axis=0)
    return pd.DataFrame({"x": x, "y": y[0], "low": low, "high": high})


@dataclass(frozen=True)
class OperatingPoint:
    """What a threshold on the malignant probability does. Counts are of the shared images; the rest, of `prevalence`.

    `missed` and `needless` are people in 1,000: with a malignant lesion and not called, without one and called.
    """

    threshold: float
    prevalence: float
    true_positives: int
    false_negatives: int
    false_positives: int
    true_negatives: int
    sensitivity: Interval
    specificity: Interval
    positive_predictive_value: Interval
    negative_predictive_value: Interval
    missed: Interval
    needless: Interval
    net_benefit: float


def operating_point(
    shared: Shared, weights: np.ndarray, model_id: str, threshold: float, prevalence: float
) -> OperatingPoint:
    """Images whose malignant probability is at or above `threshold` are called malignant."""
    chance, malignant = shared.malignancy[model_id], shared.malignant
    called = chance >= threshold
    found, alarmed = int((malignant & called).sum()), int((~malignant & called).sum())
    sides = []
    for rows, right in ((malignant, called), (~malignant, ~called)):
        with np.errstate(invalid="ignore"):
            drawn = (weights @ (rows & right)) / (weights @ rows)
        sides.append(np.r_[(rows & right).sum() / rows.sum(), drawn])
    sensitivity, specificity = sides
    positive, negative = metrics.predictive_values(sensitivity, specificity, prevalence)
    odds = threshold / (1 - threshold) if threshold < 1 else np.inf
    return OperatingPoint(
        threshold,
        prevalence,
        found,
        int(malignant.sum()) - found,
        alarmed,
        int((~malignant).sum()) - alarmed,
        metrics.interval(sensitivity),
        metrics.interval(specificity),
        metrics.interval(positive),
        metrics.interval(negative),
        metrics.interval(1000 * prevalence * (1 - sensitivity)),
        metrics.interval(1000 * (1 - prevalence) * (1 - specificity)),
        (found - (alarmed * odds if alarmed else 0)) / len(malignant),
    )


def threshold_for(shared: Shared, model_id: str, sensitivity: float) -> float:
    """The highest threshold that finds at least this share of the malignant images here."""
    chances = np.sort(shared.malignancy[model_id][shared.malignant])[::-1]
    return float(chances[max(int(np.ceil(sensitivity * len(chances) - 1e-9)), 1) - 1])


def raw(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities [n, classes] as they were before the temperature: the softmax of the logits themselves.

    A calibrated probability is the softmax of logits / T, so its logarithm times T is the logit, up to a constant.
    """
    logits = np.log(probabilities) * temperature
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def reliability(shared: Shared, weights: np.ndarray, probabilities: np.ndarray, bins: int = 10) -> pd.DataFrame:
    """By bin of the confidence in the most probable class: low, high, images, confidence, accuracy and its interval
    (accuracy_low, accuracy_high)."""
    table = pd.DataFrame(metrics.reliability(shared.truth, probabilities, bins))
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == shared.truth
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    inside = np.eye(bins)[bin_of][:, np.unique(bin_of)]
    with np.errstate(invalid="ignore"):
        drawn = (weights @ (inside * correct[:, np.newaxis])) / (weights @ inside)
    found = [metrics.interval(values) for values in np.vstack([table["accuracy"], drawn]).T]
    return table.assign(accuracy_low=[one.low for one in found], accuracy_high=[one.high for one in found])
