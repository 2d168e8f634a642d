"""Cross-validation: one network per part of the images, tested on that part, and, except for a committee, one network
trained on all images for export."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from skinapp.evaluation import bootstrap
from skinapp.inference.runtime import softmax
from skinapp.labels.sets import label_set
from train.config import Config
from train.data.datasets import encode, melanomas, prepare, sources, validation_rows, with_validation
from train.fit.run_folder import last_file, open_run, part_id, write_logits
from train.fit.training import fit
from train.publish.evaluate import (
    HeldOut,
    averaged_logits,
    best_network,
    by_adjustment,
    calibrated_sets,
    chosen_points,
    fit_temperature,
    further_part,
    further_test,
    log_shares,
    report,
    test_part,
)


def fold_config(config: Config, fold: int) -> Config:
    """The run that holds out part `fold`. Its last epoch is tested, so there is no early stopping."""
    patience = max(config.patience, sum(stage.epochs for stage in config.stages))
    return dataclasses.replace(config, id=part_id(config.id, fold), fold=fold, patience=patience)


def networks(config: Config) -> list[Config]:
    """The runs of a configuration: itself, or, for a cross-validation, one for every part and then, unless it is a
    committee, one on all images."""
    if config.fold is not None:
        return [config]
    parts = [fold_config(config, fold) for fold in range(config.folds)]
    return parts if config.committee else [*parts, config]


def fit_all(configs: Sequence[Config], runs: Path, devices: int = 1, images_on_device: bool = False) -> list[Path]:
    """Train or resume several networks, one after another; return the file of each."""
    files = []
    for config in configs:
        files.append(fit(config, runs, devices, images_on_device))
        keras.utils.clear_session()
    return files


def evaluate(config: Config, runs: Path, also: Sequence[str] = ()) -> dict[str, bootstrap.Interval]:
    """Write `evaluation.json`, `predictions.csv` and the logits of a cross-validation; return its scores.

    Every image of the first data set is scored by the network of the last epoch that has not seen its lesion or
    patient, with a temperature fitted on the other parts. The exported network gets the temperature fitted on all
    parts. It is scored on the test images of the other data sets, and of those named in `also`.
    """
    labels = label_set(config.labels)
    run = open_run(config, runs)
    last_file(config, run)
    data = prepare(config.dataset, config.image_size, runs, **config.pixels)
    encoded = encode(data.table["label"], labels)
    logits = np.zeros((len(data.table), len(labels.codes)), np.float32)
    folds = np.full(len(data.table), -1)
    for fold in range(config.folds):
        part = fold_config(config, fold)
        table = with_validation(data.table, **part.division)
        network = best_network(part, last_file(part, open_run(part, runs)), table)
        rows = validation_rows(table)
        logits[rows] = averaged_logits(network, data.images[rows], config.views)
        folds[rows] = fold
        keras.utils.clear_session()
    temperatures = np.ones((len(data.table), 1))
    for fold in range(config.folds):
        others = (folds != fold) & (folds >= 0)
        temperatures[folds == fold] = fit_temperature(logits[others], encoded[others])
    tested = folds >= 0
    write_logits(run, data.table["image"][tested], logits[tested], folds[tested])
    temperature = fit_temperature(logits[tested], encoded[tested])
    first, *others = sources(config.dataset)
    unseen = {other.id: test for other in others if len((test := test_part(data, other.id)).table)}
    unseen |= {name: further_test(config, name, runs) for name in also}
    further = []
    if unseen:
        network = best_network(config, last_file(config, run), data.table)
        for name, test in unseen.items():
            test_logits = averaged_logits(network, test.images, config.views)
            further.append(further_part(name, test.table, test_logits, temperature))
    held_out = HeldOut(
        f"{first.name}, out of fold",
        encoded[tested],
        softmax(logits[tested].astype(np.float64) / temperatures[tested]),
        data.table.loc[tested, "group"].to_numpy(),
        melanomas(data.table.loc[tested, "label"]),
    )
    return report(
        config,
        run,
        with_validation(data.table, **config.division),
        data.table[tested],
        logits[tested],
        temperatures[tested],
        {
            "temperature": temperature,
            "folds": config.folds,
            "validation_by_adjustment": by_adjustment(
                logits[tested], encoded[tested], log_shares(config, data.table), config.logit_adjustment
            ),
            "operating_points": chosen_points(labels, held_out),
            "conformal": calibrated_sets(labels, held_out),
        },
        further,
    )
