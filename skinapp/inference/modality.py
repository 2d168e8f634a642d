"""Dermoscopy, phone photo of skin, or neither: recognised from the embedding of the bundled dermoscopy network.

Logistic regression says which of the three an image is most like. Since no collection of images represents everything
that is not skin, an image is neither as soon as that is likelier than for nearly all held-out skin images, even if it
is not the likeliest; and so is one whose embedding is farther from both kinds of skin image than those of nearly all
held-out ones (Mahalanobis distance, Lee et al. 2018, arXiv:1807.03888). `python -m train modality` makes the file and
its figures.
"""

import functools
import hashlib
import io
import json
from collections.abc import Sequence
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

ONE = {"smartphone": "a phone photo", "dermoscopy": "a dermoscopy image"}
NAMES = {"smartphone": "Phone photo", "dermoscopy": "Dermoscopy"}

SURE = 0.9
"""Below this probability of the recognised kind, it takes a person to say which kind it is."""

EMBEDDING_MODEL = "ham10000-efficientnetb1"
WEIGHTS_FILE = Path(__file__).with_name("modality.npz")
CARD_FILE = Path(__file__).with_name("modality.json")


@dataclass(frozen=True)
class Recognised:
    """What an image is: `kind` of KINDS, the `probabilities` of all three, and whether it is `unlike` both kinds of
    skin image, in which case it is `neither` whatever the probabilities say; and its `distance` from the nearer of the
    two."""

    kind: str
    probabilities: dict[str, float]
    unlike: bool
    distance: float = 0.0

    @property
    def reason(self) -> str:
        """Why, in words that follow "This looks like ...": how certain that is."""
        if self.kind == "neither" and max(self.probabilities, key=self.probabilities.__getitem__) != self.kind:
            return "it differs from nearly all images of either kind"
        share = self.probabilities[self.kind]
        return "over 99% sure" if share > 0.99 else f"{share:.0%} sure"


@dataclass(frozen=True)
class Route:
    """The models that answer, the first one first: two while the kind of image is open. `sentence` says what the image
    was recognised as; `doubt` why an answer means little, if it does; `asked` that a person can name the kind;
    `unknown` that the image is of no kind that a model knows."""

    models: tuple[Model, ...]
    recognised: Recognised | None = None
    sentence: str = ""
    doubt: str = ""
    asked: bool = False
    unknown: bool = False

    @property
    def model(self) -> Model:
        """The model whose answer comes first."""
        return self.models[0]

    @property
    def words(self) -> str:
        """All of it in words, for where there is nothing to click."""
        answered = f"Answered by “{self.model.title}”." if self.recognised and not self.unknown else ""
        open_kind = ""
        if len(self.models) > 1:
            open_kind = f"If it is {ONE[self.models[1].modality]}, choose “{self.models[1].title}” instead."
        sentence = f"{self.sentence}." if self.sentence and not self.unknown else ""
        return " ".join(part for part in (sentence, answered, self.doubt, open_kind) if part)


@dataclass(frozen=True)
class Recogniser:
    """`weights` [D, 3] and `bias` [3] of the regression; `centre` [D] and `projection` [D, d] to the whitened space
    of the `means` [2, d] of the two kinds of skin image; beyond the distance `limit` an embedding is unlike both, and
    beyond the probability `neither_limit` it is neither."""

    weights: np.ndarray
    bias: np.ndarray
    centre: np.ndarray
    projection: np.ndarray
    means: np.ndarray
    limit: float
    neither_limit: float

    def probabilities(self, embeddings: np.ndarray) -> np.ndarray:
        """Embeddings [n, D] -> [n, 3], in the order of KINDS."""
        return softmax(embeddings.astype(np.float64) @ self.weights + self.bias)

    def distances(self, embeddings: np.ndarray) -> np.ndarray:
        """Embeddings [n, D] -> distance to the nearer of the means, [n]."""
        projected = (embeddings.astype(np.float64) - self.centre) @ self.projection
        return np.linalg.norm(projected[:, np.newaxis] - self.means, axis=2).min(axis=1)

    def kinds(self, embeddings: np.ndarray) -> np.ndarray:
        """Embeddings [n, D] -> the index of each one's kind, [n]."""
        return decide(self.probabilities(embeddings), self.distances(embeddings), self.limit, self.neither_limit)

    def recognise(self, embedding: np.ndarray) -> Recognised:
        """One embedding [D]."""
        one = embedding[np.newaxis]
        return Recognised(
            list(KINDS)[int(self.kinds(one)[0])],
            dict(zip(KINDS, self.probabilities(one)[0].tolist(), strict=True)),
            bool(self.distances(one)[0] > self.limit),
            float(self.distances(one)[0]),
        )


def decide(probabilities: np.ndarray, distances: np.ndarray, limit: float, neither_limit: float) -> np.ndarray:
    """Probabilities [n, 3] and distances [n] -> the index of each image's kind, [n]."""
    skin = probabilities[:, :-1].argmax(axis=1)
    return np.where((distances > limit) | (probabilities[:, -1] > neither_limit), len(KINDS) - 1, skin)


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


def route(
    models: Sequence[Model], recognised: Recognised | None, chosen: Model | None = None, stated: str | None = None
) -> Route:
    """Which of the models, best first, answer for an image: the one that was `chosen`, or those for its kind, as a
    person `stated` it or as it was recognised. The page, the command line and the reports all ask here."""
    if recognised is None:
        return Route((chosen or models[0],))
    if recognised.kind == "neither":
        doubt = f"{looks(recognised)} The models know nothing else, so a prediction means nothing."
        return Route((chosen or models[0],), recognised, "Not recognised as skin", doubt, unknown=True)
    best = {kind: next((model for model in models if model.modality == kind), None) for kind in NAMES}
    kind = stated or recognised.kind
    sentence = f"{NAMES[kind]}, as you said" if stated else f"{NAMES[kind]}, {recognised.reason}"
    unsure = recognised.probabilities[recognised.kind] < SURE and all(best.values()) and chosen is None
    answering = chosen or best[kind] or models[0]
    doubt = ""
    if answering.modality != kind:
        missing = "" if best[kind] else f" No model for {IMAGES[kind]} is installed."
        doubt = (
            f"This looks like {ONE[kind]}.{missing} “{answering.title}” was trained on "
            f"{IMAGES[answering.modality]}, so its prediction is less reliable here."
        )
    others = [model for other, model in best.items() if other != kind and model] if unsure and not stated else []
    return Route((answering, *others), recognised, sentence, doubt, asked=unsure)


def looks(recognised: Recognised) -> str:
    """What an image looks like, and how sure that is, as a sentence."""
    return f"This looks like {KINDS[recognised.kind]} ({recognised.reason})."


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
        values: dict[str, Any] = {
            name: arrays[name] if arrays[name].ndim else float(arrays[name]) for name in arrays.files
        }
        return Recogniser(**values)


@functools.cache
def _loaded(sha256: str) -> Recogniser:
    content = WEIGHTS_FILE.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ModelError(f"The file {WEIGHTS_FILE.name} was changed after it was published; fetch it again.")
    return load(content)
