"""Adds the scores of an exported model on external images to its folder, under a name."""

import re
import shutil
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skinapp.datasets.registry import DATASETS
from skinapp.errors import DataError
from skinapp.evaluation import predictions
from skinapp.evaluation.bootstrap import MIN_GROUPS
from skinapp.images import imaging
from skinapp.inference.registry import Model
from skinapp.inference.training_images import OUT_OF_FOLD

if TYPE_CHECKING:
    from train.publish.evaluate_folder import Evaluation

LONGEST_NAME = 60
SMALLEST = 1e-12
"""Probabilities below this are set to it before logits are computed."""


def check(model: Model, name: str, table: pd.DataFrame) -> None:
    """DataError if the images of `table` (image, label, group) cannot be added to the model's folder under this name:
    they have other classes, are too few for intervals, or are in the folder already."""
    if model.kind == "pair":
        raise DataError(f"'{model.id}' takes two images of a lesion; external results are of single images.")
    if model.clinical:
        raise DataError(f"'{model.id}' also uses patient metadata; external results are of models of images alone.")
    if not slug(name) or len(name) > LONGEST_NAME or not name.isprintable():
        raise DataError(f"The name of a result needs letters or digits, and at most {LONGEST_NAME} characters.")
    names = [model.card["test"]["dataset"], *predictions.of_model(model).datasets]
    names += [test["name"] for test in _others(model)]
    replaceable = {dataset(test["name"]).lower() for test in _others(model) if test.get("external")}
    if dataset(name).lower() in {dataset(one).lower() for one in names} - replaceable:
        raise DataError(f"'{name}' is one of the model's own test sets; choose another name.")
    from train.publish.evaluate_folder import scored_labels

    if scored_labels(table["label"], model.labels) is not model.labels:
        raise DataError(
            f"The labels say malignant or benign, but the classes of '{model.id}' are {', '.join(model.labels.codes)}. "
            "Label the images with these, or leave out --name to score malignant and benign only."
        )
    if (groups := table["group"].nunique()) < MIN_GROUPS:
        raise DataError(
            f"{groups} lesions or patients are too few for intervals; a named result needs {MIN_GROUPS} or more."
        )
    seen = _images(model, except_for=name)
    if shared := [one for one in table["image"].map(image_id) if one in seen]:
        raise DataError(
            f"{len(shared):,} of the images are among those that the model was trained or tested on, such as "
            f"{shared[0]}; leave out their labels."
        )


def add(model: Model, name: str, result: "Evaluation", grouped: bool) -> Path:
    """Write the predictions, the scores and the new card; return the folder. `grouped` says whether the table named the
    lesion or patient of each image."""
    # Keras takes seconds to import
    from train.data.datasets import encode, melanomas
    from train.publish import card_content, evaluate, evaluate_folder
    from train.publish.folder import draft, publish

    labels = model.labels
    rows = table(result.predictions, labels.codes, name)
    truth, groups = encode(rows["label"], labels), rows["group"].to_numpy()
    probabilities = result.predictions[[f"p_{code}" for code in labels.codes]].to_numpy(np.float64)
    scores, _ = evaluate_folder.defined_scores(labels, truth, probabilities)
    test = evaluate.scored(
        name,
        _protocol(model, grouped),
        scores,
        labels.codes,
        truth,
        np.log(probabilities.clip(SMALLEST)) * model.temperature,
        np.full((len(rows), 1), model.temperature),
        groups,
    )
    file = f"predictions-{slug(name)}.csv"
    entry = card_content.other_test(test) | card_content.details(test) | {"predictions": file, "external": True}
    card = model.card | {"other_tests": [*(one for one in _others(model) if one.get("predictions") != file), entry]}
    malignant = np.array([label.malignant for label in labels.labels])[truth]
    if "operating_points" in card and malignant.any() and not malignant.all():
        images = evaluate.HeldOut(name, truth, probabilities, groups, melanomas(rows["label"]))
        card["operating_points"] = [_measured(point, labels, images) for point in card["operating_points"]]
    root = model.folder.parent
    with draft(root, model.id) as folder:
        for listed in model.card["files"]:
            shutil.copy2(model.folder / listed, folder)
        rows.to_csv(folder / file, index=False)
        return publish(folder, card, root, f"Scored on {name}: {len(rows):,} images.")


def table(rows: pd.DataFrame, codes: tuple[str, ...], name: str) -> pd.DataFrame:
    """Rows (image, group, label, p_<code>, facts) in the form of a predictions file, with the name of their data
    set."""
    columns = [f"p_{code}" for code in codes]
    identified = rows.assign(image=rows["image"].map(image_id), dataset=dataset(name))
    facts = [column for column in predictions.FACTS if column in identified]
    return identified[["image", "group", "label", *columns, *facts]].round(dict.fromkeys(columns, 6))


def slug(name: str) -> str:
    """A name in a form suitable for file names."""
    return re.sub(r"[^a-z0-9_]+", "-", name.lower()).strip("-")


def dataset(name: str) -> str:
    """The id of the data set if the name is a known one, so that results on it can be compared; otherwise the name."""
    known = {text.lower(): each.id for each in DATASETS.values() for text in (each.id, each.title, each.name)}
    return known.get(name.lower(), name)


def image_id(name: str) -> str:
    """The image id for a file name: without extension."""
    path = PurePosixPath(name.replace("\\", "/"))
    return str(path.with_suffix("") if path.suffix.lower() in imaging.EXTENSIONS else path)


def _protocol(model: Model, grouped: bool) -> str:
    words = "External images, added after the model was made: nothing was chosen on them."
    words += "" if grouped else " Each image counts as a separate lesion."
    return words + (" Without patient metadata." if model.clinical else "")


def _measured(point: dict[str, Any], labels: Any, images: Any) -> dict[str, Any]:
    """A card's operating point, measured on these images too."""
    from train.publish import card_content, evaluate

    if "of" in point and not images.melanoma.any():
        return point
    measured = [row for row in point["measured"] if row["name"] != images.name]
    rows = [*measured, evaluate.measured(point, labels, images)]
    return card_content.operating_points({"operating_points": [point | {"measured": rows}]})["operating_points"][0]


def _others(model: Model) -> list[dict[str, Any]]:
    return model.card.get("other_tests", [])


def _images(model: Model, except_for: str) -> set[str]:
    """The ids of the images in the model's folder, except those of an earlier result with the same name."""
    known = predictions.of_model(model)
    rest = known.table
    if "dataset" in rest:
        rest = rest[rest["dataset"].astype(str).str.lower() != dataset(except_for).lower()]
    images = set(map(str, rest.index))
    if OUT_OF_FOLD in model.card["files"]:
        images |= set(pd.read_csv(model.folder / OUT_OF_FOLD, usecols=["image"], dtype=str)["image"])
    return images
