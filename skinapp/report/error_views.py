"""Errors: the confusion matrix, the error rate by class, and scores in subgroups."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from skinapp.charts import performance
from skinapp.evaluation import error_analysis, measures, subgroups
from skinapp.evaluation.comparison import Shared, Target
from skinapp.evaluation.measures import MEASURES
from skinapp.report.comparison_views import Names, interval_of, listed
from skinapp.report.document import Chart


def confusion(shared: Shared, model_id: str, names: Names, selectable: bool = False) -> Chart:
    """The confusion matrix of the most likely class."""
    table = error_analysis.confusion(shared, model_id)
    return Chart(
        performance.confusion(table, selectable),
        table,
        f"Confusion matrix of {names[model_id]}: counts, and shares of the images of each label",
    )


def error_rates(shared: Shared, table: pd.DataFrame, model_id: str, names: Names) -> Chart:
    """One model's error rates, from an `error_analysis.error_rates` table."""
    part = table[table["model"] == model_id]
    notes = [f"{interval_of(row).text('.0%')}, n = {row['images']:,}" for _, row in part.iterrows()]
    frame = part.assign(name=[shared.labels[code].name for code in part["label"]], note=notes)
    return Chart(
        performance.class_bars(frame),
        part,
        f"Error rate of {names[model_id]} by class: " + listed(frame["name"], frame["note"]),
    )


def by_subgroup(
    table: pd.DataFrame, column: str, score: str, target: Target, order: Sequence[str], names: Names
) -> Chart:
    """A `subgroups.by_subgroup` table as a forest plot; `order` are the ids of all models, for their colours."""
    title = score_names(target)[score]
    frame = table.assign(
        row=[f"{row['subgroup']} (n = {row['images']:,}, {row['positive']:,} {target.many})" for row in _rows(table)],
        series=table["model"].map(names),
        note=["too few images" if np.isnan(row["value"]) else interval_of(row).text(".2f") for row in _rows(table)],
    )
    rows = [f"{row}, {series}" for row, series in zip(frame["row"], frame["series"], strict=True)]
    return Chart(
        performance.forest(frame, title, [names[name] for name in order]),
        table,
        f"{title} by {subgroups.SUBGROUPS[column].lower()}: " + listed(rows, frame["note"]),
    )


def score_names(target: Target) -> dict[str, str]:
    """Every score that subgroups can have, by its code."""
    return subgroups.AT_THRESHOLD | {code: measure.name for code, measure in measures.named(target).items()}


def _rows(table: pd.DataFrame) -> list[dict[Hashable, Any]]:
    return table.to_dict("records")


def gap_words(table: pd.DataFrame, score: str, names: Names) -> str:
    """The largest gap between two subgroups, or that there are too few images to compare them."""
    gap = subgroups.largest_gap(table, score not in MEASURES or MEASURES[score].higher)
    if gap is None:
        return "Too few images to compare subgroups."
    overlap = "their intervals overlap" if gap.overlap else "their intervals do not overlap"
    return (
        f"Largest gap: {names[gap.model]} does better in “{gap.best}” than in “{gap.worst}”, by {gap.difference:.2f}; "
        f"{overlap}."
    )
