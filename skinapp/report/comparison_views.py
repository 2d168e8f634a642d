"""The charts and tables of a comparison, shared by the page and the report: leaderboard, pairs of models.

The other parts of a comparison have their own modules: operating points, calibration, errors, training.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from skinapp.charts import performance
from skinapp.errors import ModelError
from skinapp.evaluation import pairs
from skinapp.evaluation.bootstrap import Interval
from skinapp.evaluation.comparison import Shared
from skinapp.evaluation.measures import MEASURES, Draws
from skinapp.evaluation.measures import leaderboard as leaderboard_of
from skinapp.inference import registry, runtime
from skinapp.inference.registry import Model
from skinapp.report.document import Chart

Names = dict[str, str]
"""Model id -> what it is called in figures and sentences."""


def p_value(value: float) -> str:
    """0.031, or under 0.001."""
    if np.isnan(value):
        return "not defined"
    return "under 0.001" if value < 0.001 else f"{value:.3f}"


def interval_of(row: Any) -> Interval:
    """The interval in the columns value, low and high of a row."""
    return Interval(row["value"], row["low"], row["high"])


def listed(names: Iterable[str], notes: Iterable[str]) -> str:
    """What a figure shows in words: each name with its note."""
    return "; ".join(f"{name} {note}" for name, note in zip(names, notes, strict=True))


def scoreboard(shared: Shared, draws: Draws, published: pd.DataFrame, names: Names) -> pd.DataFrame:
    """Every score of every model, and the published figures: origin, model, name, score, value, low, high, images,
    text."""
    own = leaderboard_of(shared, draws).assign(origin="here", images=len(shared.images))
    own["name"] = own["model"].map(names)
    theirs = published.drop(columns="protocol").assign(origin="published", name=published["model"])
    both = pd.concat([own, theirs], ignore_index=True) if len(theirs) else own
    return both.assign(text=[interval_of(row).text() for _, row in both.iterrows()])


def wide(board: pd.DataFrame) -> pd.DataFrame:
    """A scoreboard with one row for each model: name, origin, a column of words for each score, images."""
    table = board.pivot_table(index=["name", "origin"], columns="score", values="text", aggfunc="first", sort=False)
    images = board.groupby(["name", "origin"], sort=False)["images"].first()
    return table[[name for name in MEASURES if name in table]].join(images).reset_index()


def model_costs(models: dict[str, Model | None]) -> pd.DataFrame:
    """What each model costs to run, by its name: parameters, megabytes of its file, and milliseconds per image on
    this machine, measured once; empty where unknown."""
    rows = {name: _costs(model) if model else (None, None, None) for name, model in models.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["parameters", "megabytes", "milliseconds"])


def _costs(model: Model) -> tuple[int, float | None, str | None]:
    parameters = int(model.card["architecture"]["parameters"])
    if not model.runnable:
        return parameters, None, None
    try:
        median, least, most = runtime.milliseconds(model)
    except ModelError:
        timing = None
    else:
        # padded to equal width, so that the column sorts by number
        timing = f"{median:6.1f} ({least:.1f} to {most:.1f})"
    return parameters, registry.size(model) / 1e6, timing


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
        f"{measure.name} with 95% intervals: " + listed(frame["row"], frame["note"]),
    )


def paired(shared: Shared, draws: Draws, first: str, second: str, names: Names) -> Chart:
    """The difference of every score of two models."""
    table = pairs.differences(shared, draws, first, second)
    endings = {
        pairs.FIRST: " · A better",
        pairs.SECOND: " · B better",
        pairs.UNDECIDED: "",
        pairs.UNTESTED: "",
    }
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
        interval_of(row).text("+.3f") + endings[conclusion]
        for (_, row), conclusion in zip(frame.iterrows(), table["conclusion"], strict=True)
    ]
    return Chart(
        performance.forest(frame, "A minus B, with 95% interval", ["A minus B"], reference=0),
        table,
        f"Differences, {names[first]} (A) minus {names[second]} (B): " + listed(frame["row"], frame["note"]),
    )


def tests(table: pd.DataFrame, names: Names) -> pd.DataFrame:
    """A `pairs.pairwise` table in words; Holm's columns where there are several pairs."""
    shown = pd.DataFrame(
        {
            "Pair": [f"{names[a]} and {names[b]}" for a, b in zip(table["first"], table["second"], strict=True)],
            "Only the first correct": table["only_first"],
            "Only the second correct": table["only_second"],
            "McNemar p": table["mcnemar_p"].map(p_value),
            "McNemar p, Holm": table["mcnemar_p_holm"].map(p_value),
            "Difference of ROC AUC, malignant": [
                Interval(row["auc_difference"], row["auc_low"], row["auc_high"]).text("+.3f")
                for _, row in table.iterrows()
            ],
            "DeLong p": table["delong_p"].map(p_value),
            "DeLong p, Holm": table["delong_p_holm"].map(p_value),
        }
    )
    return shown if len(shown) > 1 else shown.drop(columns=["McNemar p, Holm", "DeLong p, Holm"])
