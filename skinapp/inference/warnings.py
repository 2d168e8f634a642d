"""Warnings next to an answer, and how often answers with and without each of them were wrong.

`python -m train warnings` measures the error rates and decides, on validation lesions, which warnings predict errors:
warnings.json next to this file has the figures, docs/warnings.md the table. A warning that does not predict errors for
a kind of image is not shown for it.
"""

import functools
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from skinapp.formatting import percent
from skinapp.images import imaging, quality
from skinapp.images.imaging import Crop
from skinapp.images.quality import Quality
from skinapp.inference import runtime
from skinapp.inference.analysis import Analysis
from skinapp.inference.modality import IMAGES, Recognised
from skinapp.inference.registry import Model
from skinapp.inference.runtime import Prediction

CARD_FILE = Path(__file__).with_name("warnings.json")

SHIFT = 0.05
"""The share of its side by which the square shrinks when it is shifted into its corners."""


FAR = "This image differs from the training images more than nearly all validation images do."
UNSTABLE = "The predicted class changes when the square moves a little."
UNCLEAR = "In tests, there was no clear sign that answers for images like this are wrong more often."
DIVIDED = "The networks of this model do not all predict the same class."


@functools.cache
def card() -> dict[str, Any]:
    """The results of the command, by kind of image: the distance limit, and the error rates by warning."""
    return json.loads(CARD_FILE.read_text())


def predicts_errors(name: str, modality: str) -> bool:
    """Whether answers to such images with this warning were wrong more often; True for a warning that was not measured,
    so that a new kind of model starts with every warning."""
    known = card().get(modality, {}).get("warnings", {}).get(name)
    return known is None or bool(known["predicts_errors"])


def rates(name: str, modality: str) -> str:
    """How often answers with and without the warning were wrong on test images, as a sentence; empty if not
    measured."""
    known = card().get(modality, {}).get("warnings", {}).get(name)
    if known is None or known["test"]["with"] is None or known["test"]["without"] is None:
        return ""
    measured = known["test"]
    return (
        f"In tests of the default model for {IMAGES[modality]}, {_share(measured['with'])} of "
        f"{measured['images_with']} answers with this warning were wrong, compared with "
        f"{_share(measured['without'])} of {measured['images_without']} without it."
    )


def of_quality(measured: Quality, modality: str) -> dict[str, str]:
    """The quality problems of a square that predict errors of models for this kind of image: maps a key of
    `quality.SENTENCES` to a sentence."""
    problems = [name for name in quality.problems(measured) if predicts_errors(name, modality)]
    return {name: f"{quality.sentence(name, measured)} {rates(name, modality)}".strip() for name in problems}


def hints(measured: Quality, modality: str) -> list[str]:
    """A sentence on each of the other quality problems of a square: what to do better next time."""
    problems = [name for name in quality.problems(measured) if not predicts_errors(name, modality)]
    return [f"{quality.sentence(name, measured)} {UNCLEAR}" for name in problems]


def cautions(analysis: Analysis) -> dict[str, str]:
    """Why the answer may be wrong although the image is usable: "distance", "disagreement" -> a sentence, where that
    predicts errors of this kind of model, or "features" where some are missing."""
    kind, sentences = analysis.model.modality, {}
    if is_far(analysis.modality, kind) and predicts_errors("distance", kind):
        sentences["distance"] = FAR
    measured = analysis.prediction.measured
    if measured and measured.note:
        sentences["features"] = measured.note
    # skipped for pairs, whose images cannot be shifted together, and for features models, as the warning was measured
    # for networks
    if (
        analysis.model.kind != "pair"
        and analysis.model.is_network
        and predicts_errors("disagreement", kind)
        and disagrees(analysis)
    ):
        sentences["disagreement"] = UNSTABLE if len(analysis.model.weights) == 1 else DIVIDED
    return {name: f"{sentence} {rates(name, kind)}".strip() for name, sentence in sentences.items()}


def is_far(recognised: Recognised | None, modality: str) -> bool:
    """Whether an image is farther from the training images than nearly all those used to set the limit."""
    limit = card().get(modality, {}).get("distance_limit")
    return recognised is not None and limit is not None and recognised.distance > limit


def disagrees(analysis: Analysis) -> bool:
    """Whether the networks of a committee predict different classes, or a single network predicts another class for a
    slightly shifted square. Metadata is not used."""
    return is_open(analysis.image_prediction, analysis.model, analysis.image, analysis.crop, remove=analysis.remove)


def is_open(
    prediction: Prediction,
    model: Model,
    image: Image.Image,
    crop: Crop = imaging.CENTRE,
    *,
    remove: Collection[str] = (),
) -> bool:
    """The same for the `prediction` of a square of an upright RGB image."""
    agreed = runtime.agreement(prediction)
    if agreed is not None and agreed.networks > 1:
        return agreed.agreeing < agreed.networks
    classifier, named = runtime.classifier(model), int(prediction.logits.argmax())

    def again(square: Crop) -> int:
        pixels = runtime.network_input(model, imaging.crop_resize(image, model.input_size, square), remove)
        return int(classifier.predict_input(pixels).logits.argmax())

    return any(again(square) != named for square in moved(image, crop))


def moved(image: Image.Image, crop: Crop) -> list[Crop]:
    """Slightly smaller squares in two opposite corners of a square of the image."""
    left, top, right, bottom = crop.box(*image.size)
    step = SHIFT * (right - left) / 2
    x, y = (left + right) / 2, (top + bottom) / 2
    width, height = image.size
    return [
        Crop((x + sign * step) / width, (y + sign * step) / height, (1 - SHIFT) * crop.side)
        for sign in np.array([-1, 1])
    ]


def _share(rate: dict[str, float | None]) -> str:
    low, high = rate["low"], rate["high"]
    interval = f" ({percent(low)} to {percent(high)})" if low is not None and high is not None else ""
    return f"{percent(float(rate['value'] or 0))}{interval}"
