"""python -m train search-head: a random search over the head of a pre-trained network, and over its augmentation.

The backbone keeps its ImageNet weights. So the embeddings of every view of an image are computed once, and a trial only
trains a head on them: an epoch uses each image once, with a random view. Images are split by lesion; validation lesions
are used for model selection, and the test images are not used.
"""

import argparse
import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.utils.class_weight import compute_sample_weight
from tqdm import tqdm

from skinapp.errors import DataError
from skinapp.evaluation import bootstrap, head_search, metrics
from skinapp.files import replacing
from skinapp.inference import views
from skinapp.inference.runtime import softmax
from skinapp.labels.sets import HAM10000
from train.data.datasets import Dataset, encode, prepare, with_validation
from train.options import add_runs
from train.studies.search import CHOSEN_BY, SHOWN, Row, begin, best, check_minimums, read, sample, write

if TYPE_CHECKING:
    import keras
    import keras_tuner

ARCHITECTURE = "efficientnetv2b0"
WEIGHTS = "efficientnetv2b0_imagenet_notop.weights.h5"
AUGMENTATIONS = ("none", "mirrored and rotated", "standard")
"""The upright image alone; the views that a committee averages over; VIEWS random ones of `augmentation.standard`."""
VIEWS = 4
SPACE: dict[str, list[Any]] = {
    "augmentation": list(AUGMENTATIONS),
    "hidden": [0, 64, 256],
    "dropout": [0.0, 0.2, 0.4],
    "learning_rate": [0.0003, 0.001, 0.003],
}
"""The search space; `hidden` is the width of a dense layer between embedding and logits, 0 for none."""
SMALLEST = 32
BATCH = 64
PATIENCE = 8
SCORES = {name: metrics.DIAGNOSIS_SCORES[name] for name in ("balanced_accuracy", "accuracy")}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--init",
        default=WEIGHTS,
        metavar="INIT",
        help=f"ImageNet weights of {ARCHITECTURE}: a file in SKINAPP_WEIGHTS, or imagenet (default: %(default)s)",
    )
    parser.add_argument("--size", type=int, default=160, metavar="PX", help="side of the images (default: %(default)s)")
    parser.add_argument(
        "--per-class",
        type=int,
        default=400,
        metavar="N",
        help="the most training images per class (default: %(default)s)",
    )
    parser.add_argument("--trials", type=int, default=25, metavar="N", help="heads to try (default: %(default)s)")
    parser.add_argument(
        "--epochs", type=int, default=60, metavar="N", help="the most epochs per head (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of samples, views and heads (default: %(default)s)")
    add_runs(parser)
    parser.add_argument(
        "--out",
        type=Path,
        default=head_search.FILE,
        metavar="FILE.json",
        help="the result, which the Compare page shows (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    check_minimums(options, {"size": SMALLEST, "per_class": 1, "trials": 1, "epochs": 1, "seed": 0})
    if options.out.suffix != ".json":
        raise DataError(f"--out is {options.out}; it must end in .json.")
    file = options.runs / "search-head.csv"
    begin(file, settings(options))
    parts = split(prepare("ham10000", options.size, options.runs), options.per_class, options.seed)
    started = time.perf_counter()
    embedded = embeddings(parts, file, options.init, options.seed)
    seconds = time.perf_counter() - started
    table = sample(
        space,
        options.trials,
        options.seed,
        read(file),
        partial(attempt, embedded, parts, file, options.epochs, options.seed),
    )
    write(json.dumps(result(options, parts, table, seconds), indent=2) + "\n", options.out)
    print(table.sort_values(CHOSEN_BY, ascending=False, kind="stable").head(SHOWN).round(3).to_string(index=False))
    print(f"\nAll {len(table)} heads are in {options.out}. The test images were not looked at.")
    return 0


def settings(options: argparse.Namespace) -> dict[str, Any]:
    """The settings that affect scores; not the number of trials, which may increase."""
    names = ("init", "size", "per_class", "epochs", "seed")
    fixed = {"architecture": ARCHITECTURE, "views": VIEWS, "batch": BATCH, "patience": PATIENCE, "space": SPACE}
    return {name: getattr(options, name) for name in names} | fixed


def split(data: Dataset, per_class: int, seed: int) -> dict[str, Dataset]:
    """The parts `train`, at most `per_class` images of every class, and `validation`, of other lesions."""
    from train.config import Config

    table = with_validation(data.table, Config.folds, Config.fold, seed)
    train = table[table["split"] == "train"].sample(frac=1, random_state=seed).groupby("label").head(per_class)
    tables = {"train": train.sort_index(), "validation": table[table["split"] == "validation"]}
    return {name: Dataset(rows, data.images[rows.index.to_numpy()]) for name, rows in tables.items()}


def embeddings(parts: dict[str, Dataset], file: Path, init: str, seed: int) -> dict[str, np.ndarray]:
    """The backbone's embeddings: of the training images by augmentation, float32 [views, n, D], and of the upright
    `validation` images, [1, n, D]. They are cached next to the table, whose settings they depend on."""
    backbone = None
    embedded = {}
    for name in ("validation", *AUGMENTATIONS):
        cache = file.with_name(f"{file.stem}-{name.replace(' ', '-')}.npy")
        if not cache.exists():
            images = parts["validation" if name == "validation" else "train"].images
            backbone = backbone or pretrained(init, images.shape[1])
            with replacing(cache) as partial_file, partial_file.open("wb") as stream:
                np.save(stream, embedding(backbone, images, name, seed))
        embedded[name] = np.load(cache)
    return embedded


def pretrained(init: str, size: int) -> "keras.Model":
    """RGB 0-255 [n, size, size, 3] -> embeddings [n, D]."""
    import keras

    from train.fit import network

    whole = network.build(ARCHITECTURE, size, len(HAM10000.codes), init)
    return keras.Model(whole.input, whole.get_layer("embedding").output)


def embedding(backbone: "keras.Model", images: np.ndarray, augmentation: str, seed: int) -> np.ndarray:
    """Float32 [views, n, D] of uint8 images [n, size, size, 3] in the views of an augmentation."""
    from train.fit.augmentation import standard

    policy = standard(seed) if augmentation == "standard" else []
    names = {"standard": [views.UPRIGHT] * VIEWS, "mirrored and rotated": list(views.VIEWS)}
    seen = []
    for name in names.get(augmentation, [views.UPRIGHT]):
        batches = []
        for start in tqdm(range(0, len(images), BATCH), desc=f"{augmentation}, {name}", unit=" batches", disable=None):
            x = views.seen(images[start : start + BATCH], [name])[0].astype(np.float32)
            for layer in policy:
                x = layer(x, training=True)
            batches.append(np.asarray(backbone.predict_on_batch(x)))
        seen.append(np.concatenate(batches))
    return np.stack(seen)


def space(choices: "keras_tuner.HyperParameters") -> dict[str, Any]:
    """A head of SPACE as chosen by KerasTuner, in the columns of the table."""
    return {name: choices.Choice(name, values) for name, values in SPACE.items()}


def attempt(
    embedded: dict[str, np.ndarray],
    parts: dict[str, Dataset],
    file: Path,
    epochs: int,
    seed: int,
    head_settings: dict[str, Any],
    rows: list[Row],
) -> Row:
    """Train the head after `rows`, and write its row."""
    import keras

    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    head = build(head_settings, embedded["validation"].shape[-1])
    row = {"trial": len(rows) + 1} | head_settings | train(head, head_settings, embedded, parts, epochs, seed)
    write(pd.DataFrame([*rows, row]).to_csv(index=False), file)
    return row


def build(head_settings: dict[str, Any], width: int) -> "keras.Model":
    """The head of a row: embeddings [n, width] -> logits [n, classes]."""
    import keras
    from keras import layers

    inputs = keras.Input((width,))
    x = inputs
    if head_settings["hidden"]:
        x = layers.Dense(head_settings["hidden"], activation="relu")(x)
    return keras.Model(inputs, layers.Dense(len(HAM10000.codes))(layers.Dropout(head_settings["dropout"])(x)))


def train(
    head: "keras.Model",
    head_settings: dict[str, Any],
    embedded: dict[str, np.ndarray],
    parts: dict[str, Dataset],
    epochs: int,
    seed: int,
) -> dict[str, float]:
    """Train with Adam, with equal class weights, and keep the epoch with the lowest balanced log loss on validation;
    return the scores there, with 95% intervals from a bootstrap over lesions."""
    import keras

    from train.fit.validation import validation_scores

    started = time.perf_counter()
    labels = {name: encode(part.table["label"], HAM10000) for name, part in parts.items()}
    weights = {name: compute_sample_weight("balanced", codes).astype(np.float32) for name, codes in labels.items()}
    seen, held_out = embedded[head_settings["augmentation"]], embedded["validation"][0]
    head.compile(
        optimizer=keras.optimizers.Adam(head_settings["learning_rate"]),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )
    history = head.fit(
        batches(seen, labels["train"], weights["train"], seed),
        steps_per_epoch=steps(seen),
        epochs=epochs,
        # the batches are already in random order
        shuffle=False,
        verbose=0,
        validation_data=(held_out, labels["validation"], weights["validation"]),
        validation_batch_size=len(held_out),
        callbacks=[keras.callbacks.EarlyStopping("val_loss", patience=PATIENCE, restore_best_weights=True)],
    )
    probabilities = softmax(np.asarray(head(held_out)))
    intervals = bootstrap.intervals(
        SCORES, labels["validation"], probabilities, parts["validation"].table["group"].to_numpy()
    )
    limits = {
        f"val_{name}_{limit}": getattr(interval, limit)
        for name, interval in intervals.items()
        for limit in ("low", "high")
    }
    return {
        "parameters": head.count_params(),
        "epoch": int(np.argmin(history.history["val_loss"])) + 1,
        **validation_scores(labels["validation"], probabilities),
        **limits,
        "seconds": round(time.perf_counter() - started, 1),
    }


def steps(seen: np.ndarray) -> int:
    """The batches of an epoch over embeddings [views, n, D]."""
    return -(-seen.shape[1] // BATCH)


def batches(
    seen: np.ndarray, labels: np.ndarray, weights: np.ndarray, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """An endless generator of batches of embeddings [b, D], labels [b] and weights [b]: in each epoch every image of
    `seen` [views, n, D] once, in random order and with a random view."""
    generator = np.random.default_rng(seed)
    while True:
        for rows in np.array_split(generator.permutation(seen.shape[1]), steps(seen)):
            yield seen[generator.integers(len(seen), size=len(rows)), rows], labels[rows], weights[rows]


def result(
    options: argparse.Namespace, parts: dict[str, Dataset], table: pd.DataFrame, seconds: float
) -> dict[str, Any]:
    """The result in the form that `skinapp.evaluation.head_search` reads."""
    return {
        "settings": settings(options),
        "parts": {
            name: {"images": len(part.table), "lesions": part.table["group"].nunique()} for name, part in parts.items()
        },
        "seconds": round(seconds + float(table["seconds"].sum())),
        "chosen": best(table.to_dict("records"))["trial"],
        "trials": json.loads(table.to_json(orient="records")),
    }
