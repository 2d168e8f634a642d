"""Training: stages of growing image size, resumable after every epoch, the best epoch kept by validation."""

import contextlib
import dataclasses
import functools
import importlib.metadata
import json
import os
import platform
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType

import keras
import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss
from tqdm import tqdm

from skinapp.errors import DataError
from skinapp.files import replacing
from skinapp.labels import LabelSet, label_set
from skinapp.runtime import softmax
from train import augment, losses, network, torch_kernels
from train.config import RUN, SAMPLING, Config, Stage
from train.datasets import Dataset, encode, prepare, read, with_validation

MONITOR = "val_balanced_log_loss"
"""Chooses the epoch: cross-entropy with every class weighing the same. Steadier than balanced accuracy, which a
handful of dermatofibromas moves by points."""


class Batches(keras.utils.PyDataset):
    """Batches of an epoch, drawn from a memory-mapped cache.

    A batch holds `images`, uint8 [b, s, s, 3], and `targets`, one-hot float32 [b, classes].

    `rows` is called with the epoch's number and gives the cache rows of the whole epoch, so that an epoch is the same
    whether the run was interrupted before it or not.
    """

    def __init__(
        self,
        images: np.ndarray,
        targets: np.ndarray,
        offsets: np.ndarray,
        rows: Callable[[int], np.ndarray],
        batch: int,
    ):
        super().__init__()
        self.images, self.targets, self.offsets, self.rows, self.batch = images, targets, offsets, rows, batch
        self.start(0)

    def start(self, epoch: int) -> None:
        self.current = self.rows(epoch)

    def __len__(self) -> int:
        return len(self.current) // self.batch

    def __getitem__(self, index: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        # sorted rows read a memory map faster, and order within a batch does not matter
        rows = np.sort(self.current[index * self.batch : (index + 1) * self.batch])
        targets = self.targets[rows]
        inputs = {"images": self.images[rows], "targets": targets, "offsets": self.offsets[rows]}
        return inputs, {"loss": targets, "logits": targets}


class StartEpoch(keras.callbacks.Callback):
    """Draws each epoch's rows and seeds its augmentation from the epoch's number alone."""

    def __init__(self, batches: Batches, seed: int):
        super().__init__()
        self.batches, self.seed = batches, seed

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.batches.start(epoch)
        for number, state in enumerate(seeds(self.model)):
            # the second number counts the draws, so epochs lie far apart
            state.assign([self.seed + number, epoch << 20])


def seeds(model: keras.Model) -> list[keras.Variable]:
    """The state [2] of every source of random numbers in a model: augmentation, dropout and skipped blocks."""
    return [variable for variable in model.variables if variable.name == "seed_generator_state"]


class Validate(keras.callbacks.Callback):
    """Adds the validation scores to the epoch's logs, and keeps the best network.

    Where the optimizer averages the weights, it is the average that is validated and kept. DataError where the network
    no longer answers with numbers.
    """

    def __init__(
        self,
        model: keras.Model,
        images: np.ndarray,
        labels: np.ndarray,
        batch: int,
        file: Path | None,
        best_so_far: float | None,
        prefix: str = "",
    ):
        super().__init__()
        self.network, self.images, self.labels, self.batch, self.prefix = model, images, labels, batch, prefix
        self.file, self.best = file, best_so_far

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        with averaged(self.model):
            logits = predict(self.network, self.images, self.batch)
            if not np.isfinite(logits).all():
                raise DataError(
                    f"Training diverged in epoch {epoch + 1}: the network answers with infinities. Lower the learning "
                    "rate, or train in precision=float32. Earlier epochs are kept."
                )
            scores = validation_scores(self.labels, softmax(logits))
            logs |= {name.replace("val_", f"val_{self.prefix}"): value for name, value in scores.items()}
            if self.file is None:
                return
            if self.best is None or logs[MONITOR] < self.best:
                self.best = logs[MONITOR]
                with replacing(self.file) as partial:
                    self.network.save(partial)


class Progress(keras.callbacks.Callback):
    """A bar over the whole stage: images per second, time left, and the last validation scores."""

    def __init__(self, batches: Batches, epochs: int):
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


def fit(config: Config, runs: Path, devices: int = 1) -> Path:
    """Train every stage of `config`, resuming what is there; gives the file of the best network, a whole model.

    What can be wrong is looked for before images are decoded. KeyboardInterrupt says how far training came.
    """
    network.initial_file(initial(config, runs))
    augment.check(config.augmentation)
    table = with_validation(read(config.dataset), config.folds, config.fold, config.seed)
    check_classes(table, label_set(config.labels), ("train",) if config.fold is None else ("train", "validation"))
    run = open_run(config, runs)
    record = functools.partial(write_run_file, config, run, devices)
    with interruptible() as stop, distributed(devices, config.batch_size):
        data = Dataset(table, prepare(config.dataset, config.cache_size, runs, config.hair_removal).images)
        try:
            fit_stages(config, data, run, [keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: record()), stop])
        except KeyboardInterrupt:
            raise KeyboardInterrupt(stopped(config, run)) from None
        finally:
            record()
    return best_file(config, run)


