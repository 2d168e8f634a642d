"""Training: stages of growing image size, resumable after every epoch, the best epoch kept by validation."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss

from skinapp.errors import DataError
from skinapp.labels import label_set
from skinapp.runtime import softmax
from train import augment, network
from train.config import SAMPLING, Config, Stage
from train.datasets import Dataset, prepare, with_validation

MONITOR = "val_balanced_log_loss"
"""Chooses the epoch: cross-entropy with every class weighing the same. Steadier than balanced accuracy, which a
handful of dermatofibromas moves by points."""


class Batches(keras.utils.PyDataset):
    """Batches of an epoch, drawn from a memory-mapped cache: uint8 [b, s, s, 3] and one-hot float32 [b, classes].

    `rows` is called with the epoch's number and gives the cache rows of the whole epoch, so that an epoch is the same
    whether the run was interrupted before it or not.
    """

    def __init__(self, images: np.ndarray, targets: np.ndarray, rows: Callable[[int], np.ndarray], batch: int):
        super().__init__()
        self.images, self.targets, self.rows, self.batch = images, targets, rows, batch
        self.start(0)

    def start(self, epoch: int) -> None:
        self.current = self.rows(epoch)

    def __len__(self) -> int:
        return len(self.current) // self.batch

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        # sorted rows read a memory map faster, and order within a batch does not matter
        rows = np.sort(self.current[index * self.batch : (index + 1) * self.batch])
        return self.images[rows], self.targets[rows]


class StartEpoch(keras.callbacks.Callback):
    """Draws each epoch's rows and seeds its augmentation from the epoch's number alone."""

    def __init__(self, batches: Batches, seed: int):
        super().__init__()
        self.batches, self.seed = batches, seed

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.batches.start(epoch)
        for number, generator in enumerate(seed_generators(self.model)):
            # the second number counts the draws, so epochs lie far apart
            generator.state.assign([self.seed + number, epoch << 20])


def seed_generators(model: keras.Model) -> list[keras.random.SeedGenerator]:
    """Every source of random numbers in a model: augmentation, dropout and skipped blocks."""
    found = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found += seed_generators(layer)
        found += [getattr(layer, name) for name in ("generator", "seed_generator") if hasattr(layer, name)]
    return found


class Validate(keras.callbacks.Callback):
    """Adds the scores on the validation images to the epoch's logs."""

    def __init__(self, model: keras.Model, images: np.ndarray, labels: np.ndarray):
        super().__init__()
        self.network, self.images, self.labels = model, images, labels

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        probabilities = softmax(predict(self.network, self.images))
        logs |= validation_scores(self.labels, probabilities)


def fit(config: Config, runs: Path) -> Path:
    """Train every stage of `config`, resuming what is there; gives the file of the best network, a whole model."""
    run = open_run(config, runs)
    data = prepare(config.dataset, config.cache_size, runs)
    table = with_validation(data.table, config.folds, config.fold, config.seed)
    labels = label_set(config.labels)
    # the initial weights of the last layer
    keras.utils.set_random_seed(config.seed)
    previous = None
    for number, stage in enumerate(config.stages):
        folder = run / f"stage-{number + 1}"
        folder.mkdir(exist_ok=True)
        if not (folder / "done").exists():
            if previous is None:
                model = network.build(
                    config.architecture, stage.image_size, len(labels.codes), config.init, config.dropout
                )
            else:
                model = network.resized(
                    keras.saving.load_model(previous, compile=False),
                    config.architecture,
                    stage.image_size,
                    config.dropout,
                )
            print(f"stage {number + 1} of {len(config.stages)}: {stage}", flush=True)
            fit_stage(config, stage, model, Dataset(table, data.images), folder, config.seed + 1000 * number)
        # the next stage goes on from the last epoch: a better one by validation may only have been a lucky one
        previous = folder / "last.keras"
    return folder / "best.keras"


