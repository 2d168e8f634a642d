"""python -m train artefacts: whether removing hairs, rulers, stickers, dark corners and ink improves predictions.

Images that the network was not trained on are classified with and without removal: images with an artefact drawn on
them, and images in which a real one is detected. Validation images decide which removals are on by default; test images
show the effect. Predictions are compared image by image, with intervals over lesions.
"""

import argparse
import json
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw
from tqdm import tqdm

from skinapp.evaluation import bootstrap, metrics
from skinapp.evaluation.bootstrap import Interval, Score
from skinapp.files import replacing
from skinapp.formatting import joined
from skinapp.images import artefacts, imaging, removal
from skinapp.images.removal import HAIR, KINDS
from skinapp.inference import registry
from skinapp.inference.registry import Model
from skinapp.inference.runtime import Classifier
from train.data.datasets import TRAINABLE, encode
from train.options import add_figures
from train.studies.drawn_artefacts import DRAWINGS
from train.studies.square import unseen

PARTS = ("validation", "test")
DRAWN_ON = "ham10000"
SEARCHED = ("ham10000", "milk10k", "isic_more")
"""The data sets in whose images artefacts are searched for."""
HAIRY = 0.03
"""Hairs count if they cover at least this share of an image: nearly every image has some."""
CHECKS_FILE = Path(__file__).with_name("artefact_checks.csv")
"""Visually checked detections in test images: kind, dataset, image, right (1 or 0), date."""
LOOKED_AT = 48
"""Detections of a kind on a contact sheet."""
TILE = 112
"""Pixels of the side of each picture on a contact sheet."""


def _probability(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The mean probability of the right class."""
    return (weights @ probabilities[np.arange(len(labels)), labels]) / weights.sum(axis=1)


SCORES: dict[str, Score] = {
    "accuracy": metrics.accuracy,
    "balanced_accuracy": metrics.balanced_accuracy,
    "probability": _probability,
}

INTRODUCTION = """# Hairs, rulers, stickers, dark corners and ink

`skinapp/images/artefacts.py` detects whatever covers or surrounds a lesion and is not skin, each kind separately, and
fills it in from the surrounding skin, nearer pixels first:

- **hairs**, after DullRazor (`skinapp/images/hair.py`): dark, thin, straight structures, found by a black-hat transform
  along lines;
- **rulers**: a straight, dark, thin line with evenly spaced ticks along it, or a row of parallel, evenly spaced ticks;
  including nearby numbers and the paper of the ruler. Rulers whose ticks touch the edge of the square are missed;
- **stickers**: solid areas at an edge, greener, bluer or more vivid than the skin of the image;
- **dark corners**: dark areas connected to a corner and bounded by a circle around the middle of the image, and black
  bars along an edge. A soft vignette is not changed;
- **ink**: the blue and violet of a surgical marker, outside the middle of the image. Black and red ink are missed, and
  a blue or violet lesion at the edge of the square can be taken for ink.

All but hairs are detected in a copy of 224 pixels. If more than 75% of the square would be filled in, as for a picture
of a ruler, nothing is removed, and the app says so. The limits were set by looking at training images."""

CONSEQUENCES = """\
Removals that are on by default are applied in the app: on the Classify and Attention pages and in files saved there.
The tab “Artefacts” of the Classify page turns others on, or all off. The command line does not change images, so that
`classify` and `score` agree with each other and with the published scores, unless `classify --remove KIND,...` is
given. Pairs of images are not changed either. A network can be trained without artefacts (`remove: [hair, ruler]` in a
configuration; none of the published ones was). Its card then says so, and the artefacts are removed from every image
that it gets; `runtime.removed_from` decides this for all of them."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", default="ham10000-efficientnetb1", metavar="ID", help="the model (default: %(default)s)"
    )
    parser.add_argument(
        "--images",
        type=int,
        default=150,
        metavar="N",
        help="images of each condition in validation and test (default: %(default)s)",
    )
    parser.add_argument(
        "--searched",
        type=int,
        default=700,
        metavar="N",
        help="images of each data set and part to search for real artefacts (default: %(default)s)",
    )
    parser.add_argument(
        "--sheets", type=Path, metavar="DIR", help="also write contact sheets of the detections in test images to DIR"
    )
    add_figures(parser, removal.FIGURES_FILE, "docs/artefacts.md")


