"""Runs an exported model with LiteRT: calibrated probabilities, class maps and embedding. Never imports TensorFlow."""

import dataclasses
import functools
import hashlib
import json
import statistics
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from skinapp.errors import ModelError
from skinapp.images import imaging, synthetic
from skinapp.images.removal import Removed
from skinapp.inference import feature_model, metadata, registry, views
from skinapp.inference.cores import usable_cores
from skinapp.inference.feature_model import Contributions, Measured
from skinapp.inference.metadata import Metadata
from skinapp.inference.registry import Model

Network = Callable[[np.ndarray], dict[str, np.ndarray]]
"""Float32 images [n, size, size, 3] to the outputs by name, each [n, ...]."""


@dataclass(frozen=True)
class Prediction:
    """A model's prediction for one image and, if it uses them, patient metadata.

    logits float32 [K], the image's, before the temperature; probabilities float64 [K], calibrated, summing to 1, with
    the metadata; class_maps float32 [h, w, K], whose mean over the image plus a constant is the logit, None for
    networks that end in dense layers; embedding float32 [D], for a committee that of its first member on the upright
    image, of length 0 for a network without that output; votes float32 [members, views, K], the logits of each network
    for each view of the image, whose mean is `logits`; measured, a features model's measurements of the lesion, None
    for networks.
    """

    model: Model
    logits: np.ndarray
    probabilities: np.ndarray
    class_maps: np.ndarray | None
    embedding: np.ndarray
    votes: np.ndarray
    measured: Measured | None = None

    @property
    def predicted(self) -> str:
        """The code of the class with the highest probability."""
        return self.model.labels.codes[int(self.probabilities.argmax())]

    @property
    def malignancy(self) -> float:
        """The summed probability of the classes that count as malignant."""
        return float(self.probabilities[_malignant(self.model)].sum())


@dataclass(frozen=True)
class Agreement:
    """How far the votes on one image agree, without metadata.

    `agreeing` of the `networks`, with logits averaged over the `views`, predict the same class as all of them together.
    `low` and `high` are the lowest and highest malignant probability among the votes.
    """

    networks: int
    views: int
    agreeing: int
    low: float
    high: float


def agreement(prediction: Prediction) -> Agreement | None:
    """The agreement of the votes; None if there is only one."""
    votes, model = prediction.votes, prediction.model
    networks, views, _ = votes.shape
    if networks * views == 1:
        return None
    named = votes.mean(axis=1).argmax(axis=-1)
    malignancy = softmax(votes.astype(np.float64) / model.temperature)[..., _malignant(model)].sum(axis=-1)
    return Agreement(
        networks,
        views,
        int((named == prediction.logits.argmax()).sum()),
        float(malignancy.min()),
        float(malignancy.max()),
    )


