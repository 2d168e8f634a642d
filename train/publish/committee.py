"""A committee: the networks of a cross-validation, evaluated and exported as one model.

Each training image of the first data set has a prediction by the one network that was not trained on its lesion or
patient. All choices come from these out-of-fold predictions and none from test images:

- The table of logit adjustments and the operating points are computed from them. Their probabilities use the
  temperature that fits them, that of single networks.
- The committee averages the logits of its members. An average varies less than its terms, so with the temperature of
  single networks the probabilities would be too uniform. Its own temperature is therefore extrapolated, see
  `averaged_temperature`.
"""

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from skinapp.errors import DataError
from skinapp.evaluation import bootstrap
from skinapp.inference.runtime import softmax
from skinapp.inference.training_images import OUT_OF_FOLD
from skinapp.labels.sets import label_set
from train.config import Config
from train.data.datasets import TRAINABLE, encode, melanomas, prepare, sources, with_validation
from train.fit import run_folder
from train.fit.cross_validation import fold_config
from train.fit.run_folder import last_file, open_run, write_logits
from train.publish import card_content
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
    kinds,
    log_shares,
    report,
    test_part,
    write_predictions,
)
from train.publish.export import CHECKED_IMAGES, checked_evaluation, checked_litert, history, output_shapes, read_run
from train.publish.folder import draft, publish

EXTRA_NOISE = (0.0, 0.5, 1.0, 1.5)
"""The multiples of the members' variance that `averaged_temperature` adds."""
REPEATS = 4
SEED = 0


def evaluate(config: Config, runs: Path, also: Sequence[str] = ()) -> dict[str, bootstrap.Interval]:
    """Write `evaluation.json`, `predictions.csv` of the first data set, `predictions-<dataset>.csv` of the others with
    test images, `out_of_fold.csv`, and the logits of every training image, for a student network; return the scores on
    the first data set.

    An image that a fold holds out has the logits of that fold's network. Images that train in every fold have those of
    one network each, which was trained on them; the images are distributed evenly over the networks. `also` names
    further data sets, which the networks were not trained on. DataError if a member is not trained.
    """
    labels = label_set(config.labels)
    run = open_run(config, runs)
    files = [last_file(part, open_run(part, runs)) for part in parts(config)]
    data = prepare(config.dataset, config.image_size, runs, **config.pixels)
    first, *others = (source.id for source in sources(config.dataset))
    tests = {name: tested for name in (first, *others) if len((tested := test_part(data, name)).table)}
    tests |= {name: further_test(config, name, runs) for name in also}
    if first not in tests:
        raise DataError(f"The data set '{first}' has no test images, so a committee that it trains cannot be scored.")
    unseen = np.flatnonzero((data.table["dataset"] == first) & (data.table["split"] == "excluded"))

    divided = [with_validation(data.table, **part.division) for part in parts(config)]
    everything = with_validation(data.table, **config.division)
    trained_on = (everything["split"] == "train").to_numpy()
    folds = np.full(len(everything), -1)
    for part, table in zip(parts(config), divided, strict=True):
        folds[table["split"] == "validation"] = part.fold
    predicted_by = np.where(folds >= 0, folds, np.arange(len(folds)) % config.folds)
    adjusted = np.zeros((len(data.table), len(labels.codes)), np.float32)
    teacher_logits = np.zeros_like(adjusted)
    test_logits: dict[str, list[np.ndarray]] = {name: [] for name in tests}
    spread = []
    for part, table, file in zip(parts(config), divided, files, strict=True):
        network = best_network(part, file, table)
        rows = np.flatnonzero(trained_on & (predicted_by == part.fold))
        adjusted[rows] = averaged_logits(network, data.images[rows], config.views)
        teacher_logits[rows] = adjusted[rows] + config.logit_adjustment * log_shares(part, table)
        for name, test in tests.items():
            test_logits[name].append(averaged_logits(network, test.images, config.views))
        if len(unseen):
            spread.append(averaged_logits(network, data.images[unseen], config.views))
        keras.utils.clear_session()

    write_logits(run, data.table["image"][trained_on], teacher_logits[trained_on], folds[trained_on])
    predicted = (folds >= 0) & (data.table["dataset"] == first).to_numpy()
    logits, rows_of_first = adjusted[predicted], data.table[predicted]
    encoded = encode(rows_of_first["label"], labels)
    groups = rows_of_first["group"].to_numpy()
    single = fit_temperature(logits, encoded)
    temperature = averaged_temperature(logits, encoded, np.array(spread)) if spread else single
    saved = write_predictions(
        run / OUT_OF_FOLD, labels, rows_of_first, softmax(logits.astype(np.float64) / single), with_facts=False
    )
    probabilities = saved[[f"p_{code}" for code in labels.codes]].to_numpy()
    mean = {
        name: np.stack(each).mean(axis=0, dtype=np.float64).astype(np.float32) for name, each in test_logits.items()
    }
    held_out = HeldOut(
        f"{TRAINABLE[first].name}, out of fold", encoded, probabilities, groups, melanomas(rows_of_first["label"])
    )
    scores = bootstrap.intervals(kinds(labels), encoded, probabilities, groups)
    return report(
        config,
        run,
        everything,
        tests[first].table,
        mean[first],
        np.full((len(tests[first].table), 1), temperature),
        {
            "epochs": epochs(config, runs),
            "temperature": temperature,
            "single_temperature": single,
            "folds": config.folds,
            "validation": {name: dataclasses.asdict(score) for name, score in scores.items()},
            "validation_by_adjustment": by_adjustment(
                logits, encoded, log_shares(config, data.table), config.logit_adjustment
            ),
            "operating_points": chosen_points(labels, held_out),
            "conformal": calibrated_sets(labels, held_out),
        },
        [further_part(name, test.table, mean[name], temperature) for name, test in tests.items() if name != first],
    )


