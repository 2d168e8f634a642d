"""Published foundation models and ours on the same images: scores, paired differences, McNemar's test."""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from skinapp import metrics, registry
from skinapp.errors import DataError
from skinapp.labels import LabelSet
from train.datasets import data_root

RESAMPLES = 2000
SOURCE = (
    "Linear probes of foundation models, test-set probabilities from the DermFM-Zero repository. Their training part "
    "shares lesions with the test images; ours does not."
)


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
    model = registry.model(options.model)
    table = compare(model, data_root() / "published_predictions")
    options.out.write_text(f"# {SOURCE}\n" + table.round(4).to_csv(index=False))
    shown = table[table["score"].isin(["balanced_accuracy", "accuracy"])]
    print(shown.drop(columns=["dataset", "our_model"]).round(4).to_string(index=False))
    return 0


def compare(model: registry.Model, folder: Path) -> pd.DataFrame:
    """A row for each published model and score: its value, ours minus it, both with 95% intervals, and McNemar's p.

    Only on images that both have; the bootstrap is over our groups (lesions or patients).
    """
    dataset = model.labels.id
    files = sorted(folder.glob(f"{dataset}_*.csv"))
    if not files:
        raise DataError(f"There are no published predictions for {dataset} in {folder}.")
    ours = pd.read_csv(model.folder / "predictions.csv").set_index("image")
    rows: list[dict[str, object]] = []
    for file in files:
        theirs = pd.read_csv(file).set_index("image")
        images = ours.index.intersection(theirs.index)
        labels = _codes(ours.loc[images], model.labels)
        if (labels != _codes(theirs.loc[images], model.labels)).any():
            raise DataError(f"{file.name} labels some images otherwise than the predictions of '{model.id}'.")
        first, second = (_probabilities(table.loc[images], model.labels) for table in (ours, theirs))
        groups = ours.loc[images, "group"].to_numpy()
        scores = metrics.DIAGNOSIS_SCORES | metrics.malignancy_scores(
            tuple(label.malignant for label in model.labels.labels)
        )
        published = metrics.intervals(scores, labels, second, groups, RESAMPLES)
        differences = metrics.paired_differences(scores, labels, first, second, groups, RESAMPLES)
        p_value = metrics.mcnemar(first.argmax(axis=1) == labels, second.argmax(axis=1) == labels)
        rows.extend(
            {
                "dataset": dataset,
                "published_model": file.stem.removeprefix(f"{dataset}_"),
                "images": len(images),
                "score": name,
                "value": value.value,
                "low": value.low,
                "high": value.high,
                "our_model": model.id,
                "difference": differences[name].value,
                "difference_low": differences[name].low,
                "difference_high": differences[name].high,
                "mcnemar_p": p_value if name == "accuracy" else np.nan,
            }
            for name, value in published.items()
        )
    return pd.DataFrame(rows)


def _codes(table: pd.DataFrame, labels: LabelSet) -> np.ndarray:
    return table["label"].map({code: index for index, code in enumerate(labels.codes)}).to_numpy()


def _probabilities(table: pd.DataFrame, labels: LabelSet) -> np.ndarray:
    probabilities = table[[f"p_{code}" for code in labels.codes]].to_numpy(dtype=np.float64)
    return probabilities / probabilities.sum(axis=1, keepdims=True)
