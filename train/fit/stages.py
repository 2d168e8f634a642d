"""Stages of growing image size, each resumable after every epoch, with the best epoch saved by validation."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from skinapp.files import replacing
from skinapp.labels.sets import label_set
from train.config import SAMPLING, Config, Stage
from train.data.datasets import Dataset, encode
from train.fit import augmentation, losses, network
from train.fit.callbacks import Checkpoint, History, Patience, Progress, StartEpoch, resume
from train.fit.run_folder import initial, stage_epochs, stage_scores
from train.fit.validation import Validate, resize


def fit_stages(config: Config, data: Dataset, run: Path, callbacks: list[keras.callbacks.Callback]) -> None:
    """Train the stages that are not done; each starts from the last weights of the one before."""
    classes = len(label_set(config.labels).codes)
    # for the initial weights of the last layer
    keras.utils.set_random_seed(config.seed)
    keras.config.set_dtype_policy(config.precision)
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
            # the next stage starts from the last epoch: a better validation score may only have been luck
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
    """Train one stage and leave `best.keras`, `last.keras`, `history.csv` and the marker file `done` in `folder`.

    `callbacks` are called after those that save an epoch.
    """
    labels = label_set(config.labels)
    codes = encode(data.table["label"], labels)
    train_rows = np.flatnonzero(data.table["split"] == "train")
    validation_rows = np.flatnonzero(data.table["split"] == "validation")
    weights = sampling_weights(codes[train_rows], SAMPLING[config.sampling])

    def rows(epoch: int) -> np.ndarray:
        generator = np.random.default_rng([seed, epoch])
        return generator.choice(train_rows, config.samples_per_epoch, p=weights)

    batches = Batches(data.images, np.eye(len(labels.codes), dtype=np.float32)[codes], rows, config.batch_size)
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
        loss={"loss": WeightedLoss(), "logits": None},
        metrics={"logits": keras.metrics.CategoricalAccuracy(name="accuracy")},
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )
    scores = stage_scores(folder)
    validate = []
    if len(validation_rows):
        images = resize(data.images[validation_rows], stage.image_size)
        best_so_far = min(scores, default=None)
        validate = [
            Validate(model, images, codes[validation_rows], config.batch_size, folder / "best.keras", best_so_far)
        ]
    bar = Progress(batches, stage.epochs)
    try:
        trainer.fit(
            batches,
            initial_epoch=resume(trainer, folder),
            epochs=stage_epochs(stage, scores, config.patience),
            # the rows are sampled already, and Keras's shuffling would depend on what the process did before
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


class Batches(keras.utils.PyDataset):
    """Batches of an epoch, read from a memory-mapped cache.

    A batch holds `images`, uint8 [b, s, s, 3], and `targets`, one-hot float32 [b, classes].

    `rows` maps the number of an epoch to all of its cache rows, so that an epoch is the same whether the run was
    interrupted before it or not.
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


def sampling_weights(codes: np.ndarray, exponent: float) -> np.ndarray:
    """The sampling probability of each image: its class's count ** -exponent, normalised to sum 1."""
    weights = np.bincount(codes)[codes].astype(float) ** -exponent
    return weights / weights.sum()


class WeightedLoss(keras.losses.Loss):
    """The mean of losses [n] that the model computes, weighted or not. Keras averages only a Loss over devices."""

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        return y_pred


def training_model(
    config: Config, stage: Stage, model: keras.Model, loss: losses.Loss, cache_size: int, seed: int
) -> keras.Model:
    """The network between its augmentation and its loss, all on the device.

    Inputs `images` uint8 [n, cache_size, cache_size, 3] and `targets` [n, classes]; outputs `loss` [n] for the
    targets after MixUp or CutMix, and `logits` [n, classes].
    """
    images = keras.Input((cache_size, cache_size, 3), dtype="uint8", name="images")
    targets = keras.Input(model.output_shape[1:], name="targets")
    x = keras.layers.Resizing(stage.image_size, stage.image_size, antialias=True)(images)
    for layer in augmentation.POLICIES[config.augmentation](seed):
        x = layer(x)
    mixed = {"images": x, "labels": targets}
    for layer in augmentation.mixing(stage.mixup, stage.cutmix, seed):
        mixed = layer(mixed)
    logits = model(mixed["images"])
    return keras.Model(
        {"images": images, "targets": targets}, {"loss": loss(mixed["labels"], logits), "logits": logits}
    )


def optimizer(config: Config, stage: Stage, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """AdamW or SGD with a linear warm-up and a cosine, and the moving average of the weights if it is set."""
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
