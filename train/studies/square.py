"""python -m train square: the effect of the square around the lesion, compared with the centre of the image.

The segmentation network finds the lesion. The size limit up to which a lesion gets a square (for a larger one, the
centre of the image is used) and the margin of the square are chosen on validation images by balanced accuracy, for each
kind of image. Test images then show the difference. No network is scored on a lesion or patient that it was trained on:
for a committee, the member that held out the lesion is used.
"""

import argparse
import dataclasses
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from skinapp.errors import DataError
from skinapp.evaluation import bootstrap, metrics
from skinapp.evaluation.bootstrap import Interval, Score
from skinapp.files import replacing
from skinapp.images import imaging
from skinapp.images.imaging import CENTRE, Crop
from skinapp.inference import model_card, registry
from skinapp.inference.registry import Model
from skinapp.inference.runtime import Classifier
from skinapp.lesion import square
from train.config import load_config
from train.data.datasets import TRAINABLE, encode, read, with_validation
from train.studies import held_out

DATASETS = {"dermoscopy": ("ham10000",), "smartphone": ("milk10k-clinical", "pad_ufes_20")}
"""The data sets of each kind of image."""
MARGINS = (1.5, 2.0, 2.5, 3.0, 4.0)
LARGEST = (0.2, 0.3, 0.4, 1.0)
"""Candidate limits for the size of a lesion's box, as a share of the shorter side, up to which it gets a square."""
COST = 0.01
"""The loss of balanced accuracy that validation images must exclude, at 95%, before squares are used."""
CONFIGS = Path(__file__).parents[1] / "configs"
SCORE: dict[str, Score] = {"": metrics.balanced_accuracy}
PAIRS = 200
"""Pairs of test images side by side, to count how often both lesions are found."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--kinds", nargs="+", choices=list(DATASETS), default=list(DATASETS), help="kinds of image (default: both)"
    )
    parser.add_argument("--images", type=int, default=0, metavar="N", help="use N images of each part (default: all)")
    parser.add_argument(
        "--out",
        type=Path,
        default=square.FIGURES_FILE,
        metavar="FILE",
        help="where to write the figures; those of other kinds of image stay",
    )


def run(options: argparse.Namespace) -> int:
    results = json.loads(options.out.read_text()) if options.out.exists() else {}
    for kind in options.kinds:
        model = next((one for one in registry.ranked() if one.modality == kind and one.task == "diagnosis"), None)
        if model is None:
            raise DataError(f"There is no model for {kind} images to measure with.")
        results[kind] = measure(model, {name: unseen(model, name) for name in DATASETS[kind]}, options.images)
        with replacing(options.out) as partial:
            partial.write_text(json.dumps(results, indent=2) + "\n")
    print(table(results))
    return 0


def unseen(model: Model, name: str) -> pd.DataFrame:
    """A data set in the common form with two more columns: `part`, validation or test, and `member`, the file of the
    network to use, "" for the whole model. Only images that this network was not trained on are in it.

    A data set of which only one part is left is halved by its groups.
    """
    rows = read(name)
    asked: dict[str, str] = {}
    if model_trained_on(model, name):
        config = load_config(CONFIGS / f"{_base(model)}.yaml", ())
        known = read(config.dataset)
        if "members" in model.card:
            for member in model.card["members"]:
                divided = with_validation(known, config.folds, member["fold"], config.seed)
                asked |= dict.fromkeys(divided.loc[divided["split"] == "validation", "image"], member["file"])
        elif config.fold is not None:
            divided = with_validation(known, config.folds, config.fold, config.seed)
            asked = dict.fromkeys(divided.loc[divided["split"] == "validation", "image"], "")
    else:
        asked = dict.fromkeys(rows.loc[rows["split"] == "train", "image"], "")
    rows = rows[(rows["split"] == "test") | rows["image"].isin(asked)]
    rows = rows.assign(
        part=np.where(rows["split"] == "test", "test", "validation"),
        member=[asked.get(image, "") for image in rows["image"]],
    )
    if rows["part"].nunique() < 2:
        rows["part"] = held_out.half(rows["group"])
    return rows.reset_index(drop=True)


def model_trained_on(model: Model, name: str) -> bool:
    """Whether the card names a data set."""
    return TRAINABLE[name].name.split(",")[0] in model.card["training"]["dataset"]


def measure(model: Model, images: dict[str, pd.DataFrame], most: int = 0) -> dict[str, Any]:
    """The figures of one kind of image, from the `unseen` images of each data set, at most `most` of each part."""
    parts = {
        name: {part: _sampled(rows[rows["part"] == part], most) for part in ("validation", "test")}
        for name, rows in images.items()
        if not rows.empty
    }
    if not parts:
        raise DataError(f"The model '{model.id}' was trained on every image, so none is left to measure with.")
    seen = {name: _outcomes(model, one["validation"], MARGINS) for name, one in parts.items()}
    gains = {
        setting: float(np.mean([outcomes.difference(*setting).value for outcomes in seen.values()]))
        for setting in itertools.product(MARGINS, LARGEST)
    }
    margin, largest = max(gains, key=lambda setting: gains[setting])
    return {
        "model": model.id,
        "version": model.card["version"],
        "margin": margin,
        "largest": largest,
        "used": all(outcomes.difference(margin, largest).low >= -COST for outcomes in seen.values()),
        "gain_on_validation": round(gains[margin, largest], 4),
        "sets": {
            name: {
                "name": TRAINABLE[name].name,
                "validation": seen[name].figures(margin, largest),
                "test": _outcomes(model, one["test"], (margin,)).figures(margin, largest),
            }
            for name, one in parts.items()
        },
        "two_lesions": count_both_found([path for part in parts.values() for path in part["test"]["path"]]),
    }


@dataclasses.dataclass(frozen=True, eq=False)
class Outcomes:
    """A model's results for images, from their centre and from the square with each margin: truth int [n], groups [n],
    `centre` and each of `squares` float [n, classes]; how many lesions were detected in each image, `counts`, int [n],
    and the size of the largest one's box as a share of the shorter side, float [n], NaN for none."""

    truth: np.ndarray
    groups: np.ndarray
    centre: np.ndarray
    squares: dict[float, np.ndarray]
    counts: np.ndarray
    shares: np.ndarray

    def with_squares(self, margin: float, largest: float) -> np.ndarray:
        """The probabilities if lesions of at most this share get a square: [n, classes]."""
        return np.where((self.shares <= largest)[:, np.newaxis], self.squares[margin], self.centre)

    def difference(self, margin: float, largest: float) -> Interval:
        """The balanced accuracy with the square minus that with the centre."""
        after = self.with_squares(margin, largest)
        return bootstrap.paired_differences(SCORE, self.truth, after, self.centre, self.groups)[""]

    def figures(self, margin: float, largest: float) -> dict[str, Any]:
        before, after = (
            bootstrap.intervals(SCORE, self.truth, one, self.groups)[""]
            for one in (self.centre, self.with_squares(margin, largest))
        )
        return {
            "images": len(self.truth),
            "groups": bootstrap.count(self.groups),
            "centre": _rounded(before),
            "square": _rounded(after),
            "difference": _rounded(self.difference(margin, largest)),
            "moved": round(float((self.shares <= largest).mean()), 4),
            "not_found": round(float((self.counts == 0).mean()), 4),
            "several_found": round(float((self.counts > 1).mean()), 4),
        }


