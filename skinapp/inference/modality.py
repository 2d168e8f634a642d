"""Dermoscopy, phone photo of skin, or neither: recognised from the embedding of the bundled dermoscopy network.

Logistic regression says which of the three an image is most like. Since no collection of images represents everything
that is not skin, distance counts as well: an image whose embedding is farther from both kinds of skin image than those
of nearly all held-out ones is neither, whatever the regression says (Mahalanobis distance, Lee et al. 2018,
arXiv:1807.03888). `python -m train modality` makes the file and its figures.
"""

import functools
import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from skinapp.errors import ModelError
from skinapp.images import imaging
from skinapp.inference import registry
from skinapp.inference.registry import Model
from skinapp.inference.runtime import classifier, softmax

KINDS = {
    "dermoscopy": "a dermoscopy image",
    "smartphone": "a phone photo of skin",
    "neither": "neither a dermoscopy image nor a phone photo of skin",
}
"""In the order of the outputs. The first two are what a model card calls `modality`."""

IMAGES = {
    "dermoscopy": "dermoscopy images",
    "smartphone": "phone photos",
    "dermoscopy and close-up": "a dermoscopy image and a close-up of each lesion",
}
"""What a model takes, by the modality in its card."""

EMBEDDING_MODEL = "ham10000-efficientnetb1"
WEIGHTS_FILE = Path(__file__).with_name("modality.npz")
CARD_FILE = Path(__file__).with_name("modality.json")


@dataclass(frozen=True)
class Recognised:
    """What an image is: `kind` of KINDS, the `probabilities` of all three, and whether it is `unlike` both kinds of
    skin image, in which case it is `neither` whatever the probabilities say."""

    kind: str
    probabilities: dict[str, float]
    unlike: bool

    @property
    def reason(self) -> str:
        """Why, in words that follow "This looks like ...": how certain that is."""
        if self.unlike and max(self.probabilities, key=self.probabilities.__getitem__) != self.kind:
            return "it differs from both more than nearly all images of either kind"
        share = self.probabilities[self.kind]
        return "over 99% sure" if share > 0.99 else f"{share:.0%} sure"


@dataclass(frozen=True)
class Route:
    """The model to use, a sentence on what the image looks like and why this model, and whether the prediction is
    `doubtful`: the image is not of the kind that the model was trained on."""

    model: Model
    sentence: str
    doubtful: bool


@dataclass(frozen=True)
class Recogniser:
    """`weights` [D, 3] and `bias` [3] of the regression; `centre` [D] and `projection` [D, d] to the whitened space
    of the `means` [2, d] of the two kinds of skin image; beyond `limit` an
    embedding is unlike both."""

    weights: np.ndarray
    bias: np.ndarray
    centre: np.ndarray
    projection: np.ndarray
    means: np.ndarray
    limit: float

    def probabilities(self, embeddings: np.ndarray) -> np.ndarray:
        """Embeddings [n, D] -> [n, 3], in the order of KINDS."""
        return softmax(embeddings.astype(np.float64) @ self.weights + self.bias)

    def distances(self, embeddings: np.ndarray) -> np.ndarray:
        """Embeddings [n, D] -> distance to the nearer of the means, [n]."""
        projected = (embeddings.astype(np.float64) - self.centre) @ self.projection
        return np.linalg.norm(projected[:, np.newaxis] - self.means, axis=2).min(axis=1)

    def kinds(self, embeddings: np.ndarray) -> np.ndarray:
        """Embeddings [n, D] -> the index of each one's kind, [n]."""
        likeliest = self.probabilities(embeddings).argmax(axis=1)
        return np.where(self.distances(embeddings) > self.limit, len(KINDS) - 1, likeliest)

    def recognise(self, embedding: np.ndarray) -> Recognised:
        """One embedding [D]."""
        one = embedding[np.newaxis]
        return Recognised(
            list(KINDS)[int(self.kinds(one)[0])],
            dict(zip(KINDS, self.probabilities(one)[0].tolist(), strict=True)),
            bool(self.distances(one)[0] > self.limit),
        )


def recognise(image: Image.Image) -> Recognised | None:
    """What an upright RGB image is, going by its centre square; None where the network for it is not installed.

    ModelError where the network, or the recogniser's own file, is not the one that was published.
    """
    model = registry.models().get(EMBEDDING_MODEL)
    if model is None or not model.runnable:
        return None
    known = recogniser(model)
    return known.recognise(classifier(model).predict(imaging.crop_resize(image, model.input_size)).embedding)


def recogniser(model: Model) -> Recogniser:
    """The recogniser that belongs to the network. ModelError where the two do not belong together."""
    if model.card["files"]["model.tflite"]["sha256"] != card()["embedding_sha256"]:
        raise ModelError(
            f"Recognising the kind of image needs another version of '{model.id}'. Choose a model yourself, or run "
            "python -m train modality."
        )
    return _loaded(card()["sha256"])


def route(models: list[Model], recognised: Recognised | None, chosen: Model | None = None) -> Route:
    """Which of the models, best first, to use for an image: the one that was `chosen`, or else the first that was
    trained on that kind of image, or else the first of all."""
    if recognised is None:
        return Route(chosen or models[0], "", doubtful=False)
    looks = f"This looks like {KINDS[recognised.kind]} ({recognised.reason})"
    if recognised.kind == "neither":
        nothing = "The models know nothing else, so a prediction means nothing."
        return Route(chosen or models[0], f"{looks}. {nothing}", doubtful=True)
    suited = next((model for model in models if model.modality == recognised.kind), None)
    model = chosen or suited or models[0]
    if model.modality == recognised.kind:
        how = "You chose" if chosen else "The model used is"
        return Route(model, f"{looks}. {how} “{model.title}”, which was trained on such images.", doubtful=False)
    missing = "" if suited else f" No model for {IMAGES[recognised.kind]} is installed."
    trained = f" “{model.title}” was trained on {IMAGES[model.modality]}, so its prediction is less reliable here."
    return Route(model, f"{looks}.{missing}{trained}", doubtful=True)


@functools.cache
def card() -> dict[str, Any]:
    """The recogniser's card: its hashes, and its results on held-out images."""
    return json.loads(CARD_FILE.read_text())


def save(recogniser: Recogniser, file: Path) -> None:
    """Write a recogniser as plain arrays."""
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {name: np.asarray(value, dtype=np.float32) for name, value in vars(recogniser).items()}
    np.savez_compressed(buffer, **arrays)
    file.write_bytes(buffer.getvalue())


def load(content: bytes) -> Recogniser:
    """The recogniser in the bytes of a file that `save` wrote."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return Recogniser(
            **{name: arrays[name] for name in arrays.files if name != "limit"}, limit=float(arrays["limit"])
        )


@functools.cache
def _loaded(sha256: str) -> Recogniser:
    content = WEIGHTS_FILE.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ModelError(f"The file {WEIGHTS_FILE.name} was changed after it was published; fetch it again.")
    return load(content)
