"""Recognises an image as dermoscopy, phone photo of skin, or neither, from the features of a network's first stages.

The last stages of a network that classifies lesions carry little information about the camera; the first ones represent
textures and colours of all kinds. The features are the mean and the standard deviation of each of their channels over
the image. A logistic regression decides which of the three an image resembles most. Since no collection of images
represents everything that is not skin, an image also counts as neither if that class is more probable than for nearly
all held-out skin images, even if it is not the most probable; or if its features are farther from both kinds of skin
image than those of nearly all held-out ones (Mahalanobis distance, Lee et al. 2018, arXiv:1807.03888). `python -m train
modality` makes the files and their figures.
"""

import functools
import hashlib
import io
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

from skinapp.errors import ModelError
from skinapp.images import imaging
from skinapp.inference.cores import usable_cores
from skinapp.inference.registry import Model
from skinapp.inference.runtime import softmax

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
"""Below this probability of the recognised kind, the user is asked which kind it is."""

NETWORK_FILE = Path(__file__).with_name("modality.tflite")
WEIGHTS_FILE = Path(__file__).with_name("modality.npz")
CARD_FILE = Path(__file__).with_name("modality.json")


@dataclass(frozen=True)
class Recognised:
    """The recognised kind of an image: `kind` from KINDS, the `probabilities` of all three, whether it is `unlike` both
    kinds of skin image, in which case it is `neither` regardless of the probabilities, and its `distance` from the
    nearer of the two."""

    kind: str
    probabilities: dict[str, float]
    unlike: bool
    distance: float = 0.0

    @property
    def reason(self) -> str:
        """The reason, to follow "This looks like ...": how certain that is."""
        if self.kind == "neither" and max(self.probabilities, key=self.probabilities.__getitem__) != self.kind:
            return "it differs from nearly all images of either kind"
        share = self.probabilities[self.kind]
        return "over 99% sure" if share > 0.99 else f"{share:.0%} sure"


@dataclass(frozen=True)
class Route:
    """The models that answer, in order: two while the kind of image is undecided. `sentence` says what the image was
    recognised as; `doubt` why the answer is unreliable, if it is; `can_ask` that the user can name the kind; `unknown`
    that no model is made for this kind of image."""

    models: tuple[Model, ...]
    recognised: Recognised | None = None
    sentence: str = ""
    doubt: str = ""
    can_ask: bool = False
    unknown: bool = False

    @property
    def model(self) -> Model:
        """The model whose answer comes first."""
        return self.models[0]

    def words(self, answering: Model | None = None) -> str:
        """The route as text, for output without controls. `answering` is the model that answered, by default the first;
        without patient data, one that uses them leaves the answer to its base."""
        title = (answering or self.model).title
        answered = f"Answered by “{title}”." if self.recognised and not self.unknown else ""
        open_kind = ""
        if len(self.models) > 1:
            open_kind = f"If it is {ONE[self.models[1].modality]}, choose “{self.models[1].title}” instead."
        sentence = f"{self.sentence}." if self.sentence and not self.unknown else ""
        return " ".join(part for part in (sentence, answered, self.doubt, open_kind) if part)


@dataclass(frozen=True)
class Recogniser:
    """`weights` [D, 3] and `bias` [3] of the regression; `centre` [D] and `projection` [D, d] to the whitened space
    of the `means` [2, d] of the two kinds of skin image; beyond the distance `limit` an image is unlike both, and
    beyond the probability `neither_limit` it is neither."""

    weights: np.ndarray
    bias: np.ndarray
    centre: np.ndarray
    projection: np.ndarray
    means: np.ndarray
    limit: float
    neither_limit: float

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Features [n, D] -> [n, 3], in the order of KINDS."""
        return softmax(features.astype(np.float64) @ self.weights + self.bias)

    def distances(self, features: np.ndarray) -> np.ndarray:
        """Features [n, D] -> distance to the nearer of the means, [n]."""
        projected = (features.astype(np.float64) - self.centre) @ self.projection
        return np.linalg.norm(projected[:, np.newaxis] - self.means, axis=2).min(axis=1)

    def kinds(self, features: np.ndarray) -> np.ndarray:
        """Features [n, D] -> the index of each one's kind, [n]."""
        return decide(self.probabilities(features), self.distances(features), self.limit, self.neither_limit)

    def recognise(self, features: np.ndarray) -> Recognised:
        """The features of one image [D]."""
        one = features[np.newaxis]
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


def recognise(image: Image.Image) -> Recognised:
    """Recognise the kind of an upright RGB image from its centre square. ModelError if a file was changed."""
    return recogniser().recognise(features(image))


def features(image: Image.Image) -> np.ndarray:
    """The recogniser's features of the centre square of an upright RGB image: float32 [D]."""
    network = _network(card()["files"][NETWORK_FILE.name])
    return network(imaging.crop_resize(image, network.size))


def recogniser() -> Recogniser:
    return _recogniser(card()["files"][WEIGHTS_FILE.name])


class Network:
    """A loaded LiteRT file with the output `features`; callers in several threads take turns."""

    def __init__(self, content: bytes):
        # the signature runner does not keep its interpreter alive
        self._interpreter = Interpreter(model_content=content, num_threads=usable_cores())
        self._run = self._interpreter.get_signature_runner()
        self._lock = threading.Lock()
        self.size = int(self._run.get_input_details()["image"]["shape"][1])

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Uint8 RGB [size, size, 3] -> float32 [D]."""
        with self._lock:
            return self._run(image=pixels[np.newaxis].astype(np.float32))["features"][0].copy()


def route(
    models: Sequence[Model], recognised: Recognised | None, chosen: Model | None = None, stated: str | None = None
) -> Route:
    """Which of the models, best first, answer for an image: the `chosen` one, or those for its kind, as the user
    `stated` it or as it was recognised. The page, the command line and the reports all use this function."""
    if recognised is None:
        return Route((chosen or models[0],))
    if recognised.kind == "neither":
        doubt = (
            f"{looks(recognised)} The models are made for dermoscopy images and phone photos only, so a prediction "
            "would mean nothing."
        )
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
            f"This looks like {ONE[kind]}.{missing} “{answering.short_name}” was trained on "
            f"{IMAGES[answering.modality]}, so its scores do not apply here."
        )
    others = [model for other, model in best.items() if other != kind and model] if unsure and not stated else []
    return Route((answering, *others), recognised, sentence, doubt, can_ask=unsure)


def looks(recognised: Recognised) -> str:
    """A sentence on what an image looks like, and how sure that is."""
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
def _recogniser(sha256: str) -> Recogniser:
    return load(_verified(WEIGHTS_FILE, sha256))


@functools.cache
def _network(sha256: str) -> Network:
    return Network(_verified(NETWORK_FILE, sha256))


def _verified(file: Path, sha256: str) -> bytes:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ModelError(f"The file {file.name} cannot be read ({error.strerror}); fetch it again.") from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ModelError(f"The file {file.name} was changed after it was published; fetch it again.")
    return content