def run(options: argparse.Namespace) -> int:
    model = registry.model(options.model)
    images = {name: unseen(model, name) for name in SEARCHED}
    # copies of images in another data set may have been trained on
    images = {name: rows[rows["copy_of"].fillna("") == ""] for name, rows in images.items()}
    figures = {model.modality: measure(model, images, options.images, options.searched, options.sheets)}
    with replacing(options.out) as partial:
        partial.write_text(json.dumps(figures, indent=2) + "\n")
    removal.figures.cache_clear()
    text = markdown(figures[model.modality])
    with replacing(options.table) as partial:
        partial.write_text(text)
    print(text)
    return 0


def measure(
    model: Model, images: dict[str, pd.DataFrame], most: int, searched: int, sheets: Path | None = None
) -> dict[str, Any]:
    """The figures for one model from the `unseen` images of each data set: for each kind of artefact, whether its
    removal is on, and its effect on drawn and on real ones in each part. At most `most` images of each condition, and
    `searched` of each data set and part, are used."""
    network = Classifier(model, threads=1)
    drawn: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
    real: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
    for part in PARTS:
        chosen = _sampled(images[DRAWN_ON], part, most)
        for kind, figures in on_drawn(network, chosen).items():
            drawn[kind][part] = figures
        rows = pd.concat([_sampled(known, part, searched) for known in images.values()], ignore_index=True)
        detections = detect(network.model, rows)
        for kind in KINDS:
            marked = rows[detections[kind]]
            if sheets and part == "test":
                contact_sheet(network.model, marked.iloc[:LOOKED_AT], kind, sheets)
            real[kind][part] = on_real(network, marked.iloc[:most], kind) | {
                "searched": len(rows),
                "detected": len(marked),
                "by_dataset": {name: int((marked["dataset"] == name).sum()) for name in marked["dataset"].unique()},
            }
    return {
        "model": model.id,
        "version": model.card["version"],
        "kinds": {
            kind: {"on": helps(drawn[kind]["validation"], real[kind]["validation"])}
            | {"drawn": drawn[kind], "real": real[kind], "checked": checked(kind)}
            for kind in KINDS
        },
    }


def helps(drawn: dict[str, Any], real: dict[str, Any]) -> bool:
    """Whether removal is on by default, from the figures of validation images: the mean probability of the right class
    rises, with an interval above 0, on drawn and on real artefacts, and the accuracy on real ones does not fall."""
    if not real["images"]:
        return False
    rises = [figures["probability"]["difference"]["low"] for figures in (drawn["removed"], real)]
    return all(low is not None and low > 0 for low in rises) and real["accuracy"]["difference"]["value"] >= 0


