"""The published tables, each read into one form; splits by lesion; the decoded image cache."""

import hashlib
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold
from tqdm import tqdm

from skinapp import imaging
from skinapp.errors import DataError, ImageError
from skinapp.labels import HAM10000, LabelSet

COLUMNS = ("image", "path", "group", "label", "split", "age", "sex", "site", "confirmation")
"""The common form: image id, file, lesion or patient, class code, split (train, test or excluded), demographics."""


@dataclass(frozen=True)
class Source:
    """A published data set: its name, how its table is read, whom to cite, its licence, and how it is split here."""

    name: str
    read: Callable[[Path], pd.DataFrame]
    attribution: str
    licence: str
    protocol: str


@dataclass(frozen=True)
class Dataset:
    """A table in the common form, and its decoded images: uint8 [rows, size, size, 3], memory-mapped, row for row."""

    table: pd.DataFrame
    images: np.ndarray


def ham10000(root: Path) -> pd.DataFrame:
    """HAM10000 (Tschandl et al. 2018, doi:10.1038/sdata.2018.161): `metadata.csv` and `images/` below `root`.

    Images that share a lesion with a test image are `excluded`: neither trained on nor tested.
    """
    columns = ("image_id", "lesion_id", "dx", "dx_type", "age", "sex", "localization", "split")
    source = read_table(root / "metadata.csv", columns)
    check_labels(source["dx"], HAM10000)
    return pd.DataFrame(
        {
            "image": source["image_id"],
            "path": image_files(root / "images", source["image_id"]),
            "group": source["lesion_id"],
            "label": source["dx"],
            "split": source["split"].replace("test_sibling", "excluded"),
            "age": source["age"],
            "sex": source["sex"],
            "site": source["localization"],
            "confirmation": source["dx_type"],
        }
    )


DATASETS = {
    "ham10000": Source(
        name="HAM10000",
        read=ham10000,
        attribution=(
            "Tschandl, Rosendahl, Kittler: The HAM10000 dataset, a large collection of multi-source dermatoscopic "
            "images of common pigmented skin lesions. Sci Data 5, 180161 (2018), doi:10.1038/sdata.2018.161. "
            "ViDIR Group, Medical University of Vienna."
        ),
        licence="CC BY-NC 4.0",
        protocol=(
            "Split by lesion. Test: the 1,503 images on which published foundation-model results are reported. Images "
            "that share a lesion with a test image are left out altogether. Validation: whole lesions of the rest, "
            "stratified by diagnosis; it alone chose the epoch, input size, logit adjustment and temperature. "
            "One picture is in the data under two lesion numbers, and so in two parts: ISIC_0030074 (test) and "
            "ISIC_0025226 (training)."
        ),
    )
}


def data_root() -> Path:
    """Where the data sets lie: the environment variable SKINAPP_DATA, or the folder `data`."""
    return Path(os.environ.get("SKINAPP_DATA", "data"))


def read_table(path: Path, required: tuple[str, ...]) -> pd.DataFrame:
    """A CSV with at least the `required` columns and unique images; DataError says what is missing."""
    try:
        table = pd.read_csv(path)
    except FileNotFoundError:
        raise DataError(f"There is no table {path}; set SKINAPP_DATA to the folder of the data sets.") from None
    missing = [column for column in required if column not in table.columns]
    if missing:
        raise DataError(f"{path.name} lacks the columns {', '.join(missing)}; it has {', '.join(table.columns)}.")
    images = table[required[0]]
    if images.duplicated().any():
        raise DataError(f"{path.name} lists an image twice: {images[images.duplicated()].iloc[0]}.")
    return table


def image_files(folder: Path, images: pd.Series) -> list[Path]:
    """The file of each image id in the folder, whatever its format. DataError names ids without one."""
    files = {file.stem: file for file in folder.glob("*") if file.suffix.lower() in imaging.EXTENSIONS}
    missing = [str(image) for image in images if image not in files]
    if missing:
        raise DataError(f"{len(missing):,} of {len(images):,} images are not in {folder}: {', '.join(missing[:5])}.")
    return [files[image] for image in images]


def check_labels(labels: pd.Series, allowed: LabelSet) -> None:
    """DataError where a label is not in the set, or a class of the set has no image."""
    unknown = sorted(set(labels.dropna()) - set(allowed.codes)) + ["an empty one"] * bool(labels.isna().any())
    if unknown:
        raise DataError(f"Labels outside {', '.join(allowed.codes)}: {', '.join(map(str, unknown))}.")
    empty = [code for code in allowed.codes if code not in set(labels)]
    if empty:
        raise DataError(f"No image of the classes {', '.join(empty)}.")


def with_validation(table: pd.DataFrame, folds: int, fold: int, seed: int) -> pd.DataFrame:
    """A copy in which one of `folds` parts of the training split, whole groups only, has become `validation`.

    Raises DataError where a group (lesion or patient) lies in more than one split.
    """
    table = table.copy()
    rows = np.flatnonzero(table["split"] == "train")
    train = table.iloc[rows]
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    parts = list(splitter.split(train, train["label"], train["group"]))
    table.loc[table.index[rows[parts[fold][1]]], "split"] = "validation"
    splits_per_group = table[table["split"] != "excluded"].groupby("group")["split"].nunique()
    if (splits_per_group > 1).any():
        raise DataError(f"The split shares a lesion or patient: {splits_per_group.idxmax()} is in several parts.")
    return table


def prepare(name: str, size: int, runs: Path) -> Dataset:
    """Decode a data set once into a memory-mapped uint8 cache below `runs`; open it where it is already there.

    Every unreadable image is reported in one DataError, after all have been tried, and no cache is left.
    """
    table = DATASETS[name].read(data_root() / name)
    folder = runs / "cache" / f"{name}-{size}"
    images_file, stamp_file = folder / "images.npy", folder / "stamp.json"
    stamp = {"size": size, "table": hashlib.sha256(table.to_csv().encode()).hexdigest()}
    if stamp_file.exists() and json.loads(stamp_file.read_text()) == stamp:
        return Dataset(table, np.load(images_file, mmap_mode="r"))

    folder.mkdir(parents=True, exist_ok=True)
    stamp_file.unlink(missing_ok=True)
    images = np.lib.format.open_memmap(images_file, mode="w+", dtype=np.uint8, shape=(len(table), size, size, 3))
    failures = []

    def decode(row: int) -> None:
        try:
            images[row] = imaging.load(table["path"].iloc[row], size)
        except ImageError as error:
            failures.append(f"{table['image'].iloc[row]}: {error}")

    with ThreadPoolExecutor() as pool:
        list(tqdm(pool.map(decode, range(len(table))), total=len(table), desc=f"decoding {name}", unit="image"))
    if failures:
        images_file.unlink()
        shown = "\n".join(sorted(failures)[:20])
        raise DataError(f"{len(failures)} of {len(table)} images cannot be read:\n{shown}")
    images.flush()
    stamp_file.write_text(json.dumps(stamp))
    return Dataset(table, np.load(images_file, mmap_mode="r"))
