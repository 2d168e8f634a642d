"""python -m train attribution: how far a model's answers depend on a lesion's border, its colour and its texture.

`skinapp.attention.attribution` explains how each is removed, and the purpose of the same change to the skin next to the
lesion. Every image's probabilities are saved at once, so the same command resumes where it stopped.
"""

import argparse
import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from skinapp.attention import attribution
from skinapp.attention.attribution import FEATURES
from skinapp.errors import DataError, ModelError
from skinapp.evaluation import bootstrap
from skinapp.files import replacing
from skinapp.images import imaging
from skinapp.inference import registry
from skinapp.inference.registry import Model
from skinapp.inference.runtime import Classifier
from train.options import add_figures, add_runs
from train.studies import held_out

COLUMNS = (
    "image",
    "group",
    "class",
    "whole",
    *(f"{feature}_{value}" for feature in FEATURES for value in ("lesion", "skin", "lesion_changes", "skin_changes")),
)
"""The columns for one image; all but the first two are empty if the lesion leaves too little skin."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", default="ham10000-efficientnetb1", metavar="ID", help="the model (default: %(default)s)"
    )
    parser.add_argument(
        "--images",
        type=int,
        default=300,
        metavar="N",
        help="test images with enough skin beside the lesion, sampled with a seed (default: %(default)s)",
    )
    add_runs(parser)
    add_figures(parser, attribution.CARD_FILE, "docs/attribution.md")


def run(options: argparse.Namespace) -> int:
    model = registry.model(options.model)
    if not model.runnable:
        raise ModelError(f"The model '{model.id}' is shipped without its network, so it cannot be run.")
    if options.images < 1:
        raise DataError("--images must be at least 1.")
    stamp = "-".join(network[:12] for network in model.hashes)
    file = options.runs / "attribution" / f"{model.id}-{stamp}.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = measure(model, options.images, file)
    card = {"models": current(json.loads(options.out.read_text())["models"]) if options.out.exists() else {}}
    card["models"][model.id] = summary(model, rows)
    with replacing(options.out) as partial:
        partial.write_text(json.dumps(card, indent=2) + "\n")
    attribution.card.cache_clear()
    with replacing(options.table) as partial:
        partial.write_text(markdown(card))
    print(markdown(card))
    return 0


def current(entries: dict[str, Any]) -> dict[str, Any]:
    """The figures of models that still have the networks that were measured, by model id."""
    known = registry.models()
    return {name: entry for name, entry in entries.items() if name in known and entry["networks"] == known[name].hashes}


def measure(model: Model, images: int, file: Path) -> pd.DataFrame:
    """The rows of `images` sampled images with enough skin, and of those without that were encountered while sampling.
    Missing rows are appended to `file`."""
    # the file is empty if it was only created
    begun = file.exists() and file.stat().st_size > 0
    saved = pd.read_csv(file) if begun else pd.DataFrame(columns=COLUMNS)
    enough = dict(zip(saved["image"], saved["whole"].notna(), strict=True))
    # on a single thread, since several would slow each other down on a busy machine
    classifier = Classifier(model, threads=1)
    sampled: list[str] = []
    with file.open("a", newline="") as stream, tqdm(total=images, unit="image", mininterval=5) as bar:
        rows = csv.DictWriter(stream, COLUMNS)
        if not begun:
            rows.writeheader()
        for record in held_out.choose(model.modality).to_dict("records"):
            image = record["image"]
            if image not in enough:
                row = of_image(classifier, record)
                rows.writerow(row)
                stream.flush()
                enough[image] = "whole" in row
            sampled.append(image)
            bar.update(enough[image])
            if bar.n == images:
                break
    table = pd.read_csv(file)
    return table[table["image"].isin(sampled)]


def of_image(classifier: Classifier, record: dict[Any, Any]) -> dict[str, object]:
    """The row of one image: the probability of the most likely class, unchanged and after each change."""
    row: dict[str, object] = {"image": record["image"], "group": record["group"]}
    pixels = imaging.load(record["path"], classifier.model.input_size)
    mask = held_out.lesion_mask(record, pixels.shape[0])
    if mask is None or mask.all() or not mask.any() or attribution.shift_to_skin(pixels, mask) is None:
        return row
    prediction = classifier.predict(pixels)
    index = int(prediction.probabilities.argmax())
    found = attribution.measure(
        lambda square: classifier.predict(square).probabilities, attribution.changes(pixels, mask), pixels, index
    )
    row |= {"class": prediction.predicted, "whole": round(found.unchanged, 5)}
    for feature, effect in found.effects.items():
        assert effect.skin is not None
        row |= {
            f"{feature}_lesion": round(effect.lesion, 5),
            f"{feature}_skin": round(effect.skin, 5),
            f"{feature}_lesion_changes": int(effect.lesion_changes_class),
            f"{feature}_skin_changes": int(effect.skin_changes_class),
        }
    return row


def summary(model: Model, rows: pd.DataFrame) -> dict[str, Any]:
    """The figures of a model: for all answers, and for each class with enough lesions for an interval."""
    known = rows.dropna(subset="whole")
    if known.empty:
        raise DataError("No image has enough skin beside the lesion; measure more images.")
    by_class = {
        code: of_rows(part)
        for code in model.labels.codes
        if (part := known[known["class"] == code])["group"].nunique() >= bootstrap.MIN_GROUPS
    }
    return {
        "networks": model.hashes,
        "title": model.title,
        "images_of": held_out.IMAGES[model.modality],
        "outlines": held_out.MASK_SOURCES[model.modality],
        "too_little_skin": len(rows) - len(known),
        "all": of_rows(known),
        "classes": {code: {"name": model.labels[code].name, **figures} for code, figures in by_class.items()},
    }


def of_rows(rows: pd.DataFrame) -> dict[str, Any]:
    """For each feature, with 95% intervals over lesions: how much the probability falls without it, `lesion`, with the
    same change to the skin, `skin`, and the `difference`; and how often either changes the most likely class."""
    groups = rows["group"].to_numpy()
    weights = bootstrap.weights(groups)
    everything = np.ones(len(rows), bool)

    def mean(values: pd.Series, proportion: bool = False) -> dict[str, float | None]:
        found = bootstrap.mean(values.to_numpy(float), everything, groups, weights, proportion)
        return {key: None if np.isnan(value) else round(value, 4) for key, value in vars(found).items()}

    return {
        "images": len(rows),
        "lesions": bootstrap.count(groups),
        "whole": mean(rows["whole"]),
        "features": {
            feature: {
                "lesion": mean(rows["whole"] - rows[f"{feature}_lesion"]),
                "skin": mean(rows["whole"] - rows[f"{feature}_skin"]),
                "difference": mean(rows[f"{feature}_skin"] - rows[f"{feature}_lesion"]),
                "lesion_changes": mean(rows[f"{feature}_lesion_changes"], proportion=True),
                "skin_changes": mean(rows[f"{feature}_skin_changes"], proportion=True),
            }
            for feature in FEATURES
        },
    }


INTRODUCTION = f"""# How answers depend on border, colour and texture

