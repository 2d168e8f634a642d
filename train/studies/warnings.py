"""python -m train warnings: how often answers with and without each warning are wrong.

The default model for a kind of image classifies held-out images, and degraded copies of them: blurred, darkened,
overexposed, with a reflection, downscaled. Validation lesions decide whether a warning predicts errors, and set the
distance limit; the figures are from test lesions. For phone photos, the lesions are those of MILK10k's close-ups.
"""

import argparse
import json
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from skinapp.attention.sanity_check import Outcome
from skinapp.datasets import registry as data_sets
from skinapp.errors import SegmentationError
from skinapp.evaluation import bootstrap
from skinapp.files import replacing
from skinapp.images import imaging, quality
from skinapp.inference import modality, registry, runtime, warnings
from skinapp.inference.analysis import SQUARE_SIDE
from skinapp.inference.registry import Model
from skinapp.lesion import segmentation
from train.data import datasets
from train.options import add_figures
from train.studies import held_out, sanity_check
from train.studies.quality import DEGRADATIONS

SIDE = 240
"""Side of each square, in pixels, before degradation."""
AS_TAKEN = "as taken"
DEGRADED_COPIES = {
    AS_TAKEN: lambda image: image,
    "blurred": DEGRADATIONS["blurred, 3 px"][1],
    "dark": DEGRADATIONS["a quarter of the light"][1],
    "overexposed": DEGRADATIONS["2.2 times the light"][1],
    "reflection": DEGRADATIONS["a reflection"][1],
    "downscaled": lambda image: image.resize((64, 64), Image.Resampling.BICUBIC),
}
OWN_KIND, OTHER_KIND = "own kind", "other kind"
"""The conditions of the two images of a lesion of MILK10k: of the kind that the model was trained on, and the other."""
EVERY = (*DEGRADED_COPIES,)
POOLS: dict[str, tuple[str, ...]] = {
    "sharpness": (AS_TAKEN, "blurred"),
    "dark": (AS_TAKEN, "dark"),
    "bright": (AS_TAKEN, "overexposed"),
    "glare": (AS_TAKEN, "reflection"),
    "small": (AS_TAKEN, "downscaled"),
    "kind": (OWN_KIND, OTHER_KIND),
    "unknown": EVERY,
    "distance": EVERY,
    "disagreement": EVERY,
    "distance, as taken": (AS_TAKEN,),
    "disagreement, as taken": (AS_TAKEN,),
    "map": (AS_TAKEN,),
    "weak map": (AS_TAKEN,),
}
"""The conditions over which answers with and without each warning are compared."""
TITLES = {
    "sharpness": "blurred",
    "dark": "dark",
    "bright": "very bright",
    "glare": "reflection",
    "small": "small",
    "kind": "the other kind of image",
    "unknown": "not recognised as skin",
    "distance": "far from the training images",
    "disagreement": "disagreement",
    "distance, as taken": "far from the training images, only images as taken",
    "disagreement, as taken": "disagreement, only images as taken",
    "map": "map: do not use",
    "weak map": "map: weak or do not use",
}
DISTANCE_QUANTILE = 0.95
"""The share of original validation images within the distance limit."""

