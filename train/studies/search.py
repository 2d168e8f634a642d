"""python -m train search: a random search over small networks, split as in a tutorial, or without leakage.

KerasTuner samples the networks, the same ones in the same order under both protocols, so that their tables can be
compared. Random search is enough for so few trials and such a noisy score (Bergstra and Bengio 2012,
https://jmlr.org/papers/v13/bergstra12a.html).
"""

import argparse
import dataclasses
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.utils.class_weight import compute_sample_weight
from tqdm import tqdm

from skinapp.errors import DataError
from skinapp.evaluation import bootstrap, metrics
from skinapp.evaluation.bootstrap import RESAMPLES
from skinapp.files import replacing
from skinapp.inference.runtime import softmax
from skinapp.labels.sets import HAM10000
from train.data.datasets import Dataset, encode, prepare, resampled, with_validation
from train.options import add_runs

if TYPE_CHECKING:
    import keras
    import keras_tuner

PROTOCOLS = ("resampled", "grouped")
"""`resampled` is the tutorial's: it samples from all images, and a random quarter both chooses and tests the network.
`grouped` samples from training lesions, chooses on validation lesions, and tests only the chosen network."""

SPACE: dict[str, list[float]] = {
    "depth": [1, 2, 3, 4],
    "width": [16, 32, 64, 128],
    "kernel": [3, 5],
    "dropout": [0.0, 0.2, 0.4],
    "dense": [32, 64, 128, 256],
}
"""The search space; the width is sampled for every convolution."""
SIZES = (16, 128)
"""Smaller images leave the deepest network nothing to pool; larger ones make the dense layer far too large."""
Row = dict[Any, Any]
"""A network in the table: its settings and its scores."""
CHOSEN_BY = "val_balanced_accuracy"
PATIENCE = 8
SHOWN = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--protocol",
        choices=PROTOCOLS,
        required=True,
        help="resampled: sample images, then split them at random; grouped: split by lesion, then sample",
    )
    parser.add_argument("--size", type=int, default=32, metavar="PX", help="side of the images (default: %(default)s)")
    parser.add_argument(
        "--per-class", type=int, default=100, metavar="N", help="images per class (default: %(default)s)"
    )
    parser.add_argument("--trials", type=int, default=25, metavar="N", help="networks to try (default: %(default)s)")
    parser.add_argument(
        "--epochs", type=int, default=30, metavar="N", help="the most epochs per network (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of split, samples and networks (default: %(default)s)"
    )
    add_runs(parser)
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE.csv",
        help="the table; result and best network are saved beside it (default: search-PROTOCOL.csv in --runs)",
    )


def run(options: argparse.Namespace) -> int:
    file = options.out or options.runs / f"search-{options.protocol}.csv"
    check(options, file)
    begin(file, settings(options))
    data = prepare("ham10000", options.size, options.runs)
    parts = split(data, options.protocol, options.per_class, options.seed)
    table = search(parts, file, options.trials, options.epochs, options.seed)
    report = {"settings": settings(options)} | result(parts, table, file)
    write(json.dumps(report, indent=2), file.with_suffix(".json"))
    print(describe(table, report))
    print(f"\nThe table is {file}, the result {file.with_suffix('.json')}.")
    return 0


def check(options: argparse.Namespace, file: Path) -> None:
    """DataError for impossible options."""
    check_minimums(options, {"per_class": 1, "trials": 1, "epochs": 1, "seed": 0})
    if not SIZES[0] <= options.size <= SIZES[1]:
        raise DataError(f"--size is {options.size}; it must be from {SIZES[0]} to {SIZES[1]}.")
    if file.suffix != ".csv":
        raise DataError(f"--out is {file}; it must end in .csv.")


def check_minimums(options: argparse.Namespace, minimums: Mapping[str, int]) -> None:
    """DataError if one of the options is below its minimum."""
    for name, value in minimums.items():
        if getattr(options, name) < value:
            raise DataError(f"--{name.replace('_', '-')} is {getattr(options, name)}; it must be at least {value}.")


def settings(options: argparse.Namespace) -> dict[str, Any]:
    """The settings that affect scores; not the number of trials, which may increase."""
    names = ("protocol", "size", "per_class", "epochs", "seed")
    return {name: getattr(options, name) for name in names} | {"patience": PATIENCE, "space": SPACE}


def begin(file: Path, wanted: dict[str, Any]) -> None:
    """Mark `file` as the table of a search with those settings. DataError if it belongs to another search."""
    record = file.with_suffix(".json")
    if record.exists():
        begun = json.loads(record.read_text()).get("settings", {})
        other = [f"{name} {begun.get(name)}" for name in wanted if begun.get(name) != wanted[name]]
        if other:
            raise DataError(
                f"{file} was started with other settings ({', '.join(other)}); move it and its .json away, or pass "
                "another --out."
            )
    elif file.exists():
        raise DataError(f"{file} is not the table of a search; pass another --out.")
    else:
        file.parent.mkdir(parents=True, exist_ok=True)
        write(json.dumps({"settings": wanted}, indent=2), record)


