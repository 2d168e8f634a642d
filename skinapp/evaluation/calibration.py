"""Calibration: confidence bins, calibration error, reliability diagram, and the temperature.

All of it concerns the most probable class. Only `bin_of` decides which bin a confidence is in.
"""

import numpy as np
import pandas as pd

from skinapp.evaluation import bootstrap
from skinapp.evaluation.bootstrap import Interval

ERROR_BINS = 15
"""Bins of the calibration error, as in Guo et al. 2017."""
DIAGRAM_BINS = 10
"""Bins of the reliability diagram."""


def bin_of(confidence: np.ndarray, bins: int) -> np.ndarray:
    """The equal-width bin, 0 to bins - 1, of each confidence [n] (0 to 1); the last bin includes 1."""
    return np.minimum((confidence * bins).astype(int), bins - 1)


def expected_calibration_error(
    labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray, bins: int = ERROR_BINS
) -> np.ndarray:
    """Mean gap between confidence and accuracy over bins of confidence, weighted by the bins' share: a score [r].

    Guo et al. 2017 (arXiv:1706.04599), eq. 3.
    """
    confidence = probabilities.max(axis=1)
    gap = (probabilities.argmax(axis=1) == labels) - confidence
    in_bin = np.eye(bins)[bin_of(confidence, bins)]
    return np.abs(weights @ (in_bin * gap[:, np.newaxis])).sum(axis=1) / weights.sum(axis=1)


def error_interval(labels: np.ndarray, probabilities: np.ndarray, groups: np.ndarray, weights: np.ndarray) -> Interval:
    """The expected calibration error with its interval; `weights` [r, n] come from `bootstrap.weights`."""
    values = bootstrap.draws({"ece": expected_calibration_error}, labels, probabilities, weights)["ece"]
    return bootstrap.interval(values, bootstrap.count(groups))


def reliability(labels: np.ndarray, probabilities: np.ndarray, bins: int = DIAGRAM_BINS) -> list[dict[str, float]]:
    """The rows of a reliability diagram, one for each bin that is not empty.

    `low` and `high` bound the bin; `images` counts, `confidence` and `accuracy` are means over it (0 to 1).
    """
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    bin_numbers = bin_of(confidence, bins)
    return [
        {
            "low": number / bins,
            "high": (number + 1) / bins,
            "images": int((bin_numbers == number).sum()),
            "confidence": float(confidence[bin_numbers == number].mean()),
            "accuracy": float(correct[bin_numbers == number].mean()),
        }
        for number in np.unique(bin_numbers).tolist()
    ]


def reliability_intervals(
    labels: np.ndarray,
    probabilities: np.ndarray,
    groups: np.ndarray,
    weights: np.ndarray,
    bins: int = DIAGRAM_BINS,
) -> pd.DataFrame:
    """`reliability` as a table, with the interval of each bin's accuracy: accuracy_low, accuracy_high."""
    table = pd.DataFrame(reliability(labels, probabilities, bins))
    correct = probabilities.argmax(axis=1) == labels
    bin_numbers = bin_of(probabilities.max(axis=1), bins)
    numbers = np.unique(bin_numbers)
    inside = np.eye(bins)[bin_numbers][:, numbers]
    with np.errstate(invalid="ignore"):
        resampled = (weights @ (inside * correct[:, np.newaxis])) / (weights @ inside)
    values = np.vstack([table["accuracy"], resampled]).T
    intervals = [
        bootstrap.interval(one, bootstrap.count(groups, bin_numbers == number), proportion=True)
        for one, number in zip(values, numbers, strict=True)
    ]
    return table.assign(accuracy_low=[one.low for one in intervals], accuracy_high=[one.high for one in intervals])


def before_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities [n, classes] before calibration: the softmax of the logits.

    A calibrated probability is the softmax of logits / T, so its logarithm times T is the logit, up to a constant.
    """
    logits = np.log(probabilities) * temperature
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)
