"""The contribution of each feature to a class, as diverging bars."""

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from skinapp.charts.performance import GREY
from skinapp.charts.style import INK, annotate

ROW_HEIGHT = 40
"""Pixels for one bar and the words above it."""
FOR, AGAINST = "#AA3377", "#4477AA"


def bars(frame: pd.DataFrame) -> go.Figure:
    """A frame with `title`, `shown` (the value in words) and `contribution` -> horizontal bars in its order, to the
    right where a feature counts towards the class and to the left where it counts against it.

    Name and value are above each bar, where they fit on a phone.
    """
    rows = list(range(len(frame)))
    largest = max(frame["contribution"].abs().max(), 1e-9)
    figure = go.Figure(
        go.Bar(
            x=frame["contribution"],
            y=rows,
            orientation="h",
            width=0.3,
            marker={"color": [FOR if value > 0 else AGAINST for value in frame["contribution"]], "cornerradius": 3},
            customdata=frame[["title", "shown"]],
            hovertemplate="%{customdata[0]} %{customdata[1]}: %{x:+.2f}<extra></extra>",
            showlegend=False,
        )
    )
    above: dict[str, Any] = {"yshift": 15, "font": {"size": 13, "color": INK}}
    texts: list[dict[str, Any]] = []
    for row, title, shown, value in zip(rows, frame["title"], frame["shown"], frame["contribution"], strict=True):
        words = f"{title}: {shown}" if shown else title
        texts.append(above | {"x": -largest, "xanchor": "left", "y": row, "text": words})
        texts.append(above | {"x": largest, "xanchor": "right", "y": row, "text": f"{value:+.2f}"})
    annotate(figure, texts)
    figure.add_vline(0, line={"color": GREY, "width": 1})
    figure.update_layout(
        overwrite=True,
        height=ROW_HEIGHT * len(rows) + 34,
        # room above the bars for the chart's camera, which a phone always shows
        margin={"l": 0, "r": 0, "t": 28, "b": 6},
        xaxis={"range": [-largest, largest], "visible": False, "fixedrange": True},
        yaxis={"range": [len(rows) - 0.6, -0.75], "visible": False, "fixedrange": True},
        plot_bgcolor="rgba(0,0,0,0)",
        paper_bgcolor="rgba(0,0,0,0)",
    )
    return figure
