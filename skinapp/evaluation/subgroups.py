"""How well models do in subgroups of their test images, such as an age band, a sex or a site.

One set of age bands and one kind of interval, that of `bootstrap`, for a comparison of models (`by_subgroup`), for one
model in a selection of a data set (`cells`), and for one diagnosis (`recall`).
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from skinapp.datasets.registry import DATASETS, title, whole
from skinapp.demographics.records import CONFIRMATIONS, NOT_STATED, Table, by_image, shipped, tidy
from skinapp.errors import DataError
from skinapp.evaluation import bootstrap
from skinapp.evaluation.bootstrap import Interval
from skinapp.evaluation.comparison import Shared
from skinapp.evaluation.measures import scores
from skinapp.evaluation.predictions import of_model
from skinapp.inference.registry import Model
from skinapp.labels.sets import LABEL_SETS

MEASURES = {"sensitivity": "Sensitivity", "specificity": "Specificity", "calibration": "Calibration"}
"""For malignant or benign. Calibration is the mean malignant probability minus the share that is malignant: 0 is best,
and above 0 the model expects more malignant images than there are."""

THRESHOLD = 0.5
"""The malignant probability at which an image is called malignant."""

AGE_BANDS = ((0, 29), (30, 44), (45, 59), (60, 74), (75, 120))
"""The first and last year of each band. They are wide, since test sets are small."""


@dataclass(frozen=True)
class Recall:
    """The `share` (0-1) of a class's test images that a model classifies correctly, of `images` images of `lesions`
    lesions."""

    images: int
    lesions: int
    share: Interval


def predictions(model: Model, dataset: str) -> Table:
    """A model's test images of one data set: a table as in `demographics`, one row per image, with the columns
    `probability` (of malignancy, 0-1), `truth` (malignant), and `predicted`, the most probable class.

    Images of the malignant/benign set get their metadata from the shipped table. The frame is empty if the model was
    not tested on that data set. DataError if the predictions cannot be read.
    """
    everything = of_model(model)
    raw = everything.table.reset_index()
    raw = raw[raw.get("dataset", pd.Series("", raw.index)) == dataset].reset_index(drop=True)
    probabilities = raw[everything.columns].to_numpy(dtype=float)
    raw = raw.rename(columns={"group": "lesion", "label": "diagnosis"}).drop(columns="dataset", errors="ignore")
    if dataset == "malignant_benign":
        known = by_image(shipped(dataset).frame)[["image", "sex", "age", "site", "confirmation"]].astype(
            {"image": object}
        )
        raw = raw.drop(columns=["sex", "age", "site", "confirmation"], errors="ignore").merge(
            known, on="image", how="left"
        )
    chosen = np.array([label.malignant for label in model.labels.labels])
    sets = [*LABEL_SETS.values(), model.labels]
    known_malignant = {label.code: label.malignant for labels in sets for label in labels.labels}
    codes = np.array(model.labels.codes)
    raw = raw.assign(
        probability=probabilities[:, chosen].sum(axis=1),
        truth=raw["diagnosis"].map(known_malignant).astype(bool),
        predicted=codes[probabilities.argmax(axis=1)] if len(raw) else [],
    )
    # images of one data set may be labelled with the classes of another
    published = whole(dataset)
    labels = published.labels if published and not set(raw["diagnosis"]) <= set(model.labels.codes) else model.labels
    return Table(dataset, title(dataset), tidy(raw, labels), labels)


def tested_on(model: Model) -> set[str]:
    """The data sets that a model was tested on; none if its predictions cannot be read."""
    try:
        return set(of_model(model).datasets)
    except DataError:
        return set()


def age_band(age: pd.Series) -> pd.Series:
    """Ages in years -> AGE_BANDS as ordered categories; ages that are not stated stay missing."""
    edges = [first for first, _ in AGE_BANDS] + [AGE_BANDS[-1][1] + 1]
    names = [f"{first} to {last}" if last < 120 else f"{first} and over" for first, last in AGE_BANDS]
    return pd.cut(age, edges, right=False, labels=names)


def cells(frame: pd.DataFrame, by: str, max_width: float) -> pd.DataFrame:
    """A row for all of a `predictions` frame and one for each value of the column `by`: `cell`, `images`, `lesions`,
    `malignant` images, and for each of MEASURES its value, `_low`, `_high` and `_shown`.

    A measure is shown if its interval is no wider than `max_width`; it is NaN if it has no images.
    """
    column = age_band(frame["age"]) if by == "age" else frame[by]
    groups = [("All", np.ones(len(frame), dtype=bool))]
    groups += [(str(value), (column == value).to_numpy()) for value in column.cat.categories]
    groups += [(NOT_STATED, column.isna().to_numpy())]
    weights = _weights(frame["lesion"].to_numpy(np.int64).tobytes())
    rows = [_cell(name, frame[chosen], weights[:, chosen], max_width) for name, chosen in groups if chosen.any()]
    return pd.DataFrame(rows)


@functools.lru_cache(maxsize=2)
def _weights(lesions: bytes) -> np.ndarray:
    """The resamples for int64 lesions, cached because every setting on the page needs the same ones."""
    return bootstrap.weights(np.frombuffer(lesions, np.int64))


def _cell(name: str, frame: pd.DataFrame, weights: np.ndarray, max_width: float) -> dict[str, object]:
    truth, called = frame["truth"].to_numpy(), frame["probability"].to_numpy() >= THRESHOLD
    lesions = frame["lesion"].to_numpy()
    cell: dict[str, object] = {
        "cell": name,
        "images": len(frame),
        "lesions": bootstrap.count(lesions),
        "malignant": int(truth.sum()),
    }
    gap = frame["probability"].to_numpy() - truth
    for measure, values, rows in (
        ("sensitivity", called, truth),
        ("specificity", ~called, ~truth),
        ("calibration", gap, np.ones(len(frame), dtype=bool)),
    ):
        interval = bootstrap.mean(values, rows, lesions, weights, proportion=measure != "calibration")
        cell |= {
            measure: interval.value,
            f"{measure}_low": interval.low,
            f"{measure}_high": interval.high,
            f"{measure}_shown": bool(interval.high - interval.low <= max_width),
        }
    return cell


def recall(frame: pd.DataFrame, code: str) -> Recall | None:
    """How often a class is predicted for its own test images in a `predictions` frame; None if it has none."""
    rows = (frame["diagnosis"] == code).to_numpy()
    if not rows.any():
        return None
    lesions = frame["lesion"].to_numpy()
    correct = (frame["predicted"] == code).to_numpy()
    weights = _weights(lesions.astype(np.int64).tobytes())
    share = bootstrap.mean(correct, rows, lesions, weights, proportion=True)
    return Recall(int(rows.sum()), bootstrap.count(lesions, rows), share)


SUBGROUPS = {
    "sex": "Sex",
    "age": "Age",
    "site": "Site",
    "confirmation": "How the diagnosis was confirmed",
    "fitzpatrick": "Fitzpatrick skin type",
    "skin_tone": "Skin tone",
    "dataset": "Data set",
}
SKIN_TONES = {0: "0, very dark", 5: "5, very light"}
"""Descriptions of the ends of MILK10k's scale."""
FEW_IMAGES, FEW_ON_A_SIDE = 30, 10
"""A subgroup with fewer images than this, or fewer on a side that the score needs, has no score."""

