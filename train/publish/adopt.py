"""python -m train adopt: make a model folder of a classifier that was trained elsewhere, checked and scored here."""

import argparse
import hashlib
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from skinapp import tables
from skinapp.errors import DataError, ImageError, ModelError, SkinappError
from skinapp.evaluation.bootstrap import MIN_GROUPS, RESAMPLES, Interval
from skinapp.formatting import joined
from skinapp.images import imaging
from skinapp.inference import model_card, registry
from skinapp.inference.cases import find_cases
from skinapp.inference.registry import Model
from skinapp.inference.rows import Case
from skinapp.inference.runtime import softmax
from skinapp.inference.scoring import classify_all
from skinapp.labels.sets import LABEL_SETS, MALIGNANCY, Label, LabelSet
from train.options import add_models
from train.publish import adopted, evaluate_folder, external
from train.publish.adopted import Converted, Head, Source
from train.publish.own_labels import label_set

if TYPE_CHECKING:
    from train.publish.evaluate import HeldOut

PARTS = 4
"""One of this many parts of the lesions is used to fit the temperature; the others are scored."""
MIN_LESIONS = 2 * MIN_GROUPS
"""The minimum number of lesions or patients for scores with intervals."""
CHECKED_IMAGES = 64
GROUP_COLUMNS = ("lesion_id", "lesion", "patient_id", "patient", "group")
"""Columns used as the lesion or patient unless another is named."""
ID = re.compile(r"[a-z0-9][a-z0-9-]*")
UNREADABLE = "Correct the image, or leave out its label."
PROTOCOL = (
    "Trained elsewhere; whether its training images include any that it is scored on is not known here. Of the "
    "labelled images, one in {parts} {members}, stratified by class, was used to choose the temperature, the operating "
    "points and the prediction sets; the others are scored.{single}"
)
LIMITS = (
    "It was trained elsewhere, on images that were not checked here. If some of them are among the images that it is "
    "scored on, or show the same lesions, its scores are too high.",
    "Images are cropped and resized as in this app; if it was trained on images that were prepared differently, it may "
    "do better on those.",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="a .keras file, a SavedModel folder or a .tflite file")
    parser.add_argument("--id", required=True, help="the id of the new model: lowercase letters, digits and hyphens")
    parser.add_argument(
        "--labels",
        required=True,
        metavar="A,B,C",
        help="the code of each output, in the network's order, or CODE=NAME; if two codes share one output, it is the "
        "probability of the second",
    )
    parser.add_argument(
        "--malignant", metavar="A,B", help="codes that count as malignant; needed unless all codes are known here"
    )
    parser.add_argument(
        "--pre-cancer",
        metavar="A,B",
        help="codes of pre-cancers; also name them with --malignant if they count as such",
    )
    parser.add_argument("--modality", required=True, choices=("dermoscopy", "smartphone"), help="the kind of image")
    parser.add_argument("--images", required=True, type=Path, metavar="DIR", help="a folder of images it has not seen")
    parser.add_argument(
        "--table", required=True, type=Path, metavar="FILE.csv", help="file names and labels of the images"
    )
    evaluate_folder.add_column_arguments(parser)
    parser.add_argument(
        "--preprocessing",
        choices=adopted.PREPROCESSING,
        default="included",
        help="what it expects: RGB values as they are (included, or 0-255), 0-1, -1-1, ImageNet's mean subtracted and "
        "divided by its standard deviation (imagenet), or BGR with ImageNet's mean subtracted (imagenet-bgr) "
        "(default: %(default)s)",
    )
    parser.add_argument("--size", type=int, metavar="PX", help="the side of its images, if it accepts any size")
    parser.add_argument("--name", help="the name of the labelled images (default: that of the table)")
    parser.add_argument("--title", help="the title of the model (default: its network's name and its id)")
    parser.add_argument("--trained-on", default="not stated", metavar="TEXT", help="what it was trained on")
    parser.add_argument("--licence", default="not stated", metavar="TEXT", help="the licence of the network")
    add_models(parser)
    parser.add_argument(
        "--changes", default="", metavar="TEXT", help="a sentence for the changelog, if the model is replaced"
    )