def fit_stage(config: Config, stage: Stage, model: keras.Model, data: Dataset, folder: Path, seed: int) -> None:
    """Train one stage and leave `best.keras`, `last.keras`, `history.csv` and the mark `done` in `folder`."""
    labels = label_set(config.labels)
    codes = data.table["label"].map({code: index for index, code in enumerate(labels.codes)}).to_numpy()
    train_rows = np.flatnonzero(data.table["split"] == "train")
    validation_rows = np.flatnonzero(data.table["split"] == "validation")
    weights = sampling_weights(codes[train_rows], SAMPLING[config.sampling])

    def rows(epoch: int) -> np.ndarray:
        generator = np.random.default_rng([seed, epoch])
        return generator.choice(train_rows, config.samples_per_epoch, p=weights)

    batches = Batches(data.images, np.eye(len(labels.codes), dtype=np.float32)[codes], rows, config.batch_size)
    trainer = training_model(model, data.images.shape[1], stage.image_size, seed)
    steps = stage.epochs * len(batches)
    warmup = round(stage.warmup_epochs * len(batches))
    trainer.compile(
        optimizer=keras.optimizers.AdamW(
            keras.optimizers.schedules.CosineDecay(
                initial_learning_rate=stage.learning_rate / 100,
                warmup_target=stage.learning_rate,
                warmup_steps=warmup,
                decay_steps=steps - warmup,
                alpha=stage.final_rate / stage.learning_rate,
            ),
            weight_decay=config.weight_decay,
        ),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=config.label_smoothing),
        metrics=["accuracy"],
        jit_compile=False,
    )
    history_file = folder / "history.csv"
    best_so_far = pd.read_csv(history_file)[MONITOR].min() if history_file.exists() else None
    trainer.fit(
        batches,
        epochs=stage.epochs,
        verbose=2,
        callbacks=[
            StartEpoch(batches, seed),
            Validate(model, resize(data.images[validation_rows], stage.image_size), codes[validation_rows]),
            KeepBest(model, folder / "best.keras", best_so_far),
            History(history_file),
            keras.callbacks.EarlyStopping(MONITOR, patience=config.patience, baseline=best_so_far, mode="min"),
            keras.callbacks.BackupAndRestore(str(folder / "backup"), double_checkpoint=True, delete_checkpoint=False),
        ],
    )
    model.save(folder / "last.keras")
    (folder / "done").touch()
    shutil.rmtree(folder / "backup")


class History(keras.callbacks.Callback):
    """A CSV with one row per epoch; an epoch that is trained again after an interruption replaces its row."""

    def __init__(self, file: Path):
        super().__init__()
        self.file = file

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        table = pd.DataFrame([{"epoch": epoch} | logs])
        if self.file.exists():
            earlier = pd.read_csv(self.file)
            table = pd.concat([earlier[earlier["epoch"] < epoch], table])
        partial = self.file.with_name("partial.csv")
        table.to_csv(partial, index=False)
        partial.replace(self.file)


class KeepBest(keras.callbacks.Callback):
    """Saves the network, whole and without optimizer, whenever validation improves: written beside, then renamed."""

    def __init__(self, model: keras.Model, file: Path, best_so_far: float | None):
        super().__init__()
        self.network, self.file, self.best = model, file, best_so_far

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        if self.best is None or logs[MONITOR] < self.best:
            self.best = logs[MONITOR]
            partial = self.file.with_name("partial.keras")
            self.network.save(partial)
            partial.replace(self.file)


def training_model(model: keras.Model, cache_size: int, image_size: int, seed: int) -> keras.Model:
    """The network behind its augmentation: uint8 images of the cache's size -> logits."""
    images = keras.Input((cache_size, cache_size, 3), dtype="uint8")
    x = images
    for layer in augment.standard(image_size, seed):
        x = layer(x)
    return keras.Model(images, model(x))


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


def predict(model: keras.Model, images: np.ndarray, batch: int = 32) -> np.ndarray:
    """Logits, float32 [n, classes], of uint8 images [n, size, size, 3]."""
    return np.asarray(model.predict(images, batch_size=batch, verbose=0))


def sampling_weights(codes: np.ndarray, exponent: float) -> np.ndarray:
    """Drawing probability of each image: its class's count ** -exponent, normalised to sum 1."""
    weights = np.bincount(codes)[codes].astype(float) ** -exponent
    return weights / weights.sum()


def validation_scores(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """The scores that choose an epoch, of class indices [n] and probabilities [n, classes]."""
    predicted = probabilities.argmax(axis=1)
    balance = 1 / np.bincount(labels)[labels]
    return {
        "val_accuracy": accuracy_score(labels, predicted),
        "val_balanced_accuracy": balanced_accuracy_score(labels, predicted),
        MONITOR: log_loss(labels, probabilities, sample_weight=balance, labels=range(probabilities.shape[1])),
    }


def open_run(config: Config, runs: Path) -> Path:
    """The folder of this run. DataError where it belongs to another configuration."""
    run = runs / config.id
    settings_file = run / "config.json"
    settings = {"fingerprint": config.fingerprint} | dataclasses.asdict(config)
    if settings_file.exists():
        if json.loads(settings_file.read_text())["fingerprint"] != config.fingerprint:
            raise DataError(f"{run} was begun with other settings; move it away, or pass another --runs folder.")
    else:
        run.mkdir(parents=True, exist_ok=True)
        settings_file.write_text(json.dumps(settings, indent=2))
    return run
