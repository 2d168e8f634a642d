"""Runs an exported model with LiteRT: calibrated probabilities, class maps and embedding. Never imports TensorFlow."""

import dataclasses
import functools
import os
import statistics
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from skinapp.errors import ModelError
from skinapp.images import hair
from skinapp.inference import metadata, registry
from skinapp.inference.metadata import Metadata
from skinapp.inference.registry import Model


@dataclass(frozen=True)
class Prediction:
    """What a model predicts for one image and, where it takes any, patient metadata.

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
                f"Of the model '{model.id}' only the figures are here, not the weights; its README.md says how to "
                "train it."
            )
        registry.verify(model)
        try:
            interpreter = Interpreter(
                model_content=registry.verified_bytes(model, "model.tflite"),
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

        `values`, as `metadata.parse` gives them, move the probabilities of a model that takes any.
        """
        return self.predict_input(network_input(self.model, pixels), values)

    def predict_input(self, pixels: np.ndarray, values: Metadata | None = None) -> Prediction:
        """The same of what `network_input` gives, and of altered copies of it."""
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
    """A square, uint8 RGB of any size, as the network sees it: without hairs where the model learnt from images without
    any, or where the visitor chose so. Nothing else decides on hairs."""
    return hair.remove(pixels) if remove_hair or model.removes_hair else pixels


@functools.lru_cache(maxsize=8)
def _loaded(model_id: str, folder: str, sha256: str) -> Classifier:
    return Classifier(registry.read_model(Path(folder)))


def classifier(model: Model) -> Classifier:
    """The model's Classifier, loaded once per process and again only when its published file changes."""
    file = model.card["files"].get("model.tflite", {})
    return _loaded(model.id, str(model.folder), file.get("sha256", ""))


TIMED = 9


@functools.lru_cache(maxsize=64)
def _timed(model_id: str, folder: str, sha256: str) -> tuple[float, float, float]:
    answer = Classifier(registry.read_model(Path(folder)))
    pixels = np.full((answer.model.input_size, answer.model.input_size, 3), 128, np.uint8)
    milliseconds = []
    for _ in range(TIMED + 2):
        start = time.perf_counter()
        answer.predict(pixels)
        milliseconds.append(1000 * (time.perf_counter() - start))
    # the first two load what later ones find loaded
    kept = milliseconds[2:]
    return statistics.median(kept), min(kept), max(kept)


def milliseconds(model: Model) -> tuple[float, float, float]:
    """Median, least and most milliseconds that the model takes for an image on this machine, of TIMED answers.

    Measured once per process, and again when the published file changes. ModelError where the model cannot be run.
    """
    file = model.card["files"].get("model.tflite", {})
    return _timed(model.id, str(model.folder), file.get("sha256", ""))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities along the last axis."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)
