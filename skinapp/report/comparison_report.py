"""A whole comparison as the sections of a report."""

import numpy as np
import pandas as pd

from skinapp.errors import DataError
from skinapp.evaluation import comparison, error_analysis, operating_points
from skinapp.evaluation.comparison import CLASSES, MEASURES, Draws, Shared
from skinapp.evaluation.predictions import Predictions
from skinapp.inference.registry import Model
from skinapp.report import comparison_views
from skinapp.report.comparison_views import CURVES, Names
from skinapp.report.document import Block, Chart, Section

CAUTION = (
    "For research and learning only. The figures are of test images whose mix of people and diagnoses is not that of a "
    "clinic; they do not say how a model would do there."
)


def sections(
    shared: Shared,
    weights: np.ndarray,
    drawn: Draws,
    known: dict[str, Predictions],
    published: pd.DataFrame,
    pair: list[str],
    thresholds: dict[str, float],
    prevalence: float,
    names: Names,
) -> list[Section]:
    """Everything that the compare page shows of these models, at these thresholds and this prevalence."""
    malignant = int(shared.malignant.sum())
    board = comparison_views.scoreboard(shared, drawn, published, names)
    shown = comparison_views.wide(board).rename(columns={name: measure.name for name, measure in MEASURES.items()})
    parts = [
        Section(
            "What was compared",
            [
                f"{', '.join(names[name] for name in shared.ids)} on {len(shared.images):,} images of "
                f"{len(np.unique(shared.groups)):,} lesions or patients that all of them answered; {malignant:,} are "
                f"malignant ({malignant / len(shared.images):.0%}).",
                f"Intervals are 95%, percentile, from {comparison.RESAMPLES:,} bootstrap resamples of whole lesions or "
                "patients, the same resamples for every model.",
                *(f"{names[name]}: {_protocol(known[name])}" for name in shared.ids),
                *(f"Published figures: {protocol}" for protocol in dict.fromkeys(published["protocol"])),
            ],
        ),
        Section(
            "Leaderboard",
            [shown, *(comparison_views.leaderboard(board, score, names) for score in drawn.by_model[shared.ids[0]])],
        ),
    ]
    if len(pair) == 2:
        first, second = pair
        parts.append(
            Section(
                f"{names[first]} (A) and {names[second]} (B)",
                [
                    comparison.sentence(shared, weights, first, second, names),
                    comparison_views.paired(shared, drawn, first, second, names),
                    comparison_views.tests(comparison.pairwise(shared), names),
                ],
            )
        )
    points = {
        name: operating_points.operating_point(shared, weights, name, thresholds[name], prevalence)
        for name in shared.ids
    }
    curves = [
        comparison_views.curve(
            shared,
            {name: operating_points.curve(shared, weights, name, kind) for name in shared.ids},
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
                f"Predictive values and counts are for {prevalence:.1%} malignant among the people examined.",
                comparison_views.points(points, names),
                *(comparison_views.called(points[name], names[name]) for name in pair),
                *curves,
            ],
        )
    )
    parts.append(Section("Calibration", [calibration(shared, weights, known, pair, names)]))
    if shared.question == CLASSES:
        table = error_analysis.wrong_by_class(shared, weights)
        blocks: list[Block] = [comparison_views.confusion(shared, name, names) for name in pair]
        parts.append(
            Section("Classes", [*blocks, *(comparison_views.wrong(shared, table, name, names) for name in pair)])
        )
    score = next(iter(comparison.scores(shared.labels)))
    for fact in error_analysis.subgroup_names(shared):
        table = error_analysis.subgroups(shared, weights, fact, score, pair)
        blocks = [
            comparison_views.gap_words(table, score, names),
            comparison_views.subgroups(table, fact, score, names),
        ]
        parts.append(Section(f"Subgroups: {error_analysis.SUBGROUPS[fact].lower()}", blocks))
    trained = {name: model for name in shared.ids if (model := known[name].model)}
    return parts + [
        Section(f"How {names[name]} was trained", training(model, names[name])) for name, model in trained.items()
    ]


def calibration(
    shared: Shared, weights: np.ndarray, known: dict[str, Predictions], pair: list[str], names: Names
) -> Chart:
    """Reliability of the pair, before the temperature too where one temperature was fitted on validation images."""
    after = {name: shared.probabilities[name] for name in pair}
    before = {}
    for name in pair:
        model = known[name].model
        # with cross-validation every part has a temperature of its own, which the card does not give
        fitted = model and model.temperature != 1 and "validation" in model.card["training"]["images"]
        if shared.question == CLASSES and model and fitted:
            before[name] = operating_points.raw(after[name], model.temperature)
    errors = {names[name]: rows for name, rows in after.items()}
    errors |= {comparison_views.before_words(names[name]): rows for name, rows in before.items()}
    return comparison_views.reliability(
        shared,
        {name: operating_points.reliability(shared, weights, rows) for name, rows in after.items()},
        {name: operating_points.reliability(shared, weights, rows) for name, rows in before.items()},
        {title: comparison.calibration_error(shared, weights, rows) for title, rows in errors.items()},
        names,
    )


def _protocol(predictions: Predictions) -> str:
    return predictions.model.card["training"]["protocol"] if predictions.model else "a file from elsewhere."


def training(model: Model, name: str) -> list[Block]:
    """How the losses went, and the figures under other protocols where there are any."""
    try:
        blocks: list[Block] = [comparison_views.training(error_analysis.history(model), name)]
    except DataError as error:
        blocks = [str(error)]
    table = error_analysis.protocols(model)
    if table["test"].nunique() >= 2:
        blocks += [
            f"{test}: {protocol}" for test, protocol in table.groupby("test", sort=False)["protocol"].first().items()
        ]
        blocks.append(comparison_views.protocols(table, name))
    return blocks