def on_drawn(network: Classifier, rows: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """By kind, the figures of images with that artefact drawn on them: `drawn` compared with the original images,
    `removed` compared with drawn, `unneeded`, removal from the originals compared with the originals, and the share of
    images in which the drawn artefact was `detected`."""
    labels, groups = encode(rows["label"], network.model.labels), rows["group"].to_numpy()
    plain: list[np.ndarray] = []
    after: dict[str, list[list[np.ndarray]]] = {kind: [] for kind in KINDS}
    detected = dict.fromkeys(KINDS, 0)
    for row, pixels in enumerate(tqdm(_squares(network.model, rows), total=len(rows), unit="image", desc="drawn")):
        as_it_is = network.predict_input(pixels).probabilities
        plain.append(as_it_is)
        for kind, draw in DRAWINGS.items():
            with_artefact = np.asarray(draw(Image.fromarray(pixels), np.random.default_rng(row)))
            removed, unneeded = artefacts.remove(with_artefact, [kind]), artefacts.remove(pixels, [kind])
            before = network.predict_input(with_artefact).probabilities
            detected[kind] += bool(removed.shares[kind] > unneeded.shares[kind])
            after[kind].append(
                [
                    before,
                    before if removed.pixels is with_artefact else network.predict_input(removed.pixels).probabilities,
                    as_it_is if unneeded.pixels is pixels else network.predict_input(unneeded.pixels).probabilities,
                ]
            )
    first = np.array(plain)
    result = {}
    for kind, probabilities in after.items():
        with_artefact, removed, unneeded = np.moveaxis(np.array(probabilities), 1, 0)
        result[kind] = {
            "detected": round(detected[kind] / len(rows), 3),
            "drawn": compare(labels, groups, first, with_artefact),
            "removed": compare(labels, groups, with_artefact, removed),
            "unneeded": compare(labels, groups, first, unneeded),
        }
    return result


def detect(model: Model, rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """By kind, whether it is detected in each row, bool [n]; hairs count only if they cover HAIRY of the image."""
    least = {kind: HAIRY if kind == HAIR else 0.0 for kind in KINDS}
    detected: dict[str, list[bool]] = {kind: [] for kind in KINDS}
    for pixels in tqdm(_squares(model, rows), total=len(rows), unit="image", desc="searched"):
        for kind, mask in artefacts.masks(pixels, KINDS).items():
            detected[kind].append(bool(mask.mean() > least[kind]))
    return {kind: np.array(values, bool) for kind, values in detected.items()}


def on_real(network: Classifier, rows: pd.DataFrame, kind: str) -> dict[str, Any]:
    """The figures of images in which that artefact was detected: removal compared with the original images."""
    if rows.empty:
        return {"images": 0}
    probabilities = []
    for pixels in tqdm(_squares(network.model, rows), total=len(rows), unit="image", desc=kind):
        removed = artefacts.remove(pixels, [kind]).pixels
        probabilities.append([network.predict_input(one).probabilities for one in (pixels, removed)])
    before, after = np.moveaxis(np.array(probabilities), 1, 0)
    return compare(encode(rows["label"], network.model.labels), rows["group"].to_numpy(), before, after)


def compare(labels: np.ndarray, groups: np.ndarray, before: np.ndarray, after: np.ndarray) -> dict[str, Any]:
    """Each of SCORES of probabilities [n, K] `before` and `after` a change, and the difference, with 95% intervals over
    groups [n]; the share of images whose most likely class changes."""
    one, other = (bootstrap.intervals(SCORES, labels, values, groups) for values in (before, after))
    difference = bootstrap.paired_differences(SCORES, labels, after, before, groups)
    figures: dict[str, Any] = {"images": len(labels), "groups": bootstrap.count(groups)}
    for name in SCORES:
        figures[name] = {
            "before": _rounded(one[name]),
            "after": _rounded(other[name]),
            "difference": _rounded(difference[name]),
        }
    return figures | {"changed": round(float((before.argmax(axis=1) != after.argmax(axis=1)).mean()), 4)}


def checked(kind: str, file: Path = CHECKS_FILE) -> dict[str, Any] | None:
    """The visually checked count of a kind in the file; None if none was checked."""
    if not file.exists():
        return None
    known = pd.read_csv(file)
    known = known[known["kind"] == kind]
    if known.empty:
        return None
    return {"right": int(known["right"].sum()), "looked_at": len(known), "date": str(known["date"].max())}


def contact_sheet(model: Model, rows: pd.DataFrame, kind: str, folder: Path) -> None:
    """DIR/<kind>.png with each image, what was detected in green, and the image after removal; DIR/<kind>.csv lists the
    images by their number on it, as CHECKS_FILE has them."""
    folder.mkdir(parents=True, exist_ok=True)
    across = 4
    sheet = Image.new("RGB", (across * 3 * TILE, -(-max(len(rows), 1) // across) * TILE), "white")
    pen = ImageDraw.Draw(sheet)
    for number, pixels in enumerate(_squares(model, rows)):
        mask = artefacts.masks(pixels, [kind])[kind]
        marked = np.where(mask[..., np.newaxis], (0.3 * pixels + (0, 178, 0)).astype(np.uint8), pixels)
        left, top = number % across * 3 * TILE, number // across * TILE
        for column, picture in enumerate((pixels, marked, artefacts.remove(pixels, [kind]).pixels)):
            sheet.paste(Image.fromarray(picture).resize((TILE - 2, TILE - 2)), (left + column * TILE, top))
        pen.text((left + 2, top + 1), str(number), fill="blue")
    sheet.save(folder / f"{kind}.png")
    rows.assign(kind=kind, right=1)[["kind", "dataset", "image", "right"]].to_csv(folder / f"{kind}.csv", index=False)


def markdown(figures: dict[str, Any]) -> str:
    """docs/artefacts.md."""
    return "\n\n".join([INTRODUCTION, *map(_wrapped, _sections(figures))]) + "\n"


def _wrapped(part: str) -> str:
    """A paragraph in lines of at most 120 characters; tables, headings and existing lines are kept."""
    return part if part.startswith(("|", "#")) or "\n" in part else textwrap.fill(part, 120, break_long_words=False)


def _sections(figures: dict[str, Any]) -> Iterator[str]:
    kinds = figures["kinds"]
    yield "## Which removals are on"
    on = [kind for kind in kinds if kinds[kind]["on"]]
    yield (
        f"`python -m train artefacts` measures with `{figures['model']}` {figures['version']}, on images that it was "
        "not trained on. It writes this page, and `skinapp/images/removal.json`, which the app reads. A removal is on "
        "by default if, on validation images, the mean probability of the right class rises, with a 95% interval "
        "above 0, both for drawn and for real artefacts, and the accuracy on images with real ones does not fall. "
        "Test images were not used for this decision. " + (f"On: {removal.named(on)}." if on else "No removal is on.")
    )
    yield _table(
        ["", "probability, drawn", "probability, real", "accuracy, real", "real artefacts", "by default"],
        [
            [
                KINDS[kind],
                _difference(one["drawn"]["validation"]["removed"], "probability"),
                _difference(one["real"]["validation"], "probability"),
                _difference(one["real"]["validation"], "accuracy"),
                str(one["real"]["validation"]["images"]),
                "on" if one["on"] else "off",
            ]
            for kind, one in kinds.items()
        ],
    )
    yield (
        "Differences on validation images, with removal minus without; “real artefacts” is the number of images "
        "with one."
    )
    yield CONSEQUENCES
    yield "## Drawn over test images"
    first = kinds[HAIR]["drawn"]["test"]["drawn"]
    yield (
        f"Each artefact is drawn over the same {first['images']} test images of "
        f"{TRAINABLE[DRAWN_ON].name}, one at a time. Without artefacts, the accuracy is "
        f"{_text(first['accuracy']['before'])}, the balanced accuracy {_text(first['balanced_accuracy']['before'])}, "
        f"and the mean probability of the right class {_text(first['probability']['before'])}."
    )
    for score, title in TITLES.items():
        yield f"{title}:"
        yield _table(
            ["", "detected", "drawn", "drawn, then removed", "difference", "removed where nothing was drawn"],
            [
                [
                    KINDS[kind],
                    f"{one['detected']:.0%}",
                    _text(one["drawn"][score]["after"]),
                    _text(one["removed"][score]["after"]),
                    _difference(one["removed"], score),
                    _difference(one["unneeded"], score),
                ]
                for kind, one in ((kind, each["drawn"]["test"]) for kind, each in kinds.items())
            ],
        )
    yield "The last column is the effect of removal on images without a drawn artefact."
    yield "## Real artefacts"
    names = joined(TRAINABLE[name].name for name in SEARCHED)
    yield (
        f"Images in which the artefact was detected, out of {names}; hairs count if they cover at least {HAIRY:.0%}. "
        f"“Right” is how many of the first detections in test images, at most {LOOKED_AT}, mark such an artefact. They "
        "were checked visually; `train/studies/artefact_checks.csv` lists them, and `--sheets DIR` draws them again. "
        "A detection of hairs is right if most of the marked area is hair: the others mark texture of the lesion. "
        "Scores are over all measured detections, right or wrong, since the app cannot distinguish them either."
    )
    yield _table(
        ["", "test images searched", "detected", "right", "measured"],
        [
            [
                KINDS[kind],
                f"{one['real']['test']['searched']:,}",
                f"{one['real']['test']['detected']:,}",
                _checked(one["checked"]),
                f"{one['real']['test']['images']:,}",
            ]
            for kind, one in kinds.items()
        ],
    )
    for score, title in TITLES.items():
        yield f"{title}, test images:"
        yield _table(
            ["", "original", "removed", "difference", "predictions that change"],
            [
                [
                    KINDS[kind],
                    _text(one[score]["before"]),
                    _text(one[score]["after"]),
                    _difference(one, score),
                    f"{one['changed']:.1%}",
                ]
                for kind, one in ((kind, each["real"]["test"]) for kind, each in kinds.items())
                if one["images"]
            ],
        )


TITLES = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "probability": "Mean probability of the right class",
}


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _checked(count: dict[str, Any] | None) -> str:
    return f"{count['right']} of {count['looked_at']}, {count['date']}" if count else "not checked"


def _text(interval: dict[str, Any], form: str = ".3f") -> str:
    return Interval(**{name: np.nan if value is None else value for name, value in interval.items()}).text(form)


def _difference(figures: dict[str, Any], score: str) -> str:
    return _text(figures[score]["difference"], "+.3f") if figures.get("images") else "none found"


def _rounded(interval: Interval) -> dict[str, float | None]:
    """For JSON, which has no NaN."""
    return {name: None if np.isnan(value) else round(float(value), 4) for name, value in vars(interval).items()}


def _sampled(rows: pd.DataFrame, part: str, most: int) -> pd.DataFrame:
    """At most `most` images of a part, one of each lesion, in random order."""
    rows = rows[rows["part"] == part].sample(frac=1, random_state=0)
    return rows.drop_duplicates("group").iloc[:most]


def _squares(model: Model, rows: pd.DataFrame) -> Iterator[np.ndarray]:
    return (imaging.load(path, model.input_size) for path in rows["path"])
