"""python -m train prepare | fit | evaluate | export"""

import argparse
import sys
from pathlib import Path

from skinapp.errors import SkinappError


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0, or 2 with a sentence on standard error where it cannot be done."""
    parser = argparse.ArgumentParser(
        prog="python -m train",
        description="Train a model and put it into models/. The commands follow each other in the order listed.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in {
        "prepare": "decode the data set once into a memory-mapped cache",
        "fit": "train; run it again to resume after the last finished epoch",
        "evaluate": "fit the temperature on validation, predict and score the test images",
        "export": "write models/<id>/, checked against its schema and against LiteRT",
    }.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--config", type=Path, required=True, help="a file of train/configs")
        command.add_argument("--runs", type=Path, default=Path("runs"), help="caches and checkpoints (default: runs)")
        command.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="settings that override the file's")
        if name == "export":
            command.add_argument("--models", type=Path, default=Path("models"), help="default: models")
    options = parser.parse_args(arguments)
    try:
        return run(options)
    except SkinappError as error:
        print(error, file=sys.stderr)
        return 2


def run(options: argparse.Namespace) -> int:
    # Keras takes seconds to import, so only after the arguments are known to be good
    from train.config import load_config

    config = load_config(options.config, tuple(options.settings))
    if options.command == "prepare":
        from train.datasets import prepare

        data = prepare(config.dataset, config.cache_size, options.runs)
        print(f"{len(data.table):,} images, {len(set(data.table['group'])):,} lesions or patients")
    elif options.command == "fit":
        from train.fit import fit

        print(fit(config, options.runs))
    elif options.command == "evaluate":
        from train.evaluate import evaluate

        for name, score in evaluate(config, options.runs).items():
            print(f"{name:28} {score.value:.4f}  {score.low:.4f} to {score.high:.4f}")
    else:
        from train.export import export

        print(export(config, options.runs, options.models))
    return 0


if __name__ == "__main__":
    sys.exit(main())
