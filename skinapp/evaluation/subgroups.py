"""A model's scores on its test images, in each cell of the people and lesions that they are of."""

import io
from dataclasses import dataclass

import numpy as np
import pandas as pd

from skinapp.datasets.registry import DATASETS
from skinapp.demographics.records import NOT_STATED, Table, shipped, tidy
from skinapp.demographics.statistics import Z, wilson
from skinapp.errors import DataError, SkinappError
from skinapp.inference.registry import Model, verified_bytes
from skinapp.labels.sets import LABEL_SETS, MALIGNANCY

MEASURES = {"sensitivity": "Sensitivity", "specificity": "Specificity", "calibration": "Calibration"}
"""Of the question malignant or not. Calibration is the mean malignant probability minus the share that is malignant: 0
is best, and above 0 the model expects more than there are."""

THRESHOLD = 0.5
"""The malignant probability from which an image counts as called malignant."""

AGE_BANDS = ((0, 29), (30, 44), (45, 59), (60, 74), (75, 120))
"""Wide, since test sets are small: first and last year of each."""


@dataclass(frozen=True)
class Found:
    """Of `images` test images of a class, from `lesions` lesions, the share (0-1) that a model named rightly, with its
    95% interval."""

    images: int
    lesions: int
    share: float
    low: float
    high: float


def predictions(model: Model, dataset: str) -> Table:
    """A model's test images of one data set: a table as in `demographics`, one row an image, with the columns
    `probability` (of malignancy, 0-1), `truth` (malignant), and `named`, the most probable class.

    Images of the malignant/benign set get what is known of them from the shipped table. The frame is empty where the
    model was not tested on that data set. DataError where the predictions cannot be read.
    """
    try:
        raw = _rows(model, model.card["files"]["predictions.csv"]["sha256"])
        raw = raw[raw["dataset"] == dataset].reset_index(drop=True)
        probabilities = raw[[f"p_{code}" for code in model.labels.codes]].to_numpy(dtype=float)
        raw = raw.rename(columns={"group": "lesion", "label": "diagnosis"}).drop(columns="dataset")
    except (ValueError, KeyError) as error:
        raise DataError(f"The predictions of the model '{model.id}' cannot be read ({error}).") from None
    if dataset == "malignant_benign":
        known = shipped(dataset).frame[["image", "sex", "age", "site", "confirmation"]].astype({"image": object})
        raw = raw.drop(columns=["sex", "age", "site", "confirmation"]).merge(known, on="image", how="left")
    chosen = np.array([label.malignant for label in model.labels.labels])
    known_malignant = {label.code: label.malignant for labels in LABEL_SETS.values() for label in labels.labels}
    codes = np.array(model.labels.codes)
    raw = raw.assign(
        probability=probabilities[:, chosen].sum(axis=1),
        truth=raw["diagnosis"].map(known_malignant).astype(bool),
        named=codes[probabilities.argmax(axis=1)] if len(raw) else [],
    )
    labels = MALIGNANCY if set(raw["diagnosis"]) <= set(MALIGNANCY.codes) else DATASETS[dataset].labels
    return Table(dataset, DATASETS[dataset].title, tidy(raw, labels), labels)


def tested_on(model: Model) -> set[str]:
    """The data sets that a model was tested on; none where its predictions cannot be read."""
    try:
        return set(_rows(model, model.card["files"]["predictions.csv"]["sha256"])["dataset"])
    except (SkinappError, ValueError, KeyError):
        return set()


def age_band(age: pd.Series) -> pd.Series:
    """Ages in years -> the wide bands as ordered categories; not stated stays so."""
    edges = [first for first, _ in AGE_BANDS] + [AGE_BANDS[-1][1] + 1]
    names = [f"{first} to {last}" if last < 120 else f"{first} and over" for first, last in AGE_BANDS]
    return pd.cut(age, edges, right=False, labels=names)


def cells(frame: pd.DataFrame, by: str, widest: float) -> pd.DataFrame:
    """A row for all of a `predictions` frame and one for each value of the column `by`: `cell`, `images`, `lesions`,
    `malignant` images, and of each of MEASURES its value, `_low`, `_high` and `_told`.

    Intervals are of 95%: Wilson's for sensitivity and specificity, the normal one for calibration, all with the number
    of lesions as the number of cases, since images of one lesion are not independent. A measure is told where its
    interval is no wider than `widest`; it is NaN where no image asks the question.
    """
    column = age_band(frame["age"]) if by == "age" else frame[by]
    groups = [("All", np.ones(len(frame), dtype=bool))]
    groups += [(str(value), (column == value).to_numpy()) for value in column.cat.categories]
    groups += [(NOT_STATED, column.isna().to_numpy())]
    rows = [_cell(name, frame[rows], widest) for name, rows in groups if rows.any()]
    return pd.DataFrame(rows)


_kept: dict[str, pd.DataFrame] = {}


def _rows(model: Model, sha256: str) -> pd.DataFrame:
    """The published rows, kept by their hash: many pages ask for the same few files."""
    if sha256 not in _kept:
        _kept[sha256] = pd.read_csv(io.BytesIO(verified_bytes(model, "predictions.csv")))
    return _kept[sha256]


def _cell(name: str, frame: pd.DataFrame, widest: float) -> dict[str, object]:
    truth, called = frame["truth"].to_numpy(), frame["probability"].to_numpy() >= THRESHOLD
    lesion = frame["lesion"].to_numpy()
    cell: dict[str, object] = {
        "cell": name,
        "images": len(frame),
        "lesions": len(np.unique(lesion)),
        "malignant": int(truth.sum()),
    }
    for measure, mine, right in (("sensitivity", truth, called), ("specificity", ~truth, ~called)):
        lesions = len(np.unique(lesion[mine]))
        share = float(right[mine].mean()) if lesions else float("nan")
        cell |= _told(measure, share, *wilson(share * lesions, lesions), widest)
    gap = frame["probability"].to_numpy() - truth
    lesions = len(np.unique(lesion))
    spread = float(gap.std(ddof=1)) if len(gap) > 1 else float("nan")
    margin = Z * spread / np.sqrt(lesions)
    return cell | _told(
        "calibration", float(gap.mean()), float(gap.mean()) - margin, float(gap.mean()) + margin, widest
    )


def _told(measure: str, value: float, low: float, high: float, widest: float) -> dict[str, object]:
    told = bool(high - low <= widest)
    return {measure: value, f"{measure}_low": low, f"{measure}_high": high, f"{measure}_told": told}


def found(frame: pd.DataFrame, code: str) -> Found | None:
    """How often a class was named rightly among its test images in a `predictions` frame; None without any."""
    mine = frame[frame["diagnosis"] == code]
    if mine.empty:
        return None
    lesions = int(mine["lesion"].nunique())
    share = float((mine["named"] == code).mean())
    return Found(len(mine), lesions, share, *wilson(share * lesions, lesions))
