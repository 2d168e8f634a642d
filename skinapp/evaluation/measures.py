"""The scores of a comparison: what each means, the scores of every model with intervals, and published scores."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from skinapp.evaluation import bootstrap, metrics
from skinapp.evaluation.bootstrap import Area, Interval, Score
from skinapp.evaluation.comparison import MALIGNANT, Shared, Target
from skinapp.inference import registry


@dataclass(frozen=True)
class Measure:
    """A score as displayed: its name, its meaning, and whether higher is better."""

    name: str
    meaning: str
    higher: bool = True


MEASURES = {
    "roc_auc_target": Measure(
        "ROC AUC, {target}",
        "How often an image of {target} gets a higher probability of {target} than an image of something else; 0.5 "
        "is no better than guessing.",
    ),
    "average_precision_target": Measure(
        "Average precision, {target}", "Precision averaged over recall; chance is the share of images of {target}."
    ),
    "balanced_accuracy": Measure(
        "Balanced accuracy", "The share of each class's images that are classified correctly, averaged over classes."
    ),
    "accuracy": Measure("Accuracy", "The share of images whose most probable class is the label."),
    "macro_f1": Measure("Macro F1", "The harmonic mean of precision and recall of each class, averaged over classes."),
    "macro_roc_auc": Measure(
        "ROC AUC, classes", "How well each class is ranked against the rest, averaged over classes; 0.5 is chance."
    ),
    "roc_auc_malignancy": Measure(
        "ROC AUC, malignant", "How well the malignant probability ranks malignant images above the others."
    ),
    "average_precision_malignancy": Measure(
        "Average precision, malignant", "Precision averaged over recall; chance is the share of malignant images."
    ),
    "sensitivity_malignancy": Measure(
        "Sensitivity, malignant", "The share of malignant images with a malignant probability of at least 50%."
    ),
    "specificity_malignancy": Measure(
        "Specificity, malignant", "The share of the other images with a malignant probability below 50%."
    ),
    "expected_calibration_error": Measure(
        "Calibration error (ECE)", "The mean gap between confidence and accuracy, over 15 bins.", higher=False
    ),
    "brier": Measure("Brier score", "The squared distance of the probabilities from the truth: 0 to 2.", higher=False),
}
"""In display order. The first two are those of the target, unless the target is what counts as malignant."""


def named(target: Target) -> dict[str, Measure]:
    """MEASURES with the target's name filled in."""
    return {
        key: replace(
            measure,
            name=measure.name.format(target=target.spoken),
            meaning=measure.meaning.format(target=target.spoken),
        )
        for key, measure in MEASURES.items()
    }


def scores(shared: Shared) -> dict[str, Score]:
    """The scores of MEASURES that are defined for a comparison, in that order."""
    labels = shared.labels
    malignant = tuple(label.malignant for label in labels.labels)
    positive = tuple(code in shared.target.codes for code in labels.codes)
    known = metrics.DIAGNOSIS_SCORES | metrics.malignancy_scores(malignant)
    known["average_precision_malignancy"] = Area(malignant, metrics.average_precision)
    if positive != malignant:
        known["roc_auc_target"] = metrics.malignancy_scores(positive)["roc_auc_malignancy"]
        known["average_precision_target"] = Area(positive, metrics.average_precision)
    if len(labels.codes) == 2:
        # with two classes it is the same as the area for malignancy
        del known["macro_roc_auc"]
    return {name: known[name] for name in MEASURES if name in known}


@dataclass(frozen=True)
class Draws:
    """By model id and score, [1 + resamples]: the plain value, then that of each resample. Models share resamples."""

    shared: Shared
    by_model: dict[str, dict[str, np.ndarray]]

    def interval(self, model_id: str, score: str) -> Interval:
        return bootstrap.score_interval(
            scores(self.shared)[score], self.by_model[model_id][score], self.shared.truth, self.shared.groups
        )

    def difference(self, first: str, second: str, score: str) -> Interval:
        """The first model's score minus the second's, over the same resamples, so that hard images cancel out."""
        return bootstrap.difference(
            scores(self.shared)[score],
            self.by_model[first][score],
            self.by_model[second][score],
            self.shared.truth,
            self.shared.groups,
            self.shared.identical(first, second),
        )


def draw(shared: Shared, weights: np.ndarray | None = None) -> Draws:
    """Every score of every model on every resample."""
    weights = shared.weights() if weights is None else weights
    return Draws(shared, {name: of_model(shared, weights, name) for name in shared.ids})


def of_model(shared: Shared, weights: np.ndarray, model_id: str) -> dict[str, np.ndarray]:
    """Every score of one model on every resample: [1 + resamples] each, as in `Draws`."""
    return bootstrap.draws(scores(shared), shared.truth, shared.probabilities[model_id], weights)


def leaderboard(shared: Shared, draws: Draws) -> pd.DataFrame:
    """One row for each model and score: model, score, value, low, high."""
    return pd.DataFrame(
        {"model": model_id, "score": score} | vars(draws.interval(model_id, score))
        for model_id, by_score in draws.by_model.items()
        for score in by_score
    )


def published(question: str, dataset: str, root: Path | None = None) -> pd.DataFrame:
    """The rows of models/published.csv on a data set: model, score, value, low, high, images, protocol.

    For the question of malignancy, only scores that do not depend on the classes. Empty if there is no such file.
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
