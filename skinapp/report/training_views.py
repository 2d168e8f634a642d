"""How a model was trained: losses over epochs, and its scores under several protocols."""

import pandas as pd

from skinapp.charts import performance
from skinapp.errors import DataError
from skinapp.evaluation import training_history
from skinapp.evaluation.measures import MEASURES
from skinapp.inference.registry import Model
from skinapp.report.comparison_views import interval_of, listed
from skinapp.report.document import Block, Chart


def history(table: pd.DataFrame, name: str) -> Chart:
    """A `training_history.history` table as curves."""
    chosen = sorted(table.loc[table["chosen"], "epoch"].unique())
    several = len(chosen) > 1
    words = f"; {'epochs' if several else 'epoch'} {', '.join(map(str, chosen))} {'were' if several else 'was'} chosen"
    choice = words if chosen else ""
    return Chart(
        performance.training(table),
        table,
        f"Losses and accuracies of {name} over {table['epoch'].max()} epochs{choice}",
    )


def protocols(table: pd.DataFrame, name: str) -> Chart:
    """A `training_history.protocols` table: the same network under several protocols."""
    order = list(dict.fromkeys(table["test"]))
    frame = table.assign(
        row=[MEASURES[score].name for score in table["score"]],
        series=table["test"],
        note=[interval_of(row).text(".2f") for _, row in table.iterrows()],
    )
    frame = frame.sort_values("score", key=lambda column: column.map(list(MEASURES).index), kind="stable")
    rows = [f"{row}, {series}" for row, series in zip(frame["row"], frame["series"], strict=True)]
    return Chart(
        performance.forest(frame, "Score, with 95% interval", order),
        table,
        f"{name} under {len(order)} protocols: " + listed(rows, frame["note"]),
    )


def blocks(model: Model, name: str) -> list[Block]:
    """The losses over epochs, and the scores under other protocols if there are any."""
    try:
        parts: list[Block] = [history(training_history.history(model), name)]
    except DataError as error:
        parts = [str(error)]
    table = training_history.protocols(model)
    if table["test"].nunique() >= 2:
        parts += [
            f"{test}: {protocol}" for test, protocol in table.groupby("test", sort=False)["protocol"].first().items()
        ]
        parts.append(protocols(table, name))
    return parts
