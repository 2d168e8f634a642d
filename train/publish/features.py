"""python -m train features: boosted trees on the features of a lesion, from a data set to a model folder.

All choices come from out-of-fold predictions, as for a committee: the training images are divided into parts by lesion,
and each part is predicted by trees that were trained on the others. The model is then trained on all of them.
"""

import argparse
import dataclasses
import importlib.metadata
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from skinapp.errors import DataError, ModelError
from skinapp.evaluation import bootstrap, metrics
from skinapp.evaluation.bootstrap import RESAMPLES
from skinapp.inference import feature_model, model_card, trees
from skinapp.inference.runtime import softmax
from skinapp.inference.training_images import OUT_OF_FOLD
from skinapp.inference.trees import Trees
from skinapp.labels.sets import MALIGNANCY, LabelSet, label_set
from skinapp.lesion import features
from train.config import build, read_settings
from train.data.datasets import encode, melanomas, read, sources, with_validation
from train.data.features import measured
from train.fit.metadata import log_shares
from train.options import add_models, add_runs
from train.publish import card_content
from train.publish.evaluate import (
    HeldOut,
    Part,
    by_adjustment,
    calibrated_sets,
    chosen_points,
    fit_temperature,
    further_part,
    kinds,
    measured_points,
    scored_part,
    write_predictions,
)
from train.publish.folder import LICENCE, RESIZE, draft, publish

PROTOCOL = (
    "The training images are divided into {folds} parts by lesion. Each part is predicted by trees trained on the "
    "other parts, out of fold. Only these predictions were used to choose the number of iterations, the logit "
    "adjustment, the temperature, the operating points and the prediction sets. The trees in this folder were then "
    "trained on all the training images."
)
LIMIT = (
    "It sees only the measured features. If the segmentation is wrong, so are they, and there may be no warning. "
    "Features that cannot be measured are left out, and the answer says why."
)


@dataclass(frozen=True)
class Config:
    """The settings of a model: its data sets and labels, as in `train.config.Config`; the parts of the
    cross-validation; and the trees: the maximum number of `iterations`, the best of which is chosen out of fold, the
    learning rate, the leaves per tree, the minimum number of training images per leaf, and the L2 penalty."""

    id: str
    title: str
    short_name: str
    dataset: str
    labels: str
    folds: int = 5
    seed: int = 0
    iterations: int = 400
    learning_rate: float = 0.05
    leaves: int = 12
    least_images: int = 30
    penalty: float = 5.0
    logit_adjustment: float = 0.0
    note: str = ""


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """The training images: rows [n] in the common form, class indices [n], logits [n, K] of trees that were not trained
    on their lesions, before any adjustment, the best number of iterations, and the log loss after each, as in a model's
    history.csv."""

    rows: pd.DataFrame
    labels: np.ndarray
    logits: np.ndarray
    iterations: int
    history: pd.DataFrame


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        type=Path,
        required=True,
        metavar="FILE",
        help="the settings: a file in train/configs/features, or your own",
    )
    add_runs(parser)
    add_models(parser)
    parser.add_argument(
        "--changes", default="", metavar="TEXT", help="a sentence for the changelog, if the model is replaced"
    )


def run(options: argparse.Namespace) -> int:
    config = load_config(options.config)
    print(export(config, options.runs, options.models, options.changes))
    return 0


def load_config(path: Path) -> Config:
    """A YAML file -> Config. DataError names an unknown key or impossible value."""
    config: Config = build(Config, read_settings(path), "")
    label_set(config.labels)
    sources(config.dataset)
    return config