def split(data: Dataset, protocol: str, per_class: int, seed: int) -> dict[str, Dataset]:
    """The parts `train`, `validation` and `test`, in memory; for `resampled` the last two are the same."""
    from train.config import Config

    if protocol == "resampled":
        sampled = resampled(data.table, per_class, seed)
        names = {"train": "train", "validation": "test", "test": "test"}
        tables = {name: sampled[sampled["split"] == part] for name, part in names.items()}
    else:
        divided = with_validation(data.table, Config.folds, Config.fold, seed)
        tables = {name: divided[divided["split"] == name] for name in ("train", "validation", "test")}
        tables["train"] = resampled(tables["train"], per_class, seed, test_share=0)
    return {name: Dataset(table, data.images[table.index.to_numpy()]) for name, table in tables.items()}


def search(parts: dict[str, Dataset], file: Path, trials: int, epochs: int, seed: int) -> pd.DataFrame:
    """One row per network, written to `file` after each; networks in the file are not trained again."""

    def attempted(network_settings: dict[str, Any], rows: list[Row]) -> Row:
        return attempt(network_settings, rows, parts, file, epochs, seed)

    return sample(space, trials, seed, read(file), attempted)


def sample(
    space: Callable[["keras_tuner.HyperParameters"], dict[str, Any]],
    trials: int,
    seed: int,
    earlier: list[Row],
    attempt: Callable[[dict[str, Any], list[Row]], Row],
) -> pd.DataFrame:
    """One row for each of the settings that KerasTuner samples from a space: the row of `earlier` that has them, or
    what `attempt` returns for the settings and the rows so far."""
    import keras_tuner

    trials = max(trials, len(earlier))
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch, tqdm(total=trials, unit=" networks") as bar:
        # KerasTuner's own record is discarded: given the scores in the table, it samples the same networks
        oracle = keras_tuner.RandomSearch(
            space,
            objective=keras_tuner.Objective(CHOSEN_BY, "max"),
            max_trials=trials,
            # KerasTuner treats 0 as no seed
            seed=seed + 1,
            directory=scratch,
            project_name="search",
        ).oracle
        oracle.verbose = 0
        while (trial := oracle.create_trial("search")).status == "RUNNING":
            network_settings = space(trial.hyperparameters)
            known = next((row for row in earlier if network_settings.items() <= row.items()), None)
            rows.append(known or attempt(network_settings, rows))
            oracle.update_trial(trial.trial_id, {CHOSEN_BY: rows[-1][CHOSEN_BY]})
            trial.status = "COMPLETED"
            oracle.end_trial(trial)
            bar.set_postfix(best=f"{best(rows)[CHOSEN_BY]:.3f}")
            bar.update()
    return pd.DataFrame(rows)


def attempt(
    network_settings: dict[str, Any], rows: list[Row], parts: dict[str, Dataset], file: Path, epochs: int, seed: int
) -> Row:
    """Train the network after `rows`, and write its row; the best network so far is saved at `network_file`."""
    import keras

    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    network = build(network_settings, parts["train"].images.shape[1])
    row = {"trial": len(rows) + 1} | network_settings | train(network, parts, epochs)
    better = best([*rows, row]) is row
    # save before the row is written and delete afterwards, so that the table's best network always exists
    if better:
        with replacing(network_file(file, row)) as partial:
            network.save(partial)
    write(pd.DataFrame([*rows, row]).to_csv(index=False), file)
    if better and rows:
        network_file(file, best(rows)).unlink(missing_ok=True)
    return row


def space(choices: "keras_tuner.HyperParameters") -> dict[str, Any]:
    """A network of SPACE as chosen by KerasTuner, in the columns of the table; `widths` looks like 64-32."""
    depth = choices.Choice("depth", SPACE["depth"])
    widths = []
    for layer in SPACE["depth"]:
        with choices.conditional_scope("depth", [value for value in SPACE["depth"] if value >= layer]):
            widths.append(choices.Choice(f"width_{layer}", SPACE["width"]))
    rest = {name: choices.Choice(name, SPACE[name]) for name in ("kernel", "dropout", "dense")}
    return {"depth": depth, "widths": "-".join(str(width) for width in widths[:depth])} | rest


def build(network_settings: dict[str, Any], size: int) -> "keras.Model":
    """The network of a row: RGB 0-255 [n, size, size, 3] -> logits [n, classes]."""
    import keras
    from keras import layers

    images = keras.Input((size, size, 3))
    x = layers.Rescaling(1 / 255)(images)
    for width in network_settings["widths"].split("-"):
        x = layers.Conv2D(int(width), network_settings["kernel"], padding="same", activation="relu")(x)
        x = layers.Dropout(network_settings["dropout"])(layers.MaxPooling2D()(x))
    x = layers.Dense(network_settings["dense"], activation="relu")(layers.Flatten()(x))
    x = layers.Dropout(network_settings["dropout"])(x)
    return keras.Model(images, layers.Dense(len(HAM10000.codes))(x))


