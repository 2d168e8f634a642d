"""The consequences of a threshold on the probability of the target, the threshold for a sensitivity, and the operating
points that are stored with a model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from skinapp.evaluation import bootstrap, comparison, metrics, predictions
from skinapp.evaluation.bootstrap import Interval
from skinapp.evaluation.comparison import Shared
from skinapp.evaluation.predictions import Predictions
from skinapp.inference import conformal, model_card
from skinapp.labels.sets import LabelSet


@dataclass(frozen=True)
class Threshold:
    """A threshold on the probability of the target, and where it comes from.

    `chosen_on` names the images, held out from training, that it was chosen on. One that was chosen on the images under
    comparison has the `sensitivity` that it was chosen for. A threshold set directly has neither.
    """

    value: float
    chosen_on: str = ""
    sensitivity: float | None = None


@dataclass(frozen=True)
class OperatingPoint:
    """The results of a threshold on the probability of the target.

    Counts are of the shared images. Predictive values, `missed` and `false_alarms` assume `prevalence`; the last two
    are people per 1,000: with the target but not flagged, and flagged without having it.
    """

    threshold: Threshold
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
    false_alarms: Interval
    net_benefit: float


def operating_point(
    shared: Shared, weights: np.ndarray, model_id: str, threshold: Threshold, prevalence: float
) -> OperatingPoint:
    """Images whose probability of the target is at or above the threshold are flagged."""
    positive = shared.positive
    flagged = shared.probability(model_id) >= threshold.value
    true_positives, false_positives = int((positive & flagged).sum()), int((~positive & flagged).sum())
    rates = draws(shared, weights, model_id, threshold)
    groups = [bootstrap.count(shared.groups, rows) for rows in (positive, ~positive)]
    sensitivity, specificity = (
        bootstrap.interval(values, count, proportion=True) for values, count in zip(rates, groups, strict=True)
    )
    values = metrics.predictive_values(rates[0], rates[1], prevalence)
    lowest = metrics.predictive_values(np.array(sensitivity.low), np.array(specificity.low), prevalence)
    highest = metrics.predictive_values(np.array(sensitivity.high), np.array(specificity.high), prevalence)
    positive_value, negative_value = (
        _predictive_value(*limits, groups=min(groups)) for limits in zip(values, lowest, highest, strict=True)
    )
    odds = threshold.value / (1 - threshold.value) if threshold.value < 1 else np.inf
    return OperatingPoint(
        threshold,
        prevalence,
        true_positives,
        int(positive.sum()) - true_positives,
        false_positives,
        int((~positive).sum()) - false_positives,
        sensitivity,
        specificity,
        positive_value,
        negative_value,
        _per_thousand(sensitivity, prevalence),
        _per_thousand(specificity, 1 - prevalence),
        (true_positives - (false_positives * odds if false_positives else 0)) / len(positive),
    )


def draws(shared: Shared, weights: np.ndarray, model_id: str, threshold: Threshold) -> tuple[np.ndarray, np.ndarray]:
    """Sensitivity and specificity [1 + r]: the plain values, then those of each resample of `weights` [r, n].

    A threshold that was chosen on these images is chosen again in every resample, so that intervals include the choice.
    NaN in a resample without an image on that side.
    """
    positive, probability = shared.positive, shared.probability(model_id)
    weights = np.concatenate([np.ones((1, len(positive))), weights])
    if threshold.sensitivity is None:
        flagged = probability >= threshold.value
        with np.errstate(invalid="ignore"):
            sensitivity = (weights @ (positive & flagged)) / (weights @ positive)
            return sensitivity, (weights @ (~positive & ~flagged)) / (weights @ ~positive)
    cases, others = (
        np.flatnonzero(side)[np.argsort(-probability[side], kind="stable")] for side in (positive, ~positive)
    )
    detected, flagged_others = (np.cumsum(weights[:, rows], axis=1) for rows in (cases, others))
    reached = probability[cases][(detected >= threshold.sensitivity * detected[:, -1:] - 1e-9).argmax(axis=1)]
    # how many of each side are at or above the threshold of each resample; images of equal probability go together
    above = [np.searchsorted(-probability[side], -reached, side="right") for side in (cases, others)]
    rows = np.arange(len(weights))
    flagged = np.where(above[1] > 0, flagged_others[rows, above[1] - 1], 0)
    with np.errstate(invalid="ignore"):
        sensitivity = detected[rows, above[0] - 1] / detected[:, -1]
        specificity = 1 - flagged / flagged_others[:, -1]
    return sensitivity, np.where(np.isnan(sensitivity), np.nan, specificity)


@dataclass(frozen=True)
class Difference:
    """How much more the first of two models does than the second, each at its threshold: images of the target
    `detected` and other images `flagged`, in images, and `missed` and `false_alarms` per 1,000 people."""

    detected: Interval
    flagged: Interval
    missed: Interval
    false_alarms: Interval


def difference(
    shared: Shared,
    weights: np.ndarray,
    first: str,
    second: str,
    thresholds: Mapping[str, Threshold],
    prevalence: float,
) -> Difference:
    """The difference of two models on the same resamples, so that images that are hard for both cancel out. Counts of
    a resample are scaled to the images that there are."""
    one, other = (draws(shared, weights, name, thresholds[name]) for name in (first, second))
    same = shared.identical(first, second) and thresholds[first] == thresholds[second]
    detected, flagged = (
        Interval(0.0, 0.0, 0.0)
        if same
        else bootstrap.interval((a - b) * sign * int(rows.sum()), bootstrap.count(shared.groups, rows))
        for a, b, sign, rows in (
            (one[0], other[0], 1, shared.positive),
            (one[1], other[1], -1, ~shared.positive),
        )
    )
    per_case = 1000 * prevalence / int(shared.positive.sum())
    per_other = 1000 * (1 - prevalence) / int((~shared.positive).sum())
    return Difference(
        detected,
        flagged,
        Interval(*(-per_case * value for value in (detected.value, detected.high, detected.low))),
        Interval(*(per_other * value for value in (flagged.value, flagged.low, flagged.high))),
    )


def _predictive_value(values: np.ndarray, lowest: np.ndarray, highest: np.ndarray, groups: int) -> Interval:
    """The interval of a predictive value [1 + r]. If all resamples agree, for example because no target is missed, its
    limits are the values at the limits of sensitivity and specificity, since it rises with both."""
    interval = bootstrap.interval(values, groups)
    return interval if interval.exists else Interval(interval.value, float(lowest), float(highest))


def _per_thousand(rate: Interval, share: float) -> Interval:
    """Wrong calls per 1,000 people, if a `share` of them is in the group that is called correctly at this `rate`."""
    return Interval(*(1000 * share * (1 - value) for value in (rate.value, rate.high, rate.low)))


def for_sensitivity(
    shared: Shared, known: Mapping[str, Predictions], sensitivity: float, dataset: str | None = None
) -> dict[str, Threshold]:
    """Each model's threshold for a sensitivity: chosen on images held out from training if all models have them, so
    that all are compared by one rule, and otherwise on the images that they share. `known` are the models' files, and
    `dataset` is where the images are from."""
    available = {name: held_out(known[name], shared, sensitivity, dataset) for name in shared.ids}
    chosen = {name: threshold for name, threshold in available.items() if threshold}
    if len(chosen) == len(shared.ids):
        return chosen
    return chosen_here(shared, shared.ids, sensitivity)


def chosen_here(shared: Shared, models: Sequence[str], sensitivity: float) -> dict[str, Threshold]:
    """The models' thresholds for a sensitivity, chosen on the images that are compared."""
    return {name: Threshold(threshold_for(shared, name, sensitivity), "", sensitivity) for name in models}


