"""Training: stages of growing image size, resumable after every epoch, the best epoch kept by validation."""

import contextlib
import dataclasses
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss
from tqdm import tqdm

from skinapp.errors import DataError
from skinapp.labels import label_set
from skinapp.runtime import softmax
from train import augment, losses, network
from train.config import SAMPLING, Config, Stage
from train.datasets import Dataset, prepare, with_validation

MONITOR = "val_balanced_log_loss"
"""Chooses the epoch: cross-entropy with every class weighing the same. Steadier than balanced accuracy, which a
handful of dermatofibromas moves by points."""


class Batches(keras.utils.PyDataset):
    """Batches of an epoch, drawn from a memory-mapped cache.

    A batch holds `images`, uint8 [b, s, s, 3], and `targets`, one-hot float32 [b, classes].

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

    def __getitem__(self, index: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        # sorted rows read a memory map faster, and order within a batch does not matter
        rows = np.sort(self.current[index * self.batch : (index + 1) * self.batch])
        targets = self.targets[rows]
        return {"images": self.images[rows], "targets": targets}, {"loss": targets, "logits": targets}


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
    """Adds the validation scores to the epoch's logs, and keeps the best network: written beside, then renamed.

    Where the optimizer averages the weights, it is the average that is validated and kept.
    """

    def __init__(
        self, model: keras.Model, images: np.ndarray, labels: np.ndarray, file: Path, best_so_far: float | None
    ):
        super().__init__()
        self.network, self.images, self.labels, self.file, self.best = model, images, labels, file, best_so_far

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        with averaged(self.model):
            logs |= validation_scores(self.labels, softmax(predict(self.network, self.images)))
            if self.best is None or logs[MONITOR] < self.best:
                self.best = logs[MONITOR]
                partial = self.file.with_name("partial.keras")
                try:
                    self.network.save(partial)
                except OSError as error:
                    raise DataError(
                        f"The network of epoch {epoch + 1} cannot be saved to {partial} ({error}). Make room and run "
                        "fit again; earlier epochs are safe."
                    ) from error
                partial.replace(self.file)


class Progress(keras.callbacks.Callback):
    """A bar over the whole stage: images per second, time left, and the last validation scores."""

    def __init__(self, batches: Batches, epochs: int):
        super().__init__()
        self.batches, self.epochs = batches, epochs

    def on_train_begin(self, logs: dict | None = None) -> None:
        self.bar = tqdm(total=self.epochs * len(self.batches) * self.batches.batch, unit=" images", mininterval=5)

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

    def on_train_end(self, logs: dict | None = None) -> None:
        self.bar.close()


def fit(config: Config, runs: Path, devices: int = 1) -> Path:
    """Train every stage of `config`, resuming what is there; gives the file of the best network, a whole model."""
    run = open_run(config, runs)
    data = prepare(config.dataset, config.cache_size, runs)
    table = with_validation(data.table, config.folds, config.fold, config.seed)
    classes = len(label_set(config.labels).codes)
    # the initial weights of the last layer
    keras.utils.set_random_seed(config.seed)
    keras.config.set_dtype_policy(config.precision)
    previous = None
    try:
        for number, stage in enumerate(config.stages):
            folder = run / f"stage-{number + 1}"
            folder.mkdir(exist_ok=True)
            if not (folder / "done").exists():
                with distributed(devices):
                    if previous is None:
                        model = network.build(
                            config.architecture, stage.image_size, classes, config.init, config.dropout
                        )
                    else:
                        model = network.resized(
                            keras.saving.load_model(previous, compile=False),
                            config.architecture,
                            stage.image_size,
                            config.dropout,
                        )
                    fit_stage(config, stage, model, Dataset(table, data.images), folder, config.seed + 1000 * number)
            # the next stage goes on from the last epoch: a better one by validation may only have been a lucky one
            previous = folder / "last.keras"
    finally:
        keras.config.set_dtype_policy("float32")
        write_run_file(config, run, devices)
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
    trainer = training_model(config, stage, model, np.bincount(codes[train_rows]), data.images.shape[1], seed)
    trainer.compile(
        optimizer=optimizer(config, stage, len(batches)),
        loss={"loss": lambda _, values: keras.ops.mean(values), "logits": None},
        metrics={"logits": keras.metrics.CategoricalAccuracy(name="accuracy")},
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )
    history_file = folder / "history.csv"
    best_so_far = pd.read_csv(history_file)[MONITOR].min() if history_file.exists() else None
    trainer.fit(
        batches,
        epochs=stage.epochs,
        verbose=0,
        callbacks=[
            StartEpoch(batches, seed),
            Validate(
                model,
                resize(data.images[validation_rows], stage.image_size),
                codes[validation_rows],
                folder / "best.keras",
                best_so_far,
            ),
            Progress(batches, stage.epochs),
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


def training_model(
    config: Config, stage: Stage, model: keras.Model, counts: np.ndarray, cache_size: int, seed: int
) -> keras.Model:
    """The network between its augmentation and its loss, all on the device.

    Inputs `images` uint8 [n, cache_size, cache_size, 3] and `targets` [n, classes]; outputs `loss` [n] of the targets
    as MixUp or CutMix left them, and `logits` [n, classes].
    """
    images = keras.Input((cache_size, cache_size, 3), dtype="uint8", name="images")
    targets = keras.Input((len(counts),), name="targets")
    x = keras.layers.Resizing(stage.image_size, stage.image_size, antialias=True)(images)
    for layer in augment.POLICIES[config.augmentation](seed):
        x = layer(x)
    mixed = {"images": x, "labels": targets}
    for layer in augment.mixing(config.mixup, config.cutmix, seed):
        mixed = layer(mixed)
    logits = model(mixed["images"])
    loss = losses.build(config.loss, counts, config.label_smoothing)
    return keras.Model(
        {"images": images, "targets": targets}, {"loss": loss(mixed["labels"], logits), "logits": logits}
    )


def optimizer(config: Config, stage: Stage, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """AdamW or SGD with a linear warm-up and a cosine, and the moving average of the weights where it is asked for."""
    warmup = round(stage.warmup_epochs * steps_per_epoch)
    rate = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=stage.learning_rate / 100,
        warmup_target=stage.learning_rate,
        warmup_steps=warmup,
        decay_steps=stage.epochs * steps_per_epoch - warmup,
        alpha=stage.final_rate / stage.learning_rate,
    )
    average = {"use_ema": config.ema > 0, "ema_momentum": config.ema or 0.99}
    if config.optimizer == "sgd":
        return keras.optimizers.SGD(rate, momentum=0.9, weight_decay=config.weight_decay, **average)
    return keras.optimizers.AdamW(rate, weight_decay=config.weight_decay, **average)


@contextlib.contextmanager
def averaged(trainer: keras.Model) -> Iterator[None]:
    """The weights' moving average in place of the weights; nothing changes where the optimizer keeps none."""
    if not trainer.optimizer.use_ema:
        yield
        return
    variables = trainer.trainable_variables
    current = [keras.ops.convert_to_numpy(variable).copy() for variable in variables]
    trainer.optimizer.finalize_variable_values(variables)
    try:
        yield
    finally:
        for variable, value in zip(variables, current, strict=True):
            variable.assign(value)


