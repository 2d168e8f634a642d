"""Training a network: check everything first, then train or resume every stage."""

import functools
import shutil
from collections.abc import Sequence
from pathlib import Path

import keras
import pandas as pd

from skinapp.errors import DataError
from skinapp.files import locked
from skinapp.labels.sets import LabelSet, label_set
from train.config import Config
from train.data.datasets import Dataset, encode, prepare, read, sources, with_validation
from train.fit import augmentation, hosts, metadata, network
from train.fit.callbacks import interruptible
from train.fit.devices import distributed
from train.fit.run_folder import best_file, initial, open_run, stopped, write_run_file
from train.fit.stages import fit_stages, teacher_logits


def fit(config: Config, runs: Path, devices: int = 1, images_on_device: bool = False) -> Path:
    """Train or resume every stage of `config`; return the file of the best network, a whole model.

    `devices` of each host share a batch. Settings and data are checked before images are decoded. DataError if
    another process trains this run. The message of KeyboardInterrupt states the progress.
    """
    hosts.join()
    table = check(config, runs)
    run = hosts.folder(runs / config.id)
    if hosts.index() == 0:
        open_run(config, runs)
    if hosts.count() > 1:
        hosts.receive(run)
        # refuses settings that differ from those of the first host
        open_run(config, runs, run.name)
    record = functools.partial(write_run_file, config, run, devices)
    with locked(run), interruptible() as stop, distributed(devices, config.batch_size):
        data = Dataset(table, prepare(config.dataset, config.cache_size, runs, **config.pixels).images)
        callbacks = [keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: record()), stop]
        try:
            fit_stages(config, data, run, callbacks, images_on_device)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(stopped(config, run)) from None
        finally:
            record()
    file = best_file(config, run)
    if hosts.index():
        shutil.rmtree(run)
    return runs / config.id / file.relative_to(run)


def check(config: Config, runs: Path) -> pd.DataFrame:
    """The divided table of a run, whose initial weights, augmentation, teacher, metadata and classes are all there.

    DataError for anything missing.
    """
    network.initial_file(initial(config, runs))
    augmentation.check(config.augmentation)
    if config.teacher:
        teacher_logits(config, runs)
    if config.metadata:
        metadata.published(sources(config.dataset)[0].id)
    table = with_validation(read(config.dataset, config.packed), **config.division)
    check_classes(table, label_set(config.labels), ("train",) if config.fold is None else ("train", "validation"))
    check_sources(table, label_set(config.labels))
    return table


def check_classes(table: pd.DataFrame, labels: LabelSet, parts: Sequence[str] = ("train", "validation")) -> None:
    """DataError if one of the `parts`, training or validation, has no image of a class; for validation, the images of
    the first data set count, since they choose the epoch."""
    first = table["dataset"] == table["dataset"].iloc[0]
    for split in parts:
        rows = (table["split"] == split) & (first if split == "validation" else True)
        present = set(encode(table.loc[rows, "label"], labels))
        absent = [code for index, code in enumerate(labels.codes) if index not in present]
        if absent:
            raise DataError(
                f"With this fold the {split} images have none of {', '.join(absent)}; set another 'fold', or fewer "
                "'folds'."
            )


def check_sources(table: pd.DataFrame, labels: LabelSet) -> None:
    """DataError if one of several sources has training images of a single class: these would teach a network what a
    clinic's images look like rather than what a lesion looks like."""
    train = table[table["split"] == "train"]
    classes = pd.Series(encode(train["label"], labels)).groupby(train["source"].to_numpy(), sort=False).nunique()
    single = list(classes.index[classes == 1])
    if len(classes) > 1 and single:
        raise DataError(
            f"All training images of the source {single[0]} are of one class. Leave its data set out of 'dataset', or "
            "use it for pre-training only: train on it first, and start this run from that network with 'init'."
        )
