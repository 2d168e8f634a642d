"""The errors of models, by class and by image. For subgroups of people see `subgroups`."""

from typing import Any

import numpy as np
import pandas as pd

from skinapp.evaluation import bootstrap, metrics
from skinapp.evaluation.comparison import Shared


def confusion(shared: Shared, model_id: str) -> pd.DataFrame:
    """One row for each pair of classes: label, predicted, images, share (of the label's images; NaN without one)."""
    classes = len(shared.labels.codes)
    predicted = shared.probabilities[model_id].argmax(axis=1)
    counts = np.bincount(shared.truth * classes + predicted, minlength=classes**2).reshape(classes, classes)
    with np.errstate(invalid="ignore"):
        shares = counts / counts.sum(axis=1, keepdims=True)
    codes = shared.labels.codes
    return pd.DataFrame(
        {
            "label": np.repeat(codes, classes),
            "predicted": np.tile(codes, classes),
            "images": counts.ravel(),
            "share": shares.ravel(),
        }
    )


def error_rates(shared: Shared, weights: np.ndarray) -> pd.DataFrame:
    """The share of each class's images that a model misclassifies: model, label, images, value, low, high."""
    rows: list[dict[str, Any]] = []
    for model_id, probabilities in shared.probabilities.items():
        plain = metrics.class_recalls(shared.truth, probabilities, np.ones((1, len(shared.truth))))
        resampled = np.concatenate([plain, metrics.class_recalls(shared.truth, probabilities, weights)])
        for number, code in enumerate(shared.labels.codes):
            of_class = shared.truth == number
            if of_class.any():
                groups = bootstrap.count(shared.groups, of_class)
                interval = bootstrap.interval(1 - resampled[:, number], groups, proportion=True)
                rows.append({"model": model_id, "label": code, "images": int(of_class.sum())} | vars(interval))
    return pd.DataFrame(rows)


def disagreements(shared: Shared, first: str, second: str) -> pd.DataFrame:
    """The images that only one of two models classifies correctly, the most confident errors first.

    image, label, correct (the model that is), first and second (the class each predicts), confidence (of the error).
    """
    one, other = shared.correct(first), shared.correct(second)
    table = pd.DataFrame(
        {
            "image": shared.images,
            "label": [shared.labels.codes[number] for number in shared.truth],
            "correct": np.where(one, first, second),
            "first": [shared.labels.codes[number] for number in shared.probabilities[first].argmax(axis=1)],
            "second": [shared.labels.codes[number] for number in shared.probabilities[second].argmax(axis=1)],
            "confidence": np.where(
                one, shared.probabilities[second].max(axis=1), shared.probabilities[first].max(axis=1)
            ),
        }
    )
    return table[one != other].sort_values("confidence", ascending=False, kind="stable", ignore_index=True)


def errors(shared: Shared, model_id: str) -> pd.DataFrame:
    """The images a model misclassifies, the most confident errors first: the columns of `listed`."""
    return listed(shared, model_id, ~shared.correct(model_id))


def in_cell(shared: Shared, model_id: str, label: str, predicted: str) -> pd.DataFrame:
    """The images in one cell of the confusion matrix, the most confident answers first: the columns of `listed`."""
    codes = shared.labels.codes
    most_likely = shared.probabilities[model_id].argmax(axis=1)
    rows = (shared.truth == codes.index(label)) & (most_likely == codes.index(predicted))
    return listed(shared, model_id, rows)


def in_outcome(shared: Shared, model_id: str, threshold: float, positive: bool, flagged: bool) -> pd.DataFrame:
    """The images of the target, or the others, that a model flags at a threshold, or does not: the columns of
    `listed`."""
    rows = (shared.positive == positive) & ((shared.probability(model_id) >= threshold) == flagged)
    return listed(shared, model_id, rows)


def listed(shared: Shared, model_id: str, rows: np.ndarray) -> pd.DataFrame:
    """Some images, boolean [n], the most confident answers first: image, label, predicted (the most likely class),
    confidence (its probability) and probability (of the target)."""
    probabilities = shared.probabilities[model_id]
    table = pd.DataFrame(
        {
            "image": shared.images,
            "label": [shared.labels.codes[number] for number in shared.truth],
            "predicted": [shared.labels.codes[number] for number in probabilities.argmax(axis=1)],
            "confidence": probabilities.max(axis=1),
            "probability": shared.probability(model_id),
        }
    )
    return table[rows].sort_values("confidence", ascending=False, kind="stable", ignore_index=True)
