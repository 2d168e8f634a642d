"""python -m train attention-audit: compare the attention methods on test images.

Each method's map of the predicted class is measured on the same sample of images, see `train.studies.held_out`. Every
result is saved at once, so the same command resumes where it stopped. The table that the app shows is written after
each method.
"""

import argparse
import csv
import time
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from skinapp.attention import catalogue as methods
from skinapp.attention import faithfulness
from skinapp.errors import DataError, ModelError
from skinapp.evaluation import bootstrap
from skinapp.evaluation.bootstrap import RESAMPLES
from skinapp.files import replacing
from skinapp.images import imaging
from skinapp.inference import architecture, registry, runtime
from skinapp.inference.registry import Model
from train.options import add_runs
from train.publish.folder import current, write_card
from train.studies import held_out
from train.studies.randomised import PARTS, untrained, with_random_head

FILE = "attention-audit.csv"
MASK_SIDE = 112
STEPS = 4
"""Steps of the insertion and deletion curves."""
COLUMNS = ("image", "group", "energy", "insertion", "deletion", "head", "network", "milliseconds", "answer")
"""The columns for one image. The last two are the times of the map and of a classification, in milliseconds; see
`docs/attention.md` for the others."""


@dataclass(frozen=True)
class Entry:
    """A row of the table: a method with its settings and, if it uses one, its block; or a baseline map."""

    name: str
    title: str
    method: str = ""
    layer: str = ""
    settings: dict[str, Any] = field(default_factory=dict)


def entries(model: Model) -> list[Entry]:
    """The rows of a model's table, fast ones first."""
    rows = [
        Entry("random", "Random map"),
        Entry("centre", "Centred blob"),
    ]
    if model.has_class_maps:
        rows.append(Entry("last-convolution", "Grad-CAM, last convolution", "last-convolution"))
    blocks = architecture.blocks(model)
    if blocks:
        middle = [block for block in blocks if block.side > blocks[-1].side][-1]
        for method, title in (("grad-cam", "Grad-CAM"), ("grad-cam-plus-plus", "Grad-CAM++")):
            rows.append(Entry(f"{method}-{middle.name}", f"{title}, {middle.title}", method, middle.name))
        rows += [
            Entry("grad-cam-plus-plus", "Grad-CAM++, last convolution", "grad-cam-plus-plus"),
            Entry("integrated-gradients", "Integrated gradients", "integrated-gradients", settings={"steps": 8}),
            Entry("smoothgrad", "SmoothGrad", "smoothgrad", settings={"samples": 8}),
        ]
    return [
        *rows,
        Entry("occlusion", "Occlusion", "occlusion", settings={"cells": 7, "patch": 2}),
        Entry("rise", "RISE", "rise", settings={"masks": 100}),
    ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", default="ham10000-efficientnetv2b0", metavar="ID", help="the model (default: %(default)s)"
    )
    parser.add_argument(
        "--images", type=int, default=300, metavar="N", help="test images, sampled with a seed (default: %(default)s)"
    )
    parser.add_argument(
        "--untrained",
        type=int,
        default=50,
        metavar="N",
        help="how many of them to compare with maps of untrained networks (default: %(default)s)",
    )
    parser.add_argument(
        "--methods", nargs="+", metavar="NAME", help="rows of the table to measure, such as rise (default: all)"
    )
    add_runs(parser)


def run(options: argparse.Namespace) -> int:
    model = registry.model(options.model)
    if not model.runnable:
        raise ModelError(f"The model '{model.id}' is shipped without its network, so no map can be made.")
    known = {entry.name: entry for entry in entries(model)}
    if unknown := set(options.methods or ()) - set(known):
        raise DataError(f"There is no row {', '.join(sorted(unknown))}; choose from {', '.join(known)}.")
    if options.images < 1 or options.untrained < 0:
        raise DataError("--images must be at least 1 and --untrained at least 0.")
    chosen = held_out.choose(model.modality, options.images)
    folder = options.runs / FILE.removesuffix(".csv") / model.id
    folder.mkdir(parents=True, exist_ok=True)
    others = copies(model, folder) if options.untrained else {}
    for name in options.methods or known:
        measure(known[name], model, chosen, others, options.untrained, folder / f"{name}.csv")
        table = summary(model, folder)
        # another command may have changed the card while the maps were made
        now = current(model)
        with replacing(model.folder / FILE) as partial:
            table.to_csv(partial, index=False)
        write_card(now, (FILE,))
    print(summary(model, folder).to_string(index=False))
    return 0


def copies(model: Model, folder: Path) -> dict[str, Model]:
    """Copies of the model with random weights below `folder`, by the randomised part: only the head for a model without
    a Keras network, such as a committee. None for a network that was not trained here, which cannot be rebuilt.
    """
    if "adopted" in model.card:
        return {}
    if "model.keras" in model.card["files"]:
        return {part: untrained(model, part, folder) for part in PARTS}
    return {"head": with_random_head(model, folder)} if model.has_class_maps else {}