@contextlib.contextmanager
def distributed(devices: int) -> Iterator[None]:
    """Data parallelism over that many devices: `tf.distribute` on TensorFlow, Keras distribution on JAX.

    DataError where there are not so many, or the backend is PyTorch and more than one is asked for.
    """
    backend = keras.backend.backend()
    if devices == 1:
        yield
    elif backend == "tensorflow":
        import tensorflow as tf

        found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        _enough(devices, len(found))
        with tf.distribute.MirroredStrategy([device.name for device in found[:devices]]).scope():
            yield
    elif backend == "jax":
        found = keras.distribution.list_devices()
        _enough(devices, len(found))
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=found[:devices]))
        try:
            yield
        finally:
            keras.distribution.set_distribution(None)
    else:
        raise DataError(f"On {backend} one device is used; take KERAS_BACKEND=tensorflow or jax for several.")


def _enough(wanted: int, found: int) -> None:
    if wanted > found:
        raise DataError(f"{wanted} devices are asked for and {found} found; pass --devices {found}.")


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


def write_run_file(config: Config, run: Path, devices: int) -> None:
    """`run.json`: settings, versions, commit, hardware, and what the finished epochs took."""
    epochs = [pd.read_csv(file) for file in sorted(run.glob("stage-*/history.csv"))]
    seconds = float(sum(table["seconds"].sum() for table in epochs))
    images = sum(len(table) for table in epochs) * (config.samples_per_epoch // config.batch_size) * config.batch_size
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"],  # noqa: S607
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    content = {
        "config": dataclasses.asdict(config),
        "versions": {name: importlib.metadata.version(name) for name in ("keras", "numpy", keras.backend.backend())},
        "commit": commit.stdout.strip() or None,
        "hardware": {
            "system": platform.platform(),
            "cores": os.cpu_count(),
            "backend": keras.backend.backend(),
            "devices": devices,
        },
        "wall_seconds": round(seconds),
        "images_per_second": round(images / seconds, 2) if seconds else None,
    }
    (run / "run.json").write_text(json.dumps(content, indent=2))
