"""Operating points: the table, the two-by-two table, and the curves with every model's threshold on them."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from skinapp.charts import performance
from skinapp.evaluation import operating_points
from skinapp.evaluation.comparison import Shared
from skinapp.evaluation.curves import side
from skinapp.evaluation.operating_points import OperatingPoint, Published
from skinapp.inference.registry import Model
from skinapp.labels import sets
from skinapp.labels.sets import LabelSet
from skinapp.report.comparison_views import Names
from skinapp.report.document import Chart

CURVES = {
    "roc": ("ROC", "1 - specificity", "Sensitivity"),
    "precision": ("Precision and recall", "Recall (sensitivity)", "Precision"),
    "benefit": ("Net benefit", "Threshold", "Net benefit"),
    "risk": ("Risk and coverage", "Share of images included, most confident first", "Error rate"),
}
"""Kind of curve -> its title and axes."""


def table_of(points: dict[str, OperatingPoint], names: Names) -> pd.DataFrame:
    """Operating points in words, one row for each model."""
    return pd.DataFrame(
        {
            "Model": names[name],
            "Threshold": f"{point.threshold:.3f}",
            "Sensitivity": point.sensitivity.text(),
            "Specificity": point.specificity.text(),
            "Positive predictive value": point.positive_predictive_value.text(),
            "Negative predictive value": point.negative_predictive_value.text(),
            "Missed cancers per 1,000 people": point.missed_cancers.text(".1f"),
            "False alarms per 1,000 people": point.false_alarms.text(".0f"),
            "Net benefit on these images": f"{point.net_benefit:+.3f}",
        }
        for name, point in points.items()
    )


def confusion(point: OperatingPoint, name: str) -> Chart:
    """The two-by-two table of an operating point."""
    table = pd.DataFrame(
        {
            "label": ["malignant", "malignant", "benign", "benign"],
            "predicted": ["malignant", "benign"] * 2,
            "images": [point.true_positives, point.false_negatives, point.false_positives, point.true_negatives],
        }
    )
    table["share"] = table["images"] / table.groupby("label")["images"].transform("sum")
    return Chart(
        performance.confusion(table),
        table,
        f"At a threshold of {point.threshold:.3f}, {name} detects {point.true_positives:,} malignant images and misses "
        f"{point.false_negatives:,}; of the others it calls {point.false_positives:,} malignant and "
        f"{point.true_negatives:,} benign.",
    )


def curve(
    shared: Shared,
    curves: dict[str, pd.DataFrame],
    kind: str,
    code: str | None,
    thresholds: dict[str, float],
    names: Names,
) -> Chart:
    """Curves of one kind, by model id, with each model's threshold marked on those that have thresholds."""
    title, x, y = CURVES[kind]
    marks = {}
    for name in curves:
        positive, chance = side(shared, name, code)
        threshold = thresholds[name]
        true_positives, false_positives = (int((rows & (chance >= threshold)).sum()) for rows in (positive, ~positive))
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
        share = float(side(shared, shared.ids[0], code)[0].mean())
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
        f"{title}: {y} over {x} of {', '.join(named)}, with 95% bands. "
        + "; ".join(f"{name} is at {at_x:.3f}, {at_y:.3f}" for name, (at_x, at_y) in marks.items()),
    )


def _highest(curves: dict[str, pd.DataFrame]) -> float:
    """The highest point of any curve or band; a curve may have no band."""
    return max(float(frame[["y", "high"]].max().max()) for frame in curves.values())


def published(model: Model, probabilities: Mapping[str, float]) -> list[str]:
    """A sentence for each operating point that is stored with a model, on an image with these probabilities by class:
    whether it is above the threshold, and sensitivity and specificity on test images."""
    return [_published(point, model.labels, probabilities) for point in operating_points.of_card(model.card)]


def _published(point: Published, labels: LabelSet, probabilities: Mapping[str, float]) -> str:
    share = sum(probabilities[code] for code in point.classes)
    # the first images are those that chose the threshold
    name, (sensitivity, specificity) = list(point.measured.items())[min(1, len(point.measured) - 1)]
    where = "at or above" if point.reached(probabilities) else "below"
    wanted = point.of or sets.target(labels, point.classes)
    return (
        f"{point.sensitivity:.0%} sensitivity for {wanted}: {where} the threshold "
        f"({share:.1%}, threshold {point.threshold:.1%}). On images of {name}: sensitivity {sensitivity.text('.0%')}, "
        f"specificity {specificity.text('.0%')}."
    )