def fit_stages(config: Config, data: Dataset, run: Path, callbacks: list[keras.callbacks.Callback]) -> None:
    """Train the stages that are not done, each going on from the last weights of the one before it."""
    classes = len(label_set(config.labels).codes)
    # the initial weights of the last layer
    keras.utils.set_random_seed(config.seed)
    keras.config.set_dtype_policy(config.precision)
    torch_kernels.install()
    previous = None
    try:
        for number, stage in enumerate(config.stages):
            folder = run / f"stage-{number + 1}"
            folder.mkdir(exist_ok=True)
            if not (folder / "done").exists():
                if previous is None:
                    init = initial(config, run.parent)
                    model = network.build(config.architecture, stage.image_size, classes, init, config.dropout)
                else:
                    earlier = keras.saving.load_model(previous, compile=False)
                    model = network.resized(earlier, config.architecture, stage.image_size, config.dropout)
                fit_stage(config, stage, model, data, folder, config.seed + 1000 * number, callbacks)
            # the next stage goes on from the last epoch: a better one by validation may only have been a lucky one
            previous = folder / "last.keras"
    finally:
        keras.config.set_dtype_policy("float32")


def fit_stage(
    config: Config,
    stage: Stage,
    model: keras.Model,
    data: Dataset,
    folder: Path,
    seed: int,
    callbacks: list[keras.callbacks.Callback],
) -> None:
    """Train one stage and leave `best.keras`, `last.keras`, `history.csv` and the mark `done` in `folder`.

    `callbacks` are called after those that keep an epoch.
    """
    labels = label_set(config.labels)
    codes = encode(data.table["label"], labels)
    train_rows = np.flatnonzero(data.table["split"] == "train")
    validation_rows = np.flatnonzero(data.table["split"] == "validation")
    weights = drawing_weights(config, data.table.iloc[train_rows], codes[train_rows])
    offsets = np.zeros((len(data.table), len(labels.codes)), np.float32)
    if config.reference:
        offsets[train_rows] = source_offsets(config.reference, data.table.iloc[train_rows], codes[train_rows], weights)

    def rows(epoch: int) -> np.ndarray:
        generator = np.random.default_rng([seed, epoch])
        return generator.choice(train_rows, config.samples_per_epoch, p=weights)

    targets = np.eye(len(labels.codes), dtype=np.float32)[codes]
    batches = Batches(data.images, targets, offsets, rows, config.batch_size)
    network.freeze(model, stage.frozen_blocks)
    loss = losses.build(
        config.loss,
        counts=np.bincount(codes[train_rows]),
        shares=np.bincount(codes[train_rows], weights),
        label_smoothing=config.label_smoothing,
    )
    trainer = training_model(config, stage, model, loss, data.images.shape[1], seed)
    trainer.compile(
        optimizer=optimizer(config, stage, len(batches)),
        loss={"loss": Given(), "logits": None},
        metrics={"logits": keras.metrics.CategoricalAccuracy(name="accuracy")},
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )
    scores = stage_scores(folder)
    validate: list[keras.callbacks.Callback] = []
    if len(validation_rows):
        first = data.table["dataset"].iloc[0]
        # backwards, so that the first data set's scores, which choose, are the last to be written
        for name, part in data.table.iloc[validation_rows].groupby("dataset", sort=False):
            rows_of = part.index.to_numpy()
            images = resize(data.images[rows_of], stage.image_size)
            here = name == first
            validate.append(
                Validate(
                    model,
                    images,
                    codes[rows_of],
                    config.batch_size,
                    folder / "best.keras" if here else None,
                    min(scores, default=None) if here else None,
                    "" if here else f"{name}_",
                )
            )
    bar = Progress(batches, stage.epochs)
    try:
        trainer.fit(
            batches,
            initial_epoch=resume(trainer, folder),
            epochs=stage_epochs(stage, scores, config.patience),
            # the rows are drawn by chance already; Keras's order of batches would depend on what the process did before
            shuffle=False,
            verbose=0,
            callbacks=[
                StartEpoch(batches, seed),
                *validate,
                bar,
                History(folder / "history.csv"),
                Patience(stage, folder, config.patience),
                Checkpoint(folder),
                *callbacks,
            ],
        )
    finally:
        bar.close()
    with replacing(folder / "last.keras") as partial:
        model.save(partial)
    (folder / "done").touch()
    for file in folder.glob("checkpoint-*.npz"):
        file.unlink()


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
        with replacing(self.file) as partial:
            table.to_csv(partial, index=False)


