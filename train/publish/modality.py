"""python -m train modality: train and score the classifier of dermoscopy, phone photos of skin and other images."""

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from skinapp.evaluation import bootstrap, metrics
from skinapp.files import replacing
from skinapp.images import imaging
from skinapp.inference import modality, registry
from skinapp.inference.modality import KINDS, Recogniser
from skinapp.inference.runtime import classifier
from train.data import datasets, non_lesions, splits

PENALTY = 0.03
"""Inverse strength of the regression's L2 penalty, on standardised embeddings."""
COMPONENTS = 64
"""The number of principal components of the embedding in which distances from skin images are measured."""
DISTANCE_QUANTILE = 0.99
"""The share of held-out skin images within the distance limit."""
FOLDS = 5
LESIONS = 1500
TEST_LESIONS = 700
VIEWS = 25


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        default=modality.EMBEDDING_MODEL,
        metavar="ID",
        help="the model whose embedding is used (default: %(default)s, which the app expects)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=modality.WEIGHTS_FILE.parent,
        metavar="DIR",
        help="the folder to write to (default: the folder in the package)",
    )


def run(options: argparse.Namespace) -> int:
    model = registry.model(options.model)
    known = examples(datasets.data_root())
    embedded = embeddings(model, known, {"dermoscopy": 300, "smartphone": 400})
    recogniser, card = learn(embedded, np.stack(embedded.pop("embedding").to_list()))
    card["embedding_model"] = model.id
    card["embedding_sha256"] = model.card["files"]["model.tflite"]["sha256"]
    save(recogniser, card, options.out)
    print(json.dumps(card["tests"], indent=2))
    return 0


def examples(root: Path) -> pd.DataFrame:
    """Skin images, one per lesion: kind, path, group (lesion or patient), and whether they are only for `test`."""
    ham10000 = datasets.ham10000(root / "ham10000").drop_duplicates("group")
    # images of this set that are not in HAM10000, for other cameras
    other = datasets.malignant_benign(root / "malignant_benign")
    other = other[splits.malignant_benign_groups(other["image"])["ham10000"] == ""].drop_duplicates("group")
    parts = [
        (ham10000[ham10000["split"] == "train"].sample(LESIONS, random_state=0), "dermoscopy", False),
        (ham10000[ham10000["split"] == "test"].sample(TEST_LESIONS, random_state=0), "dermoscopy", True),
        (other[other["split"] == "train"].head(300), "dermoscopy", False),
        (other[other["split"] == "test"], "dermoscopy", True),
        (datasets.pad_ufes_20(root / "pad_ufes_20"), "smartphone", False),
    ]
    return pd.concat(
        [part[["dataset", "path", "group"]].assign(kind=kind, test=test) for part, kind, test in parts],
        ignore_index=True,
    )


def embeddings(model: registry.Model, known: pd.DataFrame, views: dict[str, int]) -> pd.DataFrame:
    """`known`, altered `views` of some images of each kind, and pictures of anything else, each with `embedding` [D].

    Views are made as for the other pictures, so that cropping and lighting do not reveal the kind.
    """
    network = classifier(model)
    rows: list[dict[str, Any]] = []

    def add(image: Image.Image, **facts: object) -> None:
        pixels = imaging.crop_resize(image, model.input_size)
        rows.append({**facts, "embedding": network.predict(pixels).embedding})

    training = known[~known["test"]]
    viewed = {
        row
        for kind, count in views.items()
        for row in training[training["kind"] == kind].sample(count, random_state=1).index
    }
    for row, facts in tqdm(known.iterrows(), total=len(known), desc="skin", unit="image"):
        image = imaging.decode(imaging.read(facts["path"]))
        shared = {name: facts[name] for name in ("dataset", "group", "kind", "test")}
        add(image, **shared, view=False)
        if row in viewed:
            generator = np.random.default_rng([2, int(str(row))])
            add(non_lesions.viewed(image, generator, least=0.5), **shared, view=True)
    for name, image in tqdm(non_lesions.pictures(VIEWS), desc="anything else", unit="image"):
        dataset = "drawn" if name.startswith("drawn ") else "photographs"
        add(image, dataset=dataset, group=name, kind="neither", test=False, view=True)
    return pd.DataFrame(rows)