def train(network: "keras.Model", parts: dict[str, Dataset], epochs: int) -> dict[str, float]:
    """Train with Adam at 0.001, keep the epoch with the lowest balanced log loss on validation; return the scores."""
    import keras

    from train.fit.validation import validation_scores

    started = time.perf_counter()
    labels = {name: encode(part.table["label"], HAM10000) for name, part in parts.items()}
    network.compile(
        optimizer=keras.optimizers.Adam(0.001),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )
    history = network.fit(
        parts["train"].images,
        labels["train"],
        batch_size=32,
        epochs=epochs,
        verbose=0,
        validation_data=(
            parts["validation"].images,
            labels["validation"],
            compute_sample_weight("balanced", labels["validation"]),
        ),
        validation_batch_size=256,
        callbacks=[keras.callbacks.EarlyStopping("val_loss", patience=PATIENCE, restore_best_weights=True)],
    )
    return {
        "parameters": network.count_params(),
        "epoch": int(np.argmin(history.history["val_loss"])) + 1,
        **validation_scores(labels["validation"], probabilities(network, parts["validation"].images)),
        "seconds": round(time.perf_counter() - started, 1),
    }


def probabilities(network: "keras.Model", images: np.ndarray) -> np.ndarray:
    """Float [n, classes] of uint8 images [n, size, size, 3]; avoiding `predict`, which would compile every network."""
    logits = [np.asarray(network(images[start : start + 256])) for start in range(0, len(images), 256)]
    return softmax(np.concatenate(logits))


def result(parts: dict[str, Dataset], table: pd.DataFrame, file: Path) -> dict[str, Any]:
    """The best network and its scores on test, with 95% intervals from a bootstrap over lesions.

    `copies` and `lesions` are the shares (0 to 1) of test rows whose image, or whose lesion, was trained on. DataError
    if the network file is missing.
    """
    import keras

    row = best(table.to_dict("records"))
    if not network_file(file, row).exists():
        raise DataError(f"There is no {network_file(file, row)}; move {file} and its .json away and search again.")
    network = keras.saving.load_model(network_file(file, row), compile=False)
    train, test = parts["train"].table, parts["test"].table
    scores = bootstrap.intervals(
        {name: metrics.DIAGNOSIS_SCORES[name] for name in ("accuracy", "balanced_accuracy")},
        encode(test["label"], HAM10000),
        probabilities(network, parts["test"].images),
        test["group"].to_numpy(),
        RESAMPLES,
    )
    return {
        "trials": len(table),
        "seconds": round(float(table["seconds"].sum())),
        "best": row,
        "parts": {
            name: {
                "rows": len(part.table),
                "images": part.table["image"].nunique(),
                "lesions": part.table["group"].nunique(),
            }
            for name, part in parts.items()
        },
        "copies": float(test["image"].isin(set(train["image"])).mean()),
        "lesions": float(test["group"].isin(set(train["group"])).mean()),
        "resamples": RESAMPLES,
        "scores": {name: dataclasses.asdict(score) for name, score in scores.items()},
    }


def describe(table: pd.DataFrame, report: dict[str, Any]) -> str:
    """The best networks, and the result of the best one, as text."""
    ranked = table.sort_values(CHOSEN_BY, ascending=False, kind="stable").head(SHOWN)
    test = report["parts"]["test"]
    return "\n".join(
        [
            f"The best {len(ranked)} of {report['trials']} networks, protocol {report['settings']['protocol']}:",
            ranked.round(3).to_string(index=False),
            "",
            f"Test of the first: {test['rows']:,} rows, {test['images']:,} images of {test['lesions']:,} lesions",
            *(
                f"  {name.replace('_', ' '):18} {score['value']:.3f}  {score['low']:.3f} to {score['high']:.3f}"
                for name, score in report["scores"].items()
            ),
            f"Test rows that are copies of a training row:       {report['copies']:.1%}",
            f"Test rows whose lesion is among the training rows: {report['lesions']:.1%}",
        ]
    )


def best(rows: list[Row]) -> Row:
    """The row with the highest score; the first if several are equal."""
    return max(rows, key=lambda row: row[CHOSEN_BY])


def network_file(file: Path, row: Row) -> Path:
    return file.with_name(f"{file.stem}-{row['trial']}.keras")


def read(file: Path) -> list[Row]:
    """The rows of the table; none if there is no file."""
    if not file.exists():
        return []
    return pd.read_csv(file, dtype={"widths": str}).to_dict("records")


def write(text: str, file: Path) -> None:
    with replacing(file) as partial:
        partial.write_text(text)
