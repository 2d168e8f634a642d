"""A whole comparison as the sections of a report."""

import numpy as np
import pandas as pd

from skinapp.evaluation import bootstrap, conformal, curves, error_analysis, operating_points, pairs, subgroups
from skinapp.evaluation.bootstrap import FEWEST_GROUPS
from skinapp.evaluation.comparison import CLASSES, Shared
from skinapp.evaluation.measures import MEASURES, Draws, scores
from skinapp.evaluation.predictions import Predictions
from skinapp.report import (
    calibration_views,
    comparison_views,
    conformal_views,
    error_views,
    operating_point_views,
    training_views,
)
from skinapp.report.case_report import COVERAGE
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
    thresholds: dict[str, float],
    prevalence: float,
    names: Names,
) -> list[Section]:
    """Everything that the compare page shows of these models, at these thresholds and this prevalence."""
    malignant = int(shared.malignant.sum())
    board = comparison_views.scoreboard(shared, draws, published, names)
    shown = comparison_views.wide(board).rename(columns={name: measure.name for name, measure in MEASURES.items()})
    parts = [
        Section(
            "What was compared",
            [
                f"{', '.join(names[name] for name in shared.ids)} on the {len(shared.images):,} images of "
                f"{bootstrap.count(shared.groups):,} lesions or patients that all of them have predictions for; "
                f"{malignant:,} are malignant ({malignant / len(shared.images):.0%}).",
                f"95% percentile intervals are from {bootstrap.RESAMPLES:,} bootstrap resamples of whole lesions or "
                "patients, the same resamples for every model. A score based on fewer than "
                f"{FEWEST_GROUPS} lesions or patients has no interval.",
                *(f"{names[name]}: {_protocol(known[name])}" for name in shared.ids),
                *(f"Published figures: {protocol}" for protocol in dict.fromkeys(published["protocol"])),
            ],
        ),
        Section(
            "Leaderboard",
            [shown, *(comparison_views.leaderboard(board, score, names) for score in draws.by_model[shared.ids[0]])],
        ),
    ]
    if len(pair) == 2:
        first, second = pair
        parts.append(
            Section(
                f"{names[first]} (A) and {names[second]} (B)",
                [
                    pairs.sentence(shared, weights, first, second, names),
                    comparison_views.paired(shared, draws, first, second, names),
                    comparison_views.tests(pairs.pairwise(shared), names),
                ],
            )
        )
    points = {
        name: operating_points.operating_point(shared, weights, name, thresholds[name], prevalence)
        for name in shared.ids
    }
    curve_charts = [
        operating_point_views.curve(
            shared,
            {name: curves.curve(shared, weights, name, kind) for name in shared.ids},
            kind,
            None,
            thresholds,
            names,
        )
        for kind in CURVES
    ]
    parts.append(
        Section(
            "Operating point",
            [
                f"Predictive values and counts assume that {prevalence:.1%} of the people examined have a malignant "
                "lesion.",
                operating_point_views.table_of(points, names),
                *(operating_point_views.confusion(points[name], names[name]) for name in pair),
                *curve_charts,
            ],
        )
    )
    parts.append(Section("Calibration", [calibration_views.reliability(shared, weights, known, pair, names)]))
    for name in pair:
        if tests := conformal.on_every_test_set(known[name], COVERAGE):
            title = f"Prediction sets of {names[name]}, for {COVERAGE:.0%} coverage"
            parts.append(Section(title, conformal_views.blocks(tests, known[name].labels, names)))
    if shared.question == CLASSES:
        table = error_analysis.error_rates(shared, weights)
        blocks: list[Block] = [error_views.confusion(shared, name, names) for name in pair]
        blocks += [error_views.error_rates(shared, table, name, names) for name in pair]
        parts.append(Section("Confusion matrix and error rate by class", blocks))
    score = next(iter(scores(shared.labels)))
    for column in subgroups.columns(shared):
        table = subgroups.by_subgroup(shared, weights, column, score, pair)
        blocks = [error_views.gap_words(table, score, names), error_views.by_subgroup(table, column, score, names)]
        parts.append(Section(f"Subgroups: {subgroups.SUBGROUPS[column].lower()}", blocks))
    trained = {name: model for name in shared.ids if (model := known[name].model)}
    return parts + [
        Section(f"How {names[name]} was trained", training_views.blocks(model, names[name]))
        for name, model in trained.items()
    ]


def _protocol(predictions: Predictions) -> str:
    return predictions.model.card["training"]["protocol"] if predictions.model else "an uploaded file."
