"""Evaluation: a temperature from the validation images, then predictions and scores on the test images."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar

from skinapp.evaluation import bootstrap, calibration, metrics
from skinapp.files import replacing
from skinapp.inference.runtime import softmax
from skinapp.labels.sets import LabelSet, label_set
from train.config import SAMPLING, Config
from train.data.datasets import TRAINABLE, Dataset, encode, prepare, with_validation
from train.fit import network as networks
from train.fit.run_folder import best_file, epochs, open_run
from train.fit.validation import predict

RESAMPLES = 2000
DEMOGRAPHICS = ["age", "sex", "site", "confirmation"]
CALIBRATION: dict[str, bootstrap.Score] = {"expected_calibration_error": calibration.expected_calibration_error}


def evaluate(config: Config, runs: Path) -> dict[str, bootstrap.Interval]:
    """Write `evaluation.json` and `predictions.csv` for the run's best network; return its test scores.

    Several data sets are scored separately; the scores returned are those of the first.
    """
    run = open_run(config, runs)
    # at the network's own size, so that the pixels are those that the app and the command line use
    data = prepare(config.dataset, config.image_size, runs, config.hair_removal)
    data = Dataset(with_validation(data.table, config.folds, config.fold, config.seed), data.images)
    network = best_network(config, best_file(config, run), data.table)
    labels = label_set(config.labels)

    validation, validation_logits = split_logits(network, data, "validation")
    validation_labels = encode(validation["label"], labels)
    temperature = fit_temperature(validation_logits, validation_labels)
    validation_scores = bootstrap.intervals(
        kinds(labels),
        validation_labels,
        softmax(validation_logits.astype(np.float64) / temperature),
        validation["group"].to_numpy(),
        RESAMPLES,
    )
    test, test_logits = split_logits(network, data, "test")
    return report(
        config,
        run,
        data.table,
        test,
        test_logits,
        np.full((len(test), 1), temperature),
        {
            "temperature": temperature,
            "validation": _plain(validation_scores),
            "validation_by_adjustment": by_adjustment(
                validation_logits, validation_labels, log_shares(config, data.table), config.logit_adjustment
            ),
        },
    )


def report(
    config: Config,
    run: Path,
    table: pd.DataFrame,
    test: pd.DataFrame,
    logits: np.ndarray,
    temperatures: np.ndarray,
    more: dict[str, Any],
) -> dict[str, bootstrap.Interval]:
    """Write `predictions.csv` and `evaluation.json`; return the scores on the first data set.

    `table` has all rows, `test` those to score, with their logits [n, classes] and temperatures [n, 1]; `more` is added
    to `evaluation.json`.
    """
    labels = label_set(config.labels)
    encoded = encode(test["label"], labels)
    probabilities = softmax(logits.astype(np.float64) / temperatures)
    predictions = pd.concat(
        [
            test[["image", "group"]].reset_index(drop=True),
            pd.Series(np.array(labels.codes)[encoded], name="label"),
            pd.DataFrame(probabilities, columns=[f"p_{code}" for code in labels.codes]).round(6),
            test[["dataset", *DEMOGRAPHICS]].reset_index(drop=True),
        ],
        axis=1,
    )
    with replacing(run / "predictions.csv") as partial:
        predictions.to_csv(partial, index=False)

    tests = [
        scored(
            TRAINABLE[name].name,
            TRAINABLE[name].protocol,
            kinds(labels),
            labels.codes,
            encoded[rows],
            logits[rows],
            temperatures[rows],
            test["group"].to_numpy()[rows],
        )
        for name, rows in ((name, (test["dataset"] == name).to_numpy()) for name in test["dataset"].unique())
    ]
    content = {
        "epochs": epochs(config, run),
        "input_size": config.image_size,
        "logit_adjustment": config.logit_adjustment,
        "resamples": RESAMPLES,
        "images": table["split"].value_counts().to_dict(),
        "groups": table.groupby("split")["group"].nunique().to_dict(),
        "tests": tests,
    } | more
    with replacing(run / "evaluation.json") as partial:
        partial.write_text(json.dumps(content, indent=2))
    return {name: bootstrap.Interval(**score) for name, score in tests[0]["scores"].items()}


def kinds(labels: LabelSet) -> dict[str, bootstrap.Score]:
    """All scores of a card."""
    return metrics.DIAGNOSIS_SCORES | metrics.malignancy_scores(tuple(label.malignant for label in labels.labels))


def scored(
    name: str,
    protocol: str,
    scores: dict[str, bootstrap.Score],
    codes: tuple[str, ...],
    labels: np.ndarray,
    logits: np.ndarray,
    temperatures: np.ndarray,
    groups: np.ndarray,
) -> dict[str, Any]:
    """The scores of one data set's test images, calibration before and after the temperature, and sensitivity by
    class."""
    uncalibrated = softmax(logits.astype(np.float64))
    probabilities = softmax(logits.astype(np.float64) / temperatures)
    recalls = metrics.class_recalls(labels, probabilities, np.ones((1, len(labels))))[0]
    return {
        "name": name,
        "protocol": protocol,
        "images": len(labels),
        "groups": len(set(groups)),
        "scores": _plain(bootstrap.intervals(scores, labels, probabilities, groups, RESAMPLES)),
        "uncalibrated": _plain(bootstrap.intervals(CALIBRATION, labels, uncalibrated, groups, RESAMPLES)),
        "reliability": calibration.reliability(labels, probabilities),
        "reliability_uncalibrated": calibration.reliability(labels, uncalibrated),
        "recalls": {
            code: {"value": float(recall), "images": int((labels == index).sum())}
            for index, (code, recall) in enumerate(zip(codes, recalls, strict=True))
            if (labels == index).any()
        },
    }


def best_network(config: Config, file: Path, table: pd.DataFrame) -> keras.Model:
    """The network in a file of a run, converted to float32 and the model's image size, with adjusted logits."""
    network = keras.saving.load_model(file, compile=False)
    if network.input_shape[1] != config.image_size or config.precision != "float32":
        network = networks.resized(network, config.architecture, config.image_size, config.dropout)
    if config.logit_adjustment:
        kernel, bias = network.get_layer("logits").get_weights()
        network.get_layer("logits").set_weights([kernel, bias - config.logit_adjustment * log_shares(config, table)])
    return network


