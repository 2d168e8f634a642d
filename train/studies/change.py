"""python -m train change: how far two photos of an unchanged lesion differ, and how often they are recognised as such.

The pairs are HAM10000's test images and further images of their lesions, none of which a network was trained on. They
were published as one lesion; that it had not changed between them is an assumption, so the noise is rather too large.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from skinapp.errors import DataError, ImageError, SegmentationError
from skinapp.files import replacing
from skinapp.images import imaging
from skinapp.inference import analysis, registry
from skinapp.inference.runtime import Classifier
from skinapp.lesion import change, segmentation, shape
from train.data import datasets

PERCENTILE = 95


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        default="ham10000-efficientnetb1",
        metavar="ID",
        help="whose probability of cancer is compared (default: %(default)s)",
    )
    parser.add_argument("--pairs", type=int, default=0, metavar="N", help="use the first N pairs only")
    parser.add_argument(
        "--out", type=Path, default=change.NOISE_FILE, metavar="FILE", help="where to write the figures"
    )


def run(options: argparse.Namespace) -> int:
    model = registry.model(options.model)
    photos = pairs(datasets.read("ham10000"))
    photos = photos[: options.pairs] if options.pairs else photos
    if not photos:
        raise DataError("No lesion has a test image and a further image.")
    measured = measure(model, photos)
    with replacing(options.out) as partial:
        partial.write_text(json.dumps(measured, indent=2) + "\n")
    print(json.dumps(measured, indent=2))
    return 0


def pairs(table: pd.DataFrame) -> list[tuple[Path, Path]]:
    """The files of a test image and of a further image of its lesion, a pair of each lesion."""
    chosen = table[table["split"].isin(("test", "excluded"))].sort_values(["group", "split", "image"])
    return [
        (rows["path"].iloc[0], rows["path"].iloc[-1])
        for _, rows in chosen.groupby("group")
        if rows["split"].nunique() == 2
    ]


def measure(model: registry.Model, photos: list[tuple[Path, Path]]) -> dict[str, Any]:
    """How many pairs match, how many pairs of different lesions do, and the noise of each measure over pairs that
    match and whose lesions can be segmented."""
    classifier = Classifier(model, threads=1)
    cancer = next(iter(analysis.groups(model).values()))
    indices = [model.labels.codes.index(code) for code in cancer]
    differences: list[dict[str, float]] = []
    matched = confused = 0
    before: np.ndarray | None = None
    for files in tqdm(photos, unit="pair", disable=None):
        squares = [imaging.load(file, model.input_size) for file in files]
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
        shares = [float(classifier.predict(square).probabilities[indices].sum()) for square in squares]
        ratio = masks[1].mean() / aligned.scale**2 / masks[0].mean()
        differences.append(
            {change.SIZE: float(np.exp(abs(np.log(ratio))))}
            | {
                one.name: abs(one.value - other.value)
                for one, other in zip(first, second, strict=True)
                if one.name != "Share of the square"
            }
            | {change.CANCER: abs(shares[0] - shares[1])}
        )
    if not differences:
        raise DataError("No pair could be laid over each other; use more pairs.")
    table = pd.DataFrame(differences)
    return {
        "model": model.id,
        "pairs": len(photos),
        "matched": matched,
        "measured": len(table),
        "pairs_of_different_lesions": len(photos) - 1,
        "confused": confused,
        "noise": {str(name): round(float(np.percentile(table[name], PERCENTILE)), 4) for name in table},
    }


def _matches(first: np.ndarray, second: np.ndarray) -> change.Alignment | None:
    try:
        return change.align(first, second)
    except ImageError:
        return None