def export(config: Config, runs: Path, models: Path, changes: str = "") -> Path:
    """Train, evaluate and write `models/<id>/`, replacing an older one; return the folder. ModelError if the trees in
    the file do not reproduce scikit-learn's numbers."""
    started = time.monotonic()
    labels = label_set(config.labels)
    table = read(config.dataset)
    # HAM10000 and the malignant/benign set share no names
    values = measured(config.dataset, runs).loc[table["image"]].to_numpy()
    held_out = cross_validated(config, table, values)
    shares = log_shares(held_out.labels, len(labels.codes))
    everything = with_validation(table, config.folds, None, config.seed)
    train = (everything["split"] == "train").to_numpy()
    fitted = fit(config, values[train], encode(table.loc[train, "label"], labels), held_out.iterations, len(shares))
    made = to_trees(fitted, tuple(features.TITLES), -config.logit_adjustment * shares)
    content = trees.save(made)
    made = trees.load(content)

    first, *others = (source.id for source in sources(config.dataset))
    adjusted = held_out.logits - config.logit_adjustment * shares
    of_first = (held_out.rows["dataset"] == first).to_numpy()
    rows, chosen_on, encoded = held_out.rows[of_first], adjusted[of_first], held_out.labels[of_first]
    temperature = fit_temperature(chosen_on, encoded)
    tests: list[Part] = []
    for name in (first, *others):
        tested = ((everything["split"] == "test") & (everything["dataset"] == name)).to_numpy()
        if tested.any():
            logits = np.array([made.logits(row) for row in values[tested]])
            check_agreement(fitted, made, values[tested])
            part = further_part(name, everything[tested], logits, temperature)
            tests.append(part if tests else dataclasses.replace(part, file=""))
    with draft(models, config.id) as folder:
        (folder / feature_model.WEIGHTS_FILE).write_bytes(content)
        for part in tests:
            write_predictions(
                folder / (part.file or "predictions.csv"), labels, part.rows, part.images(labels).probabilities
            )
        held_out.history.to_csv(folder / "history.csv", index=False)
        saved = write_predictions(
            folder / OUT_OF_FOLD, labels, rows, softmax(chosen_on / temperature), with_facts=False
        )
        unseen = HeldOut(
            f"{sources(config.dataset)[0].name}, out of fold",
            encoded,
            saved[[f"p_{code}" for code in labels.codes]].to_numpy(),
            rows["group"].to_numpy(),
            melanomas(rows["label"]),
        )
        card = describe(config, labels, everything, tests, unseen, temperature, held_out.iterations, made)
        card["logit_adjustment"] = card_content.tried_adjustments(
            config.logit_adjustment, by_adjustment(chosen_on, encoded, shares, config.logit_adjustment)
        )
        card["conversion"] = {"difference": 0, "images": len(tests[0].rows)}
        card["training"] |= {"minutes": round((time.monotonic() - started) / 60), "cores": os.cpu_count() or 1}
        if first == config.labels:
            card |= card_content.published(config.id, config.labels, folder / "predictions.csv")
        return publish(folder, card, models, changes)


def cross_validated(config: Config, table: pd.DataFrame, values: np.ndarray) -> OutOfFold:
    """The out-of-fold logits of all training images of a table in the common form, with their features [n, F].

    The number of iterations minimises the log loss out of fold, over all parts combined.
    """
    labels = label_set(config.labels)
    everything = with_validation(table, config.folds, None, config.seed)
    rows = np.flatnonzero(everything["split"] == "train")
    encoded = encode(table["label"], labels)
    staged = np.zeros((config.iterations, len(table), len(labels.codes)), np.float32)
    trained = np.zeros((config.folds, config.iterations))
    for fold in range(config.folds):
        split = with_validation(table, config.folds, fold, config.seed)["split"]
        train, held_back = np.flatnonzero(split == "train"), np.flatnonzero(split == "validation")
        fitted = fit(config, values[train], encoded[train], config.iterations, len(labels.codes))
        for iteration, raw in enumerate(fitted.staged_decision_function(values[held_back])):
            staged[iteration, held_back] = all_logits(raw)
        for iteration, raw in enumerate(fitted.staged_decision_function(values[train])):
            trained[fold, iteration] = log_loss(encoded[train], all_logits(raw))
    losses = [log_loss(encoded[rows], logits[rows].astype(np.float64)) for logits in staged]
    best = int(np.argmin(losses))
    history = pd.DataFrame({"epoch": range(1, config.iterations + 1), "loss": trained.mean(axis=0), "val_loss": losses})
    history["chosen"] = history["epoch"] == best + 1
    return OutOfFold(
        everything.iloc[rows], encoded[rows], staged[best][rows].astype(np.float64), best + 1, history.round(6)
    )


def log_loss(labels: np.ndarray, logits: np.ndarray) -> float:
    """The log loss of logits [n, K] for class indices [n]."""
    return float(metrics.log_loss(labels, softmax(logits), np.ones((1, len(labels))))[0])


def fit(
    config: Config, values: np.ndarray, labels: np.ndarray, iterations: int, classes: int
) -> HistGradientBoostingClassifier:
    """Boosted trees on features [n, F], NaN where missing, and class indices [n]. DataError if one of the
    `classes` has no image."""
    trained = HistGradientBoostingClassifier(
        learning_rate=config.learning_rate,
        max_iter=iterations,
        max_leaf_nodes=config.leaves,
        min_samples_leaf=config.least_images,
        l2_regularization=config.penalty,
        early_stopping=False,
        random_state=config.seed,
    )
    with threadpool_limits(limits=1, user_api="openmp"):
        trained.fit(values, labels)
    if len(trained.classes_) < classes:
        raise DataError("A class has no training image; use other data.")
    return trained


