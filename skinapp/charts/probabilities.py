"""The probabilities of a prediction, as a table and as bars."""

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from skinapp.charts.style import INK, annotate, class_colour
from skinapp.formatting import percent
from skinapp.inference import analysis
from skinapp.inference.runtime import Prediction

ROW_HEIGHT = 46
"""Pixels for one bar and the words above it."""


def probability_frame(prediction: Prediction) -> pd.DataFrame:
    """One row per class, most probable first: code, class, kind ("cancer", "pre-cancer", "harmless", or those of them
    that the class does not tell apart), malignant (bool), probability (0-1, summing to 1)."""
    labels = prediction.model.labels.labels
    kinds = analysis.kinds(prediction.model)
    frame = pd.DataFrame(
        {
            "code": [label.code for label in labels],
            "class": [label.name for label in labels],
            "kind": [" or ".join(kinds[label.code]) for label in labels],
            "malignant": [label.malignant for label in labels],
            "probability": prediction.probabilities,
        }
    )
    return frame.sort_values("probability", ascending=False, kind="stable", ignore_index=True)


def probability_bars(frame: pd.DataFrame) -> go.Figure:
    """A `probability_frame` -> horizontal bars in its order, from 0 to 100%.

    Class and probability are above each bar, where they fit on a phone; hatching and a word, not the colour alone,
    distinguish cancers and pre-cancers from the rest.
    """
    rows = list(range(len(frame)))
    texts: list[dict[str, Any]] = []
    figure = go.Figure(
        go.Bar(
            x=frame["probability"],
            y=rows,
            orientation="h",
            width=0.3,
            marker={
                "color": [class_colour(code) for code in frame["code"]],
                "cornerradius": 3,
                "pattern": {
                    "shape": ["" if "harmless" in kind else "/" for kind in frame["kind"]],
                    "fillmode": "overlay",
                    "fgcolor": "white",
                    "fgopacity": 0.75,
                    "size": 6,
                    "solidity": 0.35,
                },
            },
            customdata=frame["class"],
            hovertemplate="%{customdata}: %{x:.1%}<extra></extra>",
            showlegend=False,
        )
    )
    above = {"yshift": 17, "font": {"size": 14, "color": INK}}
    for row, name, kind, share in zip(rows, frame["class"], frame["kind"], frame["probability"], strict=True):
        words = name if kind == "harmless" else f"{name} · {kind}"
        texts.append(above | {"x": 0, "xanchor": "left", "y": row, "text": words})
        texts.append(above | {"x": 1, "xanchor": "right", "y": row, "text": percent(share)})
    annotate(figure, texts)
    # a pale track behind each bar, so that a share is read against the whole without an axis
    figure.add_bar(
        x=[1.0] * len(rows),
        y=rows,
        orientation="h",
        width=0.3,
        marker={"color": "rgba(128, 128, 128, 0.14)", "cornerradius": 3},
        hoverinfo="skip",
        showlegend=False,
        zorder=-1,
    )
    figure.update_layout(
        overwrite=True,
        barmode="overlay",
        height=ROW_HEIGHT * len(rows) + 34,
        # room above the bars for the chart's camera, which a phone always shows
        margin={"l": 0, "r": 0, "t": 28, "b": 6},
        xaxis={"range": [0, 1], "visible": False, "fixedrange": True},
        yaxis={"range": [len(rows) - 0.6, -0.75], "visible": False, "fixedrange": True},
        plot_bgcolor="rgba(0,0,0,0)",
        paper_bgcolor="rgba(0,0,0,0)",
    )
    return figure
