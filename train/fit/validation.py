"""Scores of an epoch on the validation images."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import keras
import numpy as np
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss

from skinapp.errors import DataError
from skinapp.inference.runtime import softmax
from train.fit import hosts

MONITOR = "val_balanced_log_loss"
"""The score that chooses the epoch: cross-entropy with equal weight for every class. It is more stable than balanced
accuracy, which a handful of dermatofibromas can change by several points."""


@dataclass(frozen=True)
class Choice:
    """A function that saves the best network, and the best score so far, lower is better; None before the first
    epoch."""

    save: Callable[[], None]
    best_so_far: float | None


class Validate(keras.callbacks.Callback):
    """Adds scores on validation images to the epoch's logs, as `val_<prefix><score>`; with a `choice`, saves the best
    network.

    If the optimizer averages the weights, the average is validated and saved. DataError if logits are not finite.
    """

    def __init__(
        self,
        model: keras.Model,
        images: np.ndarray,
        labels: np.ndarray,
        batch: int,
        choice: Choice | None,
        prefix: str = "",
    ):
        super().__init__()
        self.images, self.labels, self.batch = images, labels, batch
        self.predict = hosts.predictor(model) if hosts.count() > 1 else functools.partial(predict, model)
        self.prefix, self.choice = prefix, choice
        self.best = choice.best_so_far if choice else None

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        with averaged(self.model):
            logits = self.predict(self.images, self.batch)
            if not np.isfinite(logits).all():
                raise DataError(
                    f"Training diverged in epoch {epoch + 1}: the logits are not finite. Lower the learning rate, "
                    "or train with precision=float32. Earlier epochs are saved."
                )
            scores = validation_scores(self.labels, softmax(logits))
            logs |= {name.replace("val_", f"val_{self.prefix}"): score for name, score in scores.items()}
            if self.choice and (self.best is None or logs[MONITOR] < self.best):
                self.best = logs[MONITOR]
                self.choice.save()


@contextlib.contextmanager
def averaged(trainer: keras.Model) -> Iterator[None]:
    """Replace the weights with their moving average, if the optimizer keeps one."""
    if not trainer.optimizer.use_ema:
        yield
        return
    variables = trainer.trainable_variables
    current = [keras.ops.convert_to_numpy(variable).copy() for variable in variables]
    trainer.optimizer.finalize_variable_values(variables)
    for variable in variables:
        # in JAX, the average and the weights may share a buffer, which prediction donates
        variable.assign(keras.ops.copy(variable))
    try:
        yield
    finally:
        for variable, value in zip(variables, current, strict=True):
            variable.assign(value)


def validation_scores(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """The scores that choose an epoch, of class indices [n] and probabilities [n, classes]."""
    predicted = probabilities.argmax(axis=1)
    balance = 1 / np.bincount(labels)[labels]
    return {
        "val_accuracy": accuracy_score(labels, predicted),
        "val_balanced_accuracy": balanced_accuracy_score(labels, predicted),
        MONITOR: log_loss(labels, probabilities, sample_weight=balance, labels=range(probabilities.shape[1])),
    }


def predict(model: keras.Model, images: np.ndarray, batch: int = 32) -> np.ndarray:
    """Logits, float32 [n, classes], of uint8 images [n, size, size, 3]."""
    filled = hosts.whole_batches(images, batch)
    return np.asarray(model.predict(filled, batch_size=batch, verbose=0))[: len(images)]


def resize(images: np.ndarray, size: int) -> np.ndarray:
    """Uint8 images [n, s, s, 3] at another size, rounded to uint8."""
    if images.shape[1] == size:
        return images
    layer = keras.layers.Resizing(size, size, antialias=True)
    parts = [
        keras.ops.convert_to_numpy(keras.ops.round(layer(images[start : start + 64].astype(np.float32))))
        for start in range(0, len(images), 64)
    ]
    return np.concatenate(parts).clip(0, 255).astype(np.uint8)
