"""python -m train modality: train and score the classifier of dermoscopy, phone photos of skin and other images.

train/data/non_lesions.py describes the training data for "other images". Your own photographs of other things are used
only for testing (--photographs).
"""

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from skinapp.attention.gradients import from_verified_bytes
from skinapp.errors import ModelError
from skinapp.files import replacing
from skinapp.images import imaging
from skinapp.inference import modality, registry
from skinapp.inference.modality import KINDS, Network, Recogniser
from train.data import datasets, non_lesions, splits
from train.publish.export import converted, require_tensorflow, round_kernels
from train.publish.retrieval_index import share

PENALTY = 0.03
"""Inverse strength of the regression's L2 penalty, on standardised features."""
STAGES = ("block2", "block3", "block4", "block5")
"""Stages of an EfficientNet; later ones represent lesions more, and cameras less."""
COMPONENTS = 64
"""The number of principal components of the features in which distances from skin images are measured."""
SKIN_QUANTILE = 0.99
"""The share of held-out skin images within the limit of distance, and within that of the probability of neither."""
FOLDS = 5
LESIONS = {"ham10000": 1000, "milk10k": 700, "milk10k-clinical": 900, "isic_more": 400, "malignant_benign": 300}
"""The number of training images, one per lesion; all for PAD-UFES-20."""
TEST_LESIONS = 500
VIEWS = 30
ALTERED = 900
"""The number of skin images of each kind that are also used as altered views."""
MICROSCOPE = ("cell", "ihc", "retina")
"""Photographs in packages that were taken through a microscope or of the inside of an eye, unlike ordinary
photographs."""

INTRODUCTION = """# Dermoscopy, phone photo or neither

`python -m train modality` writes this page, the recogniser and its figures (`skinapp/inference/modality.json`). A
logistic regression classifies the features of a network's first stages ({network}): the mean and the standard deviation
of each channel. There are two limits, on the probability of being neither and on the distance from both kinds of skin
image; {quantile:.0%} of held-out skin images are within each. Below a probability of {sure:.0%}, the page asks which
kind it is and shows both answers if they differ.

It is trained on {dermoscopy:,} dermoscopy images (HAM10000, MILK10k, other images of the ISIC archive, one per lesion),
{smartphone:,} phone photos and close-ups (PAD-UFES-20, MILK10k), some of them as altered views, and {neither:,}
other pictures: crops of the photographs that come with scikit-learn and scikit-image, rotated, with altered light and
colours, some of them blurred or in the colours of skin; and drawings: {drawings}.

No image is scored by a recogniser that was trained on it, its lesion or patient, its photograph or its kind of drawing,
with one exception: four of the 123 test images from the archive are also in the training part of another set.
"Other photographs" are those in the folder given with `--photographs`, which are never used for training. Intervals are
95%, over lesions, patients or photographs; with fewer than 20 of them there is no interval.

The aims are that at most 2% of dermoscopy images and phone photos are taken for the other kind, and at most 5% of other
photographs for skin. They are for answers that are given without asking the visitor first."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        default="ham10000-efficientnetb1",
        metavar="ID",
        help="the model whose first stages are used; its folder needs model.keras (default: %(default)s)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=modality.WEIGHTS_FILE.parent,
        metavar="DIR",
        help="the folder to write to (default: the folder in the package)",
    )
    parser.add_argument(
        "--table",
        type=Path,
        default=Path("docs/modality.md"),
        metavar="FILE.md",
        help="where to write the table (default: %(default)s)",
    )
    parser.add_argument(
        "--photographs",
        type=Path,
        metavar="DIR",
        help="a folder of photographs of anything but skin, used only for testing",
    )


def run(options: argparse.Namespace) -> int:
    require_tensorflow()
    model = registry.model(options.model)
    content = first_stages(model)
    known = examples(datasets.data_root())
    seen = features(Network(content), known, options.photographs)
    recogniser, card = learn(seen, np.stack(seen.pop("features").to_list()))
    card["network"] = f"{', '.join(STAGES)} of {model.id} {model.card['version']}"
    save(recogniser, content, card, options.out)
    with replacing(options.table) as partial:
        partial.write_text(markdown(card))
    print(markdown(card))
    return 0


def first_stages(model: registry.Model) -> bytes:
    """The STAGES of a model's network as a LiteRT file: `features` float32 [1, D], the mean and the standard deviation
    of each channel of each stage's last layer. ModelError if the model has no such network."""
    trained = from_verified_bytes(model)
    # stages with a single block have a different last layer
    last = {layer.name[: len("block1")]: layer for layer in trained.layers if layer.name.endswith("_add")}
    if not set(STAGES) <= set(last):
        raise ModelError(
            f"The network of '{model.id}' has no stages named {', '.join(STAGES)}; choose an EfficientNet."
        )
    maps = [last[name].output for name in STAGES]
    statistics = [statistic(cam, axis=(1, 2)) for cam in maps for statistic in (keras.ops.mean, keras.ops.std)]
    network = keras.Model(trained.input, keras.ops.concatenate(statistics, axis=-1))
    round_kernels(network)
    return converted(network, lambda image: {"features": network(image, training=False)})