class Patience(keras.callbacks.Callback):
    """Ends a stage whose scores no longer improve. Keras's own counts anew after every interruption."""

    def __init__(self, stage: Stage, folder: Path, patience: int):
        super().__init__()
        self.stage, self.folder, self.patience = stage, folder, patience

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.model.stop_training = epoch + 1 == stage_epochs(self.stage, stage_scores(self.folder), self.patience)


class Checkpoint(keras.callbacks.Callback):
    """Keeps the state of training after each epoch as `checkpoint-<finished epochs>.npz`, the newest only.

    One file, whole or not there: Keras's own writes weights and epoch as two, in place, and a process that is killed
    between them goes on with the weights of another epoch.
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
    """Every variable of a model and of its optimizer."""
    trainer.optimizer.build(trainer.trainable_variables)
    return [*trainer.variables, *trainer.optimizer.variables]


def resume(trainer: keras.Model, folder: Path) -> int:
    """Set the newest state that is kept in a stage's folder, if any; give the number of epochs it comes after."""
    files = {int(file.stem.removeprefix("checkpoint-")): file for file in folder.glob("checkpoint-*.npz")}
    done = max(files, default=0)
    if done:
        with np.load(files[done]) as arrays:
            for variable, value in zip(state(trainer), arrays.values(), strict=True):
                variable.assign(value)
    return done


def stage_scores(folder: Path) -> list[float]:
    """The score of each finished epoch of a stage, lower being better; NaN where no images are held back."""
    file = folder / "history.csv"
    return pd.read_csv(file).reindex(columns=[MONITOR])[MONITOR].tolist() if file.exists() else []


def stage_epochs(stage: Stage, scores: Sequence[float], patience: int) -> int:
    """How many epochs a stage takes: all of them, or those done where the last `patience` brought no better score."""
    if scores and np.isfinite(scores).all() and len(scores) - 1 - int(np.argmin(scores)) >= patience:
        return len(scores)
    return stage.epochs


HELD_BACK = ("dataset", "folds", "fold", "seed")
"""The settings that decide which images a run has not seen."""


def initial(config: Config, runs: Path) -> str:
    """`init` as `network.build` takes it; of another run it is the network of the last epoch.

    DataError where that run is not finished, or may have seen images that this one holds back.
    """
    if not config.init.startswith(RUN):
        return config.init
    run = runs / config.init.removeprefix(RUN)
    try:
        settings = json.loads((run / "config.json").read_text())
    except FileNotFoundError:
        raise DataError(f"There is no run in {run}, which 'init: {config.init}' names; run fit for it first.") from None
    if differing := [name for name in HELD_BACK if settings[name] != getattr(config, name)]:
        raise DataError(
            f"The run in {run} differs in {', '.join(differing)}, and so may have learnt from images that this one "
            "holds back; take another 'init'."
        )
    file = run / f"stage-{len(settings['stages'])}" / "last.keras"
    if not file.with_name("done").exists():
        raise DataError(f"The run in {run}, which 'init: {config.init}' names, is not finished; run fit for it first.")
    return str(file)


