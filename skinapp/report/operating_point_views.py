"""Operating points: sentences on what two models detect and what it costs, the table, the two-by-two table, and the
curves with every model's threshold marked."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from skinapp.charts import performance
from skinapp.evaluation import operating_points
from skinapp.evaluation.bootstrap import Interval
from skinapp.evaluation.comparison import CANCER, WITH_PRE_CANCER, Shared, Target
from skinapp.evaluation.operating_points import Difference, OperatingPoint, Published, Threshold
from skinapp.formatting import joined
from skinapp.inference.registry import Model
from skinapp.labels import sets
from skinapp.labels.sets import LabelSet
from skinapp.report.comparison_views import Names
from skinapp.report.document import Chart

CURVES = {
    "roc": ("ROC", "False alarm rate (1 - specificity)", "Sensitivity"),
    "precision": ("Precision and recall", "Recall (sensitivity)", "Precision"),
    "benefit": ("Net benefit", "Threshold", "Net benefit"),
    "risk": ("Risk and coverage", "Share of images included, most confident first", "Error rate"),
}
"""Kind of curve -> its title and axes."""

TOGETHER = {CANCER: "a cancer", WITH_PRE_CANCER: "a cancer or pre-cancer"}
IMAGES_OF = "images of "
"""Begins the plural of a class whose name has none, such as "images of vascular lesion"."""


def aim(target: Target, sensitivity: float | None, threshold: float = 0.5) -> str:
    """The beginning of a sentence on what is detected: with thresholds set for a sensitivity, or with one threshold for
    all."""
    if sensitivity is None:
        return f"At a threshold of {threshold:.0%} for {target.spoken}"
    return f"Set to find {sensitivity:.0%} of {target.many}"


def answer(
    points: Mapping[str, OperatingPoint], apart: Difference | None, target: Target, names: Names, aim: str
) -> list[str]:
    """Three sentences on what one or two models detect, and what it costs. `aim` begins the first, such as "Set to find
    95% of melanomas"."""
    return [
        _flagged(points, apart, names, aim),
        _detected(points, apart, target, names),
        _cost(points, apart, target, names),
    ]


def _flagged(points: Mapping[str, OperatingPoint], apart: Difference | None, names: Names, aim: str) -> str:
    point, *others = points.values()
    first, *second = (names[name] for name in points)
    total = point.false_positives + point.true_negatives
    start = f"{aim}, {first} also flags {point.false_positives:,} of {total:,} other images"
    if apart is None:
        return f"{start}: a specificity of {point.specificity.text('.0%')}."
    return f"{start}, and {second[0]} flags {others[0].false_positives:,}: difference {_signed(apart.flagged)}."


def _detected(points: Mapping[str, OperatingPoint], apart: Difference | None, target: Target, names: Names) -> str:
    total = next(point.true_positives + point.false_negatives for point in points.values())
    first, *second = (
        f"{point.true_positives:,} ({point.sensitivity.value:.0%}{_limits(point.sensitivity, '.0%')})"
        for point in points.values()
    )
    a, *b = (names[name] for name in points)
    more = "" if apart is None else f", and {b[0]} finds {second[0]}: difference {_signed(apart.detected)}"
    return f"Of the {total:,} {target.many} here, {a} finds {first}{more}."


def _cost(points: Mapping[str, OperatingPoint], apart: Difference | None, target: Target, names: Names) -> str:
    (a, point), *second = ((names[name], point) for name, point in points.items())
    cases = f"{1000 * point.prevalence:g}"
    words = (
        f"Among 1,000 people, {cases} of them with {article(target)}, {a} would raise "
        f"{point.false_alarms.value:,.0f} false alarms and miss {point.missed.value:.1f} of the {cases}"
    )
    if apart is None:
        return f"{words}."
    b, other = second[0]
    return (
        f"{words}, and {b} {other.false_alarms.value:,.0f} and {other.missed.value:.1f}: difference "
        f"{_signed(apart.false_alarms)} false alarms, {_signed(apart.missed, '.1f')} missed."
    )


