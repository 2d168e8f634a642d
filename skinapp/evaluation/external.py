"""One score of a model on every data set that it was tested on, and its drop outside the data that it was trained
on."""

from dataclasses import dataclass

import numpy as np

from skinapp.datasets.registry import whole
from skinapp.errors import DataError
from skinapp.evaluation import bootstrap, comparison, measures
from skinapp.evaluation.bootstrap import Interval
from skinapp.evaluation.comparison import CLASSES, MALIGNANT
from skinapp.evaluation.predictions import Predictions


@dataclass(frozen=True)
class Result:
    """A model's score on the test images of one data set. `external` sets gave no training images; for them `change` is
    the score minus that on the first internal set. Without the target among the images, the values are NaN."""

    model: str
    dataset: str
    external: bool
    images: int
    groups: int
    score: Interval
    change: Interval


UNKNOWN = Interval(np.nan, np.nan, np.nan)


def results(predictions: Predictions, score: str, target_id: str, resamples: int = bootstrap.RESAMPLES) -> list[Result]:
    """A score of `measures.scores` on every test set of a model, its own first. Changes compare different images, so
    the resamples of each set are drawn on their own."""
    every: list[Result] = []
    internal: np.ndarray | None = None
    for number, dataset in enumerate(predictions.datasets):
        external = is_external(predictions, dataset)
        rows = predictions.rows_of(dataset)
        drawn = _draws(predictions, dataset, score, target_id, resamples, number)
        groups = bootstrap.count(rows["group"].to_numpy())
        measured, change = UNKNOWN, UNKNOWN
        if drawn is not None:
            values, measured = drawn
            if external and internal is not None:
                fewest = min(groups, *(one.groups for one in every[:1]))
                # a change from or to a score without an interval has none either
                both = measured.exists and every[0].score.exists
                change = bootstrap.interval(values - internal, fewest if both else 0)
            elif internal is None and not external:
                internal = values
        every.append(Result(predictions.id, dataset, external, len(rows), groups, measured, change))
    return every


def is_external(predictions: Predictions, dataset: str) -> bool:
    """Whether a model was tested on a data set that gave none of its training images."""
    if dataset not in predictions.further:
        return False
    known = whole(dataset)
    if known is None or predictions.model is None:
        return True
    return known.name not in predictions.model.card["training"]["dataset"]


def _draws(
    predictions: Predictions, dataset: str, score: str, target_id: str, resamples: int, seed: int
) -> tuple[np.ndarray, Interval] | None:
    """The plain score and that of each resample, [1 + resamples], and its interval; None if it is not defined on these
    images."""
    question = CLASSES if CLASSES in comparison.questions([predictions]) else MALIGNANT
    target = comparison.targets(predictions.labels, dataset).get(target_id)
    try:
        shared = comparison.share([predictions], question, dataset, target)
    except DataError:
        return None
    if score not in measures.scores(shared):
        return None
    weights = bootstrap.weights(shared.groups, resamples, seed)
    function = measures.scores(shared)[score]
    values = bootstrap.draws({score: function}, shared.truth, shared.probabilities[predictions.id], weights)[score]
    return values, bootstrap.score_interval(function, values, shared.truth, shared.groups)
