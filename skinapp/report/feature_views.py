"""A features model's measurements of a lesion, and the contribution of each feature to a class."""

import numpy as np
import pandas as pd

from skinapp.charts import contributions as charts
from skinapp.inference import runtime
from skinapp.inference.runtime import Prediction
from skinapp.lesion import features
from skinapp.report.document import Chart

SHOWN = 8
"""The number of features with a separate bar."""
START = "Start: the mean of the training images"
READING = (
    "Each bar shows what one measured feature added to the class's score: bars to the right counted towards the class, "
    "bars to the left against it. They show how the model reached its answer, not whether it is medically sound."
)


def table(prediction: Prediction, code: str) -> pd.DataFrame:
    """One row per feature, the largest contribution first: `feature`, its title, its group, its value (NaN where
    missing), and its `contribution` to the logit of a class; the last row, with the title "Start", is the mean logit.
    Contributions are before calibration and add up to the logit.

    ModelError for a prediction of a network.
    """
    explained = runtime.classifier(prediction.model).contributions(prediction)
    index = prediction.model.labels.codes.index(code)
    assert prediction.measured
    values = dict(zip(prediction.measured.names, prediction.measured.values, strict=True))
    groups = {name: group for group, titles in features.GROUPS.items() for name in titles}
    frame = pd.DataFrame(
        {
            "feature": explained.names,
            "title": [features.TITLES[name] for name in explained.names],
            "group": [groups[name] for name in explained.names],
            "value": [values[name] for name in explained.names],
            "contribution": explained.added[:, index],
        }
    )
    frame = frame.sort_values("contribution", key=np.abs, ascending=False, kind="stable")
    start = pd.DataFrame([{"feature": "start", "title": START, "contribution": explained.base[index]}])
    return pd.concat([frame, start], ignore_index=True)


def chart(prediction: Prediction, code: str) -> Chart:
    """The largest contributions to a class as bars, with the others merged into one bar. Errors as `table`."""
    frame = table(prediction, code)
    measured = frame[frame["feature"] != "start"]
    first, others = measured.head(SHOWN), measured.iloc[SHOWN:]
    shown = pd.DataFrame(
        {
            "title": [*first["title"], f"The {len(others)} other features"],
            "shown": [*map(value_text, first["value"]), ""],
            "contribution": [*first["contribution"], others["contribution"].sum()],
        }
    )
    words = "; ".join(
        f"{row['title']} {row['shown']} {row['contribution']:+.2f}".replace("  ", " ")
        for row in shown.to_dict("records")
    )
    name = prediction.model.labels[code].name
    return Chart(charts.bars(shown), frame, f"What counted towards (+) or against (-) {name}: {words}.")


def sentence(prediction: Prediction, code: str, count: int = 3) -> str:
    """A sentence on the features that counted most towards a class and against it. Errors as `table`."""
    frame = table(prediction, code)
    frame = frame[frame["feature"] != "start"]
    sides = []
    for words, part in (
        (f"towards {prediction.model.labels[code].spoken}", frame[frame["contribution"] > 0]),
        ("against it", frame[frame["contribution"] < 0]),
    ):
        listed = ", ".join(
            f"{_lower(row['title'])} {value_text(row['value'])} ({row['contribution']:+.2f})"
            for row in part.head(count).to_dict("records")
        )
        sides.append(f"{words}: {listed or 'nothing'}")
    return f"What counted most {'; '.join(sides)}."


def in_json(prediction: Prediction) -> dict[str, dict[str, float | None]]:
    """For each feature its value, None if it is missing, and what it added to the logit of the most likely class; the
    base value is listed as `start`."""
    frame = table(prediction, prediction.predicted)
    return {
        row["feature"]: {
            "value": None if np.isnan(row["value"]) else row["value"],
            "contribution": row["contribution"],
        }
        for row in frame.to_dict("records")
    }


def value_text(value: float) -> str:
    """A feature's value, or that it is missing."""
    return "missing" if np.isnan(value) else f"{value:.3g}"


def _lower(title: str) -> str:
    return title if title.startswith("Fourier") else title[0].lower() + title[1:]
