"""python -m train compare-published: paired comparison of our models with published foundation models."""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from skinapp import tables
from skinapp.errors import DataError
from skinapp.evaluation import bootstrap, metrics, significance
from skinapp.evaluation.bootstrap import RESAMPLES
from skinapp.evaluation.predictions import normalised
from skinapp.inference import registry
from skinapp.labels.sets import LabelSet
from train.data.datasets import data_root, encode

PROTOCOL = (
    "Linear probe of a frozen foundation model; test-set probabilities published with DermFM-Zero (Yan et al. 2026, "
    "arXiv:2602.10624, github.com/SiyuanYan1/DermFM-Zero). Their training part shares lesions or patients with these "
    "images; ours shares no lesion, and no patient where patients are known."
)
NAMES = {
    "biomedclip": "BiomedCLIP",
    "clip-large": "CLIP Large",
    "dermfm-zero": "DermFM-Zero",
    "dermlip-panderm": "DermLIP PanDerm",
    "dermlip-vit-b-16": "DermLIP ViT-B/16",
    "dinov3-l16": "DINOv3 ViT-L/16",
    "monet": "MONET",
    "panderm": "PanDerm",
}
"""The models by the names of their files, as their authors call them."""
SHOWN = ("balanced_accuracy", "accuracy")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--models",
        nargs="+",
        default=["ham10000-efficientnetb1", "smartphone-efficientnetb1-6class"],
        metavar="ID",
        help="our models, one for each data set (default: %(default)s)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("models/published.csv"),
        metavar="FILE.csv",
        help="the table to write (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    models = [registry.model(name) for name in options.models]
    table = pd.concat(
        [compare(model.id, model.labels, model.folder / "predictions.csv", published_root()) for model in models],
        ignore_index=True,
    )
    try:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(options.out, index=False, float_format="%.4g")
    except OSError as error:
        raise DataError(f"{options.out} cannot be written ({error.strerror}).") from None
    shown = table[table["score"].isin(SHOWN)].drop(columns=["our_model", "protocol"])
    print(shown.to_string(index=False, float_format="{:.3g}".format, na_rep=""))
    print(f"\n{PROTOCOL}\nAll scores are in {options.out}.")
    return 0


def published_root() -> Path:
    return data_root() / "published_predictions"


def compare(ours: str, labels: LabelSet, predictions: Path, folder: Path) -> pd.DataFrame:
    """A row for each published model in `folder` and score: its value, and ours minus it, both with 95% intervals.

    `ours` is the id of our model, `predictions` the file of its predictions. Only images in both files are used; the
    bootstrap resamples our groups (lesions or patients). Rows of accuracy have the p-value of McNemar's exact test,
    which assumes independent images, with and without Holm's correction for the number of published models. DataError
    if there are no published predictions, or their images or labels do not match ours.
    """
    files = published_files(labels, folder)
    if not files:
        raise DataError(
            f"There are no published predictions {labels.id}_*.csv in {folder}; set SKINAPP_DATA to the folder of the "
            "data sets."
        )
    own = _predictions(predictions, labels, ("group",))
    table = pd.concat([_comparison(ours, labels, own, file) for file in files], ignore_index=True)
    tested = table["mcnemar_p"].notna()
    table.loc[tested, "mcnemar_p_holm"] = significance.holm(table.loc[tested, "mcnemar_p"].to_numpy())
    return table.assign(protocol=PROTOCOL)


def published_files(labels: LabelSet, folder: Path) -> list[Path]:
    """The published predictions for a label set, one file per model."""
    return sorted(folder.glob(f"{labels.id}_*.csv"))


def _comparison(our_id: str, labels: LabelSet, ours: pd.DataFrame, file: Path) -> pd.DataFrame:
    """The rows of one published model."""
    theirs = _predictions(file, labels)
    images = ours.index.intersection(theirs.index)
    if images.empty:
        raise DataError(f"{file.name} and the predictions of '{our_id}' have no image in common.")
    ours, theirs = ours.loc[images], theirs.loc[images]
    differing = images[ours["label"] != theirs["label"]]
    if len(differing):
        raise DataError(
            f"{file.name} labels {len(differing)} of {len(images):,} images differently from the predictions of "
            f"'{our_id}': {', '.join(differing[:5])}."
        )
    truth, groups = encode(ours["label"], labels), ours["group"].to_numpy()
    first, second = _probabilities(ours, labels), _probabilities(theirs, labels)
    scores = metrics.DIAGNOSIS_SCORES | metrics.malignancy_scores(tuple(label.malignant for label in labels.labels))
    name_in_file = file.stem.removeprefix(f"{labels.id}_")
    published = bootstrap.intervals(scores, truth, second, groups, RESAMPLES)
    differences = bootstrap.paired_differences(scores, truth, first, second, groups, RESAMPLES)
    p_value = significance.mcnemar(first.argmax(axis=1) == truth, second.argmax(axis=1) == truth)
    return pd.DataFrame(
        {
            "dataset": labels.id,
            "images": len(images),
            "groups": len(set(groups)),
            "model": NAMES.get(name_in_file, name_in_file),
            "score": name,
            "value": value.value,
            "low": value.low,
            "high": value.high,
            "our_model": our_id,
            "ours_minus_theirs": differences[name].value,
            "ours_minus_theirs_low": differences[name].low,
            "ours_minus_theirs_high": differences[name].high,
            "mcnemar_p": p_value if name == "accuracy" else np.nan,
        }
        for name, value in published.items()
    )


def _predictions(file: Path, labels: LabelSet, more: tuple[str, ...] = ()) -> pd.DataFrame:
    """A table of predictions by image. DataError if columns are missing or a row does not contain probabilities."""
    columns = [f"p_{code}" for code in labels.codes]
    table = tables.read_file(file, text=("image",), required=("image", "label", *more, *columns), unique="image")
    table = table.set_index("image")
    wrong = ~(np.abs(table[columns].sum(axis=1, skipna=False) - 1) < 0.01)
    if wrong.any():
        raise DataError(f"The probabilities of {wrong.idxmax()} in {file.name} do not sum to 1.")
    return table


def _probabilities(table: pd.DataFrame, labels: LabelSet) -> np.ndarray:
    """Probabilities [n, classes] in the order of the labels, none of them 0."""
    return normalised(table[[f"p_{code}" for code in labels.codes]])
