"""python -m train sources: whether a network distinguishes the collections of its images, and how well it does on each.

A probe, a logistic regression on the embedding, predicts the source of an image whose lesion it has not seen. Sources
differ in their diagnoses, so the probe is also scored on images of one diagnosis, which differ only in the clinic, the
camera and the people.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from skinapp.errors import DataError
from skinapp.evaluation import bootstrap, metrics
from skinapp.files import replacing
from skinapp.images import imaging
from skinapp.inference import registry
from skinapp.inference.runtime import classifier
from train.data import datasets
from train.data.datasets import encode

FOLDS = 5
MIN_LESIONS = 25
"""A source with fewer lesions is left out of a probe."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", default="ham10000-efficientnetb1", metavar="ID", help="the model (default: %(default)s)"
    )
    parser.add_argument(
        "--dataset",
        default="ham10000+milk10k+isic_more",
        metavar="NAMES",
        help="data sets, joined by + (default: %(default)s)",
    )
    parser.add_argument(
        "--lesions",
        type=int,
        default=300,
        metavar="N",
        help="lesions of each part of each source, one image of each (default: %(default)s)",
    )
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="also write the results to this file")


def run(options: argparse.Namespace) -> int:
    if options.lesions < 1:
        raise DataError(f"--lesions is {options.lesions}; it must be at least 1.")
    model = registry.model(options.model)
    datasets.sources(options.dataset)
    table = sample(
        datasets.with_validation(datasets.read(options.dataset), folds=2, fold=None, seed=0), options.lesions
    )
    labels = encode(table["label"], model.labels)
    embeddings, probabilities = outputs(model, table)
    probed = probes(table, embeddings)
    scored = scores(table, labels, probabilities, tuple(label.malignant for label in model.labels.labels))
    print(f"The source of an image, from the embedding of {model.id}:\n{probed.to_string(index=False)}\n")
    print(f"Scores of {model.id} by source and part:\n{scored.to_string(index=False)}")
    if options.out:
        content = {"model": model.id, "probes": probed.to_dict("records"), "scores": scored.to_dict("records")}
        with replacing(options.out) as partial:
            partial.write_text(json.dumps(content, indent=2) + "\n")
    return 0


def sample(table: pd.DataFrame, lesions: int, seed: int = 0) -> pd.DataFrame:
    """At most that many lesions or patients of each source and part, training or test, with one image of each."""
    used = table[table["split"] != "excluded"].drop_duplicates(["source", "group"])
    shuffled = used.sample(frac=1, random_state=seed)
    return shuffled.groupby(["source", "split"]).head(lesions).sort_index().reset_index(drop=True)


def outputs(model: registry.Model, table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings [n, D] and probabilities [n, K] of the table's images."""
    network = classifier(model)
    predicted = [network.predict(imaging.load(path, model.input_size)) for path in tqdm(table["path"], unit="image")]
    return np.stack([one.embedding for one in predicted]), np.stack([one.probabilities for one in predicted])


def probes(table: pd.DataFrame, embeddings: np.ndarray) -> pd.DataFrame:
    """How well a probe identifies the source of images, for all diagnoses and for each one that several sources have.

    One row per probe: `images`, of which diagnosis, `sources`, how many, `balanced accuracy` with its 95% interval over
    lesions, and `chance`. Sources with fewer than MIN_LESIONS lesions are left out.
    """
    rows = []
    selections = {"all": np.ones(len(table), dtype=bool)}
    selections |= {str(label): (table["label"] == label).to_numpy() for label in sorted(table["label"].unique())}
    for name, chosen in selections.items():
        lesions = table[chosen].groupby("source")["group"].nunique()
        sources = sorted(lesions.index[lesions >= MIN_LESIONS])
        if len(sources) < 2:
            continue
        kept = np.flatnonzero(chosen & table["source"].isin(sources).to_numpy())
        truth = table["source"].iloc[kept].map(sources.index).to_numpy()
        groups = table["group"].iloc[kept].to_numpy()
        found = probe(embeddings[kept], truth, groups)
        score: dict[str, bootstrap.Score] = {"balanced accuracy": metrics.balanced_accuracy}
        interval = bootstrap.intervals(score, truth, found, groups)["balanced accuracy"]
        rows.append(
            {
                "images": f"{name}, {len(kept):,}",
                "sources": len(sources),
                "balanced accuracy": interval.text(),
                "chance": f"{1 / len(sources):.3f}",
            }
        )
    if not rows:
        raise DataError(f"Fewer than two sources have {MIN_LESIONS} lesions; add data sets, or lesions with --lesions.")
    return pd.DataFrame(rows)


def probe(embeddings: np.ndarray, sources: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Probabilities of the sources [n, S], of embeddings [n, D], each from a logistic regression that has not seen the
    image's group; sources have equal weight, whatever their number of images."""
    predicted = np.zeros((len(sources), sources.max() + 1))
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    for train, test in folds.split(embeddings, sources, groups):
        regression = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, class_weight="balanced", max_iter=1000))
        regression.fit(embeddings[train], sources[train])
        predicted[np.ix_(test, regression.classes_)] = regression.predict_proba(embeddings[test])
    return predicted


def scores(
    table: pd.DataFrame, labels: np.ndarray, probabilities: np.ndarray, malignant: tuple[bool, ...]
) -> pd.DataFrame:
    """Accuracy, balanced accuracy and the AUC of malignancy by source and part, with 95% intervals over lesions.
    Balanced accuracy is over the classes that the images have; `malignant` marks the malignant classes."""
    chosen: dict[str, bootstrap.Score] = {
        "accuracy": metrics.accuracy,
        "balanced accuracy": metrics.balanced_accuracy,
        "AUC of malignancy": metrics.malignancy_scores(malignant)["roc_auc_malignancy"],
    }
    rows = []
    for (source, split), part in table.groupby(["source", "split"], sort=True):
        index = part.index.to_numpy()
        intervals = bootstrap.intervals(chosen, labels[index], probabilities[index], part["group"].to_numpy())
        rows.append(
            {
                "source": source,
                "part": split,
                "images": len(part),
                "classes": part["label"].nunique(),
                **{name: interval.text() for name, interval in intervals.items()},
            }
        )
    return pd.DataFrame(rows)