def run(options: argparse.Namespace) -> int:
    labels, order = label_set(options.labels, options.malignant, options.pre_cancer)
    check_id(options.id, options.models)
    check_title(options.title, options.id, options.models)
    group_column = options.group_column or _group_column(options.table)
    table = evaluate_folder.read_labels(options.table, options.image_column, options.label_column, group_column)
    table = with_parts(with_codes(table, labels), labels)
    if not options.images.is_dir():
        raise DataError(f"There is no folder {options.images}.")
    cases = find_cases(options.images)
    table["file"] = evaluate_folder.matching_files(table["image"], cases, options.images)
    source = read(options.file, options.size)
    head, converted, conversion = convert(source, labels, order, options.preprocessing, table["file"], cases)
    print(
        f"{source.name}: {converted.parameters:,} parameters, {source.outputs or head.outputs}; differs from the "
        f"original by at most {conversion['difference']:.5f} in any probability, over {conversion['images']} images. "
        f"{'Exact class maps.' if 'class_maps' in converted.shapes else 'No class maps.'}"
    )
    # imported late, since Keras takes seconds to import
    from train.publish import export
    from train.publish.adopt_keras import MAX_FILE_BYTES
    from train.publish.folder import draft, publish

    with draft(options.models, options.id) as folder:
        (folder / "model.tflite").write_bytes(converted.content)
        if converted.network is not None:
            export.save_compressed(converted.network, folder / "model.keras")
            if (folder / "model.keras").stat().st_size > MAX_FILE_BYTES:
                (folder / "model.keras").unlink()
        card = described(options, source, head, converted, labels, folder) | {"conversion": conversion}
        model = _provisional(card, labels, folder)
        card |= scored(options, model, table, cases, group_column is not None)
        target = publish(folder, card, options.models, options.changes or f"Adopted from {options.file.name}.")
    for name, score in card["scores"].items():
        print(f"{name:28} {Interval(**score).text('.4f')}")
    print(target)
    return 0


def check_id(model_id: str, models: Path) -> None:
    """DataError for an invalid id, or that of a model that was trained here."""
    if not ID.fullmatch(model_id):
        raise DataError(f"'{model_id}' is not a valid id; use lowercase letters, digits and hyphens.")
    if (models / model_id).exists():
        try:
            older = registry.read(models / model_id)
        except ModelError:
            older = None
        if older is None or "adopted" not in older.card:
            raise DataError(
                f"There is a model '{model_id}' in {models} already, which was not adopted; choose another --id."
            )


def check_title(title: str | None, model_id: str, models: Path) -> None:
    """DataError for the title of another model, since menus identify models by title."""
    others = [model for model in registry.models(models).values() if model.id != model_id]
    if title is not None and title in {name for model in others for name in (model.title, model.short_name)}:
        raise DataError(f"There is a model with the title '{title}' already; choose another --title.")


def _group_column(table: Path) -> str | None:
    columns = tables.read_file(table).columns
    return next((name for name in GROUP_COLUMNS if name in columns), None)


def with_codes(table: pd.DataFrame, labels: LabelSet) -> pd.DataFrame:
    """The table with labels spelt as in the label set. DataError lists labels that are not classes of the set."""
    from train.data.datasets import encode

    written = {code.lower(): code for code in labels.codes}
    table = table.assign(label=[written.get(label.lower(), label) for label in table["label"]])
    try:
        codes = encode(table["label"], labels)
    except DataError:
        unknown = sorted(set(table["label"]) - set(labels.codes))
        raise DataError(
            f"The table has labels that are none of the model's classes ({', '.join(labels.codes)}): "
            f"{', '.join(unknown)}. Correct them, or leave them empty."
        ) from None
    return table.assign(label=np.array(labels.codes)[codes])


