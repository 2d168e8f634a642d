"""python -m train tutorial: the classic tutorial on skin lesions with 300 images, split wrongly and then rightly.

Both splits have the same images and the same training. They differ in the unit of the split, an image or a lesion. Each
image is predicted once per split, by a network that was not trained on it, so the two are compared image by image.
"""

import argparse
import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from skinapp.datasets.registry import DATASETS, data_root, files_in
from skinapp.demographics import records
from skinapp.errors import DataError
from skinapp.files import locked, replacing
from skinapp.images import imaging
from skinapp.labels.sets import MALIGNANCY
from train.options import add_runs

if TYPE_CHECKING:
    from train.config import Config
    from train.data.datasets import Dataset

DATASET = DATASETS["ham10000"]
CLASSES = ("nv", "mel")
"""Moles and melanomas: benign or malignant is the question of many tutorials."""
LESIONS, IMAGES_EACH = 50, 3
"""How many lesions of each class are chosen, and how many images of each lesion."""
BY_IMAGE, BY_LESION = "by-image", "by-lesion"
SPLITS = (BY_IMAGE, BY_LESION)
PICTURE_SIDE = 240
"""Pixels of the pictures in the report."""


@dataclass(frozen=True)
class HeldOut:
    """The predictions of one split's networks for images [n] that they were not trained on.

    `parts` [n] numbers the held-out parts. `seen` [n] says whether the network that predicted an image was trained on
    another image of its lesion. `probabilities` is [n, 2], and `maps`, float32 [n, h, w] in 0-1, are Grad-CAM of each
    image's label. `history` has the columns epoch, accuracy and val_accuracy of the first network.
    """

    parts: np.ndarray
    seen: np.ndarray
    probabilities: np.ndarray
    maps: np.ndarray
    history: pd.DataFrame


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "docs/tutorial.md explains the steps. If it is stopped, run the same command again to continue."
    parser.add_argument(
        "--config",
        type=Path,
        default=Path(__file__).parents[1] / "configs" / "studies" / "tutorial.yaml",
        metavar="FILE",
        help="the settings of the networks (default: %(default)s)",
    )
    add_runs(parser)


def run(options: argparse.Namespace) -> int:
    folder = options.runs / "tutorial"
    table = choose()
    files = find(table, folder)
    # imported late, since Keras takes seconds to import
    from train.config import load_config
    from train.data.datasets import Dataset
    from train.publish.evaluate import write_predictions
    from train.studies import tutorial_report

    config = with_weights(load_config(options.config))
    data = Dataset(table, np.stack([imaging.load(file, config.cache_size) for file in files]))
    held_out = {}
    for split in SPLITS:
        held_out[split] = predict_held_out(config, data, split, folder)
        write_predictions(folder / f"{split}.csv", MALIGNANCY, table, held_out[split].probabilities, with_facts=False)
    pictures = np.stack([imaging.load(file, PICTURE_SIDE) for file in files])
    lesson = tutorial_report.measure(table, pictures, held_out, folder)
    report = folder / "report.html"
    with replacing(report) as partial:
        partial.write_text(tutorial_report.write(lesson))
    print(tutorial_report.summary(lesson))
    print(f"\nThe report is {report}, and {BY_IMAGE}.csv and {BY_LESION}.csv beside it have every prediction.")
    return 0


def choose() -> pd.DataFrame:
    """The images of the tutorial: dataset, image, group (the lesion) and label, in the order of class, lesion, image.

    Of each class, the first LESIONS lesions of HAM10000's training part, in the order of their image ids, that have at
    least IMAGES_EACH images there, with the first IMAGES_EACH of these. They are read from the table in the package, so
    the choice is known before any image is downloaded.
    """
    known = records.by_image(records.shipped(DATASET.id).frame)
    known = known[known["split"] == "train"].sort_values("image")
    known = known[known.groupby("lesion")["image"].transform("size") >= IMAGES_EACH]
    rows = []
    for code in CLASSES:
        of_class = known[known["diagnosis"] == code]
        for lesion in of_class["lesion"].unique()[:LESIONS]:
            images = of_class.loc[of_class["lesion"] == lesion, "image"].head(IMAGES_EACH)
            rows += [(DATASET.id, image, f"lesion {lesion}", code) for image in images]
    return pd.DataFrame(rows, columns=["dataset", "image", "group", "label"])


