"""Cross-validation: one network per part of the images, tested on that part, and, except for a committee, one trained
on all for export."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from skinapp.evaluation import bootstrap
from skinapp.files import replacing
from skinapp.inference.runtime import softmax
from skinapp.labels.sets import label_set
from train.config import RUN, Config
from train.data.datasets import Dataset, encode, prepare, sources, with_validation
from train.fit.run_folder import LOGITS_FILE, last_file, open_run
from train.fit.training import fit
from train.publish.evaluate import (
    HeldOut,
    best_network,
    by_adjustment,
    calibrated_sets,
    chosen_points,
    fit_temperature,
    further_part,
    further_test,
    log_shares,
    report,
    split_logits,
    viewed_logits,
)


def fold_config(config: Config, fold: int) -> Config:
    """The run that holds out part `fold`. Its last epoch is tested, so patience must not end it earlier.

    If `init` names another cross-validation, it starts from the network of the same part, which has not seen that part
    either.
    """
    patience = max(config.patience, sum(stage.epochs for stage in config.stages))
    init = f"{config.init}-fold-{fold}" if config.init.startswith(RUN) else config.init
    return dataclasses.replace(config, id=f"{config.id}-fold-{fold}", fold=fold, patience=patience, init=init)


def fit_all(config: Config, runs: Path, devices: int = 1) -> Path:
    """Train or resume the network of every part, then, unless these are a committee, the one on all images; return the
    file of the last one."""
    for fold in range(config.folds):
        file = fit(fold_config(config, fold), runs, devices)
        keras.utils.clear_session()
    return file if config.committee else fit(config, runs, devices)


def evaluate(config: Config, runs: Path, also: Sequence[str] = ()) -> dict[str, bootstrap.Interval]:
    """Write `evaluation.json`, `predictions.csv` and the logits of a cross-validation; return its scores.

    Every image is scored by the network of the last epoch that has not seen its lesion or patient, with a temperature
    fitted on the other parts. The exported network gets the temperature fitted on all parts. `also` names further data
    sets, on whose test images the exported network is scored.
    """
    labels = label_set(config.labels)
    run = open_run(config, runs)
    last_file(config, run)
    data = prepare(config.dataset, config.image_size, runs, config.hair_removal)
    encoded = encode(data.table["label"], labels)
    logits = np.zeros((len(data.table), len(labels.codes)), np.float32)
    folds = np.full(len(data.table), -1)
    for fold in range(config.folds):
        part = fold_config(config, fold)
        table = with_validation(data.table, part.folds, part.fold, part.seed)
        network = best_network(part, last_file(part, open_run(part, runs)), table)
        rows = (table["split"] == "validation").to_numpy()
        logits[rows] = split_logits(network, Dataset(table, data.images), "validation", config.views)[1]
        folds[rows] = fold
        keras.utils.clear_session()
    temperatures = np.ones((len(data.table), 1))
    for fold in range(config.folds):
        others = (folds != fold) & (folds >= 0)
        temperatures[folds == fold] = fit_temperature(logits[others], encoded[others])
    tested = folds >= 0
    with replacing(run / LOGITS_FILE) as partial, partial.open("wb") as stream:
        np.savez(
            stream, images=data.table.loc[tested, "image"].to_numpy(str), logits=logits[tested], folds=folds[tested]
        )
    temperature = fit_temperature(logits[tested], encoded[tested])
    further = []
    if also:
        network = best_network(config, last_file(config, run), data.table)
        for name in also:
            other = further_test(config, name, runs)
            other_logits = viewed_logits(network, other.images, config.views)
            further.append(further_part(name, other.table, other_logits, temperature))
    held_out = HeldOut(
        f"{sources(config.dataset)[0].name}, out of fold",
        encoded[tested],
        softmax(logits[tested].astype(np.float64) / temperatures[tested]),
        data.table.loc[tested, "group"].to_numpy(),
    )
    return report(
        config,
        run,
        with_validation(data.table, config.folds, None, config.seed),
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