def matched(
    points: Mapping[str, OperatingPoint], apart: Difference, target: Target, names: Names, sensitivity: float
) -> str:
    """What two models flag when both detect the same share of these images, at thresholds chosen on them."""
    first, second = points.values()
    a, b = (names[name] for name in points)
    return (
        f"If both found exactly {sensitivity:.0%} of the {target.many} here, which can only be set in hindsight, {a} "
        f"would flag {first.false_positives:,} other images, and {b} would flag {second.false_positives:,}: difference "
        f"{_signed(apart.flagged)}."
    )


def _signed(interval: Interval, form: str = ".0f") -> str:
    """-17 (95% interval -40 to +8). Zero has no sign."""
    value, low, high = (_plus(number, form) for number in (interval.value, interval.low, interval.high))
    return f"{value} (95% interval {low} to {high})" if interval.exists else f"{value} (no interval)"


def _plus(value: float, form: str) -> str:
    text = f"{value:+,{form}}"
    # avoids +0 and -0; NaN is kept
    return text[1:] if text.strip("+-0.") == "" else text


def _limits(interval: Interval, form: str) -> str:
    return f", {interval.low:{form}} to {interval.high:{form}}" if interval.exists else ", no interval"


def source(thresholds: Mapping[str, Threshold], names: Names) -> str:
    """A sentence on the origin of the thresholds."""
    if any(threshold.sensitivity is not None for threshold in thresholds.values()):
        return (
            "The thresholds were chosen on these same test images, so the results here are slightly optimistic; the "
            "intervals account for that choice."
        )
    chosen = {name: threshold.chosen_on for name, threshold in thresholds.items() if threshold.chosen_on}
    if not chosen:
        return "The threshold was set by hand."
    each = ", ".join(f"{names[name]} {thresholds[name].value:.1%}" for name in chosen)
    where = joined(dict.fromkeys(_within(images) for images in chosen.values()))
    return f"Thresholds: {each}, chosen on lesions held out from training ({where}), not on these test images."


def _within(name: str) -> str:
    """A name for use within a sentence: "validation images", but "HAM10000, out of fold"."""
    return name if name[1:2].isupper() else name[0].lower() + name[1:]


def article(target: Target) -> str:
    """The target with its article, for use within a sentence: "a melanoma"."""
    if target.id in TOGETHER:
        return TOGETHER[target.id]
    name = target.many.removeprefix(IMAGES_OF) if target.many.startswith(IMAGES_OF) else target.spoken
    if name.startswith("other "):
        return f"an{name}"
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _missed(target: Target) -> str:
    """The name of the row with the people whose target is missed."""
    if target.many.startswith(IMAGES_OF):
        return f"Missed per 1,000 people: {target.many.removeprefix(IMAGES_OF)}"
    return f"Missed {target.many} per 1,000 people"


def table_of(
    points: Mapping[str, OperatingPoint], names: Names, target: Target, apart: Difference | None = None
) -> pd.DataFrame:
    """Operating points as text: a row for each measure, a column for each model and, for two models, their difference
    where there is one."""
    rows = {
        "Threshold": [f"{point.threshold.value:.1%}" for point in points.values()],
        "Sensitivity": [point.sensitivity.text(".1%") for point in points.values()],
        "Specificity": [point.specificity.text(".1%") for point in points.values()],
        "False alarms per 1,000 people": [point.false_alarms.text(".0f") for point in points.values()],
        _missed(target): [point.missed.text(".1f") for point in points.values()],
        "Positive predictive value": [point.positive_predictive_value.text(".1%") for point in points.values()],
        "Negative predictive value": [point.negative_predictive_value.text(".2%") for point in points.values()],
        "Net benefit on these images": [f"{point.net_benefit:+.3f}" for point in points.values()],
    }
    table = pd.DataFrame.from_dict(rows, orient="index", columns=[names[name] for name in points])
    if apart is not None:
        changed = {
            "False alarms per 1,000 people": apart.false_alarms.text("+.0f"),
            _missed(target): apart.missed.text("+.1f"),
        }
        table["Difference"] = [changed.get(row, "") for row in table.index]
    return table.rename_axis("Measure").reset_index()


FLAGGED, NOT_FLAGGED = "flagged", "not flagged"


