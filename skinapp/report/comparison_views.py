"""What a comparison shows, made once for the page and for the report: charts with their tables and words."""

from typing import Any

import numpy as np
import pandas as pd

from skinapp.charts import performance
from skinapp.evaluation import comparison, error_analysis, operating_points
from skinapp.evaluation.comparison import MEASURES, Draws, Shared
from skinapp.evaluation.metrics import Interval
from skinapp.evaluation.operating_points import OperatingPoint
from skinapp.report.document import Chart

Names = dict[str, str]
"""Model id -> what it is called in figures and sentences."""

CURVES = {
    "roc": ("ROC", "1 - specificity", "Sensitivity"),
    "precision": ("Precision and recall", "Recall (sensitivity)", "Precision"),
    "benefit": ("Net benefit", "Threshold", "Net benefit"),
    "risk": ("Risk and coverage", "Share of images answered, surest first", "Share of those named wrongly"),
}
"""Kind of curve -> its title and axes."""


def words(found: Interval, form: str = ".3f") -> str:
    """0.695 (0.650 to 0.739)"""
    if np.isnan(found.value):
        return "not defined"
    return f"{found.value:{form}} ({found.low:{form}} to {found.high:{form}})"


def p_words(value: float) -> str:
    """A p-value in words: 0.031, or under 0.001."""
    if np.isnan(value):
        return "not defined"
    return "under 0.001" if value < 0.001 else f"{value:.3f}"


def interval_of(row: Any) -> Interval:
    """The interval in the columns value, low and high of a row."""
    return Interval(row["value"], row["low"], row["high"])


def scoreboard(shared: Shared, drawn: Draws, published: pd.DataFrame, names: Names) -> pd.DataFrame:
    """Every score of every model, and the published figures: origin, model, name, score, value, low, high, images,
    text."""
    own = comparison.leaderboard(shared, drawn).assign(origin="here", images=len(shared.images))
    own["name"] = own["model"].map(names)
    theirs = published.drop(columns="protocol").assign(origin="published", name=published["model"])
    both = pd.concat([own, theirs], ignore_index=True) if len(theirs) else own
    return both.assign(text=[words(interval_of(row)) for _, row in both.iterrows()])


def wide(board: pd.DataFrame) -> pd.DataFrame:
    """A scoreboard with one row for each model: name, origin, a column of words for each score, images."""
    table = board.pivot_table(index=["name", "origin"], columns="score", values="text", aggfunc="first", sort=False)
    images = board.groupby(["name", "origin"], sort=False)["images"].first()
    return table[[name for name in MEASURES if name in table]].join(images).reset_index()


def leaderboard(board: pd.DataFrame, score: str, names: Names) -> Chart:
    """One score of a scoreboard, the best model first."""
    measure = MEASURES[score]
    part = board[board["score"] == score].sort_values("value", ascending=not measure.higher, kind="stable")
    here = part["origin"] == "here"
    frame = part.assign(
        row=part["name"].where(here, part["name"] + " (published)"),
        series=part["name"].where(here, "published"),
        note=part["text"],
    )
    return Chart(
        performance.forest(frame, measure.name, list(names.values()), one_each=True),
        part.drop(columns=["name", "text"]),
        f"{measure.name} with 95% intervals: " + _listed(frame["row"], frame["note"]),
    )


def paired(shared: Shared, drawn: Draws, first: str, second: str, names: Names) -> Chart:
    """The difference of every score of two models."""
    table = comparison.paired(shared, drawn, first, second)
    says = {"first better": "A better", "second better": "B better"}
    frame = pd.DataFrame(
        {
            "row": [MEASURES[score].name for score in table["score"]],
            "series": "A minus B",
            "value": table["difference"],
            "low": table["low"],
            "high": table["high"],
        }
    )
    frame["note"] = [
        f"{words(interval_of(row), '+.3f')} · {says.get(verdict, verdict)}"
        for (_, row), verdict in zip(frame.iterrows(), table["verdict"], strict=True)
    ]
    return Chart(
        performance.forest(frame, "A minus B, with 95% interval", ["A minus B"], zero=True),
        table,
        f"Differences, {names[first]} (A) minus {names[second]} (B): " + _listed(frame["row"], frame["note"]),
    )


