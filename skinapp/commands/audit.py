"""`python -m skinapp audit`: a table of images and its split."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from skinapp.commands import Commands


def add(commands: "Commands") -> None:
    parser = commands.add_parser(
        "audit",
        help="check a table of images and its split for problems that make test scores too optimistic",
        epilog="Exit code: 0 if no problems were found, 1 if any were, 2 if the table or the folder cannot be used.",
    )
    parser.add_argument(
        "table",
        type=Path,
        metavar="TABLE.csv",
        help="a CSV with one row per image: image, lesion, patient, diagnosis and part, where known; or a folder that "
        "`isic image download` made",
    )
    parser.add_argument(
        "--images", type=Path, metavar="DIR", help="also look for identical and nearly identical images in this folder"
    )
    parser.add_argument("--json", action="store_true", help="print the findings as one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from skinapp.datasets import audit

    table, images = options.table, options.images
    if table.is_dir():
        table, images = audit.folder_table(table), images or table
    result = audit.run(table, images)
    if options.json:
        findings = {"table": str(table), "problems": result.problems, "notes": result.notes}
        print(json.dumps(findings | result.summary, indent=2))
    else:
        print(audit.describe(str(table), result))
    return 1 if result.problems else 0
