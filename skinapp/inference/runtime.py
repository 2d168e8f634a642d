"""Runs an exported model with LiteRT: calibrated probabilities, class maps and embedding. Never imports TensorFlow."""

import dataclasses
import functools
import os
import statistics
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from skinapp.errors import ModelError
from skinapp.images import hair
from skinapp.inference import metadata, registry
from skinapp.inference.metadata import Metadata
from skinapp.inference.registry import Model

WEIGHTS = "model.tflite"


@dataclass(frozen=True)
class Prediction:
    """What a model predicts for one image and, if it uses any, patient metadata.

    logits float32 [K], the image's, before the temperature; probabilities float64 [K], calibrated, summing to 1, with
    the metadata; class_maps float32 [h, w, K], whose mean over the image
    plus a constant is the logit, None for networks that end in dense layers; embedding float32 [D].
    """

    model: Model
    logits: np.ndarray
    probabilities: np.ndarray
    class_maps: np.ndarray | None
    embedding: np.ndarray

    @property
    def predicted(self) -> str:
        """The code of the class with the highest probability."""
        return self.model.labels.codes[int(self.probabilities.argmax())]

    @property
    def malignancy(self) -> float:
        """The summed probability of the classes that count as malignant."""
        malignant = [label.malignant for label in self.model.labels.labels]
        return float(self.probabilities[malignant].sum())


class Classifier:
    """A loaded model. `predict` may be called from several threads; they take turns."""

    def __init__(self, model: Model, threads: int | None = None):
        """Check every file of the model against its hash and load it; `threads` defaults to the number of cores."""
        if not model.runnable:
            raise ModelError(
                f"The model '{model.id}' cannot be run: only the figures are here, not the weights; its README.md says "
                "how to train it."
            )
        registry.verify(model)
        try:
            interpreter = Interpreter(
                model_content=registry.verified_bytes(model, WEIGHTS),
                num_threads=threads or os.cpu_count(),
            )
            self._run = interpreter.get_signature_runner()
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"The model '{model.id}' cannot be run here ({error}).") from error
        self._fusion = None
        if model.clinical:
            content = registry.verified_bytes(model, metadata.WEIGHTS_FILE)
            self._fusion = metadata.from_json(content, model.clinical, len(model.labels.codes))
        # the signature runner does not keep its interpreter alive
        self._interpreter = interpreter
        self._lock = threading.Lock()
        self.model = model

    def predict(self, pixels: np.ndarray, values: Metadata | None = None) -> Prediction:
        """Uint8 RGB [size, size, 3], as `imaging.crop_resize` gives it, to a Prediction.

        `values`, as `metadata.parse` returns them, shift the probabilities of a model that uses metadata.
        """
        return self.predict_input(network_input(self.model, pixels), values)

    def predict_input(self, pixels: np.ndarray, values: Metadata | None = None) -> Prediction:
        """The same, for the output of `network_input` and altered copies of it."""
        size = self.model.input_size
        if pixels.shape != (size, size, 3) or pixels.dtype != np.uint8:
            raise ValueError(f"expected uint8 [{size}, {size}, 3], got {pixels.dtype} {list(pixels.shape)}")
        with self._lock:
            outputs = {
                name: value[0].copy() for name, value in self._run(image=pixels[np.newaxis].astype(np.float32)).items()
            }
        logits = outputs["logits"]
        probabilities = self._probabilities(logits, values or {})
        return Prediction(self.model, logits, probabilities, outputs.get("class_maps"), outputs["embedding"])

    def with_metadata(self, prediction: Prediction, values: Metadata) -> Prediction:
        """What `predict` would give the same image with these values, without running the network again."""
        return dataclasses.replace(prediction, probabilities=self._probabilities(prediction.logits, values))

    def _probabilities(self, logits: np.ndarray, values: Metadata) -> np.ndarray:
        total = logits.astype(np.float64)
        if self._fusion:
            total = self._fusion.add(total, metadata.code(self.model.clinical, values))
        return softmax(total / self.model.temperature)


def network_input(model: Model, pixels: np.ndarray, remove_hair: bool = False) -> np.ndarray:
    """A square, uint8 RGB of any size, as the network sees it: without hairs where the model was trained on images
    without any, or where the visitor chose so. Hair removal is decided only here."""
    return hair.remove(pixels) if remove_hair or model.removes_hair else pixels


_loaded: OrderedDict[tuple[str, ...], Classifier] = OrderedDict()
"""Least recently used first; `registry.LARGEST_ROOT` bytes of weights at most, so that every shipped model fits."""
_loading = threading.Lock()


def classifier(model: Model) -> Classifier:
    """The model's Classifier, loaded once per process and again only when its published files change."""
    key = _published(model)
    with _loading:
        if key not in _loaded:
            _loaded[key] = Classifier(registry.read_model(model.folder))
        _loaded.move_to_end(key)
        while len(_loaded) > 1 and sum(map(_weight, _loaded.values())) > registry.LARGEST_ROOT:
            _loaded.popitem(last=False)
        return _loaded[key]


TIMED = 9
"""Classifications that `milliseconds` times."""


@functools.lru_cache(maxsize=64)
def _timed(published: tuple[str, ...]) -> tuple[float, float, float]:
    timed = Classifier(registry.read_model(Path(published[0])))
    pixels = np.full((timed.model.input_size, timed.model.input_size, 3), 128, np.uint8)
    durations = []
    for _ in range(TIMED + 2):
        start = time.perf_counter()
        timed.predict(pixels)
        durations.append(1000 * (time.perf_counter() - start))
    # the first two warm up
    durations = durations[2:]
    return statistics.median(durations), min(durations), max(durations)


def milliseconds(model: Model) -> tuple[float, float, float]:
    """Median, minimum and maximum milliseconds per image on this machine, of TIMED runs.

    Measured once per process, and again when the published files change. ModelError where the model cannot be run.
    """
    return _timed(_published(model))


def _published(model: Model) -> tuple[str, ...]:
    """The folder of a model and the hashes of the files that its predictions depend on."""
    files = model.card["files"]
    return str(model.folder), *(files.get(name, {}).get("sha256", "") for name in (WEIGHTS, metadata.WEIGHTS_FILE))


def _weight(loaded: Classifier) -> int:
    return loaded.model.card["files"][WEIGHTS]["size"]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities along the last axis."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)