def epochs(config: Config, run: Path) -> dict[str, int]:
    """The epochs of a run, `done` and `planned`: equal once it is finished, also where patience ended a stage early."""
    stages = [(stage, stage_scores(run / f"stage-{number}")) for number, stage in enumerate(config.stages, 1)]
    return {
        "done": sum(len(scores) for _, scores in stages),
        "planned": sum(stage_epochs(stage, scores, config.patience) for stage, scores in stages),
    }


def best_file(config: Config, run: Path) -> Path:
    """The best network so far, of the last stage that has finished an epoch; where no images are held back, that of the
    last epoch. DataError where there is none."""
    if config.fold is None:
        return last_file(config, run)
    for number in range(len(config.stages), 0, -1):
        if stage_scores(run / f"stage-{number}"):
            return run / f"stage-{number}" / "best.keras"
    raise DataError(f"There is no trained network in {run}; run fit first.")


def last_file(config: Config, run: Path) -> Path:
    """The network of the last epoch. DataError where the run is not finished."""
    folder = run / f"stage-{len(config.stages)}"
    if not (folder / "done").exists():
        raise DataError(f"The run in {run} is not finished; run fit first, or again.")
    return folder / "last.keras"


def stopped(config: Config, run: Path) -> str:
    """A sentence on a run that was stopped: how far it came, what it leaves, and how it goes on."""
    done, planned = epochs(config, run).values()
    if not done:
        return "Stopped before the first epoch was finished; run fit again to start anew."
    if config.fold is None:
        return f"Stopped after {done} of {planned} epochs; fit goes on from here when it is run again."
    return (
        f"Stopped after {done} of {planned} epochs; the best network so far, for evaluate and export, is "
        f"{best_file(config, run)}, and fit goes on from here when it is run again."
    )


@contextlib.contextmanager
def interruptible() -> Iterator[keras.callbacks.Callback]:
    """A callback that ends training after the batch in which Ctrl-C was pressed.

    KeyboardInterrupt is raised at once as well, but Keras loses it where it catches everything, as while it builds
    layers.
    """
    usual = signal.getsignal(signal.SIGINT)
    # elsewhere Ctrl-C is none of our business, as in a background job, or cannot be listened to
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


def check_classes(table: pd.DataFrame, labels: LabelSet, parts: Sequence[str] = ("train", "validation")) -> None:
    """DataError where one of the `parts`, training or validation, has no image of a class."""
    for split in parts:
        present = set(encode(table.loc[table["split"] == split, "label"], labels))
        absent = [code for index, code in enumerate(labels.codes) if index not in present]
        if absent:
            raise DataError(
                f"With this fold the {split} images have none of {', '.join(absent)}; set another 'fold', or fewer "
                "'folds'."
            )


class Given(keras.losses.Loss):
    """The mean of losses [n] that the model has worked out; a Loss, since Keras shares only those among devices."""

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        return y_pred


