"""Prediction sets with a coverage guarantee: for every class, a chosen share of its lesions gets a set that contains
the class.

`skinapp.evaluation.conformal` calibrates them; a model's card stores a threshold for each class and coverage. A class
is in the set if its probability reaches its threshold.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skinapp.errors import DataError, ModelError
from skinapp.inference.registry import Model

if TYPE_CHECKING:
    from skinapp.inference.runtime import Prediction

COVERAGES = (0.8, 0.9, 0.95, 0.99)
"""The coverages that thresholds are stored for."""
COVERAGE = 0.95
"""The default coverage of the prediction set."""


@dataclass(frozen=True)
class Conformal:
    """The thresholds of a model, calibrated on the images with the name `images`.

    For each class, in the model's order: `groups`, the lesions or patients that it was calibrated on, one image of
    each, and by coverage, one of COVERAGES, its `thresholds`; with a threshold of 0, the class is in every set.
    """

    images: str
    groups: tuple[int, ...]
    thresholds: Mapping[float, tuple[float, ...]]

    def at(self, coverage: float) -> tuple[float, ...]:
        """The thresholds for a coverage. DataError if there are none."""
        if coverage not in self.thresholds:
            stored = ", ".join(f"{threshold:g}" for threshold in self.thresholds)
            raise DataError(
                f"Prediction sets are stored for a coverage of {stored}, not {coverage:g}; use one of them."
            )
        return self.thresholds[coverage]

    def sets(self, probabilities: np.ndarray, coverage: float) -> np.ndarray:
        """Which classes are in the set of each row of probabilities [n, K]: bool [n, K].

        The most probable class is always included, so that no set is empty. DataError for a coverage that is not
        stored.
        """
        chosen = probabilities >= np.array(self.at(coverage))
        chosen[np.arange(len(chosen)), probabilities.argmax(axis=1)] = True
        return chosen


def of_model(model: Model) -> Conformal | None:
    """The thresholds in a model's card; None if it has none."""
    stored = model.card.get("conformal")
    if stored is None:
        return None
    classes = [stored["classes"][code] for code in model.labels.codes]
    return Conformal(
        stored["images"],
        tuple(one["groups"] for one in classes),
        {
            coverage: tuple(one["thresholds"][index] for one in classes)
            for index, coverage in enumerate(stored["coverages"])
        },
    )


def stored(model: Model) -> tuple[float, ...]:
    """The coverages for which the model has prediction sets. ModelError if it has none."""
    return tuple(_of(model).thresholds)


def check(model: Model, coverage: float) -> Conformal:
    """The model's thresholds. ModelError if it has no prediction sets, DataError for a coverage that is not stored."""
    conformal = _of(model)
    conformal.at(coverage)
    return conformal


def prediction_set(prediction: "Prediction", coverage: float) -> tuple[str, ...]:
    """The codes of the classes in an answer's set, most probable first. Errors as for `check`."""
    chosen = check(prediction.model, coverage).sets(prediction.probabilities[np.newaxis], coverage)[0]
    order = np.argsort(-prediction.probabilities, kind="stable")
    return tuple(prediction.model.labels.codes[index] for index in order if chosen[index])


def in_words(prediction: "Prediction", coverage: float) -> str:
    """An answer's prediction set as a sentence. Errors as for `check`."""
    labels, codes = prediction.model.labels, prediction_set(prediction, coverage)
    names = ", ".join(labels[code].spoken for code in codes)
    if len(codes) == len(labels.codes):
        return f"With {coverage:.0%} certainty: any of the {len(codes)} classes. The model cannot tell."
    reached = prediction.probabilities >= np.array(check(prediction.model, coverage).at(coverage))
    if not reached.any():
        return (
            f"No class is likely enough to be included with {coverage:.0%} certainty, so the model cannot tell. The "
            f"closest is {names}."
        )
    return f"With {coverage:.0%} certainty{', one of' if len(codes) > 1 else ''}: {names}."


def _of(model: Model) -> Conformal:
    conformal = of_model(model)
    if conformal is None:
        raise ModelError(
            f"The model '{model.id}' has no prediction sets, because it was not calibrated for them; leave out the "
            "coverage, or use another model."
        )
    return conformal