def log_shares(config: Config, table: pd.DataFrame) -> np.ndarray:
    """The logarithm of each class's share of the images that training samples, from the data set `reference` if the
    logits are for its class shares, [classes]."""
    labels = label_set(config.labels)
    rows = (table["split"] == "train") & (table["dataset"] == config.reference if config.reference else True)
    counts = np.bincount(encode(table.loc[rows, "label"], labels), minlength=len(labels.codes))
    sampled = counts.astype(np.float64) ** (1 - SAMPLING[config.sampling])
    return np.log(sampled / sampled.sum())


def by_adjustment(logits: np.ndarray, labels: np.ndarray, shares: np.ndarray, applied: float) -> list[dict[str, float]]:
    """Accuracy and balanced accuracy for several logit adjustments, from logits to which `applied` was applied."""
    weights = np.ones((1, len(labels)))
    rows = []
    for adjustment in (0.0, 0.25, 0.5, 0.75, 1.0):
        probabilities = softmax(logits - (adjustment - applied) * shares)
        rows.append(
            {
                "logit_adjustment": adjustment,
                "accuracy": float(metrics.accuracy(labels, probabilities, weights)[0]),
                "balanced_accuracy": float(metrics.balanced_accuracy(labels, probabilities, weights)[0]),
            }
        )
    return rows


def split_logits(network: keras.Model, data: Dataset, split: str) -> tuple[pd.DataFrame, np.ndarray]:
    """The rows of a split, and the network's logits [n, classes] for their images."""
    rows = np.flatnonzero(data.table["split"] == split)
    return data.table.iloc[rows], predict(network, data.images[rows])


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature that minimises the log loss of logits [n, classes] / temperature (Guo et al. 2017)."""
    weights = np.ones((1, len(labels)))

    def loss(log_temperature: float) -> float:
        probabilities = softmax(logits.astype(np.float64) / np.exp(log_temperature))
        return float(metrics.log_loss(labels, probabilities, weights)[0])

    optimum = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded")
    return float(np.exp(optimum.x))


def _plain(scores: dict[str, bootstrap.Interval]) -> dict[str, dict[str, float]]:
    return {name: dataclasses.asdict(score) for name, score in scores.items()}