def measure(
    entry: Entry, model: Model, chosen: pd.DataFrame, others: dict[str, Model], compared: int, file: Path
) -> None:
    """Measure the entry's map on each chosen image and append its row to `file`; skip images that it has."""
    # the file is empty if it was only created
    begun = file.exists() and file.stat().st_size > 0
    done = set(pd.read_csv(file)["image"]) if begun else set()
    with file.open("a", newline="") as stream:
        rows = csv.DictWriter(stream, COLUMNS)
        if not begun:
            rows.writeheader()
            stream.flush()
        bar = tqdm(chosen.to_dict("records"), desc=entry.name, unit="image", mininterval=5)
        for number, record in enumerate(bar):
            if record["image"] not in done:
                compared_copies = others if number < compared else {}
                rows.writerow(measured(entry, model, record, compared_copies, warm=number == 0))
                stream.flush()


def measured(
    entry: Entry, model: Model, record: dict[Any, Any], others: dict[str, Model], warm: bool
) -> dict[str, object]:
    """The row of one image. `warm` makes the map twice, so that the measured time does not include loading."""
    classifier = runtime.classifier(model)
    pixels, mask = imaging.load(record["path"], model.input_size), held_out.lesion_mask(record, MASK_SIDE)
    start = time.perf_counter()
    target = classifier.predict(pixels).predicted
    classified = time.perf_counter()
    row: dict[str, object] = {"image": record["image"], "group": record["group"]}
    if entry.method:
        for _ in range(1 + warm):
            begun = time.perf_counter()
            cam = map_of(entry, model, pixels, target)
            ended = time.perf_counter()
        row |= {"milliseconds": round(1000 * (ended - begun), 2), "answer": round(1000 * (classified - start), 2)}
        for part, other in others.items():
            row[part] = round(faithfulness.similarity(cam, map_of(entry, other, pixels, target)), 4)
    else:
        seed = zlib.crc32(record["image"].encode())
        cam = faithfulness.random_map((7, 7), seed) if entry.name == "random" else faithfulness.centred_blob((28, 28))
    index = model.labels.codes.index(target)

    def probability(images: np.ndarray) -> np.ndarray:
        return np.array([classifier.predict(image).probabilities[index] for image in images])

    inserted, deleted = faithfulness.insertion_deletion(probability, pixels, cam, STEPS)
    return row | {
        "energy": "" if mask is None else round(faithfulness.energy_inside(cam, mask), 4),
        "insertion": round(inserted, 4),
        "deletion": round(deleted, 4),
    }


def map_of(entry: Entry, model: Model, pixels: np.ndarray, target: str) -> np.ndarray:
    return methods.explain(entry.method, model, pixels, target, entry.layer or None, **entry.settings)


def summary(model: Model, folder: Path) -> pd.DataFrame:
    """One row for each entry that was measured: means with 95% intervals over lesions, counts, and times; and the data
    they were measured on."""
    rows = []
    for entry in entries(model):
        file = folder / f"{entry.name}.csv"
        if file.exists() and file.stat().st_size and len(table := pd.read_csv(file)):
            rows.append(summarised(entry, table))
    measured_on = {"images_of": held_out.IMAGES[model.modality], "outlines": held_out.MASK_SOURCES[model.modality]}
    return pd.DataFrame(rows).assign(**measured_on)


def summarised(entry: Entry, table: pd.DataFrame) -> dict[str, object]:
    """The row of an entry: mean, `_low` and `_high` of each measure, quartiles of the time, and `answers`, the time as
    a multiple of one classification."""
    row: dict[str, object] = {
        "name": entry.name,
        "title": entry.title,
        "method": entry.method,
        "layer": entry.layer,
        "settings": " ".join(f"{key}={value}" for key, value in entry.settings.items()),
        "images": len(table),
        "lesions": table["group"].nunique(),
        "images_untrained": int(table["head"].count()),
    }
    for measure in ("energy", "insertion", "deletion", "head", "network"):
        known = table.dropna(subset=measure)
        value, low, high = mean_interval(known[measure].to_numpy(float), known["group"].to_numpy())
        row |= {measure: value, f"{measure}_low": low, f"{measure}_high": high}
    if entry.method:
        low, middle, high = np.percentile(table["milliseconds"], (25, 50, 75))
        row |= {"milliseconds": middle, "milliseconds_low": low, "milliseconds_high": high}
        row["answers"] = float((table["milliseconds"] / table["answer"]).median())
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}


def mean_interval(values: np.ndarray, groups: np.ndarray) -> tuple[float, float, float]:
    """The mean of values [n] with its 95% interval from a bootstrap over groups; NaN without values."""
    if not len(values):
        return np.nan, np.nan, np.nan
    weights = bootstrap.weights(groups, RESAMPLES, 0)
    interval = bootstrap.percentiles(np.append(values.mean(), weights @ values / weights.sum(axis=1)))
    return interval.value, interval.low, interval.high