def held_out(
    predictions_of: Predictions, shared: Shared, sensitivity: float, dataset: str | None = None
) -> Threshold | None:
    """A model's threshold for a sensitivity, chosen on training images that its network had not seen; None if it has no
    such predictions, or too few images of the target.

    It is, in this order, the card's operating point, the highest that reaches the sensitivity out of fold, or, for a
    single class, that of the prediction sets, which hold the class with that certainty.
    """
    model = predictions_of.model
    if model is None:
        return None
    if model_card.cross_validated(model.card) and dataset not in predictions_of.further:
        # its thresholds were chosen on the images that it is tested on
        return None
    labels = model.labels
    # models with different label sets are compared on what each counts as malignant
    codes = (shared.target if labels == shared.labels else comparison.malignant_target(labels)).codes
    for point in of_card(model.card):
        if set(point.classes) == set(codes) and point.sensitivity == sensitivity and not point.of:
            return Threshold(point.threshold, next(iter(point.measured)))
    if (out_of_fold := predictions.out_of_fold(model)) is not None:
        of_target = out_of_fold.table["label"].isin(codes).to_numpy()
        columns = [labels.codes.index(code) for code in codes]
        if of_target.any():
            chances = out_of_fold.probabilities[of_target][:, columns].sum(axis=1)
            return Threshold(highest_threshold(chances, sensitivity), "training images, out of fold")
    sets = conformal.of_model(model)
    if sets and len(codes) == 1 and sensitivity in sets.thresholds:
        value = sets.at(sensitivity)[labels.codes.index(codes[0])]
        return Threshold(value, sets.images) if value > 0 else None
    return None


