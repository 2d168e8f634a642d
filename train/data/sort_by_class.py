"""python -m train sort-by-class: copy a data set into one folder per class, as image tutorials expect."""

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
    """What to copy: `todo` and `done` are pairs of source and target; `missing` lists images without a file."""

    todo: list[tuple[Path, Path]]
    done: list[tuple[Path, Path]]
    missing: pd.DataFrame


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Copy the images of a data set into one folder per class. Nothing is overwritten; run the same command again "
        "to continue. Such folders do not show which images belong to the same lesion: split by lesion before you "
        "train on them."
    )
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="a data set's folder, with metadata.csv and images/"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the class folders go")
    parser.add_argument("--link", action="store_true", help="make symbolic links instead of copies")


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
    print(f"{len(made.todo):,} images sorted into {options.out}, {len(made.done):,} were already there.")
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
    """Where every image of the table goes. Raises DataError before anything is written if the table cannot be used or
    another file is in the way."""
    table = read(data / FILE)
    images = data / "images"
    if out.resolve() == data.resolve() or out.resolve().is_relative_to(images.resolve()):
        raise DataError(f"{out} holds the data set itself; choose another folder with --out.")
    files = files_in(data, (images.name,))
    pairs = [
        (files[image], out / code / files[image].name)
        for image, code in zip(table["image"], table["class"], strict=True)
        if image in files
    ]
    existing = [pair for pair in pairs if pair[1].exists() or pair[1].is_symlink()]
    for source, target in existing:
        if not _same(source, target, link):
            kind = "a link to" if link else "a copy of"
            raise DataError(
                f"{target} exists and is not {kind} {source}. Nothing was changed; choose another folder with --out."
            )
    return Plan(
        todo=[pair for pair in pairs if pair not in set(existing)],
        done=existing,
        missing=table[~table["image"].isin(files)],
    )


def read(file: Path) -> pd.DataFrame:
    """`image` and `class` of every row of a published table. DataError if a column is missing, an image is listed
    twice, or a class cannot name a folder."""
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
    invalid = classes[~classes["class"].str.fullmatch(r"\w[\w .-]*")]
    if len(invalid):
        raise DataError(
            f"{file.name} gives {invalid['image'].iloc[0]} the class '{invalid['class'].iloc[0]}', which cannot name a "
            "folder."
        )
    return classes


def _same(source: Path, target: Path, link: bool) -> bool:
    if link or target.is_symlink():
        return link and target.is_symlink() and target.resolve() == source.resolve()
    return target.is_file() and filecmp.cmp(source, target)
