"""python -m train retrieval-index: index training images, and measure how often the nearest ones agree.

For dermoscopy, the training images of HAM10000 are indexed, and its validation and test lesions are looked up. For
phone photos, PAD-UFES-20 is indexed. The networks were trained on all of it, so lesions of other people are looked up:
those of MILK10k's close-ups. A model's classes may be diagnoses, or malignant and benign.
"""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from skinapp.errors import DataError
from skinapp.evaluation import bootstrap, predictions
from skinapp.evaluation.bootstrap import RESAMPLES
from skinapp.files import replacing
from skinapp.images import imaging
from skinapp.inference import registry, retrieval, views
from skinapp.inference.registry import Model
from skinapp.inference.retrieval import Index
from skinapp.inference.runtime import Classifier
from train.data import datasets
from train.options import add_runs
from train.publish.folder import current, write_card
from train.studies import held_out

COMPONENTS = (32, 64, 128, 256)
"""The numbers of principal components of the embedding to try, in ascending order; validation images choose."""
CHUNK = 250
PARTS = ("train", "validation", "test")
INDEXED = {"dermoscopy": "ham10000", "smartphone": "pad_ufes_20"}
"""By modality, the data set whose training images are indexed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, metavar="ID", help="a model for dermoscopy images or phone photos")
    add_runs(parser)


def run(options: argparse.Namespace) -> int:
    model = registry.model(options.model)
    known = images(model)
    embeddings, predicted = embedded(model, known, options.runs)
    parts = {split: np.flatnonzero(known["split"] == split) for split in PARTS}
    with threadpool_limits(1):
        tried = {
            count: neighbour_scores(
                fit(known, embeddings, parts["train"], count), known, embeddings, predicted, parts["validation"]
            )
            for count in COMPONENTS
            if count <= min(len(parts["train"]), embeddings.shape[1])
        }
        chosen = fewest(tried)
        index = fit(known, embeddings, parts["train"], chosen)
        card = {
            "dataset": INDEXED[model.modality],
            "looked_up": held_out.IMAGES[model.modality],
            "images": len(index.images),
            "lesions": len(set(index.lesions)),
            "components": chosen,
            "validation": {str(count): scores["right"] for count, scores in tried.items()},
            "test": neighbour_scores(index, known, embeddings, predicted, parts["test"]),
        }
    write(model, index, card)
    print(json.dumps(card, indent=2))
    return 0


def images(model: Model) -> pd.DataFrame:
    """The images to index, `train`, and to look up, `validation` and `test`, in the common form, with the codes of the
    model's classes as labels. DataError if the model takes other images or predicts other classes."""
    if model.modality not in INDEXED:
        raise DataError(f"'{model.id}' takes more than one image; similar cases are found for one.")
    if "adopted" in model.card:
        raise DataError(f"'{model.id}' was trained elsewhere, so its training images are not known.")
    known = datasets.read(INDEXED[model.modality])
    if model.modality == "smartphone":
        others = held_out.table(model.modality)
        known = pd.concat([known, others[others["split"] != "train"]], ignore_index=True)
    elif model.kind == "committee":
        # the first network gives the embedding: its held-out images are looked up
        known = datasets.with_validation(known, len(model.card["members"]), model.card["members"][0]["fold"], seed=0)
    else:
        known = datasets.with_validation(known, folds=8, fold=0, seed=0)
    known = known[known["split"].isin(PARTS)].reset_index(drop=True)
    return known.assign(label=np.array(model.labels.codes)[datasets.encode(known["label"], model.labels)])