def tests(table: pd.DataFrame, names: Names) -> pd.DataFrame:
    """A `comparison.pairwise` table in words; Holm's columns where there are several pairs."""
    shown = pd.DataFrame(
        {
            "Pair": [f"{names[a]} and {names[b]}" for a, b in zip(table["first"], table["second"], strict=True)],
            "Only the first right": table["only_first"],
            "Only the second right": table["only_second"],
            "McNemar p": table["mcnemar_p"].map(p_words),
            "McNemar p, Holm": table["mcnemar_p_holm"].map(p_words),
            "Difference of ROC AUC, malignant": [
                words(Interval(row["auc_difference"], row["auc_low"], row["auc_high"]), "+.3f")
                for _, row in table.iterrows()
            ],
            "DeLong p": table["delong_p"].map(p_words),
            "DeLong p, Holm": table["delong_p_holm"].map(p_words),
        }
    )
    return shown if len(shown) > 1 else shown.drop(columns=["McNemar p, Holm", "DeLong p, Holm"])


def points(found: dict[str, OperatingPoint], names: Names) -> pd.DataFrame:
    """Operating points in words, one row for each model."""
    return pd.DataFrame(
        {
            "Model": names[name],
            "Threshold": f"{point.threshold:.3f}",
            "Sensitivity": words(point.sensitivity),
            "Specificity": words(point.specificity),
            "Positive predictive value": words(point.positive_predictive_value),
            "Negative predictive value": words(point.negative_predictive_value),
            "Missed per 1,000": words(point.missed, ".1f"),
            "Needless per 1,000": words(point.needless, ".0f"),
            "Net benefit on these images": f"{point.net_benefit:+.3f}",
        }
        for name, point in found.items()
    )


def called(point: OperatingPoint, name: str) -> Chart:
    """The two-by-two table of an operating point."""
    table = pd.DataFrame(
        {
            "label": ["malignant", "malignant", "benign", "benign"],
            "named": ["malignant", "benign"] * 2,
            "images": [point.true_positives, point.false_negatives, point.false_positives, point.true_negatives],
        }
    )
    table["share"] = table["images"] / table.groupby("label")["images"].transform("sum")
    return Chart(
        performance.confusion(table),
        table,
        f"At threshold {point.threshold:.3f}, {name} finds {point.true_positives:,} malignant images and misses "
        f"{point.false_negatives:,}; of the others it clears {point.true_negatives:,} and calls "
        f"{point.false_positives:,}.",
    )


def curve(
    shared: Shared,
    curves: dict[str, pd.DataFrame],
    kind: str,
    code: str | None,
    thresholds: dict[str, float],
    names: Names,
) -> Chart:
    """Curves of one kind, by model id, with each model's threshold marked where that has a place on them."""
    title, x, y = CURVES[kind]
    marks = {}
    for name in curves:
        positive, chance = operating_points.side(shared, name, code)
        threshold = thresholds[name]
        found, alarmed = (int((side & (chance >= threshold)).sum()) for side in (positive, ~positive))
        if kind == "roc":
            marks[names[name]] = (alarmed / int((~positive).sum()), found / int(positive.sum()))
        elif kind == "precision" and found + alarmed:
            marks[names[name]] = (found / int(positive.sum()), found / (found + alarmed))
        elif kind == "benefit" and threshold < 1:
            marks[names[name]] = (threshold, (found - alarmed * threshold / (1 - threshold)) / len(positive))
    references: dict[str, pd.DataFrame] = {}
    y_range = (0.0, 1.0)
    if kind == "roc":
        references = performance.diagonal()
    elif kind == "benefit":
        share = float(operating_points.side(shared, shared.ids[0], code)[0].mean())
        at = np.arange(1, 100) / 100
        references = {
            "Refer everybody": pd.DataFrame({"x": at, "y": share - (1 - share) * at / (1 - at)}),
            "Refer nobody": pd.DataFrame({"x": [0, 1], "y": [0, 0]}),
        }
        y_range = (-0.15 * share, max(share, *(frame["high"].max() for frame in curves.values())) * 1.05)
    elif kind == "risk":
        y_range = (0, max(0.05, 1.1 * max(frame["high"].max() for frame in curves.values())))
    named = {names[name]: frame for name, frame in curves.items()}
    return Chart(
        performance.lines(named, x, y, marks, references, y_range=y_range, percent=kind != "benefit"),
        pd.concat([frame.assign(model=name) for name, frame in curves.items()], ignore_index=True),
        f"{title}: {y} over {x} of {', '.join(named)}, with 95% bands. "
        + "; ".join(f"{name} stands at {at_x:.3f}, {at_y:.3f}" for name, (at_x, at_y) in marks.items()),
    )


