"""`python -m skinapp score`: any number of images."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from skinapp.commands import answer
from skinapp.errors import DataError
from skinapp.inference import registry

if TYPE_CHECKING:
    from skinapp.commands import Commands


def add(commands: "Commands") -> None:
    parser = commands.add_parser(
        "score",
        help="score any number of images: in a folder, in a table's `image` column, or listed on standard input",
        epilog="Models that use patient metadata read it from the table's columns of the same names, such as "
        "age and sex; an empty cell or a missing column means unknown. Images that fail are listed, with the reason, "
        "in <FILE>.failed.csv or FOLDER/failures. A manifest beside the predictions names the model and the libraries.",
    )
    parser.add_argument(
        "source",
        type=Path,
        metavar="SOURCE",
        help="a folder, a CSV, a Parquet file, or - for a list of paths on standard input",
    )
    parser.add_argument("--model", required=True, metavar="ID", help="the model to use")
    parser.add_argument(
        "--out",
        required=True,
        type=Path,
        metavar="FILE.csv|FOLDER",
        help="where to write the predictions, as a CSV or as a folder of Parquet files; run the same command again to "
        "resume",
    )
    parser.add_argument(
        "--shard",
        metavar="I/N",
        help="score only part I of N of the images, counting from 1, as one of N jobs that share the folder",
    )
    parser.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="where to run: on this machine, or on a Ray cluster, writing to a FOLDER (default: %(default)s)",
    )
    parser.add_argument(
        "--address",
        default="",
        metavar="HOST:PORT",
        help="with --engine ray: the cluster, or auto for the one that this machine belongs to (default: this machine)",
    )
    parser.add_argument("--coverage", type=float, metavar="SHARE", help=answer.COVERAGE_HELP)
    parser.add_argument(
        "--sets", action="store_true", help="add the sets of classes for every coverage that the model has"
    )
    parser.add_argument("--embeddings", action="store_true", help="add the embedding of every image (in a FOLDER)")
    parser.add_argument(
        "--cam",
        action="store_true",
        help="add the class map of the predicted class, whose positive part is Grad-CAM (in a FOLDER)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from skinapp.inference import conformal, runtime
    from skinapp.inference.cases import WHOLE, parse_shard
    from skinapp.inference.rows import Extras
    from skinapp.inference.scoring import score

    shard = parse_shard(options.shard) if options.shard else WHOLE
    if options.engine == "ray" and shard != WHOLE:
        raise DataError("--engine ray divides the images itself; leave out --shard.")
    if options.engine != "ray" and options.address:
        raise DataError("--address is for a Ray cluster; add --engine ray.")
    model = registry.model(options.model)
    runtime.check_one_image(model)
    coverages = conformal.stored(model) if options.sets else ()
    if options.coverage is not None and options.coverage not in coverages:
        coverages = (*coverages, options.coverage)
    with tqdm(unit="image", disable=None) as bar:

        def progress(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        extras = Extras(coverages, options.embeddings, options.cam)
        if options.engine == "ray":
            from skinapp.inference import cluster

            summary = cluster.score(options.source, model, options.out, options.address, progress, extras)
        else:
            summary = score(options.source, model, options.out, progress, extras, shard)
    if summary.missing_columns:
        names = ", ".join(summary.missing_columns)
        print(f"{options.source} has no column for {names}, which will count as unknown.", file=sys.stderr)
    if summary.repeated:
        print(f"Repeated rows in {options.source}: {summary.repeated:,}; each image was scored once.", file=sys.stderr)
    if summary.duplicates:
        print(f"Copies of other files, which get the same answer: {summary.duplicates:,}.", file=sys.stderr)
    print(f"{summary.scored:,} scored, {summary.skipped:,} already scored: {options.out}", file=sys.stderr)
    if summary.failed:
        print(f"{summary.failed:,} failed; see {summary.failures} for the reasons.", file=sys.stderr)
    return 0
