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
    shared: Shared, weights: np.ndarray, known: dict[str, Predictions], models: list[str], names: Names
) -> Chart:
    """Reliability of some models, before calibration too where one temperature was fitted on validation images."""
    shown: dict[str, tuple[int, np.ndarray]] = {}
    uncalibrated: set[str] = set()
    for name in models:
        number, rows = shared.ids.index(name), shared.probabilities[name]
        shown[names[name]] = (number, rows)
        model = known[name].model
        # with cross-validation every part has a temperature of its own, which the card does not give
        fitted = model and model.temperature != 1 and "validation" in model.card["training"]["images"]
        if shared.question == CLASSES and model and fitted:
            title = f"{names[name]}, before calibration"
            shown[title] = (number, calibration.before_temperature(rows, model.temperature))
            uncalibrated.add(title)
    tables = {
        title: calibration.reliability_intervals(shared.truth, rows, shared.groups, weights)
        for title, (_, rows) in shown.items()
    }
    errors = {
        title: calibration.error_interval(shared.truth, rows, shared.groups, weights)
        for title, (_, rows) in shown.items()
    }
    return Chart(
        performance.reliability(tables, {title: number for title, (number, _) in shown.items()}, uncalibrated),
        pd.concat([table.assign(model=title) for title, table in tables.items()], ignore_index=True),
        "Accuracy over confidence. Calibration error (ECE): "
        + listed(errors, [error.text() for error in errors.values()]),
    )