def averaged_temperature(logits: np.ndarray, labels: np.ndarray, unseen: np.ndarray) -> float:
    """The temperature for the mean of several networks' logits, when each labelled image has those of only one network.

    `logits` [n, classes] are those of single networks for images with `labels` [n]; `unseen` [members, m, classes] are
    all networks' logits for images that none of them was trained on, whose labels are not needed. By simulation and
    extrapolation (Cook and Stefanski 1994, doi:10.1080/01621459.1994.10476871): the temperature is fitted with 0, 0.5,
    1 and 1.5 times the variance among members added to the logits, and a parabola through its logarithm is extrapolated
    to -(1 - 1 / members) times, the variance that averaging removes. The result is at most the temperature of single
    networks.
    """
    members = len(unseen)
    differences = (unseen - unseen.mean(axis=0)) * np.sqrt(members / (members - 1))
    differences = differences.reshape(-1, logits.shape[1])
    generator = np.random.default_rng(SEED)

    def fitted(variance: float) -> float:
        draws = differences[generator.integers(0, len(differences), (REPEATS, len(logits)))]
        return float(np.mean([np.log(fit_temperature(logits + np.sqrt(variance) * draw, labels)) for draw in draws]))

    fits = [np.log(fit_temperature(logits, labels)), *map(fitted, EXTRA_NOISE[1:])]
    extrapolated = np.polyval(np.polyfit(EXTRA_NOISE, fits, 2), -(1 - 1 / members))
    return float(np.exp(min(extrapolated, fits[0])))


def parts(config: Config) -> list[Config]:
    """The run of each member, in the order of the folds."""
    return [fold_config(config, fold) for fold in range(config.folds)]


def epochs(config: Config, runs: Path) -> dict[str, int]:
    """The epochs of all members together, `done` and `planned`."""
    each = [run_folder.epochs(part, runs / part.id) for part in parts(config)]
    return {name: sum(one[name] for one in each) for name in ("done", "planned")}


def export(config: Config, runs: Path, models: Path, changes: str = "") -> Path:
    """Write `models/<id>/` from the members and their evaluation, replacing an older one; return the folder.

    The networks are `member-1.tflite` and so on, in the order of the folds that they were not trained on. `changes` and
    errors are those of `export.export`.
    """
    run = open_run(config, runs)
    evaluation = checked_evaluation(config, run, epochs(config, runs))
    data = prepare(config.dataset, config.image_size, runs, **config.pixels)
    images = data.images[np.flatnonzero(data.table["split"] == "test")[:CHECKED_IMAGES]]
    members: list[dict[str, Any]] = []
    differences, tables, shapes, parameters = [], [], {}, 0
    with draft(models, config.id) as folder:
        for part in parts(config):
            table = with_validation(data.table, **part.division)
            network = best_network(part, last_file(part, open_run(part, runs)), table)
            content, difference = checked_litert(network, images)
            file = f"member-{len(members) + 1}.tflite"
            if config.ship_weights:
                (folder / file).write_bytes(content)
            members.append({"file": file, "fold": part.fold})
            differences.append(difference)
            tables.append(_history(part, runs))
            shapes, parameters = output_shapes(network), parameters + network.count_params()
            keras.utils.clear_session()
        described = card_content.describe(config, evaluation, [], parameters, shapes, run_of(config, runs))
        described["members"] = members
        if config.ship_weights:
            described["conversion"] = {"difference": round(max(differences), 7), "images": len(images)}
        for table_file in (*run.glob("predictions*.csv"), run / OUT_OF_FOLD):
            shutil.copy(table_file, folder)
        pd.concat(tables, ignore_index=True).to_csv(folder / "history.csv", index=False)
        if sources(config.dataset)[0].id == config.labels:
            described |= card_content.published(config.id, config.labels, folder / "predictions.csv")
        return publish(folder, described, models, changes)


def run_of(config: Config, runs: Path) -> dict[str, Any]:
    """The combined `run.json` of the members: their total time, and the machine of the first."""
    each = [read_run(runs / part.id) for part in parts(config)]
    return each[0] | {"wall_seconds": sum(one["wall_seconds"] for one in each)}


def _history(part: Config, runs: Path) -> pd.DataFrame:
    """A member's epochs; the last one is exported, whichever was best on the held-out images."""
    table = history(part, runs / part.id)
    table["chosen"] = table.index == len(table) - 1
    table.insert(0, "fold", part.fold)
    return table
