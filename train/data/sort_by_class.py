"""python -m train sort-by-class: a data set in a folder for each class, as image tutorials expect it."""

import argparse
import filecmp
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from skinapp import tables
from skinapp.datasets.metadata import FILE
from skinapp.datasets.registry import DATASETS, files_in
from skinapp.errors import DataError
from skinapp.files import replacing

MISSING = "missing.csv"


@dataclass(frozen=True)
class Plan:
    """What is to be done: `todo` and `done` files as source and target, `missing` images as id and class."""

    todo: list[tuple[Path, Path]]
    done: list[tuple[Path, Path]]
    missing: pd.DataFrame


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Copy the images of a data set into a folder for each class. Nothing is overwritten; run the same "
        "command again to continue. Such folders do not say which images show one lesion: split by lesion before you "
        "train on them."
    )
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="a data set's folder, with metadata.csv and images/"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the class folders go")
    parser.add_argument("--link", action="store_true", help="symbolic links instead of copies")


def run(options: argparse.Namespace) -> int:
    made = plan(options.data, options.out, options.link)
    for source, target in tqdm(made.todo, unit="image", disable=None):
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as partial:
            if options.link:
                partial.unlink(missing_ok=True)
                partial.symlink_to(source.resolve())
            else:
                shutil.copy2(source, partial)
    print(f"{len(made.todo):,} images sorted into {options.out}, {len(made.done):,} were there already.")
    if len(made.missing):
        options.out.mkdir(parents=True, exist_ok=True)
        made.missing.to_csv(options.out / MISSING, index=False)
        raise DataError(
            f"{len(made.missing):,} images of the table are not in {options.data / 'images'}; {options.out / MISSING} "
            "lists them. Fetch them and run the same command again."
        )
    (options.out / MISSING).unlink(missing_ok=True)
    return 0


def plan(data: Path, out: Path, link: bool) -> Plan:
    """Where every image of the table goes. DataError, before anything is written, where the table cannot be used or a
    file that is not that image is in the way."""
    table = read(data / FILE)
    images = data / "images"
    if out.resolve() == data.resolve() or out.resolve().is_relative_to(images.resolve()):
        raise DataError(f"{out} holds the data set itself; name another folder with --out.")
    files = files_in(data, (images.name,))
    pairs = [
        (files[image], out / code / files[image].name)
        for image, code in zip(table["image"], table["class"], strict=True)
        if image in files
    ]
    there = [pair for pair in pairs if pair[1].exists() or pair[1].is_symlink()]
    for source, target in there:
        if not _same(source, target, link):
            kind = "a link to" if link else "a copy of"
            raise DataError(
                f"{target} is there and is not {kind} {source}. Nothing was changed; name another folder with --out."
            )
    return Plan(
        todo=[pair for pair in pairs if pair not in set(there)], done=there, missing=table[~table["image"].isin(files)]
    )


def read(file: Path) -> pd.DataFrame:
    """`image` and `class` of every row of a published table; DataError where it has none, or none fit for a folder."""
    table = tables.read_file(file)
    known = [dataset.columns for dataset in DATASETS.values() if dataset.columns]
    columns = next((each for each in known if {each["image"], each["diagnosis"]} <= set(table.columns)), None)
    if columns is None:
        wanted = " or ".join(f"{each['image']} and {each['diagnosis']}" for each in known)
        raise DataError(f"{file.name} lacks the columns {wanted}; it has {', '.join(table.columns)}.")
    ids = table[columns["image"]].map(lambda name: re.sub(r"\.\w+$", "", name))
    if ids.duplicated().any():
        raise DataError(f"{file.name} lists an image twice: {ids[ids.duplicated()].iloc[0]}.")
    classes = pd.DataFrame({"image": ids, "class": table[columns["diagnosis"]]})
    odd = classes[~classes["class"].str.fullmatch(r"\w[\w .-]*")]
    if len(odd):
        raise DataError(
            f"{file.name} gives {odd['image'].iloc[0]} the class '{odd['class'].iloc[0]}', which cannot name a folder."
        )
    return classes


def _same(source: Path, target: Path, link: bool) -> bool:
    if link or target.is_symlink():
        return link and target.is_symlink() and target.resolve() == source.resolve()
    return target.is_file() and filecmp.cmp(source, target)