def with_parts(table: pd.DataFrame, labels: LabelSet) -> pd.DataFrame:
    """The table with the column `fits`: whether an image is used to fit the temperature or is scored. All images of a
    lesion are in the same part.

    DataError if there are too few lesions for scores with intervals, or if a part would lack malignant or benign
    images.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    if (groups := table["group"].nunique()) < MIN_LESIONS:
        raise DataError(
            f"The table labels {groups} lesions or patients; {MIN_LESIONS} are needed: some are used to "
            "fit the temperature, and enough must remain for scores with intervals."
        )
    folds = StratifiedGroupKFold(PARTS, shuffle=True, random_state=0)
    with warnings.catch_warnings():
        # rare classes may have fewer lesions than there are parts
        warnings.simplefilter("ignore", UserWarning)
        _, rows = next(folds.split(table, table["label"], table["group"]))
    fits = np.isin(np.arange(len(table)), rows)
    malignant = table["label"].map({label.code: label.malignant for label in labels.labels}).to_numpy(bool)
    for part in (fits, ~fits):
        if malignant[part].all() or not malignant[part].any():
            raise DataError(
                "The table needs more lesions that are malignant, or more that are not, for both of its parts."
            )
    return table.assign(fits=fits)


def read(file: Path, size: int | None) -> Source:
    """The network in a file. ModelError explains what cannot be adopted."""
    from train.publish import adopt_keras, adopt_litert, export

    export.require_tensorflow()
    if not file.exists():
        raise DataError(f"There is no file {file}.")
    if (file / "saved_model.pb").is_file():
        return adopt_litert.read_saved_model(file, size)
    if file.suffix == ".keras" and file.is_file():
        return adopt_keras.read(file, size)
    if file.suffix == ".tflite" and file.is_file():
        return adopt_litert.read(file, size)
    raise ModelError(
        f"{file.name} is not a .keras file, a .tflite file or a SavedModel folder. In Keras, model.save('NAME.keras') "
        "writes the first."
    )


def convert(
    source: Source,
    labels: LabelSet,
    order: tuple[int, ...],
    preprocessing: str,
    files: pd.Series,
    cases: dict[str, Case],
) -> tuple[Head, Converted, dict[str, float]]:
    """The app's network, checked against the original on some of the images, and the card's `conversion`. ModelError if
    the number of outputs is wrong, or if the two networks disagree."""
    from train.publish.export import run_litert

    classes = len(labels.codes)
    single = source.count == 1 and classes == 2
    if source.count != classes and not single:
        raise ModelError(
            f"It has {source.count} outputs, and --labels names {classes} classes; name one for each output."
        )
    images = np.stack([_loaded(file, cases[file].path, source.size) for file in files[:CHECKED_IMAGES]])
    before = adopted.PREPROCESSING[preprocessing]
    original = source.run(before.apply(images))
    head = Head(source.outputs or adopted.recognised_outputs(original), order, single, before)
    if np.ptp(original, axis=0).max() < 1e-6:
        raise ModelError("It gives the same outputs for every image; check --preprocessing, and that it is trained.")
    converted = source.convert(head)
    difference = adopted.difference(original, run_litert(converted.content, images), head)
    return head, converted, {"difference": round(difference, 7), "images": len(images)}


def _loaded(name: str, path: Path, size: int) -> np.ndarray:
    """An image as the app sees it, uint8 [size, size, 3]. DataError if it cannot be read."""
    try:
        return imaging.load(path, size)
    except ImageError as error:
        raise DataError(f"{name}: {error} {UNREADABLE}") from None


def described(
    options: argparse.Namespace, source: Source, head: Head, converted: Converted, labels: LabelSet, folder: Path
) -> dict[str, Any]:
    """The parts of a card that are known before any image is classified."""
    from train.publish.card_content import INTENDED_USE
    from train.publish.folder import RESIZE, versions

    title = options.title or f"{source.name} ({options.id})"
    own = {"classes": [_plain(label) for label in labels.labels]} if labels.id not in LABEL_SETS else {}
    blocks = {"blocks": list(converted.blocks)} if (folder / "model.keras").exists() else {}
    return {
        "id": options.id,
        "kind": "classifier",
        "title": title,
        "short_name": title,
        "task": "malignancy" if labels is MALIGNANCY else "diagnosis",
        "modality": options.modality,
        "labels": {"set": labels.id, "codes": list(labels.codes)} | own,
        "architecture": {"name": source.name, "parameters": converted.parameters} | blocks,
        "adopted": {
            "file": options.file.name,
            "sha256": _hash(options.file),
            "format": source.format,
            "outputs": head.outputs,
            "preprocessing": options.preprocessing,
        },
        "initial_weights": "trained elsewhere",
        "input": {
            "size": source.size,
            "dtype": "float32",
            "range": [0, 255],
            "channels": "RGB",
            "resize": RESIZE,
        },
        "outputs": converted.shapes,
        "temperature": 1.0,
        "other_tests": [],
        "licence": options.licence,
        "intended_use": INTENDED_USE,
        "versions": versions(),
    }


def _plain(label: Label) -> dict[str, Any]:
    optional = {name: value for name in ("malignant_pre_cancer", "common_name") if (value := getattr(label, name))}
    return {name: getattr(label, name) for name in ("code", "name", "kind", "summary")} | optional


def _hash(file: Path) -> str:
    """The SHA-256 of a file, or of all files of a folder in the order of their names."""
    files = sorted(one for one in file.rglob("*") if one.is_file()) if file.is_dir() else [file]
    digest = hashlib.sha256()
    for one in files:
        digest.update(one.read_bytes())
    return digest.hexdigest()


def _provisional(card: dict[str, Any], labels: LabelSet, folder: Path) -> Model:
    """The model for classification, before its card is on disk."""
    return registry.described(card | {"files": registry.fingerprint(folder)}, labels, folder)


def scored(
    options: argparse.Namespace, model: Model, table: pd.DataFrame, cases: dict[str, Case], grouped: bool
) -> dict[str, Any]:
    """Classify the images as the app does, write `predictions.csv`, and return the card's content on them. DataError if
    an image cannot be read."""
    from train.data.datasets import encode
    from train.publish import card_content, evaluate

    labels, name = model.labels, options.name or options.table.stem
    if not external.slug(name):
        raise DataError(f"'{name}' cannot be used as a name; give another with --name.")
    logits = _classified(model, table["file"], cases)
    truth, groups, fits = encode(table["label"], labels), table["group"].to_numpy(), table["fits"].to_numpy()
    temperature = evaluate.fit_temperature(logits[fits], truth[fits])
    probabilities = softmax(logits.astype(np.float64) / temperature)
    rows = external.table(
        table.assign(**{f"p_{code}": probabilities[:, index] for index, code in enumerate(labels.codes)}),
        labels.codes,
        name,
    )
    rows[~fits].to_csv(model.folder / "predictions.csv", index=False)

    def held_out(part: np.ndarray, what: str) -> "HeldOut":
        return evaluate.HeldOut(what, truth[part], probabilities[part], groups[part], _melanomas(table, part, labels))

    validation, test = held_out(fits, "Validation images"), held_out(~fits, name)
    members = model_card.MEMBERS[model.modality]
    protocol = PROTOCOL.format(
        parts=PARTS,
        members=members if grouped else "images",
        single="" if grouped else f" Each image counts as one of the {members}.",
    )
    scores, _ = evaluate_folder.defined_scores(labels, test.labels, test.probabilities)
    result = evaluate.scored(
        name,
        protocol,
        scores,
        labels.codes,
        test.labels,
        logits[~fits],
        np.full((len(test.labels), 1), temperature),
        test.groups,
    )
    of_validation, _ = evaluate_folder.intervals(labels, validation.labels, validation.probabilities, validation.groups)
    points = [
        point | {"measured": [*point["measured"], evaluate.measured(point, labels, test)]}
        for point in evaluate.chosen_points(labels, validation)
    ]
    counts = {"validation": validation, "test": test}
    card = {
        "temperature": round(temperature, 4),
        "training": {
            "dataset": options.trained_on,
            "attribution": f"Scored on {name}.",
            "data_licence": "not stated",
            "protocol": protocol,
            "images": {part: len(images.labels) for part, images in counts.items()},
            "groups": {part: len(set(images.groups)) for part, images in counts.items()},
        },
        "test": {key: result[key] for key in ("images", "groups")}
        | {"dataset": name, "resamples": RESAMPLES}
        | card_content.details(result),
        "scores": card_content.rounded(result["scores"]),
        "validation": card_content.rounded(of_validation),
        **card_content.operating_points({"operating_points": points}),
        "conformal": evaluate.calibrated_sets(labels, validation),
    }
    good, bad = model_card.sensitivity_sentences(model.card | card)
    malignant = joined((label.name for label in labels.labels if label.malignant), "or")
    limits = [*LIMITS, *card_content.limits_of_any(len(labels.codes)), f"Malignant means {malignant}."]
    return card | {"good_at": good, "bad_at": bad, "limits": limits}


def _classified(model: Model, files: pd.Series, cases: dict[str, Case]) -> np.ndarray:
    """Logits, float32 [n, classes]. DataError if an image cannot be read."""
    logits = []
    results = classify_all({file: cases[file] for file in files}, model)
    for file, prediction in tqdm(results, total=len(files), unit="image", disable=None):
        if isinstance(prediction, SkinappError):
            raise DataError(f"{file}: {prediction} {UNREADABLE}")
        logits.append(prediction.logits)
    return np.stack(logits)


def _melanomas(table: pd.DataFrame, part: np.ndarray, labels: LabelSet) -> np.ndarray:
    """Whether images are known to be melanomas [n]: from their labels, if melanoma is a class of the model."""
    melanoma = [label.code for label in labels.labels if label.name == "Melanoma"]
    return table["label"].isin(melanoma).to_numpy()[part]
