"""Evaluate an exported model on a folder of labelled images, as the app runs it: scores with intervals, and confusion
matrix."""

import argparse
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix
from tqdm import tqdm

from skinapp import tables
from skinapp.errors import DataError, SkinappError
from skinapp.evaluation import bootstrap, metrics, predictions
from skinapp.evaluation.bootstrap import RESAMPLES
from skinapp.images import imaging
from skinapp.inference import registry
from skinapp.inference.cases import find_cases
from skinapp.inference.scoring import classify_all
from skinapp.labels.sets import HAM10000, MALIGNANCY, LabelSet
from train.data.datasets import encode
from train.publish import external

FACTS = tuple(name for name in predictions.FACTS if name != "dataset")
"""Columns of a table of labelled images that predictions files also have; the data set is named by the command."""


@dataclass(frozen=True)
class Evaluation:
    """The scores of a model on a folder of images.

    `labels` is the label set that was scored: the model's, or `malignancy` if the table's labels are not the model's
    classes. `predictions` has the columns image, group, label and a `p_` for each of those labels. `scores` holds the
    scores that are defined, `undefined` the names of the others. `failures` maps images that could not be read to the
    reason; `unlabelled` counts images in the folder without a label.
    """

    labels: LabelSet
    predictions: pd.DataFrame
    scores: dict[str, bootstrap.Interval]
    undefined: list[str]
    failures: dict[str, str]
    unlabelled: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("an exported model on a folder of labelled images, instead of --config")
    group.add_argument("--model", metavar="ID", help="a model in models/")
    group.add_argument("--images", type=Path, metavar="DIR", help="the folder of the images, searched recursively")
    group.add_argument("--labels", type=Path, metavar="FILE.csv", help="file names and labels of the images")
    add_column_arguments(group)
    group.add_argument("--out", type=Path, metavar="FILE.csv", help="write the predictions to this file")
    group.add_argument(
        "--name", metavar="NAME", help="add the scores to the model's folder, as an external result of this name"
    )


def add_column_arguments(group: Any) -> None:
    """Options that name the columns of a table of labelled images; `group` is a parser or a group of arguments."""
    group.add_argument(
        "--image-column",
        default="image",
        metavar="NAME",
        help="file names, with or without extension, or paths below DIR (default: %(default)s)",
    )
    group.add_argument(
        "--label-column",
        default="label",
        metavar="NAME",
        help="codes of the model's classes, or benign and malignant (default: %(default)s)",
    )
    group.add_argument(
        "--group-column", metavar="NAME", help="lesion or patient (default: each image is its own group)"
    )


def scores_folder(options: argparse.Namespace) -> bool:
    """Whether the options are for a folder of images. DataError if they mix both uses, or are incomplete."""
    values = {f"--{name}": getattr(options, name) for name in ("model", "images", "labels")}
    missing = [name for name, value in values.items() if value is None]
    if options.config and (len(missing) < len(values) or options.group_column or options.out or options.name):
        raise DataError("--config scores a run on its test images; leave out the options for a folder of images.")
    if not options.config and missing:
        raise DataError(
            f"Pass --config FILE, or --model, --images and --labels together; missing: {', '.join(missing)}."
        )
    if not options.config and options.also:
        raise DataError("--also scores a run on further data sets; it only goes with --config FILE.")
    if not options.config and options.settings:
        raise DataError(f"'{options.settings[0]}' is a setting; settings only go with --config FILE.")
    return not options.config


def run(options: argparse.Namespace) -> int:
    """Run the command; return 0, or 2 if an image could not be read."""
    model = registry.model(options.model)
    table = read_labels(options.labels, options.image_column, options.label_column, options.group_column)
    if options.name is not None:
        external.check(model, options.name, table)
    result = evaluate(model, options.images, table)
    if options.out:
        try:
            options.out.parent.mkdir(parents=True, exist_ok=True)
            result.predictions.to_csv(options.out, index=False, float_format="%.6f")
        except OSError as error:
            raise DataError(f"{options.out} cannot be written ({error.strerror}).") from None
    print(describe(model, result, options.group_column))
    if options.name is not None:
        print(f"\nAdded to {external.add(model, options.name, result, options.group_column is not None)}.")
    for name, reason in result.failures.items():
        print(f"{name}: {reason}", file=sys.stderr)
    return 2 if result.failures else 0