def outcomes(point: OperatingPoint, name: str, target: Target, selectable: bool = False) -> Chart:
    """The two-by-two table of an operating point."""
    table = pd.DataFrame(
        {
            "label": [target.id, target.id, "other", "other"],
            "predicted": [FLAGGED, NOT_FLAGGED] * 2,
            "images": [point.true_positives, point.false_negatives, point.false_positives, point.true_negatives],
        }
    )
    table["share"] = table["images"] / table.groupby("label")["images"].transform("sum")
    return Chart(
        performance.confusion(table, selectable),
        table,
        f"At a threshold of {point.threshold.value:.1%}, {name} finds {point.true_positives:,} {target.many} and "
        f"misses {point.false_negatives:,}; it flags {point.false_positives:,} of the other images and does not flag "
        f"{point.true_negatives:,}.",
    )


def curve(
    shared: Shared,
    curves: dict[str, pd.DataFrame],
    kind: str,
    thresholds: Mapping[str, Threshold],
    names: Names,
) -> Chart:
    """Curves of one kind, by model id, with each model's threshold marked on those that have thresholds."""
    title, x, y = CURVES[kind]
    marks = {}
    positive = shared.positive
    for name in curves:
        threshold = thresholds[name].value
        flagged = shared.probability(name) >= threshold
        true_positives, false_positives = (int((rows & flagged).sum()) for rows in (positive, ~positive))
        if kind == "roc":
            marks[names[name]] = (false_positives / int((~positive).sum()), true_positives / int(positive.sum()))
        elif kind == "precision" and true_positives + false_positives:
            precision = true_positives / (true_positives + false_positives)
            marks[names[name]] = (true_positives / int(positive.sum()), precision)
        elif kind == "benefit" and threshold < 1:
            cost = false_positives * threshold / (1 - threshold)
            marks[names[name]] = (threshold, (true_positives - cost) / len(positive))
    references: dict[str, pd.DataFrame] = {}
    y_range = (0.0, 1.0)
    if kind == "roc":
        references = performance.diagonal()
    elif kind == "benefit":
        share = float(positive.mean())
        at = np.arange(1, 100) / 100
        references = {
            "Refer everyone": pd.DataFrame({"x": at, "y": share - (1 - share) * at / (1 - at)}),
            "Refer no one": pd.DataFrame({"x": [0, 1], "y": [0, 0]}),
        }
        y_range = (-0.15 * share, max(share, _highest(curves)) * 1.05)
    elif kind == "risk":
        y_range = (0, max(0.05, 1.1 * _highest(curves)))
    named = {names[name]: frame for name, frame in curves.items()}
    return Chart(
        performance.lines(named, x, y, marks, references, y_range=y_range, percent=kind != "benefit"),
        pd.concat([frame.assign(model=name) for name, frame in curves.items()], ignore_index=True),
        f"{title} for {shared.target.spoken}: {y} against {x}, for {', '.join(named)}, with 95% bands. "
        + "; ".join(f"{name} is at {at_x:.3f}, {at_y:.3f}" for name, (at_x, at_y) in marks.items()),
    )


def _highest(curves: dict[str, pd.DataFrame]) -> float:
    """The highest point of any curve or band; a curve may have no band."""
    return max(float(frame[["y", "high"]].max().max()) for frame in curves.values())


def published(model: Model, probabilities: Mapping[str, float]) -> list[str]:
    """A sentence for each operating point that is stored with a model, on an image with these probabilities by class:
    whether the image is at or above the threshold, with sensitivity and specificity on test images."""
    return [_published(point, model.labels, probabilities) for point in operating_points.of_card(model.card)]


def _published(point: Published, labels: LabelSet, probabilities: Mapping[str, float]) -> str:
    share = sum(probabilities[code] for code in point.classes)
    # the first images are those used to choose the threshold
    name, (sensitivity, specificity) = list(point.measured.items())[min(1, len(point.measured) - 1)]
    where = "at or above" if point.reached(probabilities) else "below"
    wanted = point.of or sets.target(labels, point.classes)
    return (
        f"At {point.sensitivity:.0%} sensitivity for {wanted}, this image is {where} the threshold "
        f"(probability {share:.1%}, threshold {point.threshold:.1%}). On images from {name}: sensitivity "
        f"{sensitivity.text('.0%')}, specificity {specificity.text('.0%')}."
    )
