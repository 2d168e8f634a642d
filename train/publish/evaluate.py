"""Evaluation: a temperature from the validation images, then predictions and scores on the test images."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar

from skinapp.errors import DataError
from skinapp.evaluation import bootstrap, calibration, conformal, metrics, operating_points
from skinapp.evaluation.bootstrap import RESAMPLES
from skinapp.files import replacing
from skinapp.inference import views
from skinapp.inference.runtime import softmax
from skinapp.labels.sets import LabelSet, label_set
from train.config import SAMPLING, Config
from train.data.datasets import (
    TRAINABLE,
    Dataset,
    encode,
    melanomas,
    prepare,
    read,
    sources,
    validation_rows,
    with_validation,
)
from train.fit import network as networks
from train.fit.run_folder import best_file, epochs, open_run
from train.fit.validation import predict

DEMOGRAPHICS = ["age", "sex", "site", "confirmation"]
CALIBRATION: dict[str, bootstrap.Score] = {"expected_calibration_error": calibration.expected_calibration_error}


@dataclass(frozen=True)
class HeldOut:
    """Images that the model was not trained on: their name, class indices [n], probabilities [n, classes],
    groups [n], and whether they are known to be melanomas [n]."""

    name: str
    labels: np.ndarray
    probabilities: np.ndarray
    groups: np.ndarray
    melanoma: np.ndarray


@dataclass(frozen=True)
class Part:
    """The test images of one data set: rows in the common form, logits [n, classes], temperatures [n, 1], and the name
    of their predictions file if it is separate."""

    dataset: str
    rows: pd.DataFrame
    logits: np.ndarray
    temperatures: np.ndarray
    file: str = ""

    def images(self, labels: LabelSet) -> HeldOut:
        return HeldOut(
            TRAINABLE[self.dataset].name,
            encode(self.rows["label"], labels),
            softmax(self.logits.astype(np.float64) / self.temperatures),
            self.rows["group"].to_numpy(),
            melanomas(self.rows["label"]),
        )


def further_part(dataset: str, rows: pd.DataFrame, logits: np.ndarray, temperature: float) -> Part:
    """The test images of a further data set, whose predictions go to a separate file."""
    return Part(dataset, rows, logits, np.full((len(rows), 1), temperature), f"predictions-{dataset}.csv")


def evaluate(config: Config, runs: Path, also: Sequence[str] = ()) -> dict[str, bootstrap.Interval]:
    """Write `evaluation.json` and `predictions.csv` for the run's best network; return its test scores.

    Only the validation images of the first data set are used for model selection; `predictions.csv` and the returned
    scores are for its test images. The other data sets, and those named in `also`, which it was not trained on, are
    scored separately; each with test images gets a file `predictions-<dataset>.csv`.
    """
    run = open_run(config, runs)
    # at the network's own size, so that the pixels match those in the app and on the command line
    data = prepare(config.dataset, config.image_size, runs, **config.pixels)
    data = Dataset(with_validation(data.table, **config.division), data.images)
    network = best_network(config, best_file(config, run), data.table)
    labels = label_set(config.labels)

    rows = validation_rows(data.table)
    validation, validation_logits = data.table.iloc[rows], averaged_logits(network, data.images[rows], config.views)
    validation_labels = encode(validation["label"], labels)
    temperature = fit_temperature(validation_logits, validation_labels)
    held_out = HeldOut(
        "Validation images",
        validation_labels,
        softmax(validation_logits.astype(np.float64) / temperature),
        validation["group"].to_numpy(),
        melanomas(validation["label"]),
    )
    validation_scores = bootstrap.intervals(
        kinds(labels), held_out.labels, held_out.probabilities, held_out.groups, RESAMPLES
    )
    first, *others = (source.id for source in sources(config.dataset))
    test = test_part(data, first)
    unseen = {name: tested for name in others if len((tested := test_part(data, name)).table)}
    unseen |= {name: further_test(config, name, runs) for name in also}
    further = [
        further_part(name, other.table, averaged_logits(network, other.images, config.views), temperature)
        for name, other in unseen.items()
    ]
    return report(
        config,
        run,
        data.table,
        test.table,
        averaged_logits(network, test.images, config.views),
        np.full((len(test.table), 1), temperature),
        {
            "temperature": temperature,
            "validation": _plain(validation_scores),
            "validation_by_adjustment": by_adjustment(
                validation_logits, validation_labels, log_shares(config, data.table), config.logit_adjustment
            ),
            "operating_points": chosen_points(labels, held_out),
            "conformal": calibrated_sets(labels, held_out),
        },
        further,
    )


def test_part(data: Dataset, name: str) -> Dataset:
    """The test images of one of the data sets."""
    rows = np.flatnonzero((data.table["dataset"] == name) & (data.table["split"] == "test"))
    return Dataset(data.table.iloc[rows].reset_index(drop=True), data.images[rows])


def further_test(config: Config, name: str, runs: Path) -> Dataset:
    """The test images of a data set that a run was not trained on, at the model's size.

    DataError if it has none, or a test image's label is not a class of the model. Images of lesions or patients that
    the run was trained on are left out.
    """
    trained_on = [source.id for source in sources(config.dataset)]
    if name in trained_on:
        raise DataError(f"'{name}' is part of the run's data, so its test images are scored anyway; name another.")
    # read together, so that pictures in both data sets are recognised
    both = read(f"{config.dataset}+{name}", config.packed)
    seen = both.loc[both["dataset"].isin(trained_on) & (both["split"] != "test"), "group"]
    rows = both[(both["dataset"] == name) & (both["split"] == "test") & ~both["group"].isin(seen)]
    if rows.empty:
        raise DataError(f"The data set '{name}' has no test images that the run was not trained on; name another.")
    encode(rows["label"], label_set(config.labels))
    data = prepare(name, config.image_size, runs, **config.pixels)
    return Dataset(rows.reset_index(drop=True), data.images[pd.Index(data.table["image"]).get_indexer(rows["image"])])


def report(
    config: Config,
    run: Path,
    table: pd.DataFrame,
    test: pd.DataFrame,
    logits: np.ndarray,
    temperatures: np.ndarray,
    more: dict[str, Any],
    further: Sequence[Part] = (),
) -> dict[str, bootstrap.Interval]:
    """Write `predictions.csv`, those of `further` test sets and `evaluation.json`; return the scores on the first data
    set.

    `table` has all rows, `test` those to score, with their logits [n, classes] and temperatures [n, 1]. `more` is added
    to `evaluation.json`; its `operating_points` are measured on the test images too.
    """
    labels = label_set(config.labels)
    write_predictions(run / "predictions.csv", labels, test, softmax(logits.astype(np.float64) / temperatures))
    for one in further:
        write_predictions(run / one.file, labels, one.rows, one.images(labels).probabilities)
    for older in run.glob("predictions-*.csv"):
        if older.name not in {one.file for one in further}:
            older.unlink()

    first = Part(test["dataset"].iloc[0], test, logits, temperatures)
    tests = [scored_part(part, labels) for part in (first, *further)]
    # a cross-validation tests on the images used for model selection
    unseen = further if config.fold is None and not config.is_committee else [first, *further]
    points = measured_points(more.get("operating_points", ()), labels, [part.images(labels) for part in unseen])
    content: dict[str, Any] = {
        "epochs": epochs(config, run),
        "input_size": config.image_size,
        "views": list(config.views),
        "logit_adjustment": config.logit_adjustment,
        "resamples": RESAMPLES,
        "images": table["split"].value_counts().to_dict(),
        "groups": table.groupby("split")["group"].nunique().to_dict(),
        "tests": tests,
    }
    content |= more | {"operating_points": points}
    with replacing(run / "evaluation.json") as partial:
        partial.write_text(json.dumps(content, indent=2))
    return {name: bootstrap.Interval(**score) for name, score in tests[0]["scores"].items()}


def scored_part(part: Part, labels: LabelSet) -> dict[str, Any]:
    """The scores of one part, see `scored`."""
    source, images = TRAINABLE[part.dataset], part.images(labels)
    test = scored(
        source.name,
        source.protocol,
        kinds(labels),
        labels.codes,
        images.labels,
        part.logits,
        part.temperatures,
        images.groups,
    )
    return test | ({"predictions": part.file} if part.file else {})


def chosen_points(labels: LabelSet, held_out: HeldOut) -> list[dict[str, Any]]:
    """The operating points for a card, chosen on held-out images, and measured there."""
    points = []
    for point in operating_points.choose(labels, held_out.labels, held_out.probabilities, held_out.melanoma):
        described = {name: getattr(point, name) for name in ("id", "classes", "sensitivity", "threshold")}
        described |= {"of": point.of} if point.of else {}
        points.append(described | {"measured": [measured(described, labels, held_out)]})
    return points


def measured_points(
    points: Sequence[dict[str, Any]], labels: LabelSet, tests: Sequence[HeldOut]
) -> list[dict[str, Any]]:
    """A card's operating points, measured on further images as well."""
    return [
        point
        | {
            "measured": point["measured"]
            + [
                measured(point, labels, images)
                for images in tests
                # not every data set states which malignant images are melanomas
                if "of" not in point or images.melanoma.any()
            ]
        }
        for point in points
    ]