def find(table: pd.DataFrame, folder: Path) -> list[Path]:
    """The file of each image: of HAM10000 as `train download ham10000` leaves it, or of single images as `train
    download isic` does. DataError if some are missing, with the command that downloads them; their ids are then in
    `folder`."""
    root = data_root()
    files = files_in(root / "isic", ("images",)) | files_in(root / DATASET.folder, DATASET.images)
    missing = table.loc[~table["image"].isin(files), "image"]
    if len(missing):
        folder.mkdir(parents=True, exist_ok=True)
        ids = folder / "images.txt"
        ids.write_text("\n".join(missing) + "\n")
        raise DataError(
            f"{len(missing)} of the tutorial's {len(table)} images are not in {root}. Download them and run the "
            f"tutorial again:\n  python -m train download isic --ids {ids}\nIf you have all of HAM10000, set "
            "SKINAPP_DATA to the folder that holds ham10000/."
        )
    return [files[image] for image in table["image"]]


def divide(table: pd.DataFrame, split: str, folds: int, seed: int) -> np.ndarray:
    """The part, 0 to folds - 1, of each image [n]; classes are spread evenly over the parts.

    BY_IMAGE ignores which images show the same lesion, as many tutorials do; BY_LESION keeps them together.
    """
    kind = StratifiedKFold if split == BY_IMAGE else StratifiedGroupKFold
    groups = None if split == BY_IMAGE else table["group"]
    parts = np.empty(len(table), int)
    for part, (_, held_out) in enumerate(
        kind(folds, shuffle=True, random_state=seed).split(table, table["label"], groups)
    ):
        parts[held_out] = part
    return parts


def seen_lesions(groups: pd.Series, parts: np.ndarray) -> np.ndarray:
    """Whether an image of the same lesion is in another part, and therefore in training when this one is tested: bool
    [n]."""
    return pd.Series(parts).groupby(groups.to_numpy()).transform("nunique").to_numpy() > 1


def with_weights(config: "Config") -> "Config":
    """The configuration with available initial weights: its file in SKINAPP_WEIGHTS, or else those that Keras
    downloads. DataError if neither is available."""
    from train.fit import network

    try:
        network.initial_file(config.init)
    except DataError as missing:
        print(f"{missing} Keras downloads the weights instead.", file=sys.stderr)
        config = dataclasses.replace(config, init="imagenet")
        try:
            network.build(config.architecture, config.image_size, len(MALIGNANCY.codes), config.init)
        except Exception as error:  # noqa: BLE001, Keras raises it as such
            raise DataError(f"Keras could not download the initial weights: {error}") from None
    return config


def predict_held_out(config: "Config", data: "Dataset", split: str, folder: Path) -> HeldOut:
    """Train a network without each part, and classify the part with it; finished networks are not trained again."""
    import keras

    from skinapp.attention.heatmap import grad_cam
    from skinapp.inference.runtime import softmax
    from train.data.datasets import Dataset, encode
    from train.fit.callbacks import interruptible
    from train.fit.run_folder import last_file, open_run
    from train.fit.stages import fit_stages
    from train.fit.validation import resize
    from train.publish.export import history, with_outputs

    parts = divide(data.table, split, config.folds, config.seed)
    labels = encode(data.table["label"], MALIGNANCY)
    images = resize(data.images, config.image_size)
    logits: list[np.ndarray] = [np.empty(0)] * len(images)
    maps = list(logits)
    for part in range(config.folds):
        print(f"Split {split.replace('-', ' ')}: network {part + 1} of {config.folds}", file=sys.stderr)
        network_config = dataclasses.replace(config, id=f"{split}-{part}")
        # scored after each epoch only for the chart; the network of the last epoch is used regardless
        tested_as = "validation" if part == 0 else "test"
        table = data.table.assign(split=np.where(parts == part, tested_as, "train"))
        network_run = open_run(network_config, folder)
        with locked(network_run), interruptible() as stop:
            fit_stages(network_config, Dataset(table, data.images), network_run, [stop])
        network = with_outputs(keras.saving.load_model(last_file(network_config, network_run), compile=False))
        rows = np.flatnonzero(parts == part)
        # avoiding `predict`, which would compile every network
        outputs = network(images[rows].astype(np.float32), training=False)
        class_maps = keras.ops.convert_to_numpy(outputs["class_maps"])
        for row, of_image, maps_of_image in zip(
            rows, keras.ops.convert_to_numpy(outputs["logits"]), class_maps, strict=True
        ):
            logits[row], maps[row] = of_image, grad_cam(maps_of_image, labels[row])
        keras.utils.clear_session()
    epochs = history(config, folder / f"{split}-0").rename(columns={"logits_accuracy": "accuracy"})
    return HeldOut(
        parts,
        seen_lesions(data.table["group"], parts),
        softmax(np.stack(logits)),
        np.stack(maps),
        epochs[["epoch", "accuracy", "val_accuracy"]],
    )