def examples(root: Path) -> pd.DataFrame:
    """Skin images, one per lesion: data set, kind, path, group (lesion or patient), and whether only for `test`."""
    # images of this set that are not in HAM10000, to include other cameras
    other = datasets.malignant_benign(root / "malignant_benign")
    other = other[splits.malignant_benign_groups(other["image"])["ham10000"] == ""]
    tables = {
        "ham10000": datasets.ham10000(root / "ham10000"),
        "malignant_benign": other,
        "milk10k": datasets.milk10k(root / "milk10k"),
        "isic_more": datasets.isic_more(root / "isic_more"),
        "milk10k-clinical": datasets.milk10k_clinical(root / "milk10k"),
    }
    parts = []
    for name, table in tables.items():
        kind = "smartphone" if name == "milk10k-clinical" else "dermoscopy"
        for split, most in (("train", LESIONS[name]), ("test", TEST_LESIONS)):
            one = table[table["split"] == split].drop_duplicates("group")
            one = one.sample(min(most, len(one)), random_state=0)
            parts.append(one[["path", "group"]].assign(dataset=name, kind=kind, test=split == "test"))
    phone = datasets.pad_ufes_20(root / "pad_ufes_20")
    parts.append(phone[["path", "group"]].assign(dataset="pad_ufes_20", kind="smartphone", test=False))
    return pd.concat(parts, ignore_index=True)


def features(network: Network, known: pd.DataFrame, photographs: Path | None = None) -> pd.DataFrame:
    """The images of `known`, altered views of some of each kind, and other pictures, each with `features` [D].

    Views are made as for the other pictures, so that cropping and lighting do not reveal the kind. Images in the folder
    `photographs` are for testing, each unchanged and in VIEWS views.
    """
    rows: list[dict[str, Any]] = []

    def add(image: Image.Image, **facts: object) -> None:
        rows.append({**facts, "features": network(imaging.crop_resize(image, network.size))})

    training = known[~known["test"]]
    altered = {row for _, part in training.groupby("kind") for row in part.sample(ALTERED, random_state=1).index}
    for row, facts in tqdm(known.iterrows(), total=len(known), desc="skin", unit="image", mininterval=5):
        image = imaging.decode(imaging.read(facts["path"]))
        shared = {name: facts[name] for name in ("dataset", "group", "kind", "test")}
        add(image, **shared, view=False)
        if row in altered:
            generator = np.random.default_rng([2, int(str(row))])
            add(non_lesions.viewed(image, generator, min_share=0.5), **shared, view=True)
    for name, image in tqdm(non_lesions.pictures(VIEWS), desc="anything else", unit="image", mininterval=5):
        dataset = "drawn" if name.startswith("drawn ") else "microscope" if name in MICROSCOPE else "photographs"
        add(image, dataset=dataset, group=name, kind="neither", test=False, view=True)
    for number, file in enumerate(sorted(photographs.iterdir()) if photographs else []):
        image = imaging.decode(imaging.read(file))
        shared = {"dataset": "other photographs", "group": file.stem, "kind": "neither", "test": True}
        add(image, **shared, view=False)
        for view in range(VIEWS):
            add(non_lesions.viewed(image, np.random.default_rng([3, number, view])), **shared, view=True)
    return pd.DataFrame(rows)


