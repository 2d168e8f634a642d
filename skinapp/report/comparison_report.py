"""A complete comparison as the sections of a report."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from skinapp.evaluation import bootstrap, conformal, curves, error_analysis, operating_points, pairs, subgroups
from skinapp.evaluation.bootstrap import MIN_GROUPS
from skinapp.evaluation.comparison import CLASSES, Shared
from skinapp.evaluation.external import Result
from skinapp.evaluation.measures import Draws, named, scores
from skinapp.evaluation.operating_points import Threshold
from skinapp.evaluation.predictions import Predictions
from skinapp.inference.conformal import COVERAGE
from skinapp.report import (
    calibration_views,
    comparison_views,
    conformal_views,
    error_views,
    operating_point_views,
    training_views,
)
from skinapp.report.comparison_views import Names
from skinapp.report.document import Block, Section
from skinapp.report.operating_point_views import CURVES

CAUTION = (
    "For research and learning only. These results come from test images, whose mix of people and diagnoses differs "
    "from a clinic's. They do not show how well a model would do there."
)


def sections(
    shared: Shared,
    weights: np.ndarray,
    draws: Draws,
    known: dict[str, Predictions],
    published: pd.DataFrame,
    pair: list[str],
    thresholds: dict[str, Threshold],
    prevalence: float,
    aim: str,
    tested: Sequence[Result],
    names: Names,
) -> list[Section]:
    """Everything that the compare page shows of these models, at these thresholds and this prevalence. `aim` begins the
    sentence on what the models detect, and `tested` are their scores on every test set."""
    target = shared.target
    of_target = int(shared.positive.sum())
    board = comparison_views.scoreboard(shared, draws, published, names)
    shown = comparison_views.wide(board)
    shown = shown.rename(columns={name: measure.name for name, measure in named(target).items()})
    points = {
        name: operating_points.operating_point(shared, weights, name, thresholds[name], prevalence)
        for name in shared.ids
    }
    of_pair = {name: points[name] for name in pair}
    apart = (
        operating_points.difference(shared, weights, pair[0], pair[1], thresholds, prevalence)
        if len(pair) == 2
        else None
    )
    parts = [
        Section(
            "What was compared",
            [
                f"{', '.join(names[name] for name in shared.ids)} on the {len(shared.images):,} images of "
                f"{bootstrap.count(shared.groups):,} lesions or patients that all of them have predictions for; "
                f"{of_target:,} are {target.many} ({of_target / len(shared.images):.0%}).",
                f"95% percentile intervals are from {bootstrap.RESAMPLES:,} bootstrap resamples of whole lesions or "
                "patients, the same resamples for every model. A score based on fewer than "
                f"{MIN_GROUPS} lesions or patients has no interval.",
                *(f"{names[name]}: {_protocol(known[name])}" for name in shared.ids),
                *(f"Published figures: {protocol}" for protocol in dict.fromkeys(published["protocol"])),
            ],
        ),
        Section(
            f"Finding {target.many}",
            [
                *operating_point_views.answer(of_pair, apart, target, names, aim),
                operating_point_views.source(thresholds, names),
            ],
        ),
        Section(
            "Scores",
            [
                shown,
                *(
                    comparison_views.leaderboard(board, score, target, shared.ids, names)
                    for score in draws.by_model[shared.ids[0]]
                ),
                comparison_views.test_sets(tested, names),
            ],
        ),
    ]
    if len(pair) == 2:
        first, second = pair
        against = comparison_views.against_published((known[name].model for name in pair), names)
        parts.append(
            Section(
                f"{names[first]} (A) and {names[second]} (B)",
                [
                    comparison_views.paired(shared, draws, first, second, names),
                    comparison_views.tests(pairs.pairwise(shared), target, names),
                    *([] if published.empty or against.empty else [against]),
                ],
            )
        )
    curve_charts = [
        operating_point_views.curve(
            shared,
            {name: curves.curve(shared, weights, name, kind) for name in shared.ids},
            kind,
            thresholds,
            names,
        )
        for kind in CURVES
    ]
    parts.append(
        Section(
            "Operating point",
            [
                f"Predictive values and counts assume that {prevalence:.1%} of the people examined have "
                f"{operating_point_views.article(target)}.",
                operating_point_views.table_of(points, names, target, apart if len(points) == 2 else None),
                *(operating_point_views.outcomes(points[name], names[name], target) for name in pair),
                *curve_charts,
            ],
        )
    )
    parts.append(
        Section(
            "Calibration",
            [
                calibration_views.reliability(shared, weights, known, pair, names, of_target)
                for of_target in (True, False)
            ],
        )
    )
    for name in pair:
        if tests := conformal.on_every_test_set(known[name], COVERAGE):
            title = f"Prediction sets of {names[name]}, for {COVERAGE:.0%} coverage"
            parts.append(Section(title, conformal_views.blocks(tests, known[name].labels, names)))
    if shared.question == CLASSES:
        table = error_analysis.error_rates(shared, weights)
        blocks: list[Block] = [error_views.confusion(shared, name, names) for name in pair]
        blocks += [error_views.error_rates(shared, table, name, names) for name in pair]
        parts.append(Section("Confusion matrix and error rate by class", blocks))
    facts = subgroups.with_skin(shared)
    at = {name: threshold.value for name, threshold in thresholds.items()}
    for column in subgroups.columns(facts):
        values = subgroups.values(facts, column)
        blocks = []
        for score in (subgroups.SENSITIVITY, subgroups.SPECIFICITY, next(iter(scores(shared)))):
            table = subgroups.by_subgroup(shared, weights, values, score, pair, at)
            blocks.append(error_views.gap_words(table, score, names))
            blocks.append(error_views.by_subgroup(table, column, score, target, shared.ids, names))
        parts.append(Section(f"Subgroups: {subgroups.SUBGROUPS[column].lower()}", blocks))
    trained = {name: model for name in shared.ids if (model := known[name].model)}
    return parts + [
        Section(f"How {names[name]} was trained", training_views.blocks(model, names[name]))
        for name, model in trained.items()
    ]


def _protocol(predictions: Predictions) -> str:
    return predictions.model.card["training"]["protocol"] if predictions.model else "an uploaded file."
