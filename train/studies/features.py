"""python -m train features-study: the published claim for Fourier features, and what features add to networks.

Prints the tables of docs/features.md, and writes them for the app and the report. The claim, an accuracy of 95.4% for
malignant or benign, is tested on the malignant/benign set with images divided at random, and with whole lesions held
out. The features models are fused with networks using weights chosen on images held out from training; the gain is
measured on test images.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from tqdm import tqdm

from skinapp.errors import DataError
from skinapp.evaluation import bootstrap, metrics, studies
from skinapp.files import replacing
from skinapp.images import imaging
from skinapp.inference import model_card, registry, runtime
from skinapp.inference.model_index import score_name
from skinapp.inference.registry import Model
from skinapp.inference.runtime import softmax
from skinapp.inference.training_images import OUT_OF_FOLD, TESTED
from skinapp.labels.sets import MALIGNANCY
from skinapp.lesion import features, features_border, features_texture
from train.config import load_config
from train.data.datasets import encode, read, validation_rows, with_validation
from train.data.features import measured
from train.options import add_runs
from train.publish.features import Config, all_logits, fit

CONFIGS = Path(__file__).parents[1] / "configs"
DATASET = "malignant_benign"
CLAIM = 0.954
ITERATIONS = 200
"""Iterations of the trees that test the claim; not tuned."""
FOLDS, SEED = 5, 0
FUSED = {"ham10000-features": "ham10000-committee", "malignancy-features": "malignancy-efficientnetb1"}
"""Maps each features model to the network with which it is fused."""
MIN_PROBABILITY = 1e-6
"""Probabilities are stored with six decimals; a smaller one counts as this."""
CLAIMED: dict[str, bootstrap.Score] = {"accuracy": metrics.accuracy, "ROC AUC": metrics.macro_roc_auc}

SCORED = ("score", "network alone", "fused", "fused minus network")


@dataclass(frozen=True)
class Fusion:
    """The weights of a network's and of a features model's log probabilities."""

    network: float
    features: float

    def probabilities(self, network: np.ndarray, on_features: np.ndarray) -> np.ndarray:
        """Combined probabilities [n, K]."""
        logs = [np.log(np.maximum(one, MIN_PROBABILITY)) for one in (network, on_features)]
        return softmax(self.network * logs[0] + self.features * logs[1])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_runs(parser)
    parser.add_argument(
        "--out",
        type=Path,
        default=studies.FOURIER.file.parent,
        metavar="DIR",
        help="where to write the tables as CSV (default: the folder in the package)",
    )


def run(options: argparse.Namespace) -> int:
    table = read(DATASET)
    print(f"Malignant or benign, {len(table):,} images of {DATASET}. Published: accuracy {CLAIM:.1%}.\n")
    columns = ("features", "images divided", "tested", *CLAIMED)
    claimed = pd.DataFrame(claim(table, feature_sets(table, options.runs)), columns=columns)
    print(model_card.table(columns, claimed.to_numpy().tolist()))
    gains = []
    for on_features, network in FUSED.items():
        first, second = registry.model(network), registry.model(on_features)
        fusion, tested, differences = fused(first, second)
        print(f"\n{network} and {on_features}, weights {fusion.network:.3f} and {fusion.features:.3f}.\n")
        rows = [
            (score_name(name), *(one[name].text() for one in tested), difference.text("+.3f"))
            for name, difference in differences.items()
        ]
        print(model_card.table(SCORED, rows))
        gains.append(pd.DataFrame(rows, columns=SCORED).assign(network=f"{network} {first.card['version']}"))
    together = pd.concat(gains, ignore_index=True)
    options.out.mkdir(parents=True, exist_ok=True)
    for study, frame in ((studies.FOURIER, claimed), (studies.FUSION, together[["network", *SCORED]])):
        with replacing(options.out / study.file.name) as partial:
            frame.to_csv(partial, index=False)
    return 0


def feature_sets(table: pd.DataFrame, runs: Path) -> dict[str, np.ndarray]:
    """Features [n, F] of every image of a table in the common form, by the name of the set."""
    values = measured(DATASET, runs).loc[table["image"]]
    fourier = [name for name in features.TITLES if name in features_texture.FOURIER or "lobes" in name]
    assert set(fourier) >= {f"lobes_{number}" for number in features_border.HARMONICS}
    whole = np.array([_whole(path) for path in tqdm(table["path"], "whole pictures", unit="image")])
    return {
        "Fourier spectrum of the whole picture": whole,
        "Fourier features of the segmented lesion": values[fourier].to_numpy(),
        "All features of the segmented lesion": values.to_numpy(),
    }


def _whole(path: Path) -> np.ndarray:
    """The Fourier features of red, green and blue of a whole picture, without a segmentation."""
    square = imaging.load(path, features.SIDE).astype(np.float64)
    everything = np.ones(square.shape[:2], dtype=bool)
    spectra = [features_texture.spectrum(square[..., channel], everything) for channel in range(3)]
    return np.array([value for spectrum in spectra for value in spectrum.values()])


def claim(table: pd.DataFrame, sets: dict[str, np.ndarray]) -> list[tuple[str, ...]]:
    """A row for each set of features and protocol: its name, how images are divided, how many are tested, and the
    CLAIMED scores with intervals."""
    labels = encode(table["label"], MALIGNANCY)
    rows = []
    for name, values in sets.items():
        for protocol, divided, groups in divisions(table, labels):
            probabilities = np.full((len(table), 2), np.nan)
            for train, test in divided:
                config = Config("", "", "", DATASET, MALIGNANCY.id)
                trees = fit(config, values[train], labels[train], ITERATIONS, len(MALIGNANCY.codes))
                probabilities[test] = softmax(all_logits(trees.decision_function(values[test])))
            tested = np.flatnonzero(np.isfinite(probabilities[:, 0]))
            scores = bootstrap.intervals(CLAIMED, labels[tested], probabilities[tested], groups[tested])
            rows.append((name, protocol, f"{len(tested):,}", *(scores[score].text() for score in CLAIMED)))
    return rows


def divisions(
    table: pd.DataFrame, labels: np.ndarray
) -> Iterator[tuple[str, list[tuple[np.ndarray, np.ndarray]], np.ndarray]]:
    """The protocols: the division of the images, the positions for training and testing, and the resampling unit of the
    intervals."""
    groups, images = table["group"].to_numpy(), table["image"].to_numpy()
    at_random = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED).split(images, labels)
    yield "at random, five parts", list(at_random), images
    by_lesion = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=SEED).split(images, labels, groups)
    yield "by lesion and copies, five parts", list(by_lesion), groups
    split = table["split"].to_numpy()
    yield "by lesion, held-out fifth", [(np.flatnonzero(split == "train"), np.flatnonzero(split == "test"))], groups


def fused(
    network: Model, on_features: Model
) -> tuple[Fusion, tuple[dict[str, bootstrap.Interval], dict[str, bootstrap.Interval]], dict[str, bootstrap.Interval]]:
    """The weights chosen on images held out from training; on the test images, the scores of the network alone and of
    both combined; and their difference, on the same resamples."""
    labels, own, theirs, _ = _together(held_out(network), _read(on_features, OUT_OF_FOLD), network)
    fusion = fit_weights(labels, own, theirs)
    labels, own, theirs, groups = _together(_read(network, TESTED), _read(on_features, TESTED), network)
    both = fusion.probabilities(own, theirs)
    malignant = tuple(label.malignant for label in network.labels.labels)
    scores = metrics.DIAGNOSIS_SCORES | metrics.malignancy_scores(malignant)
    alone, together = (bootstrap.intervals(scores, labels, each, groups) for each in (own, both))
    return fusion, (alone, together), bootstrap.paired_differences(scores, labels, both, own, groups)


def fit_weights(labels: np.ndarray, network: np.ndarray, on_features: np.ndarray) -> Fusion:
    """The weights, at least 0, that minimise the log loss for class indices [n] and probabilities [n, K]."""
    plain = np.ones((1, len(labels)))

    def loss(weights: np.ndarray) -> float:
        return float(metrics.log_loss(labels, Fusion(*weights).probabilities(network, on_features), plain)[0])

    optimum = minimize(loss, (1.0, 0.1), bounds=((0, 5), (0, 5)), method="Nelder-Mead")
    return Fusion(*map(float, optimum.x))


def held_out(network: Model) -> pd.DataFrame:
    """The predictions of a model for images that it was not trained on, like predictions.csv: its out-of-fold ones, or
    those of its validation images, which are classified here."""
    if OUT_OF_FOLD in network.card["files"]:
        return _read(network, OUT_OF_FOLD)
    config = load_config(CONFIGS / f"{network.id}.yaml")
    table = with_validation(read(config.dataset), **config.division)
    table = table.iloc[validation_rows(table)]
    classifier = runtime.classifier(network)
    probabilities = [
        classifier.predict(imaging.load(path, network.input_size)).probabilities
        for path in tqdm(table["path"], "validation images", unit="image")
    ]
    codes = np.array(network.labels.codes)[encode(table["label"], network.labels)]
    columns = [f"p_{code}" for code in network.labels.codes]
    return table[["image", "group"]].assign(label=codes).join(pd.DataFrame(probabilities, table.index, columns))


def _read(model: Model, file: str) -> pd.DataFrame:
    if file not in model.card["files"]:
        raise DataError(f"The model '{model.id}' has no {file}; train it again.")
    return pd.read_csv(model.folder / file)


def _together(
    first: pd.DataFrame, second: pd.DataFrame, model: Model
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Class indices [n], both tables' probabilities [n, K] and the groups [n] of the images that both have."""
    both = first.merge(second.drop(columns=["group", "label"]), on="image", suffixes=("", "_second"))
    if both.empty:
        raise DataError(f"The features model and '{model.id}' share no image; train it on the same data.")
    columns = [f"p_{code}" for code in model.labels.codes]
    return (
        encode(both["label"], model.labels),
        both[columns].to_numpy(),
        both[[f"{column}_second" for column in columns]].to_numpy(),
        both["group"].to_numpy(),
    )
