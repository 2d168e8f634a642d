"""Stages of growing image size, each resumable after every epoch, with the best epoch saved by validation."""

import functools
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from skinapp.errors import DataError
from skinapp.files import replacing
from skinapp.inference.runtime import softmax
from skinapp.labels.sets import label_set
from train.config import SAMPLING, Config, Stage
from train.data.datasets import Dataset, encode
from train.fit import augmentation, hosts, losses, network, torch_kernels, trained_metadata
from train.fit.callbacks import Checkpoint, History, Patience, Progress, StartEpoch, resume
from train.fit.devices import ImagesOnDevice
from train.fit.run_folder import LOGITS_FILE, initial, stage_epochs, stage_scores
from train.fit.trained_metadata import CodedMetadata
from train.fit.validation import Choice, Validate, resize


def fit_stages(
    config: Config,
    data: Dataset,
    run: Path,
    callbacks: list[keras.callbacks.Callback],
    images_on_device: bool = False,
) -> None:
    """Train the stages that are not done; each starts from the last weights of the one before.

    With `images_on_device`, all images are in device memory, and a batch is a list of their indices.
    """
    classes = len(label_set(config.labels).codes)
    stored = ImagesOnDevice(data.images) if images_on_device else None
    # seeds the initial weights of the last layer
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
                fit_stage(config, stage, model, data, folder, config.seed + 1000 * number, callbacks, stored)
            # the next stage starts from the last epoch: an earlier, better validation score may have been luck
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
    stored: ImagesOnDevice | None = None,
) -> None:
    """Train one stage and leave `best.keras`, `last.keras`, `history.csv` and the marker file `done` in `folder`.

    `callbacks` are called after those that save an epoch.
    """
    labels = label_set(config.labels)
    codes = encode(data.table["label"], labels)
    train_rows = np.flatnonzero(data.table["split"] == "train")
    validation_rows = np.flatnonzero(data.table["split"] == "validation")
    train_table = data.table.iloc[train_rows]
    weights = sampling_probabilities(config, train_table, codes[train_rows])
    targets = np.eye(len(labels.codes), dtype=np.float32)[codes]
    offsets = np.zeros_like(targets)
    if config.reference:
        offsets[train_rows] = source_offsets(
            config.reference, train_table["source"].to_numpy(), codes[train_rows], weights, len(labels.codes)
        )
    if config.teacher:
        logits = teacher_logits(config, folder.parents[1])
        targets = distilled_targets(targets, data.table["image"], logits, config.teacher_share, offsets)
    coded_metadata = trained_metadata.coded_metadata(config, data.table) if config.metadata else None

    def rows(epoch: int) -> np.ndarray:
        generator = np.random.default_rng([seed, epoch])
        return generator.choice(train_rows, config.samples_per_epoch, p=weights)

    images = np.arange(len(data.images), dtype=np.int32) if stored else data.images
    batches = Batches(images, targets, offsets, rows, config.batch_size, coded_metadata, config.metadata_dropout, seed)
    network.freeze(model, stage.frozen_blocks)
    loss = losses.build(
        config.loss,
        counts=np.bincount(codes[train_rows]),
        shares=np.bincount(codes[train_rows], weights),
        label_smoothing=config.label_smoothing,
    )
    added = None
    if coded_metadata:
        added = trained_metadata.layer(len(labels.codes), coded_metadata, folder)
    trainer = training_model(config, stage, model, loss, data.images.shape[1], seed, added, stored)
    trainer.compile(
        optimizer=optimizer(config, stage, len(batches)),
        loss={"loss": WeightedLoss(), "logits": None},
        metrics={"logits": keras.metrics.CategoricalAccuracy(name="accuracy")},
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )

    def save(name: str) -> None:
        with replacing(folder / f"{name}.keras") as partial:
            model.save(partial)
        if coded_metadata:
            trained_metadata.save(added, coded_metadata, folder / trained_metadata.FILES[name])

    save_best = functools.partial(save, "best")
    scores = stage_scores(folder)
    validate = []
    first = data.table["dataset"].iloc[0]
    for name, rows_of_set in by_dataset(data.table, validation_rows).items():
        resized = resize(data.images[rows_of_set], stage.image_size)
        choice = Choice(save_best, min(scores, default=None)) if name == first else None
        prefix = "" if name == first else f"{name}_"
        validate.append(Validate(model, resized, codes[rows_of_set], config.batch_size, choice, prefix))
    bar = Progress(batches, stage.epochs)
    try:
        trainer.fit(
            batches,
            initial_epoch=resume(trainer, folder),
            epochs=stage_epochs(stage, scores, config.patience),
            # the rows are already sampled, and Keras's shuffling would depend on what the process did before
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
    save("last")
    (folder / "done").touch()
    for file in folder.glob("checkpoint-*.npz"):
        file.unlink()


class Batches(keras.utils.PyDataset):
    """Batches of an epoch, read from a memory-mapped cache.

    A batch holds `images`, uint8 [b, s, s, 3], or whatever stands in for them; `targets`, float32 [b, classes] that sum
    to 1; `offsets`, which the loss adds to the logits, float32 [b, classes]; and with `coded_metadata` the input
    `metadata`, float32 [b, D], in which each field is zero, as if not stated, with probability `dropout`. With several
    hosts, each gets its part of the batch.

    `rows` maps the number of an epoch to all of its cache rows, so that an epoch is the same whether the run was
    interrupted before it or not.
    """

    def __init__(
        self,
        images: np.ndarray,
        targets: np.ndarray,
        offsets: np.ndarray,
        rows: Callable[[int], np.ndarray],
        batch: int,
        coded_metadata: CodedMetadata | None = None,
        dropout: float = 0.0,
        seed: int = 0,
    ):
        super().__init__()
        self.images, self.targets, self.offsets, self.rows, self.batch = images, targets, offsets, rows, batch
        self.coded_metadata, self.dropout, self.seed = coded_metadata, dropout, seed
        self.start(0)

    def start(self, epoch: int) -> None:
        self.epoch, self.current = epoch, self.rows(epoch)

    def __len__(self) -> int:
        return len(self.current) // self.batch

    def __getitem__(self, index: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        # sorted rows read a memory map faster, and order within a batch does not matter
        rows = np.sort(self.current[index * self.batch : (index + 1) * self.batch])
        own = hosts.part(self.batch)
        targets = self.targets[rows[own]]
        inputs = {"images": self.images[rows[own]], "targets": targets, "offsets": self.offsets[rows[own]]}
        if self.coded_metadata:
            generator = np.random.default_rng([self.seed, self.epoch, index])
            inputs["metadata"] = self.coded_metadata.with_dropout(rows, self.dropout, generator)[own]
        return inputs, {"loss": targets, "logits": targets}


def by_dataset(table: pd.DataFrame, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Maps each data set to its own `rows` (positions in the table), in their order."""
    names = table["dataset"].to_numpy()[rows]
    return {name: rows[names == name] for name in dict.fromkeys(names)}


def sampling_weights(codes: np.ndarray, exponent: float) -> np.ndarray:
    """The sampling probability of each image: its class's count ** -exponent, normalised to sum 1."""
    weights = np.bincount(codes)[codes].astype(float) ** -exponent
    return weights / weights.sum()


def sampling_probabilities(config: Config, table: pd.DataFrame, codes: np.ndarray) -> np.ndarray:
    """The sampling probability of each training image [n]: by class, and with `shares` by class within its data set.

    DataError if a data set with a share has no training image, unless this is due to the setting `without`.
    """
    if config.shares is None:
        return sampling_weights(codes, SAMPLING[config.sampling])
    weights = np.zeros(len(table))
    for name, share in config.shares.items():
        rows = np.flatnonzero(table["dataset"] == name)
        if not len(rows) and config.without:
            continue
        if not len(rows):
            raise DataError(f"Setting 'shares' samples from {name}, which has no training image; leave it out.")
        weights[rows] = share * sampling_weights(codes[rows], SAMPLING[config.sampling])
    return weights / weights.sum()


RARE = 0.002
"""Added to each class share of a source before the logarithm, so that the offset of an absent class is finite."""


def source_offsets(
    reference: str, sources: np.ndarray, codes: np.ndarray, weights: np.ndarray, classes: int
) -> np.ndarray:
    """The offsets that the loss adds to the logits of each training image, float32 [n, classes], from its source, class
    index and sampling probability [n]: the logarithm of the class shares sampled from its source, minus that of the
    source `reference`.

    So a network does not learn to infer a clinic's mix of diagnoses from the look of its images; its logits are for the
    class shares of `reference` (Menon et al. 2021, arXiv:2007.07314, section 4.2, with shares by source).
    """
    logarithms = {}
    for source in dict.fromkeys(sources):
        rows = sources == source
        sampled = np.bincount(codes[rows], weights[rows], classes)
        logarithms[source] = np.log(sampled / sampled.sum() + RARE)
    return np.stack([logarithms[source] - logarithms[reference] for source in sources]).astype(np.float32)


def teacher_logits(config: Config, runs: Path) -> pd.DataFrame:
    """The held-out logits of the run `config.teacher`: one row per image id, one column per class. DataError if the run
    is not evaluated, or has other classes."""
    file = runs / config.teacher / LOGITS_FILE
    try:
        with np.load(file) as saved:
            logits = pd.DataFrame(saved["logits"], saved["images"])
    except FileNotFoundError:
        raise DataError(f"'teacher: {config.teacher}' names a run without {file}; evaluate it first.") from None
    classes = len(label_set(config.labels).codes)
    if logits.shape[1] != classes:
        raise DataError(f"The teacher '{config.teacher}' has {logits.shape[1]} classes, not {classes}.")
    return logits


def distilled_targets(
    targets: np.ndarray, images: pd.Series, logits: pd.DataFrame, share: float, offsets: np.ndarray
) -> np.ndarray:
    """One-hot targets [n, classes] of images, mixed with the teacher's probabilities if known.

    The teacher's logits are for the class shares of the reference. So, like the student's logits, they get the
    `offsets` [n, classes] of the image's source: otherwise the student would learn to undo these.
    """
    known = images.isin(logits.index).to_numpy()
    mixed = targets.copy()
    probabilities = softmax(logits.loc[images[known]].to_numpy(np.float32) + offsets[known])
    mixed[known] += share * (probabilities - targets[known])
    return mixed


class WeightedLoss(keras.losses.Loss):
    """The mean of losses [n] that the model computes, weighted or not. Keras averages only a Loss over devices."""

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        return y_pred


def training_model(
    config: Config,
    stage: Stage,
    model: keras.Model,
    loss: losses.Loss,
    cache_size: int,
    seed: int,
    added: keras.layers.Dense | None = None,
    stored: ImagesOnDevice | None = None,
) -> keras.Model:
    """The network between its augmentation and its loss, all on the device.

    Inputs `images` uint8 [n, cache_size, cache_size, 3], `targets` [n, classes] and `offsets` [n, classes]; outputs
    `loss` [n] of the logits plus the offsets, for the targets, both after MixUp or CutMix, and `logits` [n, classes].
    With the layer `added`, from coded metadata [n, D] to what they add to the logits, `metadata` is an input too. With
    images that are `stored` on the device, `images` are their numbers, int32 [n].
    """
    classes = model.output_shape[-1]
    shape, dtype = ((), "int32") if stored else ((cache_size, cache_size, 3), "uint8")
    images = keras.Input(shape, dtype=dtype, name="images")
    targets = keras.Input((classes,), name="targets")
    offsets = keras.Input((classes,), name="offsets")
    # pixels are in full precision: `config.precision` applies to the network
    keras.config.set_dtype_policy("float32")
    try:
        policy = augmentation.POLICIES[config.augmentation](seed)
        mixing = augmentation.mixing(stage.mixup, stage.cutmix, seed)
    finally:
        keras.config.set_dtype_policy(config.precision)
    x = keras.ops.cast(stored(images) if stored else images, "float32")
    if stage.image_size != cache_size:
        x = keras.layers.Resizing(stage.image_size, stage.image_size, antialias=True, dtype="float32")(x)
    for layer in policy:
        x = layer(x)
    inputs = {"images": images, "targets": targets, "offsets": offsets}
    beside = offsets
    if added is not None:
        inputs["metadata"] = keras.Input((added.kernel.shape[0],), name="metadata")
        beside = offsets + added(trained_metadata.PACE * inputs["metadata"])
    # offsets are mixed in the same way as labels
    mixed = {"images": x, "labels": keras.ops.concatenate([targets, beside], axis=1)}
    for layer in mixing:
        mixed = layer(mixed)
    logits = model(mixed["images"])
    mixed_targets, mixed_beside = mixed["labels"][:, :classes], mixed["labels"][:, classes:]
    return keras.Model(inputs, {"loss": loss(mixed_targets, logits + mixed_beside), "logits": logits})


def optimizer(config: Config, stage: Stage, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """AdamW or SGD with a linear warm-up and a cosine schedule, and a moving average of the weights if set."""
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