class Classifier:
    """A loaded model: one network, the members of a committee, or trees on features. `predict` may be called from
    several threads; they take turns."""

    def __init__(self, model: Model, threads: int | None = None):
        """Check every file of the model against its hash and load it; `threads` defaults to the number of cores.

        ModelError if a file was changed, a network cannot be loaded, or its input or outputs do not match the card;
        also for a pair, which `skinapp.inference.pair` runs.
        """
        check_one_image(model)
        if not model.runnable:
            raise ModelError(
                f"The model '{model.id}' cannot be run: only its scores are here, not its weights; its README.md says "
                "how to train it."
            )
        registry.verify(model)
        cores = threads or usable_cores()
        self._on_features = None if model.is_network else feature_model.load(model)
        names = model.weights if model.is_network else ()
        self._networks = [_network(model, name, max(cores // len(names), 1)) for name in names]
        # members on one thread each, side by side, take as long as one after another on all threads, and need no
        # synchronisation within a network
        workers = min(cores, len(model.weights))
        self._pool = ThreadPoolExecutor(workers) if workers > 1 else None
        self._fusion = None
        if model.clinical:
            content = registry.verified_bytes(model, metadata.WEIGHTS_FILE)
            self._fusion = metadata.from_json(content, model.clinical, len(model.labels.codes))
        self._base = base(model)
        self._lock = threading.Lock()
        self.model = model

    def predict(self, pixels: np.ndarray, values: Metadata | None = None) -> Prediction:
        """Uint8 RGB [size, size, 3], as `imaging.crop_resize` gives it, to a Prediction.

        `values`, as `metadata.parse` returns them, shift the probabilities of a model that uses metadata. Without any,
        such a model leaves the answer to its base, whose calibration, tests and prediction sets are those of images
        alone.
        """
        return self.predict_input(network_input(self.model, pixels), values)

    def predict_input(self, pixels: np.ndarray, values: Metadata | None = None) -> Prediction:
        """Like `predict`, for the output of `network_input` and altered copies of it."""
        size = self.model.input_size
        if pixels.shape != (size, size, 3) or pixels.dtype != np.uint8:
            raise ValueError(f"expected uint8 [{size}, {size}, 3], got {pixels.dtype} {list(pixels.shape)}")
        if self._on_features:
            measured, logits = self._on_features.predict(pixels)
            nothing = np.empty(0, np.float32)
            return Prediction(*self._answer(logits, values), None, nothing, logits[None, None], measured)
        images = views.seen(pixels, self.model.views).astype(np.float32)
        with self._lock:
            each = self._pool.map if self._pool else map
            outputs = list(each(lambda network: network(images), self._networks))
        votes = np.stack([output["logits"] for output in outputs])
        logits = _mean(votes, (0, 1))
        class_maps = None
        if self.model.has_class_maps:
            maps = np.stack([views.upright_again(output["class_maps"], self.model.views) for output in outputs])
            class_maps = _mean(maps, (0, 1))
        embedding = np.empty(0, np.float32)
        if "embedding" in outputs[0]:
            embedding = outputs[0]["embedding"][self.model.views.index(views.UPRIGHT)]
        return Prediction(*self._answer(logits, values), class_maps, embedding, votes)

    def with_metadata(self, prediction: Prediction, values: Metadata) -> Prediction:
        """The result of `predict` for the same image with these values, without running the network again."""
        model, _, probabilities = self._answer(prediction.logits, values)
        return dataclasses.replace(prediction, model=model, probabilities=probabilities)

    def contributions(self, prediction: Prediction) -> Contributions:
        """The contributions of the measured features to the logits. ModelError for networks, which measure none."""
        if self._on_features is None or prediction.measured is None:
            raise ModelError(f"The model '{self.model.id}' measures no features.")
        return self._on_features.contributions(prediction.measured)

    def _answer(self, logits: np.ndarray, values: Metadata | None) -> tuple[Model, np.ndarray, np.ndarray]:
        """The model that answers, the logits and the probabilities."""
        total, answering = logits.astype(np.float64), self.model
        if self._base and not values:
            answering = self._base
        elif self._fusion:
            total = self._fusion.add(total, metadata.code(self.model.clinical, values or {}))
        return answering, logits, softmax(total / answering.temperature)


def base(model: Model) -> Model | None:
    """The model for images alone with the same network; None for a model that uses no metadata, or if its base is not
    in the folder next to it."""
    if "fusion" not in model.card:
        return None
    try:
        base = registry.read_model(model.folder.parent / model.card["fusion"]["base"])
    except ModelError:
        return None
    return base if base.runnable and base.hashes == model.hashes else None


def check_one_image(model: Model) -> None:
    """ModelError for a pair, which needs two images."""
    if model.kind == "pair":
        raise ModelError(
            f"One image is missing: the model '{model.id}' takes a dermoscopy image and a close-up of the same lesion. "
            "Run classify DERMOSCOPY --close-up PHOTO, or choose a model for one image."
        )


def _network(model: Model, name: str, threads: int) -> Network:
    """One LiteRT file of the model, as a function. ModelError if it cannot be loaded, or its input or outputs do not
    match the card, and thus the other members."""
    try:
        interpreter = Interpreter(model_content=registry.verified_bytes(model, name), num_threads=threads)
        run = interpreter.get_signature_runner()
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"The model '{model.id}' cannot be run here ({error}).") from error
    size = model.input_size
    expected = {"image": (size, size, 3)} | {key: tuple(shape) for key, shape in model.card["outputs"].items()}
    details = run.get_input_details() | run.get_output_details()
    actual = {key: tuple(map(int, detail["shape"][1:])) for key, detail in details.items()}
    if actual != expected:
        wrong = next(key for key in (*expected, *actual) if actual.get(key) != expected.get(key))
        raise ModelError(
            f"In the file {name} of the model '{model.id}', {wrong} has the shape {_shape(actual.get(wrong))}, not "
            f"{_shape(expected.get(wrong))} as the card says; export the model again."
        )

    def outputs(images: np.ndarray) -> dict[str, np.ndarray]:
        # the signature runner does not keep its interpreter alive
        assert interpreter
        # networks that end in dense layers take one image at a time
        parts = [images] if model.has_class_maps else [images[[row]] for row in range(len(images))]
        results = [{key: value.copy() for key, value in run(image=part).items()} for part in parts]
        return {key: np.concatenate([result[key] for result in results]) for key in results[0]}

    return outputs


def _shape(shape: tuple[int, ...] | None) -> str:
    return "none" if shape is None else " x ".join(map(str, shape))


def _mean(values: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """The mean over the axes, float32; of a single value, that value."""
    return values.mean(axis=axes, dtype=np.float64).astype(np.float32)


def _malignant(model: Model) -> list[bool]:
    """Which of the model's classes count as malignant."""
    return [label.malignant for label in model.labels.labels]


def network_input(model: Model, pixels: np.ndarray, remove: Collection[str] = ()) -> np.ndarray:
    """A square, uint8 RGB of any size, as the network sees it, see `removed_from`."""
    removed = removed_from(model, pixels, remove)
    return removed.pixels if removed else pixels


def removed_from(model: Model, pixels: np.ndarray, remove: Collection[str] = ()) -> Removed | None:
    """A square, uint8 RGB of any size, with the artefacts removed that the model was trained without, and those in
    `remove`; None if neither names any. Only this function decides what is removed."""
    kinds = {*model.removes, *remove}
    if not kinds:
        return None
    # SciPy and scikit-image take most of a second to load
    from skinapp.images import artefacts

    return artefacts.remove(pixels, kinds)


_loaded: OrderedDict[tuple[str, ...], Classifier] = OrderedDict()
"""Least recently used first; at most `registry.MAX_ROOT_BYTES` bytes of weights, so that every shipped model fits."""
_loading = threading.Lock()


def classifier(model: Model) -> Classifier:
    """The model's Classifier, loaded once per process, and reloaded only when its published files change."""
    key = _published(model)
    with _loading:
        if key not in _loaded:
            _loaded[key] = Classifier(registry.read_again(model))
        _loaded.move_to_end(key)
        while len(_loaded) > 1 and sum(map(_weight, _loaded.values())) > registry.MAX_ROOT_BYTES:
            _loaded.popitem(last=False)
        return _loaded[key]


def forget_images() -> None:
    """Classify a blank image with every loaded model; otherwise its input buffer would keep the last image until the
    next one."""
    for loaded in list(_loaded.values()):
        loaded.predict_input(np.zeros((loaded.model.input_size,) * 2 + (3,), np.uint8))


TIMED = 9
"""Classifications that `milliseconds` times."""


@functools.lru_cache(maxsize=64)
def _timed(published: tuple[str, ...]) -> tuple[float, float, float]:
    timed = [Classifier(model) for model in registry.pictures(registry.read_model(Path(published[0])))]
    size = timed[0].model.input_size
    pixels = np.full((size, size, 3), 128, np.uint8)
    if any(not classifier.model.is_network for classifier in timed):
        # features models need a lesion to measure
        pixels = imaging.crop_resize(synthetic.draw(1), size)
    durations = []
    for _ in range(TIMED + 2):
        start = time.perf_counter()
        for classifier in timed:
            classifier.predict(pixels)
        durations.append(1000 * (time.perf_counter() - start))
    # the first two warm up
    durations = durations[2:]
    return statistics.median(durations), min(durations), max(durations)


def milliseconds(model: Model) -> tuple[float, float, float]:
    """Median, minimum and maximum milliseconds per image, or pair of images, on this machine, over TIMED runs.

    Measured once per process, and again when the published files change. ModelError if the model cannot be run.
    """
    return _timed(_published(model))


def _published(model: Model) -> tuple[str, ...]:
    """The folder of a model, its weights, since both networks of a pair are in one folder, and the hash of its card,
    which lists the hashes of all files."""
    card = json.dumps(model.card, sort_keys=True)
    return str(model.folder), *model.weights, hashlib.sha256(card.encode()).hexdigest()


def _weight(loaded: Classifier) -> int:
    return registry.size(loaded.model)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities along the last axis."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)
