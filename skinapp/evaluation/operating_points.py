"""The consequences of a threshold on the malignant probability, and the threshold for a target sensitivity."""

from dataclasses import dataclass

import numpy as np

from skinapp.evaluation import bootstrap, metrics
from skinapp.evaluation.bootstrap import Interval
from skinapp.evaluation.comparison import Shared


@dataclass(frozen=True)
class OperatingPoint:
    """The results of a threshold on the malignant probability.

    Counts are of the shared images. Predictive values, `missed_cancers` and `false_alarms` assume `prevalence`; the
    last two are people per 1,000: with a malignant lesion that is not called, and called without having one.
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
    missed_cancers: Interval
    false_alarms: Interval
    net_benefit: float


def operating_point(
    shared: Shared, weights: np.ndarray, model_id: str, threshold: float, prevalence: float
) -> OperatingPoint:
    """Images whose malignant probability is at or above `threshold` are called malignant."""
    malignant = shared.malignant
    called = shared.malignancy[model_id] >= threshold
    true_positives, false_positives = int((malignant & called).sum()), int((~malignant & called).sum())
    rates, intervals, groups = [], [], []
    for rows, right in ((malignant, called), (~malignant, ~called)):
        with np.errstate(invalid="ignore"):
            resampled = (weights @ (rows & right)) / (weights @ rows)
        rates.append(np.r_[(rows & right).sum() / rows.sum(), resampled])
        groups.append(bootstrap.count(shared.groups, rows))
        intervals.append(bootstrap.interval(rates[-1], groups[-1], proportion=True))
    sensitivity, specificity = intervals
    values = metrics.predictive_values(rates[0], rates[1], prevalence)
    lowest = metrics.predictive_values(np.array(sensitivity.low), np.array(specificity.low), prevalence)
    highest = metrics.predictive_values(np.array(sensitivity.high), np.array(specificity.high), prevalence)
    positive, negative = (
        _predictive_value(*limits, groups=min(groups)) for limits in zip(values, lowest, highest, strict=True)
    )
    odds = threshold / (1 - threshold) if threshold < 1 else np.inf
    return OperatingPoint(
        threshold,
        prevalence,
        true_positives,
        int(malignant.sum()) - true_positives,
        false_positives,
        int((~malignant).sum()) - false_positives,
        sensitivity,
        specificity,
        positive,
        negative,
        _per_thousand(sensitivity, prevalence),
        _per_thousand(specificity, 1 - prevalence),
        (true_positives - (false_positives * odds if false_positives else 0)) / len(malignant),
    )


def _predictive_value(values: np.ndarray, lowest: np.ndarray, highest: np.ndarray, groups: int) -> Interval:
    """The interval of a predictive value [1 + r]. If all resamples agree, for example because nobody is missed, its
    limits are the values at the limits of sensitivity and specificity, since it rises with both."""
    interval = bootstrap.interval(values, groups)
    return interval if interval.exists else Interval(interval.value, float(lowest), float(highest))


def _per_thousand(rate: Interval, share: float) -> Interval:
    """Wrong calls per 1,000 people, if a `share` of people is in the group whose correct calls are `rate`."""
    return Interval(*(1000 * share * (1 - value) for value in (rate.value, rate.high, rate.low)))


def thresholds(shared: Shared, threshold: float, sensitivity: float | None = None) -> dict[str, float]:
    """Each model's threshold: the same for all or, for a target `sensitivity`, the one that reaches it."""
    if sensitivity is None:
        return dict.fromkeys(shared.ids, threshold)
    return {name: threshold_for(shared, name, sensitivity) for name in shared.ids}


def threshold_for(shared: Shared, model_id: str, sensitivity: float) -> float:
    """The highest threshold that detects at least this share of the malignant images here."""
    chances = np.sort(shared.malignancy[model_id][shared.malignant])[::-1]
    return float(chances[max(int(np.ceil(sensitivity * len(chances) - 1e-9)), 1) - 1])