def read_labels(file: Path, image_column: str, label_column: str, group_column: str | None) -> pd.DataFrame:
    """A CSV's image, label and group columns, as text, under these names, and those of FACTS that it has; without a
    group column, each image is a group.

    Rows without a label are left out. DataError if the file, a column, or the image or group of a row is missing.
    """
    table = tables.read_file(file)
    columns = {"image": image_column, "label": label_column, "group": group_column or image_column}
    missing = sorted(set(columns.values()) - set(table.columns))
    if missing:
        raise DataError(
            f"{file.name} lacks the columns {', '.join(missing)}; it has {', '.join(table.columns)}. Name yours with "
            "--image-column, --label-column and --group-column."
        )
    columns = {name: name for name in FACTS if name in table} | columns
    table = pd.DataFrame({name: table[column].str.strip() for name, column in columns.items()})
    labelled = table["label"] != ""
    for name in ("image", "group"):
        empty = np.flatnonzero((table[name] == "") & labelled)
        if len(empty):
            raise DataError(
                f"Line {empty[0] + 2} of {file.name} has a label but nothing in the column '{columns[name]}'."
            )
    if not labelled.any():
        raise DataError(f"{file.name} labels no image.")
    return table[labelled].reset_index(drop=True)


def evaluate(model: registry.Model, folder: Path, table: pd.DataFrame) -> Evaluation:
    """Score the images of `folder` that `table` (image, label, group) labels.

    Everything is checked before the first image is classified. DataError if a label is neither a class of the model nor
    malignant or benign, if a labelled image is not in the folder or is labelled twice, or if no image can be read.
    """
    scored = scored_labels(table["label"], model.labels)
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}.")
    images = find_cases(folder)
    table = table.assign(file=matching_files(table["image"], images, folder)).set_index("file")
    probabilities: dict[str, np.ndarray] = {}
    failures: dict[str, str] = {}
    results = classify_all({file: images[file] for file in table.index}, model)
    for file, prediction in tqdm(results, total=len(table), unit="image", disable=None):
        if isinstance(prediction, SkinappError):
            failures[file] = str(prediction)
        else:
            probabilities[file] = prediction.probabilities
    if not probabilities:
        raise DataError(f"None of the {len(table):,} images can be read. {next(iter(failures.values()))}")

    table = table.loc[list(probabilities)]
    truth = encode(table["label"], scored)
    scored_probabilities = summed(np.stack(list(probabilities.values())), model.labels, scored)
    scores, undefined = intervals(scored, truth, scored_probabilities, table["group"].to_numpy())
    rows = pd.DataFrame(
        {"image": table["image"].to_numpy(), "group": table["group"].to_numpy(), "label": np.array(scored.codes)[truth]}
        | {f"p_{code}": scored_probabilities[:, index] for index, code in enumerate(scored.codes)}
        | {name: table[name].to_numpy() for name in FACTS if name in table}
    )
    return Evaluation(scored, rows, scores, undefined, failures, len(images) - len(table) - len(failures))


def scored_labels(labels: pd.Series, own: LabelSet) -> LabelSet:
    """The model's own label set where all labels are its codes, otherwise `malignancy`.

    DataError names labels that are neither its codes, nor benign or malignant, nor, for a malignancy model, HAM10000's.
    """
    if set(labels) <= set(own.codes):
        return own
    allowed = own.codes + (HAM10000 if own is MALIGNANCY else MALIGNANCY).codes
    unknown = sorted(set(labels) - set(allowed))
    if unknown:
        raise DataError(
            f"Labels outside {', '.join(allowed)}: {', '.join(unknown)}. Correct them, or leave them empty."
        )
    return MALIGNANCY