SENSITIVITY, SPECIFICITY = "sensitivity_at_threshold", "specificity_at_threshold"
AT_THRESHOLD = {SENSITIVITY: "Sensitivity at the threshold", SPECIFICITY: "Specificity at the threshold"}
"""Scores of subgroups that need the models' thresholds."""


def columns(facts: pd.DataFrame) -> list[str]:
    """The columns of SUBGROUPS with at least two known values among these images."""
    return [name for name in SUBGROUPS if name in facts and values(facts, name).nunique() >= 2]


def with_skin(shared: Shared) -> pd.DataFrame:
    """The facts about the shared images: their `facts` and, if the publisher of their data set states them for each
    image, skin type or tone."""
    facts = shared.facts
    for dataset in facts.get("dataset", pd.Series(dtype=str)).dropna().unique():
        published = _skin(source.id) if (source := whole(dataset)) else pd.DataFrame()
        for column in published:
            known = pd.Series(published[column].reindex(shared.images).to_numpy(), facts.index)
            facts = facts.assign(**{str(column): facts[column].fillna(known) if column in facts else known})
    return facts


@functools.lru_cache(maxsize=8)
def _skin(dataset: str) -> pd.DataFrame:
    """Fitzpatrick type and skin tone by image id, as far as they are published. The result must not be modified."""
    ours = {"skin_type": "fitzpatrick", "skin_tone": "skin_tone"}
    if not set(ours) & set(DATASETS[dataset].columns):
        return pd.DataFrame()
    table = by_image(shipped(dataset).frame)
    # MILK10k's ids begin with the kind of image
    images = table["image"].astype(str).str.rsplit("/", n=1).str[-1]
    return table.set_index(images)[[name for name in ours if name in table]].rename(columns=ours).astype(object)


