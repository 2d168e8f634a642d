"""python -m train artefacts: how hairs, rulers and stickers affect predictions, and whether removing hairs helps.

The same test images are classified unchanged, with something drawn on them, and with hairs removed. Predictions are
compared image by image, with intervals over lesions.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFilter
from tqdm import tqdm

from skinapp.evaluation import bootstrap, metrics
from skinapp.files import replacing
from skinapp.images import hair, imaging, synthetic
from skinapp.inference import registry
from skinapp.inference.runtime import classifier
from train.data import datasets
from train.data.datasets import encode

Change = Callable[[Image.Image, np.random.Generator], Image.Image]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", default="ham10000-efficientnetb1", metavar="ID", help="the model (default: %(default)s)"
    )
    parser.add_argument(
        "--lesions", type=int, default=300, metavar="N", help="test lesions, one image of each (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="also write the results to this file")


def run(options: argparse.Namespace) -> int:
    model = registry.model(options.model)
    table = datasets.ham10000(datasets.data_root() / "ham10000")
    table = table[table["split"] == "test"].drop_duplicates("group")
    table = table.sample(min(options.lesions, len(table)), random_state=0)
    probabilities = classify_all(model, table)
    compared = compare(probabilities, encode(table["label"], model.labels), table["group"].to_numpy())
    print(compared.to_string(index=False))
    if options.out:
        with replacing(options.out) as partial:
            partial.write_text(json.dumps(compared.to_dict("records"), indent=2) + "\n")
    return 0


def ruler(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    """The image with a pale ruler along one edge: a tick per millimetre, a number per centimetre."""
    width, height = image.size
    deep = int(height * generator.uniform(0.1, 0.16))
    strip = Image.new("RGB", (width, deep), (236, 236, 230))
    pen = ImageDraw.Draw(strip)
    step = generator.uniform(0.025, 0.05) * width
    for tick in range(int(width / step) + 1):
        long = 0.55 if tick % 10 == 0 else 0.4 if tick % 5 == 0 else 0.25
        pen.line((tick * step, 0, tick * step, deep * long), fill=(25, 25, 30), width=max(1, width // 220))
        if tick % 10 == 0:
            pen.text((tick * step + 2, deep * 0.45), str(tick // 10 + 1), fill=(25, 25, 30), font_size=deep * 0.5)
    result = image.copy()
    result.paste(strip, (0, height - deep))
    return result.transpose(Image.Transpose.ROTATE_90) if generator.random() < 0.5 else result


def sticker(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    """The image with a round, coloured sticker at an edge, as some clinics place beside lesions."""
    width, height = image.size
    radius = generator.uniform(0.14, 0.22) * width
    across = generator.choice([0.0, 1.0]) * width
    down = generator.uniform(0.1, 0.9) * height
    mask = Image.new("L", image.size)
    ImageDraw.Draw(mask).ellipse((across - radius, down - radius, across + radius, down + radius), fill=255)
    colour = [(30, 90, 190), (40, 150, 70), (215, 60, 60), (235, 190, 40)][int(generator.integers(4))]
    result = image.copy()
    result.paste(colour, mask=mask.filter(ImageFilter.GaussianBlur(1)))
    return result


def hairy(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    """The image with eight to sixteen dark hairs across it."""
    return synthetic.with_hairs(image.copy(), generator, int(generator.integers(8, 17)))


def plain(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    return image


CHANGES: dict[str, tuple[Change, bool]] = {
    "as it is": (plain, False),
    "hairs removed": (plain, True),
    "hairs drawn": (hairy, False),
    "hairs drawn and removed": (hairy, True),
    "ruler drawn": (ruler, False),
    "sticker drawn": (sticker, False),
}
"""Each change to an image, and whether hairs are removed afterwards. The others are compared with the first."""


def classify_all(model: registry.Model, table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Probabilities [n, K] of the table's images, by change. Both changes with hairs draw the same hairs."""
    network = classifier(model)
    predicted = {name: np.empty((len(table), len(model.labels.codes))) for name in CHANGES}
    for row, path in enumerate(tqdm(table["path"], unit="image")):
        image = Image.fromarray(imaging.load(path, model.input_size))
        for name, (change, without_hairs) in CHANGES.items():
            pixels = np.asarray(change(image, np.random.default_rng(row)))
            predicted[name][row] = network.predict(hair.remove(pixels) if without_hairs else pixels).probabilities
    return predicted


def compare(probabilities: dict[str, np.ndarray], labels: np.ndarray, groups: np.ndarray) -> pd.DataFrame:
    """One row per change: accuracy and balanced accuracy, each with its difference from the first change, and the share
    of images whose most likely class changes; all with 95% intervals over groups."""
    scores: dict[str, bootstrap.Score] = {"accuracy": metrics.accuracy, "balanced accuracy": metrics.balanced_accuracy}
    first = next(iter(probabilities.values()))
    rows = []
    for name, changed in probabilities.items():
        row: dict[str, object] = {"image": name}
        for score, interval in bootstrap.intervals(scores, labels, changed, groups).items():
            row[score] = interval.text()
        for score, interval in bootstrap.paired_differences(scores, labels, changed, first, groups).items():
            row[f"{score}, difference"] = interval.text("+.3f")
        # "accuracy" against the first change's predictions is how often the prediction stays
        same = bootstrap.intervals({"same": metrics.accuracy}, first.argmax(axis=1), changed, groups)["same"]
        row["predictions that change"] = bootstrap.Interval(1 - same.value, 1 - same.high, 1 - same.low).text()
        rows.append(row)
    return pd.DataFrame(rows)
