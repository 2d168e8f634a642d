"""Curves over all thresholds, each with its band: ROC, precision and recall, net benefit, risk and coverage."""

import numpy as np
import pandas as pd

from skinapp.errors import DataError
from skinapp.evaluation import bootstrap, metrics
from skinapp.evaluation.bootstrap import FEWEST_GROUPS
from skinapp.evaluation.comparison import Shared

GRID = 101
"""Points at which a curve is drawn."""
MOST_THRESHOLDS = 400


def curve(shared: Shared, weights: np.ndarray, model_id: str, kind: str, code: str | None = None) -> pd.DataFrame:
    """A curve with its 95% band, pointwise: x, y, low, high.

    `kind` is roc (x 1 - specificity, y sensitivity), precision (x recall, y precision), benefit (x threshold, y net
    benefit) or risk (x coverage, y error rate). Of class `code` against the rest, or of the malignant classes together
    where it is None; risk is of all classes. DataError where all images, or none, are of that class. With fewer than
    FEWEST_GROUPS lesions or patients on either side there is no band: low and high are NaN.
    """
    weights = np.concatenate([np.ones((1, weights.shape[1])), weights])
    if kind == "risk":
        x = np.linspace(0.05, 1, 96)
        confidence = shared.probabilities[model_id].max(axis=1)
        risk = metrics.selective_risk(shared.correct(model_id), confidence, x, weights)
        return _banded(x, risk, bootstrap.count(shared.groups))
    positive, chance = side(shared, model_id, code)
    if positive.all() or not positive.any():
        what = shared.labels[code].name if code else "malignant"
        share = "All" if positive.all() else "None"
        raise DataError(f"{share} of these images are labelled {what.lower()}, so there is no curve for it.")
    groups = min(bootstrap.count(shared.groups, rows) for rows in (positive, ~positive))
    if kind == "benefit":
        x = np.arange(1, 100) / 100
        return _banded(x, metrics.net_benefit(positive, chance, x, weights), groups)
    x = np.linspace(0, 1, GRID)
    thresholds = np.unique(chance)
    if len(thresholds) > MOST_THRESHOLDS:
        # half of them from either side, so that a rare side keeps its steps
        parts = [np.quantile(chance[rows], np.linspace(0, 1, MOST_THRESHOLDS // 2)) for rows in (positive, ~positive)]
        thresholds = np.unique(np.concatenate(parts))
    sensitivity, specificity = metrics.rates(positive, chance, np.r_[thresholds, np.inf][::-1], weights)
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


def side(shared: Shared, model_id: str, code: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Which images are positive, boolean [n], and the probability of that [n]: class `code`, or any malignant one."""
    if code is None:
        return shared.malignant, shared.malignancy[model_id]
    number = shared.labels.codes.index(code)
    return shared.truth == number, shared.probabilities[model_id][:, number]


def _banded(x: np.ndarray, y: np.ndarray, groups: int) -> pd.DataFrame:
    """Of y [1 + r, x]: the first row, and the pointwise 95% band of the others where they are defined."""
    drawn = y[1:][~np.isnan(y[1:]).any(axis=1)]
    if groups < FEWEST_GROUPS or not len(drawn):
        return pd.DataFrame({"x": x, "y": y[0], "low": np.nan, "high": np.nan})
    low, high = np.percentile(drawn, (2.5, 97.5), axis=0)
    return pd.DataFrame({"x": x, "y": y[0], "low": low, "high": high})
