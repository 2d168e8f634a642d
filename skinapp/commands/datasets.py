"""`python -m skinapp datasets`: the data sets, and their descriptions."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from skinapp.commands import Commands


def add(commands: "Commands") -> None:
    parser = commands.add_parser("datasets", help="list the data sets")
    parser.add_argument(
        "--croissant",
        type=Path,
        metavar="DIR",
        help="write each data set's description to DIR in Croissant 1.0 (JSON-LD), with its table",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from skinapp.datasets.registry import DATASETS

    if options.croissant:
        from skinapp.demographics import croissant

        print(*croissant.write(options.croissant), sep="\n")
    else:
        for dataset in DATASETS.values():
            print(f"{dataset.id}  {dataset.name}; {dataset.published_images:,} images published; {dataset.credit}")
    return 0
