"""python -m train retrieval-index: index a model's training images, and measure how often the nearest ones agree."""

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from skinapp.errors import DataError
from skinapp.evaluation import bootstrap
from skinapp.files import replacing
from skinapp.images import imaging
from skinapp.inference import registry, retrieval
from skinapp.inference.registry import Model
from skinapp.inference.retrieval import NEIGHBOURS, Index
from skinapp.inference.runtime import Classifier
from train.data import datasets

COMPONENTS = (32, 64, 128, 256)
"""The numbers of principal components of the embedding to try; validation images choose."""
RESAMPLES = 2000
CHUNK = 250
PARTS = ("train", "validation", "test")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, metavar="ID", help="a model trained on HAM10000")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), metavar="DIR", help="the folder of runs (default: %(default)s)"
    )


def run(options: argparse.Namespace) -> int:
    model = registry.model(options.model)
    if model.labels.id != "ham10000":
        raise DataError(f"'{model.id}' does not predict the diagnoses of HAM10000, whose images the index holds.")
    if "adopted" in model.card:
        raise DataError(f"'{model.id}' was trained elsewhere, so its training images are not known.")
    known = datasets.with_validation(datasets.read("ham10000"), folds=8, fold=0, seed=0)
    known = known[known["split"].isin(PARTS)].reset_index(drop=True)
    embeddings, predicted = embedded(model, known, options.runs)
    parts = {split: np.flatnonzero(known["split"] == split) for split in PARTS}
    with threadpool_limits(1):
        tried = {
            count: neighbour_scores(
                fit(known, embeddings, parts["train"], count), known, embeddings, predicted, parts["validation"]
            )
            for count in COMPONENTS
        }
        chosen = max(tried, key=lambda count: tried[count]["right"]["value"])
        index = fit(known, embeddings, parts["train"], chosen)
        card = {
            "images": len(index.images),
            "lesions": len(set(index.lesions)),
            "directions": chosen,
            "validation": {str(count): scores["right"] for count, scores in tried.items()},
            "test": neighbour_scores(index, known, embeddings, predicted, parts["test"]),
        }
    write(model, index, card)
    print(json.dumps(card, indent=2))
    return 0


def embedded(model: Model, known: pd.DataFrame, runs: Path) -> tuple[np.ndarray, np.ndarray]:
    """Each image's embedding, float32 [n, D], and the code that the model predicts, [n].

    They are saved below `runs` after every CHUNK images, and saved ones are reused.
    """
    folder = runs / "cache" / f"embeddings-{model.id}-{model.card['files'][model.weights[0]]['sha256'][:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    # one thread, since several wait for each other on a busy machine
    classifier = Classifier(model, threads=1)
    parts = []
    for start in tqdm(range(0, len(known), CHUNK), desc="embeddings", unit="chunk"):
        chunk = known.iloc[start : start + CHUNK]
        file = folder / f"{start}.npz"
        if not file.exists():
            predictions = [classifier.predict(imaging.load(path, model.input_size)) for path in chunk["path"]]
            with replacing(file) as partial, partial.open("wb") as stream:
                np.savez(
                    stream,
                    images=chunk["image"].to_numpy(dtype=str),
                    embeddings=np.stack([one.embedding for one in predictions]),
                    predicted=np.array([one.predicted for one in predictions]),
                )
        with np.load(file) as arrays:
            if list(arrays["images"]) != list(chunk["image"]):
                raise DataError(f"{file} has other images; remove {folder} and run the same command again.")
            parts.append((arrays["embeddings"], arrays["predicted"]))
    embeddings, predicted = zip(*parts, strict=True)
    return np.concatenate(embeddings), np.concatenate(predicted)


def fit(known: pd.DataFrame, embeddings: np.ndarray, rows: np.ndarray, count: int) -> Index:
    """The index of `rows`, in `count` principal components."""
    principal = PCA(count, random_state=0).fit(embeddings[rows])
    centre, components = principal.mean_.astype(np.float32), principal.components_.T.astype(np.float32)
    projected = retrieval.unit((embeddings[rows] - centre) @ components)
    scale = 127 / np.abs(projected).max(axis=1, keepdims=True)
    chosen = known.iloc[rows]
    return Index(
        centre,
        components,
        # the length of a projection does not matter, so each may use the whole range
        (projected * scale).round().astype(np.int8),
        chosen["image"].to_numpy(dtype=str),
        chosen["group"].to_numpy(dtype=str),
        chosen["label"].to_numpy(dtype=str),
    )


def neighbour_scores(
    index: Index, known: pd.DataFrame, embeddings: np.ndarray, predicted: np.ndarray, rows: np.ndarray
) -> dict[str, Any]:
    """How informative the NEIGHBOURS nearest cases of `rows` are, each share with its 95% interval over lesions.

    `same` is the mean share of neighbours with the predicted diagnosis, `right` with the image's own diagnosis. `sure`
    is how often the prediction is correct if all, most, or fewer than half of the neighbours share it.
    """
    truth, groups = known["label"].to_numpy()[rows], known["group"].to_numpy()[rows]
    labels = np.array([[case.label for case in index.nearest(embeddings[row])] for row in rows])
    votes = (labels == predicted[rows][:, np.newaxis]).mean(axis=1)
    hit = predicted[rows] == truth
    bands = {"all": votes == 1, "most": (votes >= 0.5) & (votes < 1), "fewer": votes < 0.5}
    return {
        "images": len(rows),
        "lesions": len(set(groups)),
        "asked": NEIGHBOURS,
        "same": share(votes, groups),
        "right": share((labels == truth[:, np.newaxis]).mean(axis=1), groups),
        "sure": {
            name: {"images": int(band.sum()), "right": share(hit[band].astype(float), groups[band])}
            for name, band in bands.items()
            if band.any()
        },
    }


def share(values: np.ndarray, groups: np.ndarray) -> dict[str, float | None]:
    """The mean of values [n] with its 95% interval from a bootstrap over groups; None where there are too few."""
    weights = bootstrap.weights(groups, RESAMPLES, seed=0)
    counted = np.concatenate([np.ones((1, len(values))), weights])
    with np.errstate(invalid="ignore"):
        interval = bootstrap.interval(counted @ values / counted.sum(axis=1), bootstrap.count(groups), proportion=True)
    return {key: None if np.isnan(value) else round(value, 4) for key, value in vars(interval).items()}


def write(model: Model, index: Index, card: dict[str, Any]) -> None:
    """Write the index and its card into the model's folder, and their hashes into model.json."""
    index_file, card_file = model.folder / retrieval.INDEX_FILE, model.folder / retrieval.CARD_FILE
    with replacing(index_file) as partial:
        retrieval.save(index, partial)
    with replacing(card_file) as partial:
        partial.write_text(json.dumps(card, indent=2) + "\n")
    files = {
        file.name: {"sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "size": file.stat().st_size}
        for file in (index_file, card_file)
    }
    with replacing(model.folder / "model.json") as partial:
        listed = dict(sorted((model.card["files"] | files).items()))
        partial.write_text(json.dumps(model.card | {"files": listed}, indent=2) + "\n")
