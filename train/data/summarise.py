"""python -m train summarise: make the shipped tables of the explorer from the published ones."""

import argparse
import gzip
import io
from pathlib import Path

import pandas as pd

from skinapp.datasets import registry
from skinapp.datasets.metadata import SYMPTOMS
from skinapp.datasets.registry import DATASETS, data_root
from skinapp.demographics import records
from skinapp.files import replacing
from train.data import splits

COLUMNS = (
    "lesion",
    "diagnosis",
    "confirmation",
    "sex",
    "age",
    "site",
    "skin_type",
    "skin_tone",
    *SYMPTOMS,
    "origin",
    "split",
    "modality",
)
"""The columns of a shipped table besides `images`, the number of images that a row stands for, and `ids`, their ids
separated by spaces."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Count the images of each data set by diagnosis, confirmation, sex, age, site and lesion, for the Explore "
        "page. Lesions get new numbers; images keep their ids."
    )
    parser.add_argument(
        "datasets", nargs="*", metavar="DATASET", help=f"data sets to count (default: {', '.join(DATASETS)})"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=records.TABLES,
        metavar="DIR",
        help="where the tables go (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    chosen = [registry.dataset(name).id for name in options.datasets or DATASETS]
    options.out.mkdir(parents=True, exist_ok=True)
    for dataset in chosen:
        table = summarise(dataset, data_root())
        write(table, options.out / f"{dataset}.csv.gz")
        print(
            f"{dataset}: {table['images'].sum():,} images, {table['lesion'].nunique():,} lesions, {len(table):,} rows"
        )
    return 0


def summarise(dataset: str, root: Path) -> pd.DataFrame:
    """The counts of a data set: one row per lesion and set of published metadata."""
    if dataset == "malignant_benign":
        frame = malignant_benign(root)
    else:
        frame = registry.published(dataset, root)
        if dataset == "ham10000":
            split = splits.ham10000_split(frame["image"], frame["lesion"])
            frame["split"] = split.replace("test_sibling", "excluded")
    frame = frame.rename(columns={"image": "ids"})
    frame["lesion"] = pd.factorize(frame["lesion"])[0]
    columns = [name for name in COLUMNS if name in frame]
    rows = frame.groupby(columns, dropna=False, sort=False)["ids"].agg(images="size", ids=" ".join)
    return rows.reset_index()


def malignant_benign(root: Path) -> pd.DataFrame:
    """The malignant/benign set, with HAM10000's metadata for the three in four images that are also in it."""
    known = pd.read_csv(splits.MALIGNANT_BENIGN, keep_default_na=False)
    ham = registry.published("ham10000", root).rename(columns={"diagnosis": "origin", "image": "ham10000"})
    frame = known.rename(columns={"group": "lesion"}).merge(
        ham.drop(columns=["lesion", "split"], errors="ignore"), on="ham10000", how="left"
    )
    return frame.assign(diagnosis=frame["image"].str.partition("/")[0]).drop(columns="ham10000")


def write(table: pd.DataFrame, file: Path) -> None:
    """Write a compressed CSV, with the same bytes for the same table."""
    text = io.StringIO()
    ages = table.assign(age=table["age"].astype("Int64"))
    ages.to_csv(text, index=False, lineterminator="\n")
    with replacing(file) as partial:
        partial.write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))
