"""The charts and tables of a comparison, shared by the page and the report: leaderboard, pairs of models.

The other parts of a comparison have their own modules: operating points, calibration, errors, training.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from skinapp.charts import performance
from skinapp.datasets import registry as data_sets
from skinapp.errors import ModelError
from skinapp.evaluation import measures, pairs
from skinapp.evaluation.bootstrap import Interval
from skinapp.evaluation.comparison import Shared, Target
from skinapp.evaluation.external import Result
from skinapp.evaluation.measures import MEASURES, Draws
from skinapp.evaluation.measures import leaderboard as leaderboard_of
from skinapp.inference import registry, runtime
from skinapp.inference.registry import Model
from skinapp.report.document import Chart

Names = dict[str, str]
"""Maps a model id to its name in figures and sentences."""


def p_value(value: float) -> str:
    """0.031, or under 0.001."""
    if np.isnan(value):
        return "not defined"
    return "under 0.001" if value < 0.001 else f"{value:.3f}"


def interval_of(row: Any) -> Interval:
    """The interval in the columns value, low and high of a row."""
    return Interval(row["value"], row["low"], row["high"])


def listed(names: Iterable[str], notes: Iterable[str]) -> str:
    """A text description of a figure: each name with its note."""
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
    return table[[name for name in MEASURES if name in table]].fillna("").join(images).reset_index()


def sizes(models: Mapping[str, Model | None]) -> pd.DataFrame:
    """The size of each model, by name: parameters, and megabytes of the files that the app runs; empty if unknown."""
    rows = {name: _size(model) if model else (None, None) for name, model in models.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["parameters", "megabytes"])


def _size(model: Model) -> tuple[int, float | None]:
    parameters = int(model.card["architecture"]["parameters"])
    return parameters, registry.size(model) / 1e6 if model.runnable else None


def speed(model: Model) -> str:
    """Milliseconds per image on this machine, or the reason why they are not known."""
    if not model.runnable:
        return "cannot be run here: its weights are not shipped"
    try:
        median, least, most = runtime.milliseconds(model)
    except ModelError as error:
        return str(error)
    return f"{median:.1f} ms ({least:.1f} to {most:.1f}), median and range of {runtime.TIMED} runs"


def leaderboard(board: pd.DataFrame, score: str, target: Target, order: Sequence[str], names: Names) -> Chart:
    """One score of a scoreboard, the best model first; `order` are the ids of all models, for their colours."""
    measure = measures.named(target)[score]
    part = board[board["score"] == score].sort_values("value", ascending=not measure.higher, kind="stable")
    here = part["origin"] == "here"
    frame = part.assign(
        row=part["name"].where(here, part["name"] + " (published)"),
        series=part["name"].where(here, "published"),
        note=part["text"],
    )
    return Chart(
        performance.forest(frame, measure.name, [names[name] for name in order], one_each=True),
        part.drop(columns=["name", "text"]),
        f"{measure.name} with 95% intervals: " + listed(frame["row"], frame["note"]),
    )


def test_sets(results: Sequence[Result], names: Names) -> pd.DataFrame:
    """A row for each model, and a text column for each data set that any of them was tested on: its own first."""
    table = pd.DataFrame(
        {"Model": names[result.model], "column": column_of(result), "text": _in_words(result)} for result in results
    )
    wide = table.pivot_table(index="Model", columns="column", values="text", aggfunc="first", sort=False)
    order = sorted(table["column"].unique(), key=lambda column: "external" in column)
    return wide.reindex(table["Model"].unique())[order].fillna("not tested").rename_axis(columns=None).reset_index()


def column_of(one: Result) -> str:
    """The heading of a test set."""
    title = data_sets.title(one.dataset)
    return f"{title} ({'external' if one.external else 'internal'}, {one.images:,} images)"


def _in_words(one: Result) -> str:
    if np.isnan(one.score.value):
        return "not defined"
    change = "" if np.isnan(one.change.value) else f"; change {one.change.text('+.3f')}"
    return one.score.text() + change


def drop(results: Sequence[Result], title: str, order: Sequence[str], names: Names) -> Chart | None:
    """The drop of each model from its own test images to other data sets; None if none was tested on another."""
    tested = [result for result in results if not np.isnan(result.score.value)]
    outside = {one.model for one in tested if one.external}
    if not outside:
        return None
    frame = pd.DataFrame(
        {
            "series": names[one.model],
            "test_set": column_of(one),
            "external": one.external,
            "value": one.score.value,
            "low": one.score.low,
            "high": one.score.high,
            "change": one.change.value,
            "change_low": one.change.low,
            "change_high": one.change.high,
            "note": _in_words(one),
        }
        for one in tested
        if one.model in outside
    ).sort_values("external", kind="stable")
    return Chart(
        performance.across(frame, title, [names[name] for name in order]),
        frame.drop(columns="note"),
        f"{title}: " + listed(frame["series"] + " on " + frame["test_set"], frame["note"]),
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
    known = measures.named(shared.target)
    frame = pd.DataFrame(
        {
            "row": [known[score].name for score in table["score"]],
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


def tests(table: pd.DataFrame, target: Target, names: Names) -> pd.DataFrame:
    """A `pairs.pairwise` table as text; with Holm's columns if there are several pairs."""
    shown = pd.DataFrame(
        {
            "Pair": [f"{names[a]} and {names[b]}" for a, b in zip(table["first"], table["second"], strict=True)],
            "Only the first correct": table["only_first"],
            "Only the second correct": table["only_second"],
            "McNemar p": table["mcnemar_p"].map(p_value),
            "McNemar p, Holm": table["mcnemar_p_holm"].map(p_value),
            f"Difference in ROC AUC, {target.spoken}": [
                Interval(row["auc_difference"], row["auc_low"], row["auc_high"]).text("+.3f")
                for _, row in table.iterrows()
            ],
            "DeLong p": table["delong_p"].map(p_value),
            "DeLong p, Holm": table["delong_p_holm"].map(p_value),
        }
    )
    return shown if len(shown) > 1 else shown.drop(columns=["McNemar p, Holm", "DeLong p, Holm"])


def against_published(models: Iterable[Model | None], names: Names) -> pd.DataFrame:
    """How far each model is above or below published ones on the same images, as text, the best published one first.
    Empty if no card of these models has the comparison."""
    columns: dict[str, dict[tuple[str, str], str]] = {}
    values: dict[tuple[str, str], float] = {}
    for model in models:
        if not model or "published" not in model.card:
            continue
        rows = {(row["score"], row["model"]): row for row in model.card["published"]["rows"]}
        values |= {key: row["value"] for key, row in rows.items()}
        columns[f"{names[model.id]} minus published"] = {
            key: Interval(row["difference"], row["difference_low"], row["difference_high"]).text("+.3f")
            for key, row in rows.items()
        }
    order = sorted(values, key=lambda key: (list(MEASURES).index(key[0]), -values[key]))
    return pd.DataFrame(
        {
            "Published model": [model for _, model in order],
            "Score": [MEASURES[score].name for score, _ in order],
            "Its score": [f"{values[key]:.3f}" for key in order],
            **{name: [texts.get(key, "") for key in order] for name, texts in columns.items()},
        }
    )