def training_model(
    config: Config, stage: Stage, model: keras.Model, loss: losses.Loss, cache_size: int, seed: int
) -> keras.Model:
    """The network between its augmentation and its loss, all on the device.

    Inputs `images` uint8 [n, cache_size, cache_size, 3] and `targets` [n, classes]; outputs `loss` [n] of the targets
    as MixUp or CutMix left them, and `logits` [n, classes].
    """
    classes = model.output_shape[-1]
    images = keras.Input((cache_size, cache_size, 3), dtype="uint8", name="images")
    targets = keras.Input((classes,), name="targets")
    offsets = keras.Input((classes,), name="offsets")
    # pixels in full precision; the network alone works in `config.precision`
    keras.config.set_dtype_policy("float32")
    try:
        policy = augment.POLICIES[config.augmentation](seed)
        mixing = augment.mixing(stage.mixup, stage.cutmix, seed)
    finally:
        keras.config.set_dtype_policy(config.precision)
    x = keras.ops.cast(images, "float32")
    if stage.image_size != cache_size:
        x = keras.layers.Resizing(stage.image_size, stage.image_size, antialias=True, dtype="float32")(x)
    for layer in policy:
        x = layer(x)
    # what belongs to an image is mixed as its label is
    mixed = {"images": x, "labels": keras.ops.concatenate([targets, offsets], axis=1)}
    for layer in mixing:
        mixed = layer(mixed)
    logits = model(mixed["images"])
    mixed_targets, mixed_offsets = mixed["labels"][:, :classes], mixed["labels"][:, classes:]
    return keras.Model(
        {"images": images, "targets": targets, "offsets": offsets},
        {"loss": loss(mixed_targets, logits + mixed_offsets), "logits": logits},
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
    for variable in variables:
        # JAX lets the average and the weights share memory, and gives that of the weights away when it predicts
        variable.assign(keras.ops.copy(variable))
    try:
        yield
    finally:
        for variable, value in zip(variables, current, strict=True):
            variable.assign(value)


@contextlib.contextmanager
def distributed(devices: int, batch_size: int) -> Iterator[None]:
    """Data parallelism over that many devices: `tf.distribute` on TensorFlow, Keras distribution on JAX.

    DataError where there are not so many, where they cannot share a batch evenly, or where the backend is PyTorch and
    more than one is asked for.
    """
    backend = keras.backend.backend()
    if devices < 1 or batch_size % devices:
        raise DataError(
            f"A batch of {batch_size} cannot be shared by {devices} devices; change --devices or batch_size."
        )
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
    # whole batches, which several devices can share
    missing = -len(images) % batch
    filled = np.concatenate([images, np.repeat(images[:1], missing, axis=0)])
    return np.asarray(model.predict(filled, batch_size=batch, verbose=0))[: len(images)]


def sampling_weights(codes: np.ndarray, exponent: float) -> np.ndarray:
    """Drawing probability of each image: its class's count ** -exponent, normalised to sum 1."""
    weights = np.bincount(codes)[codes].astype(float) ** -exponent
    return weights / weights.sum()


def drawing_weights(config: Config, table: pd.DataFrame, codes: np.ndarray) -> np.ndarray:
    """Drawing probability of each training image: by class within its data set, and data sets by their `shares`."""
    if config.shares is None:
        return sampling_weights(codes, SAMPLING[config.sampling])
    weights = np.zeros(len(table))
    for name, share in config.shares.items():
        rows = np.flatnonzero(table["dataset"] == name)
        weights[rows] = share * sampling_weights(codes[rows], SAMPLING[config.sampling])
    return weights / weights.sum()


def source_offsets(reference: str, table: pd.DataFrame, codes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """What is added to the logits of each training image [n, K]: how much commoner each class is among the draws from
    its source than among those from the data set `reference`, as a logarithm.

    So the network need not learn from a clinic's pictures what that clinic sees: its logits are those for the class
    shares of `reference` (Menon et al. 2021, arXiv:2007.07314, section 4.2, with the shares of each source).
    DataError where a source has one class only, and so nothing to learn from but the clinic.
    """
    classes = codes.max() + 1
    shares = {}
    for name, rows in table.reset_index(drop=True).groupby("source").groups.items():
        drawn = np.bincount(codes[rows], weights[rows], classes)
        if (drawn > 0).sum() < 2:
            raise DataError(f"All training images of the source {name} are of one class; leave it out.")
        shares[name] = np.log(drawn / drawn.sum() + 0.002)
    return np.stack([shares[name] - shares[reference] for name in table["source"]]).astype(np.float32)


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
        with replacing(settings_file) as partial:
            partial.write_text(json.dumps(settings, indent=2))
    return run


def write_run_file(config: Config, run: Path, devices: int) -> None:
    """Write `run.json`: settings, versions, commit, hardware, and how many epochs are finished and what they took."""
    tables = [pd.read_csv(file) for file in run.glob("stage-*/history.csv")]
    seconds = float(sum(table["seconds"].sum() for table in tables))
    images = sum(len(table) for table in tables) * (config.samples_per_epoch // config.batch_size) * config.batch_size
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
        "epochs": epochs(config, run),
        "wall_seconds": round(seconds),
        "images_per_second": round(images / seconds, 2) if seconds else None,
    }
    with replacing(run / "run.json") as partial:
        partial.write_text(json.dumps(content, indent=2))
