"""Training a network: check everything first, then train or resume every stage."""

import functools
from collections.abc import Sequence
from pathlib import Path

import keras
import pandas as pd

from skinapp.errors import DataError
from skinapp.labels.sets import LabelSet, label_set
from train.config import Config
from train.data.datasets import Dataset, encode, prepare, read, with_validation
from train.fit import augmentation, network
from train.fit.callbacks import interruptible
from train.fit.devices import distributed
from train.fit.run_folder import best_file, initial, open_run, stopped, write_run_file
from train.fit.stages import fit_stages


def fit(config: Config, runs: Path, devices: int = 1) -> Path:
    """Train or resume every stage of `config`; return the file of the best network, a whole model.

    Settings and data are checked before images are decoded. The message of KeyboardInterrupt states the progress.
    """
    network.initial_file(initial(config, runs))
    augmentation.check(config.augmentation)
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


def check_classes(table: pd.DataFrame, labels: LabelSet, parts: Sequence[str] = ("train", "validation")) -> None:
    """DataError if one of the `parts`, training or validation, has no image of a class."""
    for split in parts:
        present = set(encode(table.loc[table["split"] == split, "label"], labels))
        absent = [code for index, code in enumerate(labels.codes) if index not in present]
        if absent:
            raise DataError(
                f"With this fold the {split} images have none of {', '.join(absent)}; set another 'fold', or fewer "
                "'folds'."
            )
