"""`python -m skinapp report`: all models and their data in one file."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from skinapp.commands import output
from skinapp.errors import ImageError
from skinapp.inference import registry

if TYPE_CHECKING:
    from skinapp.commands import Commands


def add(commands: "Commands") -> None:
    parser = commands.add_parser("report", help="write a report on all models and their data as one HTML file")
    parser.add_argument(
        "--out", required=True, type=Path, metavar="FILE.html", help="where to write the report; it opens offline"
    )
    parser.add_argument(
        "--images", nargs="+", type=Path, default=[], metavar="FILE", help="add attention maps of these images"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from skinapp.evaluation import predictions
    from skinapp.report import all_models, comparison_report, document

    output.check_page(options.out)
    known, left_out = predictions.shipped()
    for problem in left_out.values():
        print(problem, file=sys.stderr)
    if not known:
        raise registry.no_models()
    images, failed = all_models.read_images(options.images)
    for path, reason in failed.items():
        print(f"{path}: {reason}", file=sys.stderr)
    if failed and not images:
        raise ImageError(
            "None of the images can be read, so no report was written; name others, or leave out --images."
        )
    with tqdm(unit="model", disable=None) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        text = document.render(
            all_models.TITLE, all_models.sections(known, images, progress), comparison_report.CAUTION
        )
    output.write_page(options.out, text)
    print(options.out)
    return 2 if failed else 0