def embedded(model: Model, known: pd.DataFrame, runs: Path) -> tuple[np.ndarray, np.ndarray]:
    """Each image's embedding, float32 [n, D], and the code that the model predicts, [n].

    They are saved below `runs` after every CHUNK images, and saved ones are reused. A committee's embedding is that of
    its first network, so only that one is run; the committee's predictions are in its folder, for training images out
    of fold.
    """
    folder = runs / "cache" / f"embeddings-{model.id}-{model.card['files'][model.weights[0]]['sha256'][:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    # a single thread, since several would wait for each other on a busy machine
    classifier = Classifier(_embedding(model), threads=1)
    parts = []
    for start in tqdm(range(0, len(known), CHUNK), desc="embeddings", unit="chunk"):
        chunk = known.iloc[start : start + CHUNK]
        file = folder / f"{start}.npz"
        if not file.exists():
            answers = [classifier.predict(imaging.load(path, model.input_size)) for path in chunk["path"]]
            with replacing(file) as partial, partial.open("wb") as stream:
                np.savez(
                    stream,
                    images=chunk["image"].to_numpy(dtype=str),
                    embeddings=np.stack([answer.embedding for answer in answers]),
                    predicted=np.array([answer.predicted for answer in answers]),
                )
        with np.load(file) as arrays:
            if list(arrays["images"]) != list(chunk["image"]):
                raise DataError(f"{file} has other images; remove {folder} and run the same command again.")
            parts.append((arrays["embeddings"], arrays["predicted"]))
    embeddings, predicted = map(np.concatenate, zip(*parts, strict=True))
    return embeddings, _published(model, known["image"]) if model.kind == "committee" else predicted


def _embedding(model: Model) -> Model:
    """The model without the networks and views that do not change its embedding."""
    if model.kind != "committee":
        return model
    first = held_out.one_member(model, model.weights[0])
    return dataclasses.replace(first, card=first.card | {"input": first.card["input"] | {"views": [views.UPRIGHT]}})


def _published(model: Model, images: pd.Series) -> np.ndarray:
    """The code that the predictions in the model's folder give each image, [n]."""
    tables = [predictions.of_model(model), predictions.out_of_fold(model)]
    table = pd.concat([one.table for one in tables if one])
    columns = [f"p_{code}" for code in model.labels.codes]
    return np.array(model.labels.codes)[table.loc[images, columns].to_numpy().argmax(axis=1)]


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
        # the length of a projection does not matter, so each can use the full range
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
    is how often the prediction is correct if all, most, or fewer than half of the neighbours have the same diagnosis.
    """
    truth, groups = known["label"].to_numpy()[rows], known["group"].to_numpy()[rows]
    labels = np.array([[case.label for case in index.nearest(embeddings[row])] for row in rows])
    votes = (labels == predicted[rows][:, np.newaxis]).mean(axis=1)
    hit = predicted[rows] == truth
    bands = {"all": votes == 1, "most": (votes >= 0.5) & (votes < 1), "fewer": votes < 0.5}
    return {
        "images": len(rows),
        "lesions": len(set(groups)),
        "same": share(votes, groups),
        "right": share((labels == truth[:, np.newaxis]).mean(axis=1), groups),
        "sure": {
            name: {"images": int(band.sum()), "right": share(hit[band].astype(float), groups[band])}
            for name, band in bands.items()
            if band.any()
        },
    }


def fewest(tried: dict[int, dict[str, Any]]) -> int:
    """The smallest number of components that is not worse than the best beyond chance: its share of `right` neighbours
    is within the best one's interval, if it has one. Each component adds kilobytes to the index."""
    best = max((scores["right"] for scores in tried.values()), key=lambda right: right["value"])
    limit = best["value"] if best["low"] is None else best["low"]
    return min(count for count, scores in tried.items() if scores["right"]["value"] >= limit)


def share(values: np.ndarray, groups: np.ndarray) -> dict[str, float | None]:
    """The mean of values [n] with its 95% interval from a bootstrap over groups; None if there are too few."""
    weights = bootstrap.weights(groups, RESAMPLES, seed=0)
    interval = bootstrap.mean(values, np.ones(len(values), dtype=bool), groups, weights, proportion=True)
    return {key: None if np.isnan(value) else round(value, 4) for key, value in vars(interval).items()}


def write(model: Model, index: Index, card: dict[str, Any]) -> None:
    """Write the index and its card into the model's folder, and their hashes into model.json. DataError if the model's
    networks were replaced since it was read."""
    # another command may have changed the card while the images were embedded
    now = current(model)
    with replacing(model.folder / retrieval.INDEX_FILE) as partial:
        retrieval.save(index, partial)
    with replacing(model.folder / retrieval.CARD_FILE) as partial:
        partial.write_text(json.dumps(card, indent=2) + "\n")
    write_card(now, (retrieval.INDEX_FILE, retrieval.CARD_FILE))
