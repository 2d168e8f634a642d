"""Several models on the images that all of them have: scores with intervals, differences, and tests.

The page, the command line and the report say what is computed here, and nothing else. docs/comparing.md defines it.
"""

import hashlib
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skinapp.errors import DataError
from skinapp.evaluation import metrics
from skinapp.evaluation.metrics import Interval, Score
from skinapp.evaluation.predictions import FACTS, Predictions
from skinapp.inference import registry
from skinapp.labels.sets import MALIGNANCY, LabelSet

RESAMPLES = 2000
SEED = 0

CLASSES, MALIGNANT = "classes", "malignancy"
"""The two questions: which class, and malignant or not."""


@dataclass(frozen=True)
class Measure:
    """A score as readers see it: its name, its meaning, and whether more is better."""

    name: str
    meaning: str
    higher: bool = True


MEASURES = {
    "balanced_accuracy": Measure("Balanced accuracy", "The share of each class that is named rightly, averaged."),
    "accuracy": Measure("Accuracy", "The share of images whose most probable class is the label."),
    "macro_f1": Measure("Macro F1", "The harmonic mean of precision and recall of each class, averaged."),
    "macro_roc_auc": Measure("ROC AUC, classes", "Ranking of each class against the rest, averaged: 0.5 is chance."),
    "roc_auc_malignancy": Measure(
        "ROC AUC, malignant", "How well the malignant probability ranks malignant images above the others."
    ),
    "average_precision_malignancy": Measure(
        "Average precision, malignant", "Precision averaged over recall; chance is the share of malignant images."
    ),
    "sensitivity_malignancy": Measure(
        "Sensitivity", "The share of malignant images with a malignant probability of one half or more."
    ),
    "specificity_malignancy": Measure(
        "Specificity", "The share of other images with a malignant probability below one half."
    ),
    "expected_calibration_error": Measure(
        "Calibration error (ECE)", "The mean gap between confidence and share right, over 15 bins.", higher=False
    ),
    "brier": Measure("Brier score", "The squared distance of the probabilities from the truth: 0 to 2.", higher=False),
}
"""In the order shown."""


@dataclass(frozen=True)
class Shared:
    """What several models answered on the same images.

    `labels` are those of the question; `truth` [n] indexes them; `malignant` is boolean [n]; `groups` [n] are lesions
    or patients; by model id, `probabilities` [n, classes] and `malignancy` [n]; `facts` has one row an image.
    """

    question: str
    labels: LabelSet
    images: np.ndarray
    truth: np.ndarray
    malignant: np.ndarray
    groups: np.ndarray
    probabilities: dict[str, np.ndarray]
    malignancy: dict[str, np.ndarray]
    facts: pd.DataFrame
    digest: str

    @property
    def ids(self) -> list[str]:
        return list(self.probabilities)

    def correct(self, model_id: str) -> np.ndarray:
        """Boolean [n]: whether the most probable class is the label."""
        return self.probabilities[model_id].argmax(axis=1) == self.truth

    def weights(self, resamples: int = RESAMPLES) -> np.ndarray:
        """The draws [resamples, n] of whole groups that every interval here is from."""
        return metrics.bootstrap_weights(self.groups, resamples, SEED)


def questions(chosen: list[Predictions]) -> list[str]:
    """What these can be compared on: their classes where they share more than two, and malignant or not."""
    sets = {predictions.labels.id for predictions in chosen}
    return [CLASSES, MALIGNANT] if len(sets) == 1 and len(chosen[0].labels.codes) > 2 else [MALIGNANT]


def share(chosen: list[Predictions], question: str, dataset: str | None = None) -> Shared:
    """What `chosen` answered on the images that all of them have (of one data set, where it is named).

    DataError where there is no such image, where only one side of the question is among them, or where two files
    disagree on whether an image is malignant.
    """
    if question not in questions(chosen):
        sets = sorted({predictions.labels.id for predictions in chosen})
        raise DataError(f"Models of the label sets {' and '.join(sets)} can only be compared on malignant or not.")
    tables = [predictions.table for predictions in chosen]
    if dataset:
        tables = [table[table["dataset"] == dataset] for table in tables]
    images = tables[0].index
    for table in tables[1:]:
        images = images.intersection(table.index)
    names = " and ".join(predictions.title for predictions in chosen)
    if images.empty:
        raise DataError(f"{names} have no image in common, so they cannot be compared.")
    truths = [
        np.array([predictions.labels[code].malignant for code in table.loc[images, "label"]])
        for predictions, table in zip(chosen, tables, strict=True)
    ]
    for truth, predictions in zip(truths[1:], chosen[1:], strict=True):
        differing = images[truth != truths[0]]
        if len(differing):
            raise DataError(
                f"{chosen[0].title} and {predictions.title} disagree on whether {len(differing):,} of {len(images):,} "
                f"images are malignant, {differing[0]} among them; correct the labels."
            )
    if truths[0].all() or not truths[0].any():
        side = "malignant" if truths[0].all() else "benign"
        raise DataError(f"All {len(images):,} images that {names} share are {side}; scores need both sides.")
    first = chosen[0]
    labels = first.labels if question == CLASSES else MALIGNANCY
    probabilities, malignancy = {}, {}
    for predictions in chosen:
        rows = predictions.probabilities[predictions.table.index.get_indexer(images)]
        chance = rows[:, [label.malignant for label in predictions.labels.labels]].sum(axis=1)
        malignancy[predictions.id] = chance
        probabilities[predictions.id] = rows if question == CLASSES else np.stack([1 - chance, chance], axis=1)
    codes = {code: number for number, code in enumerate(labels.codes)}
    facts = pd.concat([table.loc[images, [c for c in FACTS if c in table]] for table in tables], axis=1)
    digest = hashlib.sha256("".join([question, dataset or "", *(p.id + p.digest for p in chosen)]).encode()).hexdigest()
    return Shared(
        question=question,
        labels=labels,
        images=images.to_numpy(),
        truth=tables[0].loc[images, "label"].map(codes).to_numpy() if question == CLASSES else truths[0].astype(int),
        malignant=truths[0],
        groups=tables[0].loc[images, "group"].to_numpy(),
        probabilities=probabilities,
        malignancy=malignancy,
        facts=facts.loc[:, ~facts.columns.duplicated()].reset_index(drop=True),
        digest=digest,
    )