def matching_files(names: pd.Series, images: Iterable[str], folder: Path) -> list[str]:
    """The key of `images` (paths below the folder) for each name: a path or file name, with or without extension.

    The extension may differ from the file's, as for a data set saved in another format. DataError lists names without a
    file, a name that matches several files, or a file that is named twice.
    """
    known: dict[str, set[str]] = {}
    for file in map(PurePosixPath, images):
        for key in (file, file.with_suffix(""), file.name, file.stem):
            known.setdefault(str(key), set()).add(str(file))
    matched: list[str] = []
    missing: list[str] = []
    for name in names:
        path = PurePosixPath(name.replace("\\", "/"))
        if str(path) in images:
            matched.append(str(path))
            continue
        stem = path.with_suffix("") if path.suffix.lower() in imaging.EXTENSIONS else path
        files = sorted(known.get(str(path)) or known.get(str(stem)) or ())
        if len(files) > 1:
            raise DataError(f"'{name}' may be {' or '.join(files[:3])}; write its path below {folder}.")
        matched += files
        missing += [name] * (not files)
    if missing:
        raise DataError(
            f"{len(missing):,} of {len(names):,} labelled images are not in {folder}: {', '.join(missing[:5])}. Name "
            "the folder that holds them, or leave their labels empty."
        )
    twice = pd.Series(matched)[pd.Series(matched).duplicated()]
    if len(twice):
        raise DataError(f"The table labels an image twice: {twice.iloc[0]}.")
    return matched


def summed(probabilities: np.ndarray, own: LabelSet, scored: LabelSet) -> np.ndarray:
    """The model's probabilities [n, classes] for the scored label set: unchanged, or summed to benign and malignant."""
    if scored is own:
        return probabilities
    malignant = probabilities[:, [label.malignant for label in own.labels]].sum(axis=1)
    return np.stack([1 - malignant, malignant], axis=1)


def intervals(
    labels: LabelSet, truth: np.ndarray, probabilities: np.ndarray, groups: np.ndarray
) -> tuple[dict[str, bootstrap.Interval], list[str]]:
    """The scores with their intervals, and the names of scores that are undefined for these labels."""
    scores, undefined = defined_scores(labels, truth, probabilities)
    return bootstrap.intervals(scores, truth, probabilities, groups, RESAMPLES), undefined


def defined_scores(
    labels: LabelSet, truth: np.ndarray, probabilities: np.ndarray
) -> tuple[dict[str, bootstrap.Score], list[str]]:
    """The scores that are defined for these labels, which may lack a class, and the names of the undefined ones."""
    scores = metrics.DIAGNOSIS_SCORES | metrics.malignancy_scores(tuple(label.malignant for label in labels.labels))
    plain = np.ones((1, len(truth)))
    undefined = [name for name, score in scores.items() if np.isnan(score(truth, probabilities, plain)[0])]
    return {name: score for name, score in scores.items() if name not in undefined}, undefined


def describe(model: registry.Model, result: Evaluation, group_column: str | None) -> str:
    """The text that the command prints."""
    images, groups = len(result.predictions), result.predictions["group"].nunique()
    lines = [f"{model.id} on {images:,} images" + (f", {groups:,} groups by {group_column}." if group_column else ".")]
    if result.failures:
        lines.append(f"{len(result.failures):,} more could not be read and are left out.")
    if result.unlabelled:
        lines.append(f"{result.unlabelled:,} images in the folder have no label and are left out.")
    if result.labels is not model.labels:
        lines.append(
            "The labels are not the model's classes, so labels and predictions are both grouped into benign and "
            "malignant."
        )
    if not group_column:
        lines.append(
            "Each image counts as a separate group. If several show one lesion or patient, the intervals are too "
            "narrow: name the lesion or patient column with --group-column."
        )
    lines.append("")
    lines += [f"{name:28} {score.text('.4f')}" for name, score in result.scores.items()]
    if result.undefined:
        lines.append(f"Not defined for these labels: {', '.join(result.undefined)}.")
    lines += ["", "Confusion matrix: images by label (rows) and prediction (columns):", confusion(result).to_string()]
    absent = [code for code in result.labels.codes if code not in set(result.predictions["label"])]
    if absent:
        lines.append(f"No image of: {', '.join(absent)}; balanced accuracy is over the classes that have one.")
    return "\n".join(lines)


def confusion(result: Evaluation) -> pd.DataFrame:
    """Counts with a row for each label that has images, a column for each prediction, and the sum of each row."""
    codes = list(result.labels.codes)
    predicted = result.predictions[[f"p_{code}" for code in codes]].to_numpy().argmax(axis=1)
    counts = confusion_matrix(result.predictions["label"], np.array(codes)[predicted], labels=codes)
    table = pd.DataFrame(counts, index=codes, columns=codes)
    return table.assign(images=table.sum(axis=1)).query("images > 0")