def threshold_for(shared: Shared, model_id: str, sensitivity: float) -> float:
    """The highest threshold that finds at least this share of the target's images here."""
    return highest_threshold(shared.probability(model_id)[shared.positive], sensitivity)


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
    specificity as (value, low, high). `of` names the target if the classes do not: melanoma, for a model that tells
    malignant from benign.
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
    """The targets of operating points: cancer, by all classes that count as malignant, and melanoma, if it is one of
    several classes."""
    malignant = tuple(label.code for label in labels.labels if label.malignant)
    melanoma = tuple(label.code for label in labels.labels if label.name == "Melanoma")
    return {name: codes for name, codes in {"cancer": malignant, "melanoma": melanoma}.items() if codes}


def choose(
    labels: LabelSet, truth: np.ndarray, probabilities: np.ndarray, melanoma: np.ndarray | None = None
) -> list[Published]:
    """An operating point for each of `targets` and SENSITIVITIES, without measurements, from class indices [n] and
    probabilities [n, classes]. Thresholds are rounded down to six decimals. None for a target without images.

    If melanoma is not a class of the model, `melanoma`, boolean [n], says which images show one.
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
) -> dict[str, Interval]:
    """Sensitivity, specificity and accuracy, by these names, of a threshold on the summed probability of `classes`, on
    images with these class indices [n], probabilities [n, classes] and groups [n]. With `wanted`, boolean [n],
    sensitivity is of those images, specificity is still that of the images of other classes, and there is no
    accuracy."""
    indices = [labels.codes.index(code) for code in classes]
    positives = np.isin(truth, indices)

    def score(positive: bool) -> bootstrap.Score:
        rows = (positives if wanted is None else wanted) if positive else ~positives
        return bootstrap.Proportion(
            eligible=lambda _: rows,
            correct=lambda _, rows: (rows[:, indices].sum(axis=1) >= threshold) == positive,
        )

    scores: dict[str, bootstrap.Score] = {"sensitivity": score(True), "specificity": score(False)}
    if wanted is None:
        scores["accuracy"] = bootstrap.Proportion(
            eligible=lambda _: np.ones(len(truth), dtype=bool),
            correct=lambda _, rows: (rows[:, indices].sum(axis=1) >= threshold) == positives,
        )
    return bootstrap.intervals(scores, truth, probabilities, groups)
