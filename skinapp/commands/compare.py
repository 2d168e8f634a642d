"""`python -m skinapp compare`: models on the same test images."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from skinapp.errors import DataError, ModelError
from skinapp.inference import registry

if TYPE_CHECKING:
    from skinapp.commands import Commands


def add(commands: "Commands") -> None:
    parser = commands.add_parser("compare", help="compare models on the test images they share")
    parser.add_argument("first", metavar="A", help="a model id, or a predictions file (.csv)")
    parser.add_argument("others", nargs="+", metavar="B", help="one or more others to compare it with")
    parser.add_argument(
        "--test", metavar="DATASET", help="the test images, such as milk10k (default: the models' own test images)"
    )
    parser.add_argument(
        "--find", metavar="CLASS", help="what to find: the code of a class, cancer or cancer-or-pre-cancer"
    )
    parser.add_argument(
        "--sensitivity",
        type=float,
        default=0.95,
        metavar="SHARE",
        help="the share of the class in --find that each model is set to find (default: %(default)s)",
    )
    parser.add_argument(
        "--prevalence",
        type=float,
        default=0.05,
        metavar="SHARE",
        help="the share of the people examined who have that condition (default: %(default)s)",
    )
    parser.add_argument(
        "--coverage",
        type=float,
        default=0.95,
        metavar="SHARE",
        help="the coverage at which prediction sets are measured (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print every statistic as one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from skinapp.evaluation import comparison, conformal, operating_points, predictions, summary
    from skinapp.report import operating_point_views

    for name in ("sensitivity", "prevalence"):
        if not 0 < (value := getattr(options, name)) < 1:
            raise DataError(f"--{name} must be above 0 and below 1, such as 0.95 for 95%, not {value:g}.")
    shipped, left_out = predictions.shipped()
    chosen: dict[str, predictions.Predictions] = {}
    for name in (options.first, *options.others):
        if name in chosen:
            raise ModelError(f"'{name}' is named twice; choose different models.")
        if name.endswith(".csv"):
            chosen[name] = predictions.own(_content(Path(name)), name, name, list(shipped.values()))
        elif name in left_out:
            raise ModelError(left_out[name])
        else:
            chosen[name] = shipped[registry.model(name).id]
    models = list(chosen.values())
    question = comparison.questions(models)[0]
    target = comparison.target(models, question, options.find, options.test) if options.find else None
    shared = comparison.share(models, question, options.test, target)
    compared = summary.summary(shared)
    weights = shared.weights()
    thresholds = operating_points.for_sensitivity(shared, chosen, options.sensitivity, options.test)
    points = {
        name: operating_points.operating_point(shared, weights, name, thresholds[name], options.prevalence)
        for name in shared.ids
    }
    aim = operating_point_views.aim(shared.target, options.sensitivity)
    for pair in compared["pairs"]:
        first, second = pair["first"], pair["second"]
        names = {first: first, second: second}
        apart = operating_points.difference(shared, weights, first, second, thresholds, options.prevalence)
        of_pair = {name: points[name] for name in names}
        pair["answer"] = operating_point_views.answer(of_pair, apart, shared.target, names, aim)
        pair["answer"].append(operating_point_views.source({name: thresholds[name] for name in names}, names))
    sets = [one for model in models for one in conformal.on_every_test_set(model, options.coverage)]
    if options.json:
        print(json.dumps(compared | {"prediction_sets": [conformal.in_json(one) for one in sets]}, indent=2))
    else:
        print("\n".join([*summary.lines(compared), *(line for one in sets for line in conformal.lines(one))]))
    return 0


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"The file {path} cannot be read ({error.strerror}).") from None