def learn(table: pd.DataFrame, seen: np.ndarray) -> tuple[Recogniser, dict[str, Any]]:
    """The recogniser trained on all rows that are not for test, and the card with its scores.

    No image is scored by a recogniser that was trained on it. Test lesions and test photographs are scored with this
    one, PAD-UFES-20 and everything else by cross-validation, in which no patient, photograph or kind of drawing is on
    both sides. The limits also come from cross-validation, never from test lesions.
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
            part = fit(seen[rows[train]], kinds[rows[train]])
            probabilities[rows[held]] = part.probabilities(seen[rows[held]])
            distances[rows[held]] = part.distances(seen[rows[held]])
        final = fit(seen[rows], kinds[rows])
    probabilities[test], distances[test] = final.probabilities(seen[test]), final.distances(seen[test])
    skin = ~test & (table["kind"] != "neither").to_numpy()
    limit = float(np.quantile(distances[skin], SKIN_QUANTILE))
    neither_limit = float(np.quantile(probabilities[skin, -1], SKIN_QUANTILE))
    decided = modality.decide(probabilities, distances, limit, neither_limit)
    plain = (~table["view"]).to_numpy()
    named = (table["dataset"] == "other photographs").to_numpy()
    parts: dict[str, Any] = {
        "dermoscopy, HAM10000, test lesions": test & (table["dataset"] == "ham10000"),
        "dermoscopy, MILK10k, test lesions": test & (table["dataset"] == "milk10k"),
        "dermoscopy, ISIC archive, test lesions": test & (table["dataset"] == "malignant_benign"),
        "close-ups, MILK10k, test lesions": test & (table["dataset"] == "milk10k-clinical"),
        "phone photos, PAD-UFES-20, held-out patients": plain & (table["dataset"] == "pad_ufes_20"),
        "other photographs, as they are": named & plain,
        "other photographs, altered views": named & ~plain,
        "training photographs, each held out once": table["dataset"] == "photographs",
        "microscope and fundus images, each held out once": table["dataset"] == "microscope",
        "drawings, each kind held out once": table["dataset"] == "drawn",
    }
    card = {
        "learnt_from": {kind: int((~test & (kinds == index)).sum()) for index, kind in enumerate(KINDS)},
        "tests": [
            recognition(name, np.asarray(chosen), probabilities, decided, kinds, groups)
            for name, chosen in parts.items()
            if chosen.any()
        ],
    }
    return Recogniser(**(vars(final) | {"limit": limit, "neither_limit": neither_limit})), card


def recognition(
    name: str, chosen: np.ndarray, probabilities: np.ndarray, decided: np.ndarray, kinds: np.ndarray, groups: np.ndarray
) -> dict[str, Any]:
    """The results for a part: images, groups, counts by kind, and, with intervals, the share that is correct, the share
    taken for another kind of skin image, and the share of these for which the page does not ask about the kind."""
    wrong_skin = (decided != kinds) & (decided < len(KINDS) - 1)
    certain = probabilities.max(axis=1) >= modality.SURE
    counts = np.bincount(decided[chosen], minlength=len(KINDS))
    shares = {"right": decided == kinds, "taken_for_other": wrong_skin, "without_asking": wrong_skin & certain}
    return {
        "name": name,
        "images": int(chosen.sum()),
        "groups": len(set(groups[chosen])),
        **{key: share(values[chosen].astype(float), groups[chosen]) for key, values in shares.items()},
        "recognised_as": dict(zip(KINDS, counts.tolist(), strict=True)),
    }


def fit(seen: np.ndarray, kinds: np.ndarray) -> Recogniser:
    """The recogniser fitted on features [n, D] and their kinds [n], without limits."""
    seen = seen.astype(np.float64)
    scaler = StandardScaler().fit(seen)
    regression = LogisticRegression(C=PENALTY, max_iter=300, tol=1e-3, class_weight="balanced")
    regression.fit(scaler.transform(seen), kinds)
    weights = (regression.coef_ / scaler.scale_).T
    bias = regression.intercept_ - scaler.mean_ @ weights

    skin = kinds < len(KINDS) - 1
    scaler_of_skin = StandardScaler().fit(seen[skin])
    components = PCA(COMPONENTS, random_state=0).fit(scaler_of_skin.transform(seen[skin]))
    projected = components.transform(scaler_of_skin.transform(seen[skin]))
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
        1.0,
    )


def markdown(card: dict[str, Any]) -> str:
    """docs/modality.md: the training data, and the results on held-out data."""
    introduction = INTRODUCTION.format(
        **card["learnt_from"],
        network=card["network"],
        sure=modality.SURE,
        quantile=SKIN_QUANTILE,
        drawings=", ".join(non_lesions.DRAWINGS),
    )
    lines = [
        *introduction.splitlines(),
        "",
        "| images (patients, photographs or kinds of drawing) "
        "| right | wrongly taken for skin, or for the other kind | of these, answered without asking "
        "| as dermoscopy | as a phone photo | as neither |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in card["tests"]:
        of = f"{row['images']:,}" + (f" ({row['groups']:,})" if row["groups"] < row["images"] else "")
        cells = [
            f"{row['name']}: {of}",
            *(in_words(row[key]) for key in ("right", "taken_for_other", "without_asking")),
            *(str(row["recognised_as"][kind]) for kind in KINDS),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def in_words(rate: dict[str, float | None]) -> str:
    """A share in percent with its interval, if it has one."""
    interval = "" if rate["low"] is None else f" ({rate['low']:.1%} to {rate['high']:.1%})"
    return f"{rate['value']:.1%}{interval}"


def save(recogniser: Recogniser, network: bytes, card: dict[str, Any], folder: Path) -> None:
    """Write the network, the recogniser, and the card with their hashes."""
    files = [folder / file.name for file in (modality.NETWORK_FILE, modality.WEIGHTS_FILE)]
    files[0].write_bytes(network)
    modality.save(recogniser, files[1])
    card = card | {"files": {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}}
    with replacing(folder / modality.CARD_FILE.name) as partial:
        partial.write_text(json.dumps(card, indent=2) + "\n")
