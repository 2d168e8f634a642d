"""The complete analysis of one image, computed once: its square, its quality, its kind, and a model's prediction.

The app's panels, the attention page and the command line take an `Analysis`, never its parts.
"""

import functools
import time
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from PIL import Image

from skinapp.formatting import percent
from skinapp.images import imaging, quality
from skinapp.images.imaging import CENTRE, Crop
from skinapp.images.quality import Quality
from skinapp.images.removal import KINDS, Removed, by_default
from skinapp.inference import events, runtime
from skinapp.inference.metadata import Metadata
from skinapp.inference.modality import Recognised
from skinapp.inference.registry import Model
from skinapp.inference.runtime import Prediction
from skinapp.labels import sets
from skinapp.labels.sets import HAM10000, MILK10K, PAD_UFES_20, Kind, Label

SQUARE_SIDE = 512
"""Side of the displayed square, in pixels; the network has a different input size."""

DIAGNOSES = {"dermoscopy": HAM10000, "smartphone": PAD_UFES_20, "dermoscopy and close-up": MILK10K}
"""By modality, the label set that says which diagnoses count as malignant in the two-class models' data."""

WORTH_A_VISIT = 0.1
"""At or above this probability of cancer and pre-cancer, the user is sent to a doctor, whatever the most likely
class."""


@dataclass(frozen=True, eq=False)
class Analysis:
    """One image and what one model predicts of its square.

    image: upright RGB, decoded fine enough for the crop; crop: the square; pixels: uint8 [S, S, 3], values 0-255, the
    network's input; remove: the kinds of artefact whose removal was requested; removed: what was removed, None if no
    removal was requested; modality: None if it was not needed or not recognised; quality: of the square before anything
    is removed; image_prediction: from the pixels alone; prediction: with the patient metadata, which is empty for a
    model that uses none.
    """

    image: Image.Image
    crop: Crop
    pixels: np.ndarray
    remove: tuple[str, ...]
    removed: Removed | None
    modality: Recognised | None
    quality: Quality
    image_prediction: Prediction
    prediction: Prediction
    metadata: Metadata

    @property
    def model(self) -> Model:
        return self.prediction.model

    @functools.cached_property
    def square(self) -> np.ndarray:
        """What the network sees, at a higher resolution: uint8 [SQUARE_SIDE, SQUARE_SIDE, 3]."""
        square = imaging.crop_resize(self.image, SQUARE_SIDE, self.crop)
        return runtime.network_input(self.model, square, self.remove)


def analyse(
    image: Image.Image,
    model: Model,
    crop: Crop = CENTRE,
    *,
    remove: Collection[str] | None = None,
    modality: Recognised | None = None,
    values: Metadata | None = None,
) -> Analysis:
    """Measure and classify the square `crop` of an upright RGB image, with the patient metadata `values`, after the
    kinds of artefact in `remove`, keys of `removal.KINDS`, were removed from it; by default those whose removal was
    measured to help.

    ModelError if the model cannot be run.
    """
    started = time.perf_counter()
    remove = by_default(model.modality) if remove is None else remove
    pixels = imaging.crop_resize(image, model.input_size, crop)
    removed = runtime.removed_from(model, pixels, remove)
    pixels = removed.pixels if removed else pixels
    classifier = runtime.classifier(model)
    prediction = classifier.predict_input(pixels)
    events.answered(model.id, time.perf_counter() - started)
    return Analysis(
        image,
        crop,
        pixels,
        tuple(kind for kind in KINDS if kind in remove),
        removed,
        modality,
        quality.measure(image, crop),
        prediction,
        classifier.with_metadata(prediction, values or {}),
        values or {},
    )


def contents(model: Model) -> dict[str, tuple[Label, ...]]:
    """Class code -> the diagnoses that the model's class holds."""
    return sets.contents(model.labels, DIAGNOSES[model.modality])


def kinds(model: Model) -> dict[str, tuple[Kind, ...]]:
    """Class code -> cancer, pre-cancer or harmless; several for a class that does not tell them apart."""
    return sets.kinds(model.labels, DIAGNOSES[model.modality])


def groups(model: Model) -> dict[str, tuple[str, ...]]:
    """The groups of the model's classes: maps a name in `sets.GROUPS` to class codes, the most serious group first."""
    return sets.groups(model.labels, DIAGNOSES[model.modality])


def shares(prediction: Prediction) -> dict[str, float]:
    """The probabilities of cancer, pre-cancer and harmless, as far as the model distinguishes them, by name; they add
    up to 1."""
    codes = prediction.model.labels.codes
    return {
        name: float(sum(prediction.probabilities[codes.index(code)] for code in members))
        for name, members in groups(prediction.model).items()
    }


def most_likely(prediction: Prediction) -> str:
    """The most likely class, for use within a sentence, and its probability: "mole (melanocytic nevus), 73%"."""
    label = prediction.model.labels[prediction.predicted]
    return f"{label.spoken}, {percent(float(prediction.probabilities.max()))}"


def next_step(prediction: Prediction) -> tuple[str, str]:
    """A sentence on what to do, and why."""
    found = kinds(prediction.model)[prediction.predicted]
    worrying = 1 - shares(prediction).get(sets.GROUPS[("harmless",)], 0.0)
    if "cancer" in found:
        return (
            "Show this spot to a doctor soon.",
            "The model can be wrong, but the most likely diagnosis needs an examination.",
        )
    if "pre-cancer" in found:
        return (
            "Show this spot to a doctor.",
            "The most likely diagnosis can turn into cancer, and it is treatable.",
        )
    if worrying >= WORTH_A_VISIT:
        return (
            "Have a doctor look at it.",
            f"The model gives cancer and pre-cancer a combined probability of {percent(worrying)}, too high to ignore.",
        )
    return (
        "This is not an all-clear.",
        "If the spot is new, changes, bleeds or worries you, see a doctor, whatever the numbers say.",
    )


def agreement(prediction: Prediction) -> str:
    """A sentence on how far the networks of a committee, and the views of the image, agree; empty for a single
    answer."""
    agreed = runtime.agreement(prediction)
    if agreed is None:
        return ""
    labels = prediction.model.labels
    target = sets.target(labels, [label.code for label in labels.labels if label.malignant])
    spread = " to ".join(dict.fromkeys((percent(agreed.low), percent(agreed.high))))
    if agreed.networks == 1:
        return f"Across {agreed.views} views of the image, the probability of {target} is {spread}."
    over = f", across {agreed.views} views of the image" if agreed.views > 1 else ""
    return (
        f"{agreed.agreeing} of {agreed.networks} networks predicted this class. Individually{over}, they put the "
        f"probability of {target} at {spread}."
    )