def reliability(
    shared: Shared,
    tables: dict[str, pd.DataFrame],
    raw: dict[str, pd.DataFrame],
    errors: dict[str, Interval],
    names: Names,
) -> Chart:
    """Reliability diagrams by model id, `raw` those before the temperature; `errors` by the names in the figure."""
    titles = {name: names[name] for name in tables} | {f"{name} raw": before_words(names[name]) for name in raw}
    both = tables | {f"{name} raw": table for name, table in raw.items()}
    numbers = {title: shared.ids.index(name.removesuffix(" raw")) for name, title in titles.items()}
    return Chart(
        performance.reliability(
            {titles[name]: table for name, table in both.items()}, numbers, {before_words(names[name]) for name in raw}
        ),
        pd.concat([table.assign(model=titles[name]) for name, table in both.items()], ignore_index=True),
        "Share right over confidence. Calibration error (ECE): "
        + _listed(errors, [words(error) for error in errors.values()]),
    )


def before_words(name: str) -> str:
    """What a model is called before its temperature."""
    return f"{name}, before its temperature"


def confusion(shared: Shared, model_id: str, names: Names) -> Chart:
    """The confusion matrix of the most probable class."""
    table = error_analysis.confusion(shared, model_id)
    return Chart(
        performance.confusion(table),
        table,
        f"Confusion matrix of {names[model_id]}: counts, and shares of the images of each label",
    )


def wrong(shared: Shared, table: pd.DataFrame, model_id: str, names: Names) -> Chart:
    """Of a `breakdown.wrong_by_class` table, one model's bars."""
    part = table[table["model"] == model_id]
    notes = [f"{words(interval_of(row), '.0%')}, n = {row['images']:,}" for _, row in part.iterrows()]
    frame = part.assign(name=[shared.labels[code].name for code in part["label"]], note=notes)
    return Chart(
        performance.class_bars(frame),
        part,
        f"{names[model_id]} names wrongly: " + _listed(frame["name"], frame["note"]),
    )


def subgroups(table: pd.DataFrame, fact: str, score: str, names: Names) -> Chart:
    """A `breakdown.subgroups` table as a forest plot."""
    frame = table.assign(
        row=[
            f"{row['subgroup']} (n = {row['images']:,}, {row['malignant']:,} malignant)" for _, row in table.iterrows()
        ],
        series=table["model"].map(names),
        note=[
            "too few to say" if np.isnan(row["value"]) else words(interval_of(row), ".2f")
            for _, row in table.iterrows()
        ],
    )
    title = MEASURES[score].name
    said = [f"{row}, {series}" for row, series in zip(frame["row"], frame["series"], strict=True)]
    return Chart(
        performance.forest(frame, title, list(names.values())),
        table,
        f"{title} by {error_analysis.SUBGROUPS[fact].lower()}: " + _listed(said, frame["note"]),
    )


def gap_words(table: pd.DataFrame, score: str, names: Names) -> str:
    """The largest gap between two subgroups, or that there is too little to say."""
    gap = error_analysis.largest_gap(table, MEASURES[score].higher)
    if gap is None:
        return "Too few images to compare subgroups."
    overlap = "their intervals overlap" if gap.overlap else "their intervals do not overlap"
    return (
        f"The largest gap: {names[gap.model]} does better for “{gap.best}” than for “{gap.worst}”, by "
        f"{gap.difference:.2f}; {overlap}."
    )


def training(table: pd.DataFrame, name: str) -> Chart:
    """A `breakdown.history` table as curves."""
    chosen = sorted(table.loc[table["chosen"], "epoch"].unique())
    kept = f"; epoch {', '.join(map(str, chosen))} was chosen" if chosen else ""
    return Chart(
        performance.training(table),
        table,
        f"Losses and accuracies of {name} over {table['epoch'].max()} epochs{kept}",
    )


def protocols(table: pd.DataFrame, name: str) -> Chart:
    """A `breakdown.protocols` table: the same network under several protocols."""
    order = list(dict.fromkeys(table["test"]))
    frame = table.assign(
        row=[MEASURES[score].name for score in table["score"]],
        series=table["test"],
        note=[words(interval_of(row), ".2f") for _, row in table.iterrows()],
    )
    frame = frame.sort_values("score", key=lambda column: column.map(list(MEASURES).index), kind="stable")
    said = [f"{row}, {series}" for row, series in zip(frame["row"], frame["series"], strict=True)]
    return Chart(
        performance.forest(frame, "Score, with 95% interval", order),
        table,
        f"{name} under {len(order)} protocols: " + _listed(said, frame["note"]),
    )


def _listed(names: Any, notes: Any) -> str:
    return "; ".join(f"{name} {note}" for name, note in zip(names, notes, strict=True))