def count_both_found(files: Sequence[Path]) -> dict[str, int]:
    """For pairs of test images placed side by side: in how many pairs exactly one lesion is found in each half."""
    chosen = np.random.default_rng(0).permutation(len(files))[: 2 * PAIRS]
    both = 0
    pairs = list(zip(chosen[::2], chosen[1::2], strict=False))
    for one, other in pairs:
        boxes = square.lesions(_side_by_side(files[one], files[other]))
        both += len(boxes) == 2 and sorted(box.centre[0] > 256 for box in boxes) == [False, True]
    return {"pairs": len(pairs), "both_found": both}


def table(results: dict[str, Any]) -> str:
    """The figures as a Markdown table."""
    rows = []
    for measured in results.values():
        for one in measured["sets"].values():
            for part in ("validation", "test"):
                cells = [_interval(one[part][name]).text() for name in ("centre", "square")]
                difference = _interval(one[part]["difference"]).text("+.3f")
                shares = [f"{one[part][name]:.1%}" for name in ("moved", "several_found")]
                name = f"{measured['model']} {measured['version']}"
                rows.append([name, one["name"], part, f"{one[part]['images']:,}", *cells, difference, *shares])
    header = ["model", "data set", "part", "images", "centre", "square", "difference", "moved", "two lesions found"]
    return model_card.table(header, rows)


def _outcomes(model: Model, rows: pd.DataFrame, margins: Sequence[float]) -> Outcomes:
    classifiers = {
        member: Classifier(held_out.one_member(model, member), threads=1) for member in rows["member"].unique()
    }
    counts: list[int] = []
    shares: list[float] = []
    centre: list[np.ndarray] = []
    squares: dict[float, list[np.ndarray]] = {margin: [] for margin in margins}
    for record in tqdm(rows.to_dict("records"), unit="image", disable=None):
        data = imaging.read(record["path"])
        image = imaging.decode(data)
        boxes = square.lesions(image)
        counts.append(len(boxes))
        shares.append(boxes[0].side / min(image.size) if boxes else np.nan)
        classifier = classifiers[record["member"]]
        known: dict[Crop, np.ndarray] = {}
        for margin in (None, *margins):
            crop = square.around(boxes[0], image.size, margin) if margin and boxes else CENTRE
            if crop not in known:
                known[crop] = classifier.predict(
                    imaging.crop_resize(imaging.decode(data, crop), model.input_size, crop)
                ).probabilities
            (squares[margin] if margin else centre).append(known[crop])
    return Outcomes(
        encode(rows["label"], model.labels),
        rows["group"].to_numpy(),
        np.stack(centre),
        {margin: np.stack(one) for margin, one in squares.items()},
        np.array(counts),
        np.array(shares),
    )


def _base(model: Model) -> str:
    return model.card["fusion"]["base"] if "fusion" in model.card else model.id


def _sampled(rows: pd.DataFrame, most: int) -> pd.DataFrame:
    return rows.sample(most, random_state=0) if most and len(rows) > most else rows


def _side_by_side(one: Path, other: Path) -> Image.Image:
    whole = Image.new("RGB", (512, 256))
    for place, file in enumerate((one, other)):
        whole.paste(Image.fromarray(imaging.load(file, 256)), (256 * place, 0))
    return whole


def _rounded(interval: Interval) -> dict[str, float | None]:
    """An interval as JSON, which has no NaN."""
    limits = dataclasses.asdict(interval).items()
    return {name: None if np.isnan(value) else round(value, 4) for name, value in limits}


def _interval(rounded: dict[str, float | None]) -> Interval:
    return Interval(**{name: np.nan if value is None else value for name, value in rounded.items()})
