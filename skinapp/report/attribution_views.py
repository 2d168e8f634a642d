"""How far the answers of a model depend on border, colour and texture, as measured on test images."""

from typing import Any

import pandas as pd

from skinapp.attention.attribution import FEATURES
from skinapp.charts import performance
from skinapp.evaluation.bootstrap import Interval
from skinapp.report.document import Chart

CHANGES = {"lesion": "Removed from the lesion", "skin": "Same change to the skin"}


def effects(figures: dict[str, Any]) -> Chart:
    """How much the probability falls without each feature, and with the same change to the skin, from an entry of
    attribution.json."""
    rows = []
    for feature, name in FEATURES.items():
        for change, words in CHANGES.items():
            found = _points(figures["features"][feature][change])
            rows.append({"row": name, "series": words, "note": found.text(".1f"), **vars(found)})
    frame = pd.DataFrame(rows)
    listed = "; ".join(f"{row['row']}, {row['series'].lower()}: {row['note']}" for row in rows)
    return Chart(
        performance.forest(frame, "Probability lost, percentage points", list(CHANGES.values())),
        table(figures),
        f"Loss in the probability of the most likely class, in percentage points. {listed}",
    )


def table(figures: dict[str, Any]) -> pd.DataFrame:
    """Each feature with its figures, in percentage points."""
    return pd.DataFrame(
        [
            {"feature": name}
            | {
                f"{key}{end}": None if value is None else round(100 * value, 2)
                for key, figure in figures["features"][feature].items()
                for end, value in (("", figure["value"]), ("_low", figure["low"]), ("_high", figure["high"]))
            }
            for feature, name in FEATURES.items()
        ]
    )


def _points(figure: dict[str, Any]) -> Interval:
    low, high = ((float("nan") if figure[end] is None else 100 * figure[end]) for end in ("low", "high"))
    return Interval(100 * figure["value"], low, high)
