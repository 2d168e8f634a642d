"""Sentences on prediction sets."""

import dataclasses

import numpy as np
import pytest

from skinapp.inference import registry
from skinapp.inference.conformal import COVERAGES, in_words, prediction_set
from skinapp.inference.registry import Model
from skinapp.inference.runtime import Prediction


@pytest.fixture(scope="module")
def model() -> Model:
    """A model with custom thresholds: 0.3 for melanoma, 0.4 for nevi, 0.2 for the others."""
    shipped = registry.ranked()[0]
    levels = dict.fromkeys(shipped.labels.codes, 0.2) | {"mel": 0.3, "nv": 0.4}
    classes = {code: {"groups": 50, "thresholds": [level] * len(COVERAGES)} for code, level in levels.items()}
    sets = {"images": "made up", "coverages": list(COVERAGES), "classes": classes}
    return dataclasses.replace(shipped, card=shipped.card | {"conformal": sets})


def answer(model: Model, **probabilities: float) -> Prediction:
    rest = (1 - sum(probabilities.values())) / (len(model.labels.codes) - len(probabilities))
    each = np.array([probabilities.get(code, rest) for code in model.labels.codes])
    empty = np.zeros(1, np.float32)
    return Prediction(model, empty, each, None, empty, empty)


def test_a_set_in_words(model: Model) -> None:
    both = answer(model, mel=0.5, nv=0.45)
    assert prediction_set(both, 0.95) == ("mel", "nv")
    assert in_words(both, 0.95) == "With 95% certainty, one of: melanoma, mole (melanocytic nevus)."
    assert in_words(answer(model, mel=0.9), 0.8) == "With 80% certainty: melanoma."


def test_a_set_of_every_class_says_that_the_model_cannot_tell(model: Model) -> None:
    classes = {code: {"groups": 3, "thresholds": [0.0] * len(COVERAGES)} for code in model.labels.codes}
    sets = model.card["conformal"] | {"classes": classes}
    open_to_all = dataclasses.replace(model, card=model.card | {"conformal": sets})
    assert in_words(answer(open_to_all, mel=0.9), 0.99) == (
        "With 99% certainty: any of the 7 classes. The model cannot tell."
    )


def test_an_answer_below_every_threshold_says_that_the_model_cannot_tell(model: Model) -> None:
    # the set is never empty, but its class is not reliable
    uncertain = answer(model, mel=0.25, nv=0.24)
    assert prediction_set(uncertain, 0.95) == ("mel",)
    assert in_words(uncertain, 0.95) == (
        "No class is likely enough to be included with 95% certainty, so the model cannot tell. The closest is "
        "melanoma."
    )