def calibrated_sets(labels: LabelSet, held_out: HeldOut) -> dict[str, Any]:
    """The prediction sets for a card, calibrated on held-out images."""
    return conformal.calibrate(labels, held_out.labels, held_out.probabilities, held_out.groups, held_out.name)


def measured(point: dict[str, Any], labels: LabelSet, images: HeldOut) -> dict[str, Any]:
    """Sensitivity, specificity and accuracy of a card's operating point on some images; no accuracy is given for
    finding melanomas among malignant images."""
    rates = operating_points.measure(
        point["classes"],
        point["threshold"],
        labels,
        images.labels,
        images.probabilities,
        images.groups,
        images.melanoma if "of" in point else None,
    )
    return {
        "name": images.name,
        "images": len(images.labels),
        **_plain(rates),
    }


def write_predictions(
    file: Path, labels: LabelSet, rows: pd.DataFrame, probabilities: np.ndarray, with_facts: bool = True
) -> pd.DataFrame:
    """Write and return a table of predictions [n, classes]: image, group, label, `p_<label>`, and the data set, with or
    without the facts about the image."""
    predictions = pd.concat(
        [
            rows[["image", "group"]].reset_index(drop=True),
            pd.Series(np.array(labels.codes)[encode(rows["label"], labels)], name="label"),
            pd.DataFrame(probabilities, columns=[f"p_{code}" for code in labels.codes]).round(6),
            rows[["dataset", *(DEMOGRAPHICS if with_facts else ())]].reset_index(drop=True),
        ],
        axis=1,
    )
    with replacing(file) as partial:
        predictions.to_csv(partial, index=False)
    return predictions


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


def averaged_logits(network: keras.Model, images: np.ndarray, seen: Sequence[str]) -> np.ndarray:
    """The network's logits, float32 [n, classes], of uint8 images [n, size, size, 3], averaged over the views."""
    # one view at a time, to keep only one copy of the images in memory
    logits = [predict(network, views.seen(images, [view])[0]) for view in seen]
    return np.stack(logits).mean(axis=0, dtype=np.float64).astype(np.float32)


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