def scores(labels: LabelSet) -> dict[str, Score]:
    """The scores of MEASURES that are defined for a label set, in that order."""
    malignant = np.array([label.malignant for label in labels.labels])

    def precision(truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return metrics.average_precision(malignant[truth], probabilities[:, malignant].sum(axis=1), weights)

    known = metrics.DIAGNOSIS_SCORES | metrics.malignancy_scores(tuple(malignant.tolist()))
    known["average_precision_malignancy"] = precision
    if len(labels.codes) == 2:
        # with two classes it is the area of malignancy once more
        del known["macro_roc_auc"]
    return {name: known[name] for name in MEASURES if name in known}


@dataclass(frozen=True)
class Draws:
    """By model id and score, [1 + RESAMPLES]: the plain value, then the value of each resample, the same for all."""

    by_model: dict[str, dict[str, np.ndarray]]

    def interval(self, model_id: str, score: str) -> Interval:
        return metrics.interval(self.by_model[model_id][score])

    def difference(self, first: str, second: str, score: str) -> Interval:
        """The first model's score minus the second's. Of the same resamples, so that what is hard for both cancels."""
        return metrics.interval(self.by_model[first][score] - self.by_model[second][score])


def draw(shared: Shared, weights: np.ndarray | None = None) -> Draws:
    """Every score of every model on every resample."""
    weights = shared.weights() if weights is None else weights
    chosen = scores(shared.labels)
    return Draws(
        {name: metrics.draws(chosen, shared.truth, rows, weights) for name, rows in shared.probabilities.items()}
    )


def calibration_error(shared: Shared, weights: np.ndarray, probabilities: np.ndarray) -> Interval:
    """Expected calibration error of other probabilities [n, classes] of the shared images, as before a temperature."""
    chosen: dict[str, Score] = {"ece": metrics.expected_calibration_error}
    return metrics.interval(metrics.draws(chosen, shared.truth, probabilities, weights)["ece"])


def leaderboard(shared: Shared, drawn: Draws) -> pd.DataFrame:
    """One row for each model and score: model, score, value, low, high."""
    rows: list[dict[str, Any]] = []
    for model_id, by_score in drawn.by_model.items():
        for score in by_score:
            found = drawn.interval(model_id, score)
            rows.append({"model": model_id, "score": score, "value": found.value, "low": found.low, "high": found.high})
    return pd.DataFrame(rows)


def published(question: str, dataset: str, root: Path | None = None) -> pd.DataFrame:
    """The rows of models/published.csv on a data set: model, score, value, low, high, images, protocol.

    Of the question of malignancy only the scores that do not depend on the classes. Empty where there is no such file.
    """
    columns = ["dataset", "model", "score", "value", "low", "high", "images", "protocol"]
    try:
        table = pd.read_csv((root or registry.default_root()) / "published.csv")[columns]
    except (OSError, KeyError, ValueError):
        table = pd.DataFrame(columns=columns)
    wanted = table["score"].isin(MEASURES) & (table["dataset"] == dataset)
    if question == MALIGNANT:
        wanted &= table["score"].str.endswith("_malignancy")
    return table[wanted].drop(columns="dataset").reset_index(drop=True)


def pairwise(shared: Shared) -> pd.DataFrame:
    """One row for each pair: first, second, only_first, only_second, mcnemar_p, delong_p, and by Holm's correction.

    `only_first` counts the images that the first alone names rightly. Also the areas' difference by DeLong with its
    interval: auc_difference, auc_low, auc_high.
    """
    rows: list[dict[str, Any]] = []
    for first, second in itertools.combinations(shared.ids, 2):
        one, other = shared.correct(first), shared.correct(second)
        area = metrics.delong(shared.malignant, shared.malignancy[first], shared.malignancy[second])
        rows.append(
            {
                "first": first,
                "second": second,
                "only_first": int((one & ~other).sum()),
                "only_second": int((other & ~one).sum()),
                "mcnemar_p": metrics.mcnemar(one, other),
                "auc_difference": area.difference.value,
                "auc_low": area.difference.low,
                "auc_high": area.difference.high,
                "delong_p": area.p_value,
            }
        )
    table = pd.DataFrame(rows)
    for test in ("mcnemar", "delong"):
        defined = table[f"{test}_p"].notna()
        table[f"{test}_p_holm"] = np.nan
        table.loc[defined, f"{test}_p_holm"] = metrics.holm(table.loc[defined, f"{test}_p"].to_numpy())
    return table


def paired(shared: Shared, drawn: Draws, first: str, second: str) -> pd.DataFrame:
    """One row for each score: score, first, second, difference (first minus second), low, high, verdict."""
    rows = []
    for score in drawn.by_model[first]:
        found = drawn.difference(first, second, score)
        rows.append(
            {
                "score": score,
                "first": drawn.by_model[first][score][0],
                "second": drawn.by_model[second][score][0],
                "difference": found.value,
                "low": found.low,
                "high": found.high,
                "verdict": verdict(found, MEASURES[score].higher),
            }
        )
    return pd.DataFrame(rows)


def verdict(difference: Interval, higher: bool) -> str:
    """first better, second better, or undecided where the interval includes zero."""
    if not (difference.low > 0 or difference.high < 0):
        return "undecided"
    return "first better" if (difference.low > 0) == higher else "second better"


@dataclass(frozen=True)
class Found:
    """How many images of one kind each of two models names rightly, and the difference with its interval, in images."""

    kind: str
    images: int
    first: int
    second: int
    difference: Interval


def found_by_both(shared: Shared, weights: np.ndarray, first: str, second: str, code: str) -> Found:
    """Of the images of class `code`: how many each model names rightly. Counts of a resample are scaled to `images`."""
    rows = shared.truth == shared.labels.codes.index(code)
    one, other = shared.correct(first) & rows, shared.correct(second) & rows
    total = int(rows.sum())
    with np.errstate(invalid="ignore"):
        spread = (weights @ (one.astype(float) - other)) / (weights @ rows) * total
    value = int(one.sum()) - int(other.sum())
    return Found(code, total, int(one.sum()), int(other.sum()), metrics.interval(np.r_[value, spread]))


def sentence(shared: Shared, weights: np.ndarray, first: str, second: str, names: dict[str, str]) -> str:
    """One plain sentence on which of two models finds more melanomas, or malignant lesions where the classes lack them.

    `names` gives the words for the two models.
    """
    code = next((label.code for label in shared.labels.labels if label.name == "Melanoma"), None)
    if code is None or not (shared.truth == shared.labels.codes.index(code)).any():
        code = next(label.code for label in shared.labels.labels if label.malignant)
    found = found_by_both(shared, weights, first, second, code)
    kind = {"Melanoma": "melanomas", "Malignant": "malignant lesions"}.get(
        shared.labels[code].name, f"images of {shared.labels[code].name.lower()}"
    )
    start = f"On these {len(shared.images):,} images {names[first]} finds "
    if found.difference.value == 0:
        middle = f"as many of the {found.images:,} {kind} as {names[second]} ({found.first:,})"
    else:
        word = "more" if found.difference.value > 0 else "fewer"
        middle = (
            f"{abs(found.difference.value):,.0f} {word} of the {found.images:,} {kind} than {names[second]} "
            f"({found.first:,} against {found.second:,})"
        )
    low, high = found.difference.low, found.difference.high
    zero = "includes" if low <= 0 <= high else "does not include"
    return f"{start}{middle}; the 95% interval of the difference, {low:+,.0f} to {high:+,.0f}, {zero} zero."


def summary(shared: Shared) -> dict[str, Any]:
    """Everything above as one object for JSON: question, images, groups, malignant, models and pairs. NaN is None."""
    weights = shared.weights()
    drawn = draw(shared, weights)
    names = {name: name for name in shared.ids}
    pairs = []
    for _, row in pairwise(shared).iterrows():
        first, second = row["first"], row["second"]
        pairs.append(
            {name: _plain(value) for name, value in row.items()}
            | {
                "sentence": sentence(shared, weights, first, second, names),
                "differences": {
                    line["score"]: {
                        "value": _plain(line["difference"]),
                        "low": _plain(line["low"]),
                        "high": _plain(line["high"]),
                        "verdict": line["verdict"],
                    }
                    for line in paired(shared, drawn, first, second).to_dict("records")
                },
            }
        )
    return {
        "question": shared.question,
        "images": len(shared.images),
        "groups": len(np.unique(shared.groups)),
        "malignant": int(shared.malignant.sum()),
        "resamples": RESAMPLES,
        "models": {
            name: {
                score: {key: _plain(value) for key, value in vars(drawn.interval(name, score)).items()}
                for score in by_score
            }
            for name, by_score in drawn.by_model.items()
        },
        "pairs": pairs,
    }


def _plain(value: Any) -> Any:
    """A NumPy number as Python's own; None for NaN, which JSON lacks."""
    plain = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(plain, float) and np.isnan(plain) else plain
