"""Published foundation models and ours on the same images: scores, paired differences, McNemar's test."""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from skinapp import metrics, registry
from skinapp.errors import DataError
from skinapp.labels import LabelSet
from train.datasets import data_root, encode, read_table

RESAMPLES = 2000
PROTOCOL = (
    "Linear probe of a frozen foundation model; test-set probabilities published with DermFM-Zero (Yan et al. 2026, "
    "arXiv:2602.10624, github.com/SiyuanYan1/DermFM-Zero). Their training part shares lesions or patients with these "
    "images; ours does not."
)
ROUNDED_AT = 5e-7
"""Probabilities are published with six decimals, so a 0 stands for anything below this."""
SHOWN = ("balanced_accuracy", "accuracy")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="ham10000-efficientnetb1", metavar="ID", help="ours; default: %(default)s")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("models/published.csv"),
        metavar="FILE.csv",
        help="the table of figures; default: %(default)s",
    )


def run(options: argparse.Namespace) -> int:
    table = compare(registry.model(options.model), data_root() / "published_predictions")
    try:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(options.out, index=False, float_format="%.4g")
    except OSError as error:
        raise DataError(f"{options.out} cannot be written ({error.strerror}).") from None
    shown = table[table["score"].isin(SHOWN)].drop(columns=["dataset", "our_model", "protocol"])
    print(shown.to_string(index=False, float_format="{:.3g}".format, na_rep=""))
    print(f"\n{PROTOCOL}\nEvery score is in {options.out}.")
    return 0


def compare(model: registry.Model, folder: Path) -> pd.DataFrame:
    """A row for each published model and score: its value, and ours minus it, both with 95% intervals.

    Only of the images that both have. Bootstrap over our groups (lesions or patients). The rows of accuracy hold the
    p-value of McNemar's exact test, which takes images as independent, and that value by Holm's correction for the
    number of published models. DataError where there are none, or their images or labels are not ours.
    """
    dataset = model.labels.id
    files = sorted(folder.glob(f"{dataset}_*.csv"))
    if not files:
        raise DataError(
            f"There are no published predictions {dataset}_*.csv in {folder}; set SKINAPP_DATA to the folder of the "
            "data sets."
        )
    ours = _predictions(model.folder / "predictions.csv", model.labels, ("group",))
    table = pd.concat([_beside(model, ours, file) for file in files], ignore_index=True)
    tested = table["mcnemar_p"].notna()
    table.loc[tested, "mcnemar_p_holm"] = metrics.holm(table.loc[tested, "mcnemar_p"].to_numpy())
    return table.assign(protocol=PROTOCOL)


def _beside(model: registry.Model, ours: pd.DataFrame, file: Path) -> pd.DataFrame:
    """The rows of one published model."""
    theirs = _predictions(file, model.labels)
    images = ours.index.intersection(theirs.index)
    if images.empty:
        raise DataError(f"{file.name} and the predictions of '{model.id}' have no image in common.")
    ours, theirs = ours.loc[images], theirs.loc[images]
    differing = images[ours["label"] != theirs["label"]]
    if len(differing):
        raise DataError(
            f"{file.name} labels {len(differing)} of {len(images):,} images otherwise than the predictions of "
            f"'{model.id}': {', '.join(differing[:5])}."
        )
    labels, groups = encode(ours["label"], model.labels), ours["group"].to_numpy()
    first, second = _probabilities(ours, model.labels), _probabilities(theirs, model.labels)
    scores = metrics.DIAGNOSIS_SCORES | metrics.malignancy_scores(
        tuple(label.malignant for label in model.labels.labels)
    )
    published = metrics.intervals(scores, labels, second, groups, RESAMPLES)
    differences = metrics.paired_differences(scores, labels, first, second, groups, RESAMPLES)
    p_value = metrics.mcnemar(first.argmax(axis=1) == labels, second.argmax(axis=1) == labels)
    return pd.DataFrame(
        {
            "dataset": model.labels.id,
            "images": len(images),
            "groups": len(set(groups)),
            "model": file.stem.removeprefix(f"{model.labels.id}_"),
            "score": name,
            "value": value.value,
            "low": value.low,
            "high": value.high,
            "our_model": model.id,
            "ours_minus_theirs": differences[name].value,
            "ours_minus_theirs_low": differences[name].low,
            "ours_minus_theirs_high": differences[name].high,
            "mcnemar_p": p_value if name == "accuracy" else np.nan,
        }
        for name, value in published.items()
    )


def _predictions(file: Path, labels: LabelSet, more: tuple[str, ...] = ()) -> pd.DataFrame:
    """A table of predictions by image. DataError where columns are missing or a row holds no probabilities."""
    columns = [f"p_{code}" for code in labels.codes]
    table = read_table(file, ("image", "label", *more, *columns)).set_index("image")
    wrong = ~(np.abs(table[columns].sum(axis=1, skipna=False) - 1) < 0.01)
    if wrong.any():
        raise DataError(f"The probabilities of {wrong.idxmax()} in {file.name} do not sum to 1.")
    return table


def _probabilities(table: pd.DataFrame, labels: LabelSet) -> np.ndarray:
    """Probabilities [n, classes] in the order of the labels, none of them 0."""
    probabilities = table[[f"p_{code}" for code in labels.codes]].to_numpy(dtype=np.float64).clip(min=ROUNDED_AT)
    return probabilities / probabilities.sum(axis=1, keepdims=True)