def to_trees(fitted: HistGradientBoostingClassifier, names: tuple[str, ...], offset: np.ndarray) -> Trees:
    """scikit-learn's trees as plain arrays; `offset` [K] is added to the logits. With two classes, each gets half of
    scikit-learn's single score, with opposite signs."""
    per_tree = [predictor for iteration in fitted._predictors for predictor in iteration]
    columns = len(fitted._predictors[0])
    sizes = [len(predictor.nodes) for predictor in per_tree]
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int32)
    nodes = np.concatenate([predictor.nodes for predictor in per_tree])
    shift = np.repeat(starts, sizes)
    leaf = nodes["is_leaf"].astype(bool)
    if nodes["is_categorical"].any():
        raise ModelError("Trees that split by categories cannot be published.")
    return Trees(
        names=np.array(names),
        roots=starts,
        columns=np.tile(np.arange(columns), len(fitted._predictors)).astype(np.int16),
        feature=np.where(leaf, -1, nodes["feature_idx"]).astype(np.int16),
        threshold=np.where(leaf, 0.0, nodes["num_threshold"]),
        missing_left=nodes["missing_go_to_left"].astype(bool) & ~leaf,
        left=np.where(leaf, 0, nodes["left"] + shift).astype(np.int32),
        right=np.where(leaf, 0, nodes["right"] + shift).astype(np.int32),
        value=np.where(leaf, nodes["value"], 0.0),
        count=nodes["count"].astype(np.int32),
        baseline=np.ravel(fitted._baseline_prediction).astype(np.float64),
        mix=np.array([[-0.5, 0.5]]) if columns == 1 else np.eye(columns),
        offset=np.asarray(offset, dtype=np.float64),
    )


def check_agreement(fitted: HistGradientBoostingClassifier, made: Trees, values: np.ndarray) -> None:
    """ModelError if the trees do not reproduce scikit-learn's scores exactly for features [n, F]."""
    expected = fitted.decision_function(values).reshape(len(values), -1)
    if not np.array_equal(np.array([made.raw(row) for row in values]), expected):
        raise ModelError("The trees do not give the numbers of scikit-learn; nothing was exported.")


def describe(
    config: Config,
    labels: LabelSet,
    table: pd.DataFrame,
    tests: list[Part],
    held_out: HeldOut,
    temperature: float,
    iterations: int,
    made: Trees,
) -> dict[str, Any]:
    """The card, without version, files and anything known only at the end."""
    parts = sources(config.dataset)
    first, *others = (scored_part(part, labels) for part in tests)
    validation = bootstrap.intervals(kinds(labels), held_out.labels, held_out.probabilities, held_out.groups, RESAMPLES)
    points = measured_points(chosen_points(labels, held_out), labels, [part.images(labels) for part in tests])
    card: dict[str, Any] = {
        "id": config.id,
        "kind": "features",
        "title": config.title,
        "short_name": config.short_name,
        "task": "malignancy" if labels is MALIGNANCY else "diagnosis",
        "modality": parts[0].modality,
        "labels": {"set": labels.id, "codes": list(labels.codes)},
        "architecture": {"name": "boosted trees on lesion features", "parameters": int((made.feature < 0).sum())},
        "initial_weights": "none",
        "input": {
            "size": features.SIDE,
            "dtype": "float32",
            "range": [0, 255],
            "channels": "RGB",
            "resize": RESIZE,
        },
        "outputs": {"logits": [len(labels.codes)]},
        "temperature": round(temperature, 4),
        "training": card_content.credits_of(parts)
        | {
            "protocol": " ".join([*(source.protocol for source in parts), PROTOCOL.format(folds=config.folds)]),
            "images": table["split"].value_counts().to_dict(),
            "groups": table.groupby("split")["group"].nunique().to_dict(),
            "note": config.note.strip(),
            "boosting": {
                "iterations": iterations,
                **{
                    name: getattr(config, name)
                    for name in ("learning_rate", "leaves", "least_images", "penalty", "folds", "seed")
                },
            },
        },
        "test": {
            "dataset": first["name"],
            "images": first["images"],
            "groups": first["groups"],
            "resamples": RESAMPLES,
        }
        | card_content.details(first),
        "scores": card_content.rounded(first["scores"]),
        "other_tests": [card_content.other_test(test) | card_content.details(test) for test in others],
        "validation": card_content.rounded(validation),
        **card_content.operating_points({"operating_points": points}),
        "conformal": calibrated_sets(labels, held_out),
        "licence": LICENCE,
        "intended_use": card_content.INTENDED_USE,
        "versions": {
            name: importlib.metadata.version(name) for name in ("scikit-learn", "scikit-image", "ai-edge-litert")
        },
    }
    good, bad = model_card.sensitivity_sentences(card)
    return card | {"good_at": good, "bad_at": bad, "limits": [LIMIT, *card_content.limits(card)]}


def all_logits(raw: np.ndarray) -> np.ndarray:
    """scikit-learn's scores as logits [n, K]; with two classes it gives a single score [n]."""
    return raw if raw.ndim == 2 else np.stack([-raw / 2, raw / 2], axis=1)
