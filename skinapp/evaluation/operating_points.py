"""The consequences of a threshold on the malignant probability, the threshold for a target sensitivity, and the
operating points that are stored with a model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from skinapp.evaluation import bootstrap, metrics
from skinapp.evaluation.bootstrap import Interval
from skinapp.evaluation.comparison import Shared
from skinapp.labels.sets import LabelSet


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
    return highest_threshold(shared.malignancy[model_id][shared.malignant], sensitivity)


def highest_threshold(probabilities: np.ndarray, sensitivity: float) -> float:
    """The highest threshold that at least this share of the probabilities [n] reaches."""
    chances = np.sort(probabilities)[::-1]
    return float(chances[max(int(np.ceil(sensitivity * len(chances) - 1e-9)), 1) - 1])


SENSITIVITIES = (0.9, 0.95)
"""The sensitivities that a model's published operating points are chosen for."""


@dataclass(frozen=True)
class Published:
    """An operating point that was chosen when the model was made, and is stored with it.

    An image is at or above it if the summed probability of `classes` is at least `threshold`, which was chosen for a
    `sensitivity` on images that the networks had not seen. `measured` has, by name of the images, sensitivity and
    specificity as (value, low, high). `of` says what it is to find where the classes do not: melanoma, for a model that
    tells malignant from benign.
    """

    id: str
    classes: tuple[str, ...]
    sensitivity: float
    threshold: float
    measured: Mapping[str, tuple[Interval, Interval]]
    of: str = ""

    def reached(self, probabilities: Mapping[str, float]) -> bool:
        """Whether an image with these probabilities, by class, is at or above it."""
        return bool(sum(probabilities[code] for code in self.classes) >= self.threshold)


def of_card(card: Mapping[str, Any]) -> list[Published]:
    """The operating points in a `model.json`; none for most models."""
    return [
        Published(
            one["id"],
            tuple(one["classes"]),
            one["sensitivity"],
            one["threshold"],
            {row["name"]: (Interval(**row["sensitivity"]), Interval(**row["specificity"])) for row in one["measured"]},
            one.get("of", ""),
        )
        for one in card.get("operating_points", ())
    ]


def targets(labels: LabelSet) -> dict[str, tuple[str, ...]]:
    """What operating points are chosen for: cancer, by all classes that count as malignant, and melanoma, if it is one
    of several classes."""
    malignant = tuple(label.code for label in labels.labels if label.malignant)
    melanoma = tuple(label.code for label in labels.labels if label.name == "Melanoma")
    return {name: codes for name, codes in {"cancer": malignant, "melanoma": melanoma}.items() if codes}


def choose(
    labels: LabelSet, truth: np.ndarray, probabilities: np.ndarray, melanoma: np.ndarray | None = None
) -> list[Published]:
    """An operating point for each of `targets` and SENSITIVITIES, without measurements, from class indices [n] and
    probabilities [n, classes]. Thresholds are rounded down to six decimals. None for a target without images.

    If melanoma is no class of the model, `melanoma`, boolean [n], says which images show one.
    """
    points = []
    wanted = targets(labels)
    is_class = "melanoma" in wanted
    if melanoma is not None and not is_class:
        wanted["melanoma"] = wanted["cancer"]
    for name, codes in wanted.items():
        indices = [labels.codes.index(code) for code in codes]
        by_diagnosis = name == "melanoma" and not is_class
        positive = probabilities[melanoma if by_diagnosis else np.isin(truth, indices)][:, indices].sum(axis=1)
        for sensitivity in SENSITIVITIES if len(positive) else ():
            threshold = float(np.floor(highest_threshold(positive, sensitivity) * 1e6) / 1e6)
            of = name if by_diagnosis else ""
            points.append(Published(f"{name}-{100 * sensitivity:.0f}", codes, sensitivity, threshold, {}, of))
    return points


def measure(
    classes: Sequence[str],
    threshold: float,
    labels: LabelSet,
    truth: np.ndarray,
    probabilities: np.ndarray,
    groups: np.ndarray,
    wanted: np.ndarray | None = None,
) -> tuple[Interval, Interval]:
    """Sensitivity and specificity of a threshold on the summed probability of `classes`, on images with these class
    indices [n], probabilities [n, classes] and groups [n]. With `wanted`, boolean [n], sensitivity is of those images;
    specificity is still that of the images of other classes."""
    indices = [labels.codes.index(code) for code in classes]
    positives = np.isin(truth, indices)

    def score(positive: bool) -> bootstrap.Score:
        rows = (positives if wanted is None else wanted) if positive else ~positives
        return bootstrap.Proportion(
            eligible=lambda _: rows,
            correct=lambda _, rows: (rows[:, indices].sum(axis=1) >= threshold) == positive,
        )

    scores = {"sensitivity": score(True), "specificity": score(False)}
    intervals = bootstrap.intervals(scores, truth, probabilities, groups)
    return intervals["sensitivity"], intervals["specificity"]
