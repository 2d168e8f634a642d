"""`python -m skinapp models`: the models."""

import argparse
import json
import sys
from typing import TYPE_CHECKING

from skinapp.inference import registry

if TYPE_CHECKING:
    from skinapp.commands import Commands


def add(commands: "Commands") -> None:
    parser = commands.add_parser("models", help="list the models")
    parser.add_argument("--json", action="store_true", help="print every model.json as one JSON list")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from skinapp.evaluation.bootstrap import Interval
    from skinapp.inference import modality

    models = registry.models()
    if options.json:
        print(json.dumps([model.card for model in models.values()], indent=2))
    else:
        for model in models.values():
            figure = f"balanced accuracy {Interval(**model.card['scores']['balanced_accuracy']).text()}"
            images = f"n = {model.card['test']['images']:,}"
            print(f"{model.id}  {model.title}; {modality.IMAGES[model.modality]}; {figure}, {images}")
    if not models:
        raise registry.no_models()
    for problem in registry.problems().values():
        print(problem, file=sys.stderr)
    return 0
