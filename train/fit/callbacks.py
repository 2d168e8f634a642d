"""Callbacks: seeds, progress, history, early stopping, checkpoints and Ctrl-C."""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator, Sized
from pathlib import Path
from types import FrameType
from typing import Protocol

import keras
import numpy as np
import pandas as pd
from tqdm import tqdm

from skinapp.files import replacing
from train.config import Stage
from train.fit.devices import IMAGES
from train.fit.run_folder import stage_epochs, stage_scores


class EpochBatches(Sized, Protocol):
    """Batches that are sampled again for each epoch."""

    batch: int

    def start(self, epoch: int) -> None: ...


class StartEpoch(keras.callbacks.Callback):
    """Samples each epoch's rows and seeds its augmentation from the epoch number alone. Adds the training images per
    second to the logs, so it has to come before callbacks that take time after an epoch."""

    def __init__(self, batches: EpochBatches, seed: int):
        super().__init__()
        self.batches, self.seed = batches, seed

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.batches.start(epoch)
        for number, state in enumerate(seeds(self.model)):
            # the second number counts random draws, so this keeps epochs apart
            state.assign([self.seed + number, epoch << 20])
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        seconds = time.perf_counter() - self.started
        logs["images_per_second"] = round(len(self.batches) * self.batches.batch / seconds, 1)


def seeds(model: keras.Model) -> list[keras.Variable]:
    """The state [2] of every random number generator in a model: augmentation, dropout and stochastic depth."""
    return [variable for variable in model.variables if variable.name == "seed_generator_state"]


class Progress(keras.callbacks.Callback):
    """A bar over the whole stage: images per second, time left, and the last validation scores."""

    def __init__(self, batches: EpochBatches, epochs: int):
        super().__init__()
        self.batches, self.epochs = batches, epochs
        self.bar = tqdm(total=epochs * len(batches) * batches.batch, unit=" images", mininterval=5)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.bar.n = epoch * len(self.batches) * self.batches.batch
        self.bar.set_description(f"epoch {epoch + 1} of {self.epochs}")
        self.started = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.bar.update(self.batches.batch)

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        logs["seconds"] = round(time.perf_counter() - self.started, 1)
        scores = {name.removeprefix("val_"): f"{logs[name]:.3f}" for name in logs if name.startswith("val_")}
        self.bar.set_postfix(scores)

    def close(self) -> None:
        self.bar.close()


class History(keras.callbacks.Callback):
    """A CSV with one row per epoch; the row of an epoch that is repeated after an interruption is replaced."""

    def __init__(self, file: Path):
        super().__init__()
        self.file = file

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        table = pd.DataFrame([{"epoch": epoch} | logs])
        if self.file.exists():
            earlier = pd.read_csv(self.file)
            table = pd.concat([earlier[earlier["epoch"] < epoch], table])
        with replacing(self.file) as partial:
            table.to_csv(partial, index=False)


class Patience(keras.callbacks.Callback):
    """Ends a stage when its scores stop improving. Keras's own callback restarts its count after an interruption."""

    def __init__(self, stage: Stage, folder: Path, patience: int):
        super().__init__()
        self.stage, self.folder, self.patience = stage, folder, patience

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.model.stop_training = epoch + 1 == stage_epochs(self.stage, stage_scores(self.folder), self.patience)


class Checkpoint(keras.callbacks.Callback):
    """Saves the state of training after each epoch as `checkpoint-<finished epochs>.npz`, and deletes older ones.

    It is a single file, complete or absent. Keras's own callback writes weights and epoch to two files, in place, so a
    process killed between the two resumes with the weights of another epoch.
    """

    def __init__(self, folder: Path):
        super().__init__()
        self.folder = folder

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        older = list(self.folder.glob("checkpoint-*.npz"))
        with replacing(self.folder / f"checkpoint-{epoch + 1}.npz") as partial, partial.open("wb") as stream:
            np.savez(stream, *[keras.ops.convert_to_numpy(variable) for variable in state(self.model)])
        for file in older:
            file.unlink()


def state(trainer: keras.Model) -> list[keras.Variable]:
    """Every variable of a model and its optimizer, except images on the device, which never change."""
    trainer.optimizer.build(trainer.trainable_variables)
    return [variable for variable in (*trainer.variables, *trainer.optimizer.variables) if variable.name != IMAGES]


def resume(trainer: keras.Model, folder: Path) -> int:
    """Load the newest state in a stage's folder, if any; return the number of epochs that it has finished."""
    files = {int(file.stem.removeprefix("checkpoint-")): file for file in folder.glob("checkpoint-*.npz")}
    done = max(files, default=0)
    if done:
        with np.load(files[done]) as arrays:
            for variable, value in zip(state(trainer), arrays.values(), strict=True):
                variable.assign(value)
    return done


@contextlib.contextmanager
def interruptible() -> Iterator[keras.callbacks.Callback]:
    """A callback that ends training after the batch in which Ctrl-C was pressed.

    KeyboardInterrupt is also raised immediately, but Keras swallows it wherever it catches all exceptions, for example
    while building layers.
    """
    usual = signal.getsignal(signal.SIGINT)
    # background jobs must ignore Ctrl-C, and other threads cannot catch it
    here = usual is signal.default_int_handler and threading.current_thread() is threading.main_thread()
    pressed = []

    def note(number: int, frame: FrameType | None) -> None:
        pressed.append(number)
        signal.default_int_handler(number, frame)

    def end(_: int, logs: dict | None = None) -> None:
        if pressed:
            raise KeyboardInterrupt

    if here:
        signal.signal(signal.SIGINT, note)
    try:
        yield keras.callbacks.LambdaCallback(on_train_batch_end=end, on_epoch_end=end)
    finally:
        if here:
            signal.signal(signal.SIGINT, usual)
