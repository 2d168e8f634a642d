"""python -m train download | prepare | fit | evaluate | export | compare-published | audit | doctor"""

import argparse
import importlib
import sys
from pathlib import Path

from skinapp.errors import SkinappError

RUNS = {
    "prepare": "decode the data set once into a memory-mapped cache",
    "fit": "train; run it again to resume after the last finished epoch",
    "evaluate": "fit the temperature on validation, predict and score the test images",
    "export": "write models/<id>/, checked against its schema and against LiteRT",
}
"""The commands that work on the run of one configuration."""

TOOLS = {
    "download": ("train.download", "fetch a data set, or images by id, from the publisher"),
    "compare-published": ("train.compare_published", "published models and one of ours on the same images"),
    "audit": ("train.audit", "look for shared lesions, duplicates and drift in a data set and its split"),
    "doctor": ("train.doctor", "check what training and the app need, and say how to fix what is missing"),
}
"""The commands with modules of their own."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0, or 2 with a sentence on standard error where it cannot be done."""
    options = parse(arguments)
    try:
        return options.run(options)
    except SkinappError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped. What is finished is kept; run the same command again to go on.", file=sys.stderr)
        return 130


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m train",
        description="Train a model and put it into models/: download, prepare, fit, evaluate, export, in this order.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, text in RUNS.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--config", type=Path, required=True, help="a file of train/configs")
        command.add_argument("--runs", type=Path, default=Path("runs"), help="caches and checkpoints (default: runs)")
        command.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="settings that override the file's")
        if name == "fit":
            command.add_argument(
                "--devices", type=int, default=1, metavar="N", help="GPUs to share a batch; default: 1"
            )
        if name == "export":
            command.add_argument("--models", type=Path, default=Path("models"), help="default: models")
        command.set_defaults(run=run, command=name)
    for name, (module, text) in TOOLS.items():
        tool = importlib.import_module(module)
        command = commands.add_parser(name, help=text, description=text)
        tool.add_arguments(command)
        command.set_defaults(run=tool.run)
    return parser.parse_args(arguments)


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

        print(fit(config, options.runs, options.devices))
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
