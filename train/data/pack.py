"""python -m train pack: a data set, or several, as one small file that `fit` reads directly."""

import argparse
from pathlib import Path

import pandas as pd

from skinapp.errors import DataError
from skinapp.images.imaging import MIN_SIDE
from train.data import packed
from train.data.datasets import READERS, data_root, sources

QUALITY = 85


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Write a data set, or several joined by +, as one file: images as WebP of one size, labels, lesions or "
        "patients, and splits. fit reads it with packed=FILE, on machines to which thousands of files cannot be sent. "
        "WebP loses some detail; --quality says how much. The images keep their licences."
    )
    parser.add_argument("dataset", metavar="DATASET", help="such as ham10000, or ham10000+milk10k+isic_more")
    parser.add_argument(
        "--size", type=int, default=224, metavar="PX", help="width and height of the images (default: %(default)s)"
    )
    parser.add_argument(
        "--quality", type=int, default=QUALITY, metavar="Q", help="WebP quality, 1 to 100 (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="the file to write (default: DATASET-PX.parquet)")


def run(options: argparse.Namespace) -> int:
    if options.size < MIN_SIDE:
        raise DataError(f"--size is {options.size}; it must be at least {MIN_SIDE}.")
    if not 1 <= options.quality <= 100:
        raise DataError(f"--quality is {options.quality}; it must be from 1 to 100.")
    chosen = sources(options.dataset)
    file = options.out or Path(f"{options.dataset}-{options.size}.parquet")
    if not file.absolute().parent.is_dir():
        raise DataError(f"There is no folder {file.parent}; create it, or name another file with --out.")
    table = pd.concat([READERS[one.id](data_root() / one.folder) for one in chosen], ignore_index=True)
    terms = {one.id: f"{one.attribution} {one.licence}." for one in chosen}
    packed.write(file, table, options.size, options.quality, terms)
    print(f"{file}: {len(table):,} images, {file.stat().st_size / 1e6:.1f} MB")
    for text in terms.values():
        print(text)
    return 0
