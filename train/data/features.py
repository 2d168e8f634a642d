"""The features of every image of a data set, measured once, in the folder of runs."""

import csv
import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from skinapp.errors import ImageError
from skinapp.images import imaging
from skinapp.lesion import features, segmentation
from train.data import packed
from train.data.datasets import READERS, data_root, sources

MODULES = ("features.py", "features_border.py", "features_colour.py", "features_texture.py", "shape.py")
"""The files of `skinapp.lesion` that define the features; the segmentation network is hashed too."""


def measured(name: str, runs: Path) -> pd.DataFrame:
    """The features, see `features.TITLES`, of the centre square of every image of a data set, or of several joined by
    +, indexed by image; NaN for a missing one. If stopped, the next call continues.

    DataError lists the images that cannot be read.
    """
    return pd.concat([_of_dataset(source.id, runs) for source in sources(name)])


def _of_dataset(dataset: str, runs: Path) -> pd.DataFrame:
    source = sources(dataset)[0]
    table = READERS[dataset](data_root() / source.folder)
    file = runs / "features" / f"{dataset}-{_digest()}.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    done = _read(file, table["image"])
    left = table[~table["image"].isin(done.index)]
    failures = []
    with file.open("a", newline="") as stream:
        writer = csv.writer(stream)
        for image, path in tqdm(
            zip(left["image"], left["path"], strict=True), f"measuring {dataset}", len(left), unit="image"
        ):
            try:
                one = features.measure(imaging.load(path, features.SIDE))
            except ImageError as error:
                failures.append(f"{image}: {error}")
                continue
            writer.writerow([image, *map(repr, one.values)])
            stream.flush()
    if failures:
        raise packed.unreadable(failures, len(table))
    return _read(file, table["image"])


def _read(file: Path, images: pd.Series) -> pd.DataFrame:
    """The images of a file, in this order; an unfinished line is removed from the file."""
    names = ["image", *features.TITLES]
    if not file.exists():
        return pd.DataFrame(columns=names[1:], dtype=np.float64)
    content = file.read_bytes()
    # remove the last line if the process was stopped while writing it
    if not content.endswith(b"\n"):
        file.write_bytes(content[: content.rfind(b"\n") + 1])
    rows = pd.read_csv(file, names=names, dtype={"image": str}).set_index("image").astype(np.float64)
    return rows.loc[images[images.isin(rows.index)]]


def _digest() -> str:
    """Short hash of everything the features depend on."""
    folder = Path(features.__file__).parent
    content = b"".join((folder / name).read_bytes() for name in MODULES)
    return hashlib.sha256(content + segmentation.card()["files"]["model.tflite"]["sha256"].encode()).hexdigest()[:12]
