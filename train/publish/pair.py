"""python -m train pair: make one model for both images of a lesion from two trained networks.

One network sees the dermoscopy image, the other the clinical close-up. The weight of each network, and a constant for
each class, are fitted to the lesions that both networks held out; `skinapp.inference.pair` combines them.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from skinapp.datasets import registry as published
from skinapp.errors import DataError
from skinapp.evaluation import bootstrap
from skinapp.evaluation.bootstrap import RESAMPLES
from skinapp.inference import model_card
from skinapp.inference.model_card import IMAGES_OF_PAIR
from skinapp.inference.pair import combine
from skinapp.inference.runtime import softmax
from skinapp.labels.sets import LabelSet, label_set
from train.config import Config
from train.data.datasets import MILK10K_PAIRS, encode, melanomas, prepare, with_validation
from train.fit.metadata import log_shares
from train.fit.run_folder import best_file, open_run
from train.publish import card_content
from train.publish.evaluate import (
    HeldOut,
    averaged_logits,
    best_network,
    by_adjustment,
    calibrated_sets,
    chosen_points,
    kinds,
    measured,
    write_predictions,
)
from train.publish.export import (
    CHECKED_IMAGES,
    checked_litert,
    history,
    output_shapes,
    read_run,
    require_tensorflow,
)
from train.publish.folder import LICENCE, draft, publish, versions

MODEL_ID = "milk10k-pair"
TITLE = "Eleven kinds of skin lesion, from a dermoscopy image and a close-up"
SHORT_NAME = "Eleven classes, two images"
DATASET = published.DATASETS["milk10k"]
FILES = {"dermoscopy": "dermoscopy.tflite", "smartphone": "close-up.tflite"}
SAME = ("labels", "image_size", "views", "remove", "folds", "fold", "seed")
"""The settings that must be the same for both networks."""
DECIMALS = 6
"""Decimals of the weights and constants in the card."""


@dataclass(frozen=True)
class Trained:
    """One of the two networks: its LiteRT file, the maximum difference from the trained network in any probability, the
    number of its weights, the shapes of its outputs, and its logits [n, classes] of the lesions of each split."""

    config: Config
    content: bytes
    difference: float
    parameters: int
    outputs: dict[str, list[int]]
    logits: dict[str, np.ndarray]


@dataclass(frozen=True)
class Fit:
    """The weight of each network, and a constant for each class [K]."""

    weights: tuple[float, ...]
    bias: np.ndarray

    def logits(self, each: Sequence[np.ndarray]) -> np.ndarray:
        """Logits [n, K] of each network -> combined logits, float64 [n, K]."""
        return combine(each, self.weights, self.bias)


def pair(dermoscopy: Config, close_up: Config, adjustment: float, runs: Path, models: Path, changes: str = "") -> Path:
    """Write `models/milk10k-pair/` from the best networks of two runs; return the folder.

    `adjustment` times the logarithm of each class's share of the validation lesions is subtracted from its logit.
    DataError if the networks do not belong together, or one of them is not trained. ModelError as for `export`.
    """
    configs = (dermoscopy, close_up)
    check(configs)
    require_tensorflow()
    labels = label_set(dermoscopy.labels)
    files = [best_file(config, open_run(config, runs)) for config in configs]
    data = [prepare(config.dataset, config.image_size, runs, **config.pixels) for config in configs]
    tables = [with_validation(one.table, **config.division) for one, config in zip(data, configs, strict=True)]
    lesions = {split: matched(tables, split) for split in ("train", "validation", "test")}
    check_held_out(tables)
    trained = []
    for number, (config, file) in enumerate(zip(configs, files, strict=True)):
        images = {split: data[number].images[lesions[split][number]] for split in ("validation", "test")}
        trained.append(_trained(config, best_network(config, file, tables[number]), images))
        keras.utils.clear_session()
    if trained[0].outputs != trained[1].outputs:
        raise DataError(f"The networks have different outputs: {trained[0].outputs} and {trained[1].outputs}.")

    rows = {split: tables[0].iloc[chosen[0]] for split, chosen in lesions.items()}
    truth = {split: encode(rows[split]["label"], labels) for split in ("validation", "test")}
    groups = {split: rows[split]["group"].to_numpy() for split in ("validation", "test")}
    logits = {split: [one.logits[split] for one in trained] for split in ("validation", "test")}
    shares = log_shares(truth["validation"], len(labels.codes))
    together = fit(logits["validation"], truth["validation"], adjustment * shares)
    alone = [fit([one], truth["validation"], adjustment * shares) for one in logits["validation"]]
    probabilities = {split: softmax(together.logits(each)) for split, each in logits.items()}

    scores = kinds(labels)
    pictures = []
    for number, one in enumerate(trained):
        single = softmax(alone[number].logits([one.logits["test"]]))
        args = (truth["test"], groups["test"], RESAMPLES)
        pictures.append(
            {
                "modality": list(IMAGES_OF_PAIR)[number],
                "file": list(FILES.values())[number],
                "weight": together.weights[number],
                "alone": {"weight": alone[number].weights[0], "bias": alone[number].bias.tolist()},
                "run": one.config.id,
                "training": card_content.training_settings(one.config)
                | card_content.cost(read_run(runs / one.config.id)),
                "scores": card_content.rounded(bootstrap.intervals(scores, args[0], single, *args[1:])),
                "differences": card_content.rounded(
                    bootstrap.paired_differences(scores, args[0], probabilities["test"], single, *args[1:])
                ),
            }
        )
    held_out, tested = (
        HeldOut(
            f"{DATASET.name}, {name}",
            truth[split],
            probabilities[split],
            groups[split],
            melanomas(rows[split]["label"]),
        )
        for split, name in (("validation", "validation lesions"), ("test", "test lesions"))
    )
    points = [
        point | {"measured": [*point["measured"], measured(point, labels, tested)]}
        for point in chosen_points(labels, held_out)
    ]
    with draft(models, MODEL_ID) as folder:
        for one, name in zip(trained, FILES.values(), strict=True):
            (folder / name).write_bytes(one.content)
        predictions = write_predictions(
            folder / "predictions.csv", labels, rows["test"].assign(dataset=DATASET.id), probabilities["test"]
        )
        predictions.insert(1, "close_up", tables[1]["image"].to_numpy()[lesions["test"][1]])
        predictions.to_csv(folder / "predictions.csv", index=False)
        pd.concat([_history(config, runs) for config in configs], ignore_index=True).to_csv(
            folder / "history.csv", index=False
        )
        card = describe(labels, trained, pictures, {split: len(part) for split, part in rows.items()}) | {
            "scores": card_content.rounded(
                bootstrap.intervals(scores, truth["test"], probabilities["test"], groups["test"], RESAMPLES)
            ),
            **card_content.operating_points({"operating_points": points}),
            "conformal": calibrated_sets(labels, held_out),
            "logit_adjustment": card_content.tried_adjustments(
                adjustment,
                by_adjustment(together.logits(logits["validation"]), truth["validation"], shares, adjustment),
            ),
        }
        card["pair"] = {"pictures": pictures, "bias": together.bias.tolist(), "adjustment": adjustment}
        card["test"]["recalls"] = card_content.recalls(list(labels.codes), predictions)
        card["conversion"] = {
            "difference": round(max(one.difference for one in trained), 7),
            "images": min(CHECKED_IMAGES, len(rows["test"])),
        }
        good, bad = model_card.sensitivity_sentences(card)
        card |= {"good_at": good, "bad_at": bad, "limits": card_content.limits(card)}
        return publish(folder, card, models, changes)


def check(configs: Sequence[Config]) -> None:
    """DataError if the runs cannot be combined: wrong images, different classes or folds, or cross-validated."""
    for config, modality in zip(configs, IMAGES_OF_PAIR, strict=True):
        if (actual := card_content.modality(config)) != modality:
            raise DataError(
                f"'{config.id}' is a network for the {IMAGES_OF_PAIR[actual]} of a lesion, not for its "
                f"{IMAGES_OF_PAIR[modality]}; --config is for dermoscopy images, --close-up for close-ups."
            )
        if config.fold is None:
            raise DataError(
                f"'{config.id}' holds out no lesions, and a pair is fitted to held-out lesions; set 'fold' to a number."
            )
    for name in SAME:
        first, second = (getattr(config, name) for config in configs)
        if first != second:
            raise DataError(
                f"The networks disagree on {'their classes' if name == 'labels' else name}: '{configs[0].id}' has "
                f"{first}, '{configs[1].id}' has {second}; train both with the same."
            )


def matched(tables: Sequence[pd.DataFrame], split: str) -> list[np.ndarray]:
    """The row numbers, in each table, of the images of the lesions that both have in a split, lesion by lesion.

    DataError if there is none, if a lesion has several images of one kind, or if its images have different labels.
    """
    rows = [np.flatnonzero(table["split"] == split) for table in tables]
    groups = [pd.Index(table["group"].iloc[chosen]) for table, chosen in zip(tables, rows, strict=True)]
    for one in groups:
        if one.has_duplicates:
            raise DataError(f"The lesion {one[one.duplicated()][0]} has several images of one kind; use data of pairs.")
    lesions = groups[0].intersection(groups[1], sort=False)
    if lesions.empty:
        raise DataError(f"No lesion has both images in the part '{split}'.")
    chosen = [part[one.get_indexer(lesions)] for part, one in zip(rows, groups, strict=True)]
    labels = [table["label"].to_numpy()[part] for table, part in zip(tables, chosen, strict=True)]
    if (labels[0] != labels[1]).any():
        raise DataError(f"The images of the lesion {lesions[labels[0] != labels[1]][0]} have different labels.")
    return chosen


def check_held_out(tables: Sequence[pd.DataFrame]) -> None:
    """DataError if one network was trained on a lesion that the other holds out."""
    for one, other in itertools.permutations(tables):
        trained_on = set(one.loc[one["split"] == "train", "group"])
        held_out = set(other.loc[other["split"].isin(["validation", "test"]), "group"])
        if leaked := sorted(trained_on & held_out):
            raise DataError(
                f"One network was trained on lesions that the other one holds out ({len(leaked):,}, such as "
                f"{leaked[0]}); train both on data of pairs."
            )


def fit(logits: Sequence[np.ndarray], labels: np.ndarray, subtracted: np.ndarray) -> Fit:
    """The weights, at least 0, and the bias that minimise the log loss for each network's logits [n, K] and labels [n];
    then `subtracted` [K] is subtracted from the bias.

    The penalty is half the sum of squares of the bias and of the weights' distance from equal weights, which
    corresponds to normal priors with variance 1.
    """
    each = np.stack(logits).astype(np.float64)
    networks, classes = len(each), each.shape[-1]
    truth = np.eye(classes)[labels]
    centre = np.r_[np.full(networks, 1 / networks), np.zeros(classes)]

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        probabilities = softmax(combine(list(each), parameters[:networks].tolist(), parameters[networks:]))
        error = probabilities - truth
        likely = np.maximum((probabilities * truth).sum(axis=1), np.finfo(float).tiny)
        away = parameters - centre
        gradient = np.r_[(each * error).sum(axis=(1, 2)), error.sum(axis=0)] + away
        return float(-np.log(likely).sum() + (away**2).sum() / 2), gradient

    bounds = [(0, None)] * networks + [(None, None)] * classes
    with threadpool_limits(1):
        optimum = minimize(loss, centre, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 500}).x
    rounded = np.round(optimum, DECIMALS)
    return Fit(tuple(rounded[:networks].tolist()), np.round(rounded[networks:] - subtracted, DECIMALS))


def describe(
    labels: LabelSet, trained: Sequence[Trained], pictures: list[dict[str, Any]], lesions: dict[str, int]
) -> dict[str, Any]:
    """The card without scores, `pair`, limits, version and files; `lesions` are the pairs of images in each split."""
    first = trained[0].config
    return {
        "id": MODEL_ID,
        "kind": "pair",
        "title": TITLE,
        "short_name": SHORT_NAME,
        "task": "diagnosis",
        "modality": "dermoscopy and close-up",
        "labels": {"set": labels.id, "codes": list(labels.codes)},
        "architecture": {
            "name": " and ".join(dict.fromkeys(one.config.architecture for one in trained)),
            "parameters": sum(one.parameters for one in trained),
        },
        "initial_weights": " and ".join(dict.fromkeys(one.config.initial_weights for one in trained)),
        "input": card_content.input_of(first),
        "outputs": trained[0].outputs,
        "temperature": 1.0,
        "training": {
            "dataset": DATASET.name,
            "attribution": DATASET.attribution,
            "data_licence": DATASET.licence,
            "protocol": f"{MILK10K_PAIRS.protocol} {card_content.PAIR}",
            "images": lesions,
            "groups": lesions,
        },
        "test": {
            "dataset": DATASET.name,
            "images": lesions["test"],
            "groups": lesions["test"],
            "resamples": RESAMPLES,
        },
        "licence": LICENCE,
        "intended_use": card_content.INTENDED_USE,
        "versions": versions(),
    }


def _trained(config: Config, network: keras.Model, images: dict[str, np.ndarray]) -> Trained:
    content, difference = checked_litert(network, images["test"][:CHECKED_IMAGES])
    # after the kernels are rounded, so that these are the logits of the published file
    logits = {split: averaged_logits(network, pixels, config.views) for split, pixels in images.items()}
    return Trained(config, content, difference, network.count_params(), output_shapes(network), logits)


def _history(config: Config, runs: Path) -> pd.DataFrame:
    table = history(config, runs / config.id)
    table.insert(0, "network", IMAGES_OF_PAIR[card_content.modality(config)])
    return table