def learn(table: pd.DataFrame, embedded: np.ndarray) -> tuple[Recogniser, dict[str, Any]]:
    """The recogniser trained on all rows that are not for test, and the card with its scores.

    No image is scored by a recogniser that was trained on it. Test lesions in dermoscopy are scored with this one,
    phone photos and everything else by cross-validation, in which no patient or photograph is on both sides.
    """
    kinds = table["kind"].map({kind: index for index, kind in enumerate(KINDS)}).to_numpy()
    groups = table["group"].astype(str).to_numpy()
    test = table["test"].to_numpy()
    rows = np.flatnonzero(~test)
    probabilities, distances = np.empty((len(table), len(KINDS))), np.empty(len(table))
    # the matrices are small, so on a busy machine threads would mostly wait for each other
    with threadpool_limits(1):
        folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
        for train, held in folds.split(rows, kinds[rows], groups[rows]):
            part = fit(embedded[rows[train]], kinds[rows[train]])
            probabilities[rows[held]] = part.probabilities(embedded[rows[held]])
            distances[rows[held]] = part.distances(embedded[rows[held]])
        final = fit(embedded[rows], kinds[rows])
    probabilities[test], distances[test] = final.probabilities(embedded[test]), final.distances(embedded[test])
    skin = ~test & (table["kind"] != "neither").to_numpy()
    limit = float(np.quantile(distances[skin], DISTANCE_QUANTILE))
    too_far = distances > limit
    probabilities[too_far] = np.eye(len(KINDS))[-1]
    parts = {
        "dermoscopy, HAM10000, test lesions": test & (table["dataset"] == "ham10000"),
        "dermoscopy, ISIC archive, test lesions": test & (table["dataset"] == "malignant_benign"),
        "phone photos, PAD-UFES-20, held-out patients": ~table["view"] & (table["dataset"] == "pad_ufes_20"),
        "photographs of anything else, held out": table["dataset"] == "photographs",
        "drawn documents, charts, screens, patterns, held out": table["dataset"] == "drawn",
    }
    card = {
        "learnt_from": {kind: int((~test & (kinds == index)).sum()) for index, kind in enumerate(KINDS)},
        "tests": [
            recognition(name, np.asarray(chosen), probabilities, too_far, kinds, groups)
            for name, chosen in parts.items()
        ],
    }
    return Recogniser(**(vars(final) | {"limit": limit})), card


def recognition(
    name: str, chosen: np.ndarray, probabilities: np.ndarray, too_far: np.ndarray, kinds: np.ndarray, groups: np.ndarray
) -> dict[str, Any]:
    """How a part is classified: images, groups, counts by kind, and the correct share with its interval."""
    score = bootstrap.intervals(
        {"right": metrics.accuracy}, kinds[chosen], probabilities[chosen], groups[chosen], resamples=2000
    )["right"]
    counts = np.bincount(probabilities[chosen].argmax(axis=1), minlength=len(KINDS))
    return {
        "name": name,
        "images": int(chosen.sum()),
        "groups": len(set(groups[chosen])),
        "right": {key: round(value, 4) for key, value in vars(score).items()},
        "recognised_as": dict(zip(KINDS, counts.tolist(), strict=True)),
        "by_distance": int(too_far[chosen].sum()),
    }


def fit(embedded: np.ndarray, kinds: np.ndarray) -> Recogniser:
    """The recogniser fitted on embeddings [n, D] and their kinds [n], without a distance limit."""
    embedded = embedded.astype(np.float64)
    scaler = StandardScaler().fit(embedded)
    regression = LogisticRegression(C=PENALTY, max_iter=500, class_weight="balanced")
    regression.fit(scaler.transform(embedded), kinds)
    weights = (regression.coef_ / scaler.scale_).T
    bias = regression.intercept_ - scaler.mean_ @ weights

    skin = kinds < len(KINDS) - 1
    scaler_of_skin = StandardScaler().fit(embedded[skin])
    components = PCA(COMPONENTS, random_state=0).fit(scaler_of_skin.transform(embedded[skin]))
    projected = components.transform(scaler_of_skin.transform(embedded[skin]))
    means = np.array([projected[kinds[skin] == kind].mean(axis=0) for kind in range(len(KINDS) - 1)])
    rest = projected - means[kinds[skin]]
    # each kind has the same weight, however many images it has
    covariance = np.mean([np.cov(rest[kinds[skin] == kind].T) for kind in range(len(KINDS) - 1)], axis=0)
    whitening = np.linalg.inv(np.linalg.cholesky(covariance)).T
    return Recogniser(
        weights,
        bias,
        scaler_of_skin.mean_,
        (components.components_ / scaler_of_skin.scale_).T @ whitening,
        (means + components.mean_ @ components.components_.T) @ whitening,
        np.inf,
    )


def save(recogniser: Recogniser, card: dict[str, Any], folder: Path) -> None:
    """Write the recogniser, and its card with the hash of the weights."""
    weights = folder / modality.WEIGHTS_FILE.name
    modality.save(recogniser, weights)
    card = card | {"sha256": hashlib.sha256(weights.read_bytes()).hexdigest()}
    with replacing(folder / modality.CARD_FILE.name) as partial:
        partial.write_text(json.dumps(card, indent=2) + "\n")
