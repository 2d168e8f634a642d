"""Options that several commands have."""

import argparse
from pathlib import Path


def add_runs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--runs",
        type=Path,
        default=Path("runs"),
        metavar="DIR",
        help="the folder for decoded images, measurements and runs (default: %(default)s)",
    )


def add_models(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--models",
        type=Path,
        default=Path("models"),
        metavar="DIR",
        help="the folder of the app's models (default: %(default)s)",
    )


def add_figures(parser: argparse.ArgumentParser, figures: Path, table: str) -> None:
    """The file of the package that the app reads, and the page in `docs` that is written from it."""
    parser.add_argument(
        "--out",
        type=Path,
        default=figures,
        metavar="FILE.json",
        help="where to write the figures (default: the file in the package)",
    )
    parser.add_argument(
        "--table",
        type=Path,
        default=Path(table),
        metavar="FILE.md",
        help="where to write the tables (default: %(default)s)",
    )