`python -m train attribution --model ID` writes this page and `skinapp/attention/attribution.json`, which the app reads.

Each feature is removed from test images, and the model classifies the result:

- **border**: the ring along the outline, {attribution.BORDER:.0%} of the lesion's diameter to either side, is blurred
  with a Gaussian whose standard deviation is that same width;
- **colour**: the colours inside the outline are reduced to their mean; detail finer than {attribution.DETAIL:.0%} of
  the square's side is kept;
- **texture**: that detail is blurred away inside the outline, and the colours are kept.

A changed picture looks unlike any that the model was trained on, and that alone affects an answer. So the same change
is made to an area of skin of the same size and shape, next to the lesion. The **difference** between the two is the
effect of the lesion's own border, colour or texture. Numbers are means of the drop in the probability of the most
likely class of the unchanged image, in percentage points; below 0, the probability rises. Intervals are 95%, from
{bootstrap.RESAMPLES:,} bootstrap resamples of lesions or patients. Images are left out if the lesion leaves too little
skin for the comparison, so these results apply to lesions that cover less than about 40% of the square. Next to a large
lesion, the ring around the area of skin overlaps with that of the lesion, so that the difference for the border is
underestimated rather than overestimated.
"""


def markdown(card: dict[str, Any]) -> str:
    """docs/attribution.md: how each feature is removed, and a table for each model."""
    lines = INTRODUCTION.splitlines()
    for model_id, entry in card["models"].items():
        whole = entry["all"]
        lines += [
            "",
            f"## `{model_id}`",
            "",
            f"{whole['images']:,} test images of {whole['lesions']:,} lesions of {entry['images_of']}, with "
            f"{entry['outlines']}; {entry['too_little_skin']:,} others were left out. The mean probability of the most "
            f"likely class is {points(whole['whole'])}%.",
            "",
            "| answers | feature | removed from the lesion | same change to the skin | difference | "
            "most likely class changes, lesion | skin |",
            "|---|---|---|---|---|---|---|",
        ]
        for name, figures in [("all", whole), *((one["name"], one) for one in entry["classes"].values())]:
            for feature, one in figures["features"].items():
                cells = [
                    f"{name} ({figures['images']:,})",
                    FEATURES[feature].lower(),
                    *(points(one[key]) for key in ("lesion", "skin", "difference")),
                    *(f"{points(one[key])}%" for key in ("lesion_changes", "skin_changes")),
                ]
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def points(figure: dict[str, Any]) -> str:
    """A share in percentage points: "12.3 (10.1 to 14.5)"."""
    interval = "" if figure["low"] is None else f" ({100 * figure['low']:.1f} to {100 * figure['high']:.1f})"
    return f"{100 * figure['value']:.1f}{interval}"
