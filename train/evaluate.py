"""Evaluation: a temperature from the validation images, then predictions and scores on the test images."""

import dataclasses
import json
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar

from skinapp import metrics
from skinapp.errors import DataError
from skinapp.labels import label_set
from skinapp.runtime import softmax
from train import network as networks
from train.config import SAMPLING, Config
from train.datasets import Dataset, prepare, with_validation
from train.fit import open_run, predict

RESAMPLES = 2000
DEMOGRAPHICS = ["age", "sex", "site", "confirmation"]


def evaluate(config: Config, runs: Path) -> dict[str, metrics.Interval]:
    """Write `evaluation.json` and `predictions.csv` of the run's best network; give the scores on test."""
    run = open_run(config, runs)
    # at the network's own size, so that these are the pixels that the app and the command line see
    data = prepare(config.dataset, config.image_size, runs)
    data = Dataset(with_validation(data.table, config.folds, config.fold, config.seed), data.images)
    network = best_network(config, run, data.table)
    codes = label_set(config.labels).codes

    validation, validation_logits = split_logits(network, data, "validation")
    validation_labels = validation["label"].map(codes.index).to_numpy()
    temperature = fit_temperature(validation_logits, validation_labels)
    test, test_logits = split_logits(network, data, "test")
    probabilities = softmax(test_logits.astype(np.float64) / temperature)
    predictions = pd.concat(
        [
            test[["image", "group", "label"]].reset_index(drop=True),
            pd.DataFrame(probabilities, columns=[f"p_{code}" for code in codes]).round(6),
            test[DEMOGRAPHICS].reset_index(drop=True),
        ],
        axis=1,
    )
    predictions.to_csv(run / "predictions.csv", index=False)

    labels = test["label"].map(codes.index).to_numpy()
    groups = test["group"].to_numpy()
    malignant = tuple(label.malignant for label in label_set(config.labels).labels)
    kinds = metrics.DIAGNOSIS_SCORES | metrics.malignancy_scores(malignant)
    scores = metrics.intervals(kinds, labels, probabilities, groups, RESAMPLES)
    calibration: dict[str, metrics.Score] = {"expected_calibration_error": metrics.expected_calibration_error}
    uncalibrated = metrics.intervals(calibration, labels, softmax(test_logits.astype(np.float64)), groups, RESAMPLES)
    validation_scores = metrics.intervals(
        kinds,
        validation_labels,
        softmax(validation_logits.astype(np.float64) / temperature),
        validation["group"].to_numpy(),
        RESAMPLES,
    )
    weights = np.ones((1, len(test)))
    recalls = metrics.class_recalls(labels, probabilities, weights)[0]
    report = {
        "temperature": temperature,
        "logit_adjustment": config.logit_adjustment,
        "resamples": RESAMPLES,
        "images": data.table["split"].value_counts().to_dict(),
        "groups": data.table.groupby("split")["group"].nunique().to_dict(),
        "scores": {name: dataclasses.asdict(value) for name, value in scores.items()},
        "uncalibrated": {name: dataclasses.asdict(value) for name, value in uncalibrated.items()},
        "validation": {name: dataclasses.asdict(value) for name, value in validation_scores.items()},
        "validation_by_adjustment": by_adjustment(
            validation_logits, validation_labels, log_shares(config, data.table), config.logit_adjustment
        ),
        "recalls": {
            code: {"value": float(recall), "images": int((labels == index).sum())}
            for index, (code, recall) in enumerate(zip(codes, recalls, strict=True))
        },
    }
    (run / "evaluation.json").write_text(json.dumps(report, indent=2))
    return scores


def best_network(config: Config, run: Path, table: pd.DataFrame) -> keras.Model:
    """The best network of the last stage, in float32, for images of the model's size, with its logits adjusted.

    DataError where training is not done.
    """
    file = run / f"stage-{len(config.stages)}" / "best.keras"
    if not file.exists():
        raise DataError(f"There is no trained network in {run}; run fit first, to the end.")
    network = keras.saving.load_model(file, compile=False)
    if network.input_shape[1] != config.image_size or config.precision != "float32":
        network = networks.resized(network, config.architecture, config.image_size, config.dropout)
    kernel, bias = network.get_layer("logits").get_weights()
    network.get_layer("logits").set_weights([kernel, bias - config.logit_adjustment * log_shares(config, table)])
    return network


def log_shares(config: Config, table: pd.DataFrame) -> np.ndarray:
    """The logarithm of each class's share of the images that training draws, [classes]."""
    codes = list(label_set(config.labels).codes)
    counts = table.loc[table["split"] == "train", "label"].value_counts().reindex(codes).to_numpy(dtype=np.float64)
    drawn = counts ** (1 - SAMPLING[config.sampling])
    return np.log(drawn / drawn.sum())


def by_adjustment(logits: np.ndarray, labels: np.ndarray, shares: np.ndarray, applied: float) -> list[dict[str, float]]:
    """Accuracy and balanced accuracy for several logit adjustments, of logits that have `applied` of it: to choose."""
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

    found = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded")
    return float(np.exp(found.x))