def values(facts: pd.DataFrame, name: str) -> pd.Series:
    """Each image's value of a column of SUBGROUPS as a category, age as a band; missing if it is not known."""
    column = facts[name]
    if name == "age":
        return age_band(pd.to_numeric(column, errors="coerce"))
    if name in ("fitzpatrick", "skin_tone"):
        words = SKIN_TONES if name == "skin_tone" else {}
        numbers = pd.to_numeric(column, errors="coerce")
        column = numbers.map(lambda number: words.get(number, f"{number:.0f}"), na_action="ignore")
    if name == "confirmation":
        column = column.replace(CONFIRMATIONS)
    return column.where(column.notna() & ~column.isin(["", "unknown"])).astype("category")


def by_subgroup(
    shared: Shared,
    weights: np.ndarray,
    of_images: pd.Series,
    score: str,
    models: list[str],
    thresholds: Mapping[str, float],
) -> pd.DataFrame:
    """A score of some models in each subgroup: model, subgroup, images, positive (images of the target), value, low,
    high.

    `of_images` has each image's subgroup, see `values`; the score is one of `measures.scores` or, at the models'
    `thresholds`, of AT_THRESHOLD. The last three columns are NaN if a subgroup is too small (FEW_IMAGES, FEW_ON_A_SIDE)
    or the score has no interval in it.
    """
    two_sided = "roc_auc" in score or score.startswith(("balanced", "average", "macro"))
    malignant = np.array([label.malignant for label in shared.labels.labels])[shared.truth]
    rows: list[dict[str, Any]] = []
    for value in of_images.cat.remove_unused_categories().cat.categories:
        chosen = (of_images == value).to_numpy()
        images, positive = int(chosen.sum()), int(shared.positive[chosen].sum())
        # the scores of malignancy are not about the target
        found = int(malignant[chosen].sum()) if score.endswith("_malignancy") else positive
        needed = dict.fromkeys((SENSITIVITY, "sensitivity_malignancy"), found)
        needed |= dict.fromkeys((SPECIFICITY, "specificity_malignancy"), images - found)
        smaller_side = min(found, images - found) if two_sided else needed.get(score, images)
        enough = images >= FEW_IMAGES and smaller_side >= FEW_ON_A_SIDE
        for model_id in models:
            interval = Interval(np.nan, np.nan, np.nan)
            if enough:
                function = _function(shared, score, thresholds.get(model_id, THRESHOLD))
                part_weights = np.asfortranarray(weights[:, chosen])
                part_weights = part_weights[part_weights.sum(axis=1) > 0]
                truth, part = shared.truth[chosen], shared.probabilities[model_id][chosen]
                score_draws = bootstrap.draws({score: function}, truth, part, part_weights)[score]
                scored = bootstrap.score_interval(function, score_draws, truth, shared.groups[chosen])
                interval = scored if scored.exists else interval
            rows.append({"model": model_id, "subgroup": value, "images": images, "positive": positive} | vars(interval))
    return pd.DataFrame(rows)


def _function(shared: Shared, score: str, threshold: float) -> bootstrap.Score:
    """The function of a score, with a model's threshold on the probability of the target."""
    if score not in AT_THRESHOLD:
        return scores(shared)[score]
    classes = [shared.labels.codes.index(code) for code in shared.target.codes]
    wanted = score == SENSITIVITY
    return bootstrap.Proportion(
        eligible=lambda labels: np.isin(labels, classes) == wanted,
        correct=lambda _, probabilities: (probabilities[:, classes].sum(axis=1) >= threshold) == wanted,
    )


@dataclass(frozen=True)
class Gap:
    """The largest difference between two subgroups of one model, best minus worst."""

    model: str
    best: str
    worst: str
    difference: float
    overlap: bool


def largest_gap(table: pd.DataFrame, higher: bool = True) -> Gap | None:
    """The largest gap in a `by_subgroup` table, and whether its intervals overlap; None without two subgroups."""
    gaps = []
    for model_id, rows in table.dropna(subset=["value"]).groupby("model", sort=False):
        if len(rows) > 1:
            ordered = rows.sort_values("value", ascending=not higher)
            best, worst = ordered.iloc[0], ordered.iloc[-1]
            overlap = bool(best["low"] <= worst["high"] and worst["low"] <= best["high"])
            gap = abs(float(best["value"] - worst["value"]))
            gaps.append(Gap(str(model_id), best["subgroup"], worst["subgroup"], gap, overlap))
    return max(gaps, key=lambda gap: gap.difference, default=None)
