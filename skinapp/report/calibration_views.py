"""Calibration: reliability diagrams of some models, before and after their temperature."""

import numpy as np
import pandas as pd

from skinapp.charts import performance
from skinapp.evaluation import calibration
from skinapp.evaluation.comparison import CLASSES, Shared
from skinapp.evaluation.predictions import Predictions
from skinapp.report.comparison_views import Names, listed
from skinapp.report.document import Chart


def reliability(
    shared: Shared,
    weights: np.ndarray,
    known: dict[str, Predictions],
    models: list[str],
    names: Names,
    of_target: bool = False,
) -> Chart:
    """Reliability of some models' most likely class, or of the probability of the target; before calibration too where
    one temperature was fitted on validation images."""
    shown: dict[str, tuple[int, np.ndarray]] = {}
    uncalibrated: set[str] = set()
    for name in models:
        number, rows = shared.ids.index(name), shared.probabilities[name]
        shown[names[name]] = (number, rows)
        model = known[name].model
        # with cross-validation, every part has a different temperature, which the card does not state
        fitted = model and model.temperature != 1 and "validation" in model.card["training"]["images"]
        if shared.question == CLASSES and model and fitted:
            title = f"{names[name]}, before calibration"
            shown[title] = (number, calibration.before_temperature(rows, model.temperature))
            uncalibrated.add(title)
    events = {title: _event(shared, rows, of_target) for title, (_, rows) in shown.items()}
    tables = {
        title: calibration.reliability_intervals(*event, shared.groups, weights) for title, event in events.items()
    }
    errors = {title: calibration.gap_interval(*event, shared.groups, weights) for title, event in events.items()}
    axes = (f"Probability of {shared.target.spoken}", f"Share that are {shared.target.many}")
    return Chart(
        performance.reliability(
            tables,
            {title: number for title, (number, _) in shown.items()},
            uncalibrated,
            *(axes if of_target else ("Confidence in the most likely class", "Accuracy")),
        ),
        pd.concat([table.assign(model=title) for title, table in tables.items()], ignore_index=True),
        "Calibration error (ECE): " + listed(errors, [error.text() for error in errors.values()]),
    )


def _event(shared: Shared, probabilities: np.ndarray, of_target: bool) -> tuple[np.ndarray, np.ndarray]:
    """The probability [n] of an event, and whether it occurred, boolean [n]."""
    if not of_target:
        return calibration.most_likely(shared.truth, probabilities)
    columns = [shared.labels.codes.index(code) for code in shared.target.codes]
    return probabilities[:, columns].sum(axis=1).clip(0, 1), shared.positive
