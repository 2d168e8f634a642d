"""python -m train change: how much two photos of an unchanged lesion differ, and how often they are recognised as the
same lesion.

Dermoscopy: HAM10000's test images and further images of their lesions, none of which a network was trained on. Phone
photos: those of PAD-UFES-20 that show one lesion; their probabilities are out of fold. The pairs were published as one
lesion; that it had not changed in between is an assumption, so the noise is more likely overestimated.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from skinapp.datasets import registry as datasets_registry
from skinapp.errors import DataError, ImageError, SegmentationError
from skinapp.files import replacing
from skinapp.images import imaging
from skinapp.inference import analysis, registry
from skinapp.inference.registry import Model
from skinapp.inference.runtime import Classifier
from skinapp.lesion import change, segmentation, shape
from train.data import datasets

PERCENTILE = 95
DATASETS = {"dermoscopy": "ham10000", "smartphone": "pad_ufes_20"}
"""The data set with pairs of each kind of image."""
SAVED = ("predictions.csv", "out_of_fold.csv")
"""Files of a model folder with probabilities of images that the answering network was not trained on."""


@dataclass(frozen=True)
class Pair:
    """The files of two images of one lesion, and their ids."""

    files: tuple[Path, Path]
    images: tuple[str, str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--kinds", nargs="+", choices=list(DATASETS), default=list(DATASETS), help="kinds of image (default: both)"
    )
    parser.add_argument("--pairs", type=int, default=0, metavar="N", help="use the first N pairs only")
    parser.add_argument(
        "--out",
        type=Path,
        default=change.NOISE_FILE,
        metavar="FILE",
        help="where to write the figures; those of other kinds of image stay",
    )


def run(options: argparse.Namespace) -> int:
    measured = json.loads(options.out.read_text()) if options.out.exists() else {}
    for kind in options.kinds:
        photos = pairs_of(kind)
        photos = photos[: options.pairs] if options.pairs else photos
        if not photos:
            raise DataError("No lesion has two images that were not trained on.")
        models = [one for one in registry.ranked() if (one.modality, one.task) == (kind, "diagnosis")]
        measured[kind] = measure(models, photos)
        with replacing(options.out) as partial:
            partial.write_text(json.dumps(measured, indent=2) + "\n")
    print(json.dumps(measured, indent=2))
    return 0


def pairs_of(kind: str) -> list[Pair]:
    """Two images of each lesion that has them, of a kind of image."""
    table = datasets.read(DATASETS[kind])
    if kind == "dermoscopy":
        return pairs(table)
    name = DATASETS[kind]
    published = datasets_registry.DATASETS[name].parse(datasets_registry.data_root() / name)
    lesions = dict(zip(published["image"], published["lesion"], strict=True))
    return first_and_last(table.assign(group=table["image"].map(lesions)).sort_values(["group", "image"]))


def pairs(table: pd.DataFrame) -> list[Pair]:
    """One pair per lesion: a test image and another image of the lesion."""
    chosen = table[table["split"].isin(("test", "excluded"))].sort_values(["group", "split", "image"])
    return first_and_last(chosen[chosen.groupby("group")["split"].transform("nunique") == 2])


def first_and_last(table: pd.DataFrame) -> list[Pair]:
    """The first and the last row of each group that has several."""
    return [
        Pair((rows["path"].iloc[0], rows["path"].iloc[-1]), (rows["image"].iloc[0], rows["image"].iloc[-1]))
        for _, rows in table.groupby("group")
        if len(rows) > 1
    ]


def measure(models: Sequence[Model], photos: Sequence[Pair]) -> dict[str, Any]:
    """How many pairs of the same lesion and of different lesions match, and the noise of each measure and of each
    model's probability of cancer, over matching pairs whose lesions can be segmented; and, for each model, in how many
    of these pairs at least one difference exceeds its noise."""
    predictors = [Cancer(model) for model in models]
    networks = {model.id: model.hashes for model in models}
    differences: list[dict[str, float]] = []
    cancer: list[dict[str, float]] = []
    matched = confused = 0
    before: np.ndarray | None = None
    for pair in tqdm(photos, unit="pair", disable=None):
        squares = [imaging.load(file, change.SIDE) for file in pair.files]
        if before is not None:
            confused += _matches(before, squares[1]) is not None
        before = squares[0]
        aligned = _matches(*squares)
        if aligned is None:
            continue
        matched += 1
        try:
            masks = [segmentation.segment(square).mask for square in squares]
        except SegmentationError:
            continue
        first, second = (shape.measure(square, mask) for square, mask in zip(squares, masks, strict=True))
        ratio = masks[1].mean() / aligned.scale**2 / masks[0].mean()
        differences.append(
            {change.SIZE: float(np.exp(abs(np.log(ratio))))}
            | {
                one.name: abs(one.value - other.value)
                for one, other in zip(first, second, strict=True)
                if one.name != shape.SHARE
            }
        )
        cancer.append({predictor.model.id: predictor.difference(pair) for predictor in predictors})
    if not differences:
        raise DataError("No pair of photos could be aligned; use more pairs.")
    limits = _percentiles(differences)
    return {
        "pairs": len(photos),
        "matched": matched,
        "measured": len(differences),
        "pairs_of_different_lesions": len(photos) - 1,
        "confused": confused,
        "noise": limits,
        "cancer": {
            model_id: {
                "noise": noise,
                "exceeded": exceeding(
                    [row | {change.CANCER: one[model_id]} for row, one in zip(differences, cancer, strict=True)],
                    limits | {change.CANCER: noise},
                ),
                "networks": networks[model_id],
            }
            for model_id, noise in _percentiles(cancer).items()
        },
    }


def exceeding(rows: list[dict[str, float]], limits: dict[str, float]) -> int:
    """The number of rows in which at least one value exceeds its limit."""
    return sum(any(row[name] > limit for name, limit in limits.items()) for row in rows)


class Cancer:
    """A model's probabilities of cancer: those in its folder, if there are any, and newly computed ones for other
    images."""

    def __init__(self, model: Model):
        self.model = model
        self.codes = next(iter(analysis.groups(model).values()))
        self.known: dict[str, float] = {}
        for name in SAVED:
            if name in model.card["files"]:
                table = pd.read_csv(model.folder / name)
                shares = table[[f"p_{code}" for code in self.codes]].sum(axis=1)
                self.known |= dict(zip(table["image"].astype(str), shares, strict=True))
        self.classifier = Classifier(model, threads=1)

    def difference(self, pair: Pair) -> float:
        """The difference between the log odds of both images. Probabilities in the folder may depend on patient
        metadata, so they are used for both images or for neither."""
        if all(image in self.known for image in pair.images):
            first, second = (self.known[image] for image in pair.images)
        else:
            first, second = map(self.computed, pair.files)
        return abs(change.log_odds(first) - change.log_odds(second))

    def computed(self, file: Path) -> float:
        probabilities = self.classifier.predict(imaging.load(file, self.model.input_size)).probabilities
        by_code = dict(zip(self.model.labels.codes, probabilities, strict=True))
        return float(sum(by_code[code] for code in self.codes))


def _percentiles(rows: list[dict[str, float]]) -> dict[str, float]:
    table = pd.DataFrame(rows)
    return {str(name): round(float(np.percentile(table[name], PERCENTILE)), 4) for name in table}


def _matches(first: np.ndarray, second: np.ndarray) -> change.Alignment | None:
    try:
        return change.align(first, second)
    except ImageError:
        return None
