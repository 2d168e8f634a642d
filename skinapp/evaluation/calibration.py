"""Calibration: bins of probability, calibration error, reliability diagram, and the temperature.

They apply to the most probable class, or to any other probability, such as that of melanoma. Only `bin_of` assigns
bins.
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
    return gap(*most_likely(labels, probabilities), weights, bins)


def gap(confidence: np.ndarray, correct: np.ndarray, weights: np.ndarray, bins: int = ERROR_BINS) -> np.ndarray:
    """The calibration error [r] of any probabilities [n]; boolean `correct` [n] says whether the event occurred."""
    in_bin = np.eye(bins)[bin_of(confidence, bins)]
    return np.abs(weights @ (in_bin * (correct - confidence)[:, np.newaxis])).sum(axis=1) / weights.sum(axis=1)


def gap_interval(confidence: np.ndarray, correct: np.ndarray, groups: np.ndarray, weights: np.ndarray) -> Interval:
    """The calibration error with its interval; `weights` [r, n] come from `bootstrap.weights`."""
    every = np.concatenate([np.ones((1, len(confidence))), weights])
    return bootstrap.interval(gap(confidence, correct, every), bootstrap.count(groups))


def most_likely(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Confidence in the most probable class [n], and whether it is the label, boolean [n]."""
    return probabilities.max(axis=1), probabilities.argmax(axis=1) == labels


def reliability(labels: np.ndarray, probabilities: np.ndarray, bins: int = DIAGRAM_BINS) -> list[dict[str, float]]:
    """The rows of the reliability diagram of the most probable class, one for each bin that is not empty.

    `low` and `high` bound the bin; `images` counts, `confidence` and `accuracy` are means over it (0 to 1).
    """
    return _rows(*most_likely(labels, probabilities), bins)


def _rows(confidence: np.ndarray, correct: np.ndarray, bins: int) -> list[dict[str, float]]:
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
    confidence: np.ndarray, correct: np.ndarray, groups: np.ndarray, weights: np.ndarray, bins: int = DIAGRAM_BINS
) -> pd.DataFrame:
    """The rows of a reliability diagram as a table, with the interval of each bin's accuracy: accuracy_low,
    accuracy_high. For any probabilities [n]; boolean `correct` [n] says whether the event occurred."""
    table = pd.DataFrame(_rows(confidence, correct, bins))
    bin_numbers = bin_of(confidence, bins)
    numbers = np.unique(bin_numbers)
    inside = np.eye(bins)[bin_numbers][:, numbers]
    with np.errstate(invalid="ignore"):
        resampled = (weights @ (inside * correct[:, np.newaxis])) / (weights @ inside)
    values = np.vstack([table["accuracy"], resampled]).T
    intervals = [
        bootstrap.interval(one, bootstrap.count(groups, bin_numbers == number), proportion=True)
        for one, number in zip(values, numbers, strict=True)
    ]
    return table.assign(
        accuracy_low=[interval.low for interval in intervals], accuracy_high=[interval.high for interval in intervals]
    )


def before_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities [n, classes] before calibration: the softmax of the logits.

    A calibrated probability is the softmax of logits / T, so its logarithm times T is the logit, up to a constant.
    """
    logits = np.log(probabilities) * temperature
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)
