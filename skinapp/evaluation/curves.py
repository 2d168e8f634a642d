"""Curves over all thresholds, each with its band: ROC, precision and recall, net benefit, risk and coverage."""

import numpy as np
import pandas as pd

from skinapp.evaluation import bootstrap, metrics
from skinapp.evaluation.bootstrap import MIN_GROUPS
from skinapp.evaluation.comparison import Shared

GRID = 101
"""Points of a curve."""
MAX_THRESHOLDS = 400


def curve(shared: Shared, weights: np.ndarray, model_id: str, kind: str) -> pd.DataFrame:
    """A curve with its 95% band, pointwise: x, y, low, high.

    `kind` is roc (x 1 - specificity, y sensitivity), precision (x recall, y precision), benefit (x threshold, y net
    benefit) or risk (x coverage, y error rate). It is for the target against the rest; risk is for all classes. With
    fewer than MIN_GROUPS lesions or patients on either side there is no band: low and high are NaN.
    """
    weights = np.concatenate([np.ones((1, weights.shape[1])), weights])
    if kind == "risk":
        x = np.linspace(0.05, 1, 96)
        confidence = shared.probabilities[model_id].max(axis=1)
        risk = metrics.selective_risk(shared.correct(model_id), confidence, x, weights)
        return _banded(x, risk, bootstrap.count(shared.groups))
    positive, probability = shared.positive, shared.probability(model_id)
    groups = min(bootstrap.count(shared.groups, rows) for rows in (positive, ~positive))
    if kind == "benefit":
        x = np.arange(1, 100) / 100
        return _banded(x, metrics.net_benefit(positive, probability, x, weights), groups)
    x = np.linspace(0, 1, GRID)
    thresholds = np.unique(probability)
    if len(thresholds) > MAX_THRESHOLDS:
        # half of the thresholds from each side, so that a rare side keeps its steps
        levels = np.linspace(0, 1, MAX_THRESHOLDS // 2)
        parts = [np.quantile(probability[rows], levels) for rows in (positive, ~positive)]
        thresholds = np.unique(np.concatenate(parts))
    sensitivity, specificity = metrics.rates(positive, probability, np.r_[thresholds, np.inf][::-1], weights)
    y = np.full((len(weights), GRID), np.nan)
    if kind == "roc":
        for row, (true_rate, true_negative_rate) in enumerate(zip(sensitivity, specificity, strict=True)):
            y[row] = np.interp(x, 1 - true_negative_rate, true_rate)
    else:
        prevalence = ((weights @ positive) / weights.sum(axis=1))[:, np.newaxis]
        true, false = prevalence * sensitivity, (1 - prevalence) * (1 - specificity)
        precision = np.divide(true, true + false, out=np.ones_like(true), where=true + false > 0)
        for row, (recall, at) in enumerate(zip(sensitivity, precision, strict=True)):
            # at the highest threshold that reaches this recall
            y[row] = at[np.minimum(np.searchsorted(recall, x - 1e-12), len(recall) - 1)]
    return _banded(x, y, groups)


def _banded(x: np.ndarray, y: np.ndarray, groups: int) -> pd.DataFrame:
    """The first row of y [1 + r, x], with the pointwise 95% band of the other rows that are defined."""
    resampled = y[1:][~np.isnan(y[1:]).any(axis=1)]
    if groups < MIN_GROUPS or not len(resampled):
        return pd.DataFrame({"x": x, "y": y[0], "low": np.nan, "high": np.nan})
    low, high = np.percentile(resampled, (2.5, 97.5), axis=0)
    return pd.DataFrame({"x": x, "y": y[0], "low": low, "high": high})
