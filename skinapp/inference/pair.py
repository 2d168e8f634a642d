"""Two images of one lesion, a dermoscopy image and a close-up: one answer from the networks of a pair.

    logits = weight of the dermoscopy network * its logits + weight of the close-up network * its logits + bias

The weights and the bias were fitted to held-out lesions, so that the probabilities are the softmax of these logits. As
the logits of each network are the mean of its class maps and a constant, those of the pair are the sum of the means of
both maps, each times its network's weight, and a constant: the maps of the pair are exact.
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

    together: from both images; alone: from each image alone, its logits those of the network; class_maps: float32
    [h, w, K] of each image, times the weight of its network, None for networks that end in dense layers.
    """

    together: Prediction
    alone: tuple[Prediction, ...]
    class_maps: tuple[np.ndarray, ...] | None


@dataclass(frozen=True, eq=False)
class PairAnalysis:
    """Everything about the two images of a lesion: the analysis of each alone, and what both predict together."""

    alone: tuple[Analysis, ...]
    prediction: PairPrediction

    @property
    def together(self) -> Analysis:
        """The analysis of the dermoscopy image, with the prediction from both."""
        both = self.prediction.together
        return dataclasses.replace(self.alone[0], image_prediction=both, prediction=both)


def combine(logits: Sequence[np.ndarray], weights: Sequence[float], bias: np.ndarray) -> np.ndarray:
    """Logits [..., K] of each network, its weight, and a bias [K] -> float64 [..., K]."""
    return sum((weight * one.astype(np.float64) for weight, one in zip(weights, logits, strict=True)), np.array(bias))


def predict(model: Model, pixels: Sequence[np.ndarray]) -> PairPrediction:
    """The squares of the dermoscopy image and the close-up, each as for `Classifier.predict`, to a prediction.

    ModelError where the model takes one image, or cannot be run.
    """
    networks = networks_of(model)
    return _together(
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
    prediction = _together(model, [one.prediction for one in each])
    return PairAnalysis(
        tuple(
            dataclasses.replace(one, image_prediction=alone, prediction=alone)
            for one, alone in zip(each, prediction.alone, strict=True)
        ),
        prediction,
    )


def maps(prediction: PairPrediction, code: str) -> list[np.ndarray]:
    """Where each image counted towards a class: float32 [h, w] in 0-1, both maps on one scale; empty for networks
    without class maps."""
    index = prediction.together.model.labels.codes.index(code)
    positive = [np.maximum(one[..., index], 0) for one in prediction.class_maps or ()]
    peak = max((float(one.max()) for one in positive), default=0.0)
    return [one / peak if peak > 0 else one for one in positive]


def networks_of(model: Model) -> tuple[Model, ...]:
    """The two networks of a pair, as models of one image. ModelError for a model that takes one image."""
    if model.kind != "pair":
        raise ModelError(f"The model '{model.id}' takes one image. Leave out the other, or choose a model for two.")
    return registry.pictures(model)


def mismatches(recognised: Sequence[Recognised | None]) -> list[str]:
    """A sentence for each image of a pair, dermoscopy first, that looks like another kind of image; one for both where
    they look swapped. An image that was not recognised is taken for what it was given as."""
    looks = [f"{KINDS[one.kind]} ({one.reason})" if one else "" for one in recognised]
    expected = list(IMAGES_OF_PAIR)
    if [one and one.kind for one in recognised] == expected[::-1]:
        return [
            f"The two images look swapped: the one given as the dermoscopy image looks like {looks[0]}, and the one "
            f"given as the close-up looks like {looks[1]}."
        ]
    return [
        f"The image given as the {IMAGES_OF_PAIR[kind]} looks like {look}. Its network is made for nothing "
        "else, so the answer is less reliable."
        for kind, one, look in zip(expected, recognised, looks, strict=True)
        if one and one.kind != kind
    ]


def _together(model: Model, each: Sequence[Prediction]) -> PairPrediction:
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
    together = Prediction(model, rounded, softmax(logits), None, each[0].embedding, rounded[np.newaxis, np.newaxis])
    return PairPrediction(together, alone, maps or None)