INTRODUCTION = f"""# Which warnings predict wrong answers

`python -m train warnings` writes this page and `skinapp/inference/warnings.json`, which the app reads. The
default model classifies held-out lesions, one image each, with classes balanced as far as possible: as taken, and
degraded (blurred by 3 of {SIDE} px, a quarter of the light, 2.2 times the light, a reflection, downscaled to 64 px). A
quality warning is evaluated on the images as taken and the copies with that defect; the kind of image, on both images
of MILK10k's lesions; the map, on images as taken; the others, on all copies. An answer counts as wrong if its most
likely class is not the diagnosis. Intervals are 95%, over lesions.

A warning predicts errors if the interval of the difference on validation lesions is above 0. If it does not, distance
and disagreement are not shown for that kind of image, and a quality warning becomes a hint below the answer, which is
then no longer withheld. The sanity check, the kind of image and "not recognised as skin" are always shown: they
say how far the map can be used, which model answered, and that it was not trained on such images. With answers for
fewer than {bootstrap.MIN_GROUPS} lesions with or without a warning, nothing is decided, and the warning is kept. The
figures are from test lesions, which were not used for these decisions. The networks of a committee were trained on
each other's validation lesions, so half of HAM10000's test lesions are used for these decisions instead. Phone photos
are MILK10k's close-ups here, and their test lesions are divided in the same way."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--images",
        type=int,
        default=100,
        metavar="N",
        help="test lesions, and as many again to decide (default: %(default)s)",
    )
    parser.add_argument(
        "--kinds",
        nargs="+",
        choices=list(modality.NAMES),
        default=list(modality.NAMES),
        metavar="KIND",
        help="measure the best models for these kinds of image; the figures of others stay (default: all)",
    )
    add_figures(parser, warnings.CARD_FILE, "docs/warnings.md")


def run(options: argparse.Namespace) -> int:
    models = registry.ranked()
    card = json.loads(options.out.read_text()) if options.out.exists() else {}
    for kind in options.kinds:
        model = next((one for one in models if one.modality == kind), None)
        if model is None:
            continue
        rows = measure(model, options.images)
        card[kind] = {"model": model.id, "version": model.card["version"], **summary(rows)}
    with replacing(options.out) as partial:
        partial.write_text(json.dumps(card, indent=2) + "\n")
    warnings.card.cache_clear()
    with replacing(options.table) as partial:
        partial.write_text(markdown(card))
    print(markdown(card))
    return 0


def measure(model: Model, images: int) -> pd.DataFrame:
    """One row per image and condition: whether the answer is wrong, and which warnings it has."""
    rows = []
    taken = balanced(held_out.unseen(model).drop_duplicates("group"), images)
    for record in tqdm(taken.to_dict("records"), desc=model.id, unit="image", mininterval=5):
        square = Image.fromarray(imaging.load(record["path"], SIDE))
        for condition, degrade in DEGRADED_COPIES.items():
            known = {name: record[name] for name in ("group", "split")} | {"condition": condition}
            rows.append(known | measured(model, degrade(square), record["label"], with_map=condition == AS_TAKEN))
    for record in tqdm(both_kinds(model, images).to_dict("records"), desc="kinds", unit="image", mininterval=5):
        square = Image.fromarray(imaging.load(record["path"], SIDE))
        known = {name: record[name] for name in ("group", "split", "condition")}
        rows.append(known | measured(model, square, record["label"], with_map=False, alone=True))
    return pd.DataFrame(rows)


def balanced(table: pd.DataFrame, images: int) -> pd.DataFrame:
    """About `images` validation and as many test lesions, the same number of each class as far as there are as many.

    So the error rate is not dominated by the most common class, which is also the usual prediction for an uninformative
    image.
    """
    parts = []
    for split in ("validation", "test"):
        part = table[table["split"] == split].sample(frac=1, random_state=0)
        parts.append(part.groupby("label").head(max(images // part["label"].nunique(), 1)))
    return pd.concat(parts)


def both_kinds(model: Model, images: int) -> pd.DataFrame:
    """Both images of lesions of MILK10k with a class of the model: path, group, label, condition, split.

    The lesions are test lesions, since networks of both kinds are trained on the others; half of them are "validation".
    """
    root = datasets.data_root() / "milk10k"
    kinds = {"dermoscopy": ("dermoscopy", datasets.milk10k), "smartphone": ("clinical", datasets.milk10k_clinical)}
    own, read = kinds[model.modality]
    labels = read(root).drop_duplicates("group").set_index("group")["label"]
    table = data_sets.DATASETS["milk10k"].parse(root)
    table = table[table["lesion"].isin(labels.index)].drop_duplicates(["lesion", "modality"])
    table = table[table.groupby("lesion")["modality"].transform("nunique") == 2]
    table = table[table["split"] == "test"].assign(split=lambda rows: held_out.half(rows["lesion"]))
    table = table.assign(label=table["lesion"].map(labels))
    table = table[table["lesion"].isin(balanced(table.drop_duplicates("lesion"), images)["lesion"])]
    parts = []
    for modality_name, part in table.groupby("modality"):
        folder = root / str(modality_name)
        files = datasets.image_files(folder, part["image"].str.removeprefix(f"{modality_name}/"))
        parts.append(
            pd.DataFrame(
                {
                    "path": files,
                    "group": part["lesion"].to_numpy(),
                    "split": part["split"].to_numpy(),
                    "label": part["label"].to_numpy(),
                    "condition": OWN_KIND if modality_name == own else OTHER_KIND,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def measured(model: Model, image: Image.Image, label: str, *, with_map: bool, alone: bool = False) -> dict[str, Any]:
    """Whether the answer to an image is wrong, and its warnings. With `alone`, only the warning about the kind of image
    is computed."""
    classifier = runtime.classifier(model)
    pixels = imaging.crop_resize(image, model.input_size)
    prediction = classifier.predict(pixels)
    recognised = modality.recognise(image)
    found = quality.problems(quality.measure(image))
    row: dict[str, Any] = {name: name in found for name in quality.SENTENCES}
    row |= {
        "wrong": prediction.predicted != label,
        "unknown": recognised.kind == "neither",
        "kind": recognised.kind not in ("neither", model.modality),
        "far": recognised.distance,
        "disagreement": np.nan if alone else warnings.is_open(prediction, model, image),
    }
    if with_map and prediction.class_maps is not None:
        try:
            mask = segmentation.segment(imaging.crop_resize(image, SQUARE_SIDE)).mask
        except SegmentationError:
            mask = None
        outcome = sanity_check.evidence(classifier, pixels, mask)[0].outcome
        row |= {"map": outcome == Outcome.DO_NOT_USE, "weak map": outcome != Outcome.SUPPORTED}
    return row


def summary(rows: pd.DataFrame) -> dict[str, Any]:
    """The distance limit; and for each warning, whether it predicts errors on validation lesions, and the error rates
    on both parts."""
    known = rows[(rows["split"] == "validation") & (rows["condition"] == AS_TAKEN)]
    limit = float(known["far"].quantile(DISTANCE_QUANTILE))
    rows = rows.assign(distance=rows["far"] > limit)
    result: dict[str, Any] = {}
    for name, pool in POOLS.items():
        column = name.removesuffix(", as taken")
        if column not in rows:
            continue
        parts = {
            split: error_rates(rows[rows["condition"].isin(pool) & (rows["split"] == split)], column)
            for split in ("validation", "test")
        }
        result[name] = {"predicts_errors": decide(parts["validation"]), **parts}
    return {"distance_limit": limit, "warnings": result}


def decide(rates: dict[str, Any]) -> bool:
    """Whether answers with the warning are wrong more often, by an interval that excludes 0; with too few answers
    nothing is decided, and the warning is kept."""
    low = rates["difference"] and rates["difference"]["low"]
    return low is None or low > 0


def error_rates(rows: pd.DataFrame, name: str) -> dict[str, Any]:
    """The error rates of the answers with and without a warning, and their difference, with 95% intervals over
    lesions; None if there is no answer."""
    flagged, wrong = rows[name].to_numpy(dtype=bool), rows["wrong"].to_numpy(dtype=float)
    groups = rows["group"].to_numpy()
    result: dict[str, Any] = {"images_with": int(flagged.sum()), "images_without": int((~flagged).sum())}
    if rows.empty:
        return result | {"with": None, "without": None, "difference": None}
    weights = bootstrap.weights(groups)
    draws = {}
    for key, chosen in (("with", flagged), ("without", ~flagged)):
        if not chosen.any():
            result[key] = None
            continue
        counted = np.concatenate([np.ones((1, len(rows))), weights])[:, chosen]
        with np.errstate(invalid="ignore"):
            draws[key] = counted @ wrong[chosen] / counted.sum(axis=1)
        result[key] = rounded(bootstrap.interval(draws[key], bootstrap.count(groups, chosen), proportion=True))
    if len(draws) == 2:
        fewest = min(bootstrap.count(groups, flagged), bootstrap.count(groups, ~flagged))
        result["difference"] = rounded(bootstrap.interval(draws["with"] - draws["without"], fewest))
    else:
        result["difference"] = None
    return result


def rounded(interval: bootstrap.Interval) -> dict[str, float | None]:
    return {key: None if np.isnan(value) else round(float(value), 4) for key, value in vars(interval).items()}


def markdown(card: dict[str, Any]) -> str:
    """docs/warnings.md."""
    lines = INTRODUCTION.splitlines()
    for kind, entry in card.items():
        lines += [
            "",
            f"## {modality.NAMES[kind]}: `{entry['model']}` {entry['version']}",
            "",
            "| warning | answers with it | wrong | answers without it | wrong | difference | predicts errors "
            "(validation) |",
            "|---|---|---|---|---|---|---|",
        ]
        for name, known in entry["warnings"].items():
            rates = known["test"]
            deciding = known["validation"]["difference"]
            few = deciding is None or deciding["low"] is None
            cells = [
                TITLES[name],
                str(rates["images_with"]),
                in_words(rates["with"]),
                str(rates["images_without"]),
                in_words(rates["without"]),
                in_words(rates["difference"], signed=True),
                "too few to tell" if few else "yes" if known["predicts_errors"] else "no",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def in_words(rate: dict[str, float | None] | None, signed: bool = False) -> str:
    """An error rate in percent, or a difference in points, with its interval: "34% (25% to 43%)"."""
    if rate is None or rate["value"] is None:
        return ""
    form = "+.0%" if signed else ".0%"
    if rate["low"] is None or rate["high"] is None:
        return f"{rate['value']:{form}}"
    return f"{rate['value']:{form}} ({rate['low']:{form}} to {rate['high']:{form}})"
