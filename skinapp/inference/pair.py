"""Two images of one lesion, a dermoscopy image and a close-up, with one answer from a pair of networks.

    logits = weight of the dermoscopy network * its logits + weight of the close-up network * its logits + bias

The weights and the bias were fitted to held-out lesions, so that the probabilities are the softmax of these logits. As
each network's logits are the mean of its class maps plus a constant, those of the pair are the weighted sum of the
means of both maps, plus a constant: the maps of the pair are exact.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from skinapp.errors import ModelError
from skinapp.images.imaging import CENTRE, Crop
from skinapp.inference import analysis, registry, runtime
from skinapp.inference.analysis import Analysis
from skinapp.inference.modality import KINDS, Recognised
from skinapp.inference.model_card import IMAGES_OF_PAIR
from skinapp.inference.registry import Model
from skinapp.inference.runtime import Prediction, softmax


@dataclass(frozen=True)
class PairPrediction:
    """What a pair predicts for a lesion.

    combined: from both images; alone: from each image alone, with the logits of its network; class_maps: float32 [h, w,
    K] of each image, times the weight of its network, None for networks that end in dense layers.
    """

    combined: Prediction
    alone: tuple[Prediction, ...]
    class_maps: tuple[np.ndarray, ...] | None


@dataclass(frozen=True, eq=False)
class PairAnalysis:
    """The complete analysis of two images of a lesion: each image alone, and the combined prediction."""

    alone: tuple[Analysis, ...]
    prediction: PairPrediction

    @property
    def combined(self) -> Analysis:
        """The analysis of the dermoscopy image, with the prediction from both."""
        both = self.prediction.combined
        return dataclasses.replace(self.alone[0], image_prediction=both, prediction=both)


def combine(logits: Sequence[np.ndarray], weights: Sequence[float], bias: np.ndarray) -> np.ndarray:
    """Logits [..., K] of each network, its weight, and a bias [K] -> float64 [..., K]."""
    return sum((weight * one.astype(np.float64) for weight, one in zip(weights, logits, strict=True)), np.array(bias))


def predict(model: Model, pixels: Sequence[np.ndarray]) -> PairPrediction:
    """Classify the squares of the dermoscopy image and the close-up, each as for `Classifier.predict`.

    ModelError if the model takes one image, or cannot be run.
    """
    networks = networks_of(model)
    return _combined(
        model, [runtime.classifier(one).predict(square) for one, square in zip(networks, pixels, strict=True)]
    )


def analyse(
    model: Model,
    images: Sequence[Image.Image],
    crops: Sequence[Crop] = (CENTRE, CENTRE),
    recognised: Sequence[Recognised | None] = (None, None),
) -> PairAnalysis:
    """Measure and classify the squares of two upright RGB images of a lesion, dermoscopy first. ModelError as for
    `predict`."""
    each = [
        # no removal was measured for pairs
        analysis.analyse(image, network, crop, remove=(), modality=kind)
        for network, image, crop, kind in zip(networks_of(model), images, crops, recognised, strict=True)
    ]
    prediction = _combined(model, [one.prediction for one in each])
    return PairAnalysis(
        tuple(
            dataclasses.replace(one, image_prediction=alone, prediction=alone)
            for one, alone in zip(each, prediction.alone, strict=True)
        ),
        prediction,
    )


def maps(prediction: PairPrediction, code: str) -> list[np.ndarray]:
    """The map of each image for a class: float32 [h, w] in 0-1, both maps on one scale; empty for networks without
    class maps."""
    index = prediction.combined.model.labels.codes.index(code)
    positive = [np.maximum(one[..., index], 0) for one in prediction.class_maps or ()]
    peak = max((float(one.max()) for one in positive), default=0.0)
    return [one / peak if peak > 0 else one for one in positive]


def networks_of(model: Model) -> tuple[Model, ...]:
    """The two networks of a pair, as models of one image. ModelError for a model that takes one image."""
    if model.kind != "pair":
        raise ModelError(f"The model '{model.id}' takes one image. Leave out the other, or choose a model for two.")
    return registry.pictures(model)


def mismatches(recognised: Sequence[Recognised | None]) -> list[str]:
    """A sentence for each image of a pair, dermoscopy first, that looks like another kind of image, or a single one if
    they look swapped. An image that was not recognised is assumed to be what it was given as."""
    looks = [f"{KINDS[one.kind]} ({one.reason})" if one else "" for one in recognised]
    expected = list(IMAGES_OF_PAIR)
    if [one and one.kind for one in recognised] == expected[::-1]:
        return [
            f"The two images look swapped: the one given as the dermoscopy image looks like {looks[0]}, and the one "
            f"given as the close-up looks like {looks[1]}."
        ]
    return [
        f"The image given as the {IMAGES_OF_PAIR[kind]} looks like {look}. Its network is made for nothing "
        "else, so the model's scores do not apply."
        for kind, one, look in zip(expected, recognised, looks, strict=True)
        if one and one.kind != kind
    ]


def _combined(model: Model, each: Sequence[Prediction]) -> PairPrediction:
    """The prediction of a pair from those of its two networks."""
    fitted = model.card["pair"]
    pictures = fitted["pictures"]
    weights = [picture["weight"] for picture in pictures]
    logits = combine([one.logits for one in each], weights, fitted["bias"])
    alone = tuple(
        dataclasses.replace(
            one, probabilities=softmax(combine([one.logits], [picture["alone"]["weight"]], picture["alone"]["bias"]))
        )
        for one, picture in zip(each, pictures, strict=True)
    )
    maps = tuple(
        one.class_maps * np.float32(weight)
        for one, weight in zip(each, weights, strict=True)
        if one.class_maps is not None
    )
    rounded = logits.astype(np.float32)
    combined = Prediction(model, rounded, softmax(logits), None, each[0].embedding, rounded[np.newaxis, np.newaxis])
    return PairPrediction(combined, alone, maps or None)
