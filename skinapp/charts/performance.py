"""The figures of the comparison: frames -> Plotly figures, pure."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from skinapp.charts.style import INK, PHONE_LINE, annotate, class_colour
from skinapp.datasets.registry import DATASETS

MODEL_COLOURS = ("#1F8A84", "#C86A10", "#8A6FD0", "#C2508F", "#4A86CC", "#8A8628", "#A8714F", "#80807C")
"""In order of selection; each has a contrast of at least 3 : 1 on light and dark pages. No class uses these colours,
and markers and dashes distinguish models without colour."""
MARKERS = ("circle", "diamond", "square", "triangle-up", "x", "cross", "pentagon", "star")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "5px,2px", "1px,3px")

GREY = "#7D8582"
CLEAR = "rgba(0,0,0,0)"
ROW = 26
"""Pixels for one dot of a forest plot; the words above a group need ROW more."""
ENTRY, ENTRIES = 29, 4
"""Pixels for a line of the legend, and how many lines have room below every chart."""


def colour(number: int) -> str:
    """The colour of the model that was chosen as number 0, 1, ..."""
    return MODEL_COLOURS[number % len(MODEL_COLOURS)]


def forest(
    table: pd.DataFrame, axis: str, order: Sequence[str], reference: float | None = None, one_each: bool = False
) -> go.Figure:
    """A forest plot, dots with intervals: columns row, series, value, low, high, note.

    A row's name is above its dots, to fit on a phone; its note is on the right of the name or, where a row has several
    dots or the two do not fit in a PHONE_LINE, of the dot. `order` lists the series, which colour and mark the dots;
    one named "published" is grey and hollow. `reference` draws a line there. A row without a value shows its note
    alone.
    `one_each`: every row is a series of its own and needs no legend.
    """
    figure = go.Figure()
    rows = list(dict.fromkeys(table["row"]))
    single = one_each or table["series"].nunique() < 2
    lengths = (len(row) + len(note) for row, note in zip(table["row"], table["note"], strict=True))
    notes_above = single and max(lengths, default=0) <= PHONE_LINE
    y_of: dict[tuple[str, str], float] = {}
    heads: dict[str, float] = {}
    height = 0.0
    for row in rows:
        heads[row] = height
        height += 0.85
        for series in table.loc[table["row"] == row, "series"]:
            y_of[row, series] = height
            height += 0.8
        height += 0.25
    for series in dict.fromkeys(table["series"]):
        part = table[(table["series"] == series) & table["value"].notna()]
        known = series in order
        number = list(order).index(series) if known else 0
        tone = colour(number) if known else GREY
        y = [y_of[row, series] for row in part["row"]]
        figure.add_scatter(
            x=part["value"],
            y=y,
            mode="markers",
            name=series,
            marker={
                "color": tone,
                "size": 9,
                "symbol": MARKERS[number % len(MARKERS)] if known else "circle-open",
                "line": {"width": 1.5, "color": tone},
            },
            error_x={
                "type": "data",
                "symmetric": False,
                "array": part["high"] - part["value"],
                "arrayminus": part["value"] - part["low"],
                "color": tone,
                "thickness": 1.6,
                "width": 3,
            },
            customdata=np.stack([part["row"], part["note"]], axis=1) if len(part) else None,
            hovertemplate="%{customdata[0]}: %{customdata[1]}<extra>" + series + "</extra>",
            showlegend=not single,
        )
    names = [
        {"x": 0, "xanchor": "left", "y": heads[row], "text": row, "font": {"size": 13, "color": INK}} for row in rows
    ]
    notes = [
        {
            "x": 1,
            "xanchor": "right",
            "y": heads[row] if notes_above else y_of[row, series],
            "text": note,
            "font": {"size": 12, "color": INK},
        }
        for row, series, note in zip(table["row"], table["series"], table["note"], strict=True)
    ]
    annotate(figure, ({"xref": "paper"} | each for each in names + notes))
    if reference is not None:
        figure.add_vline(x=reference, line={"color": GREY, "width": 1, "dash": "dot"})
    # a value may have no interval
    low = np.nanmin([table["low"].min(), table["value"].min(), np.inf if reference is None else reference])
    high = np.nanmax([table["high"].max(), table["value"].max(), -np.inf if reference is None else reference])
    if not np.isfinite(low):
        low, high = 0.0, 1.0
    elif high - low < 1e-6:
        low, high = low - 0.5, high + 0.5
    room = (high - low) * 0.06
    # notes next to the dots need part of the width, on a phone half of it for the longest
    beside = 0 if notes_above else (high - low) * 0.034 * table["note"].str.len().max()
    _lay_out(
        figure,
        int(height * ROW) + (106 if single else 136),
        axis,
        None,
        {"range": [low - room, high + room + beside], "tickvals": _ticks(low, high)},
        {"range": [height - 0.1, -0.6], "visible": False},
    )
    return figure


def lines(
    curves: dict[str, pd.DataFrame],
    x: str,
    y: str,
    marks: dict[str, tuple[float, float]] | None = None,
    references: dict[str, pd.DataFrame] | None = None,
    x_range: tuple[float, float] = (0, 1),
    y_range: tuple[float, float] | None = (0, 1),
    percent: bool = True,
) -> go.Figure:
    """Curves with their bands, by model name in the order of choice: frames of x, y, low, high.

    `marks` are large dots on the curves; `references` are thin grey lines with frames of x and y.
    """
    figure = go.Figure()
    for name, frame in (references or {}).items():
        figure.add_scatter(
            x=frame["x"],
            y=frame["y"],
            mode="lines",
            name=name,
            line={"color": GREY, "width": 1, "dash": "dot"},
            hoverinfo="skip",
        )
    for number, (name, frame) in enumerate(curves.items()):
        tone = colour(number)
        band = " (%{customdata[0]:.3f} to %{customdata[1]:.3f})" if frame["low"].notna().any() else ""
        figure.add_scatter(
            x=np.r_[frame["x"], frame["x"][::-1]],
            y=np.r_[frame["high"], frame["low"][::-1]],
            fill="toself",
            fillcolor=pale(tone),
            line={"width": 0},
            hoverinfo="skip",
            showlegend=False,
            legendgroup=name,
        )
        figure.add_scatter(
            x=frame["x"],
            y=frame["y"],
            mode="lines",
            name=name,
            legendgroup=name,
            line={"color": tone, "width": 2, "dash": DASHES[number % len(DASHES)]},
            customdata=frame[["low", "high"]].to_numpy(),
            hovertemplate="%{y:.3f}" + band + " at %{x:.2f}<extra>" + name + "</extra>",
        )
    for number, (name, _) in enumerate(curves.items()):
        if marks and name in marks:
            figure.add_scatter(
                x=[marks[name][0]],
                y=[marks[name][1]],
                mode="markers",
                legendgroup=name,
                showlegend=False,
                marker={
                    "color": colour(number),
                    "size": 13,
                    "symbol": MARKERS[number % len(MARKERS)],
                    "line": {"width": 2, "color": "white"},
                },
                hovertemplate="%{y:.3f} at %{x:.3f}<extra>" + name + ", operating point</extra>",
            )
    form = {"tickformat": ".0%" if percent else None}
    more_x, more_y = {"range": list(x_range)} | form, {"range": list(y_range) if y_range else None} | form
    _lay_out(figure, 380, x, y, more_x, more_y, entries=len(curves) + len(references or {}))
    return figure


def across(table: pd.DataFrame, title: str, order: Sequence[str]) -> go.Figure:
    """A model's score on each data set that it was tested on, joined by a line: columns series, test_set, value, low,
    high and note, in the order of the test sets."""
    figure = go.Figure()
    for series in dict.fromkeys(table["series"]):
        part = table[table["series"] == series]
        number = list(order).index(series)
        figure.add_scatter(
            x=part["test_set"].str.replace(" (", "<br>(", regex=False),
            y=part["value"],
            mode="lines+markers",
            name=series,
            line={"color": colour(number), "width": 2, "dash": DASHES[number % len(DASHES)]},
            marker={"size": 10, "symbol": MARKERS[number % len(MARKERS)]},
            error_y={
                "type": "data",
                "symmetric": False,
                "array": part["high"] - part["value"],
                "arrayminus": part["value"] - part["low"],
                "thickness": 1.4,
                "width": 4,
            },
            customdata=part["note"],
            hovertemplate="%{customdata}<extra>" + series + "</extra>",
        )
    _lay_out(figure, 340, None, title, {"type": "category"}, entries=len(figure.data))
    return figure


def diagonal() -> dict[str, pd.DataFrame]:
    """The line of chance, or of perfect calibration, as a reference of `lines`."""
    return {"Chance": pd.DataFrame({"x": [0, 1], "y": [0, 1]})}


def reliability(
    tables: dict[str, pd.DataFrame],
    numbers: dict[str, int],
    uncalibrated: set[str],
    x: str = "Confidence in the most likely class",
    y: str = "Accuracy",
) -> go.Figure:
    """Reliability diagrams, one for each name: accuracy over confidence with intervals, and below it the counts.

    `tables` are those of `calibration.reliability_intervals`. `numbers` gives the models' positions in the order of
    choice, for their colours; those in `uncalibrated` are hollow.
    """
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.74, 0.26], vertical_spacing=0.06)
    figure.add_scatter(
        x=[0, 1],
        y=[0, 1],
        mode="lines",
        line={"color": GREY, "width": 1, "dash": "dot"},
        name="Perfect calibration",
        hoverinfo="skip",
        row=1,
        col=1,
    )
    for name, table in tables.items():
        number = numbers[name]
        tone, marker = colour(number), MARKERS[number % len(MARKERS)]
        figure.add_scatter(
            x=table["confidence"],
            y=table["accuracy"],
            mode="lines+markers",
            name=name,
            legendgroup=name,
            line={"color": tone, "width": 1.5, "dash": "dot" if name in uncalibrated else "solid"},
            marker={"size": 9, "symbol": f"{marker}-open" if name in uncalibrated else marker, "color": tone},
            error_y={
                "type": "data",
                "symmetric": False,
                "array": table["accuracy_high"] - table["accuracy"],
                "arrayminus": table["accuracy"] - table["accuracy_low"],
                "thickness": 1.2,
                "width": 3,
            },
            customdata=table["images"],
            hovertemplate="%{customdata:,} images: predicted %{x:.0%}, observed %{y:.0%}<extra>" + name + "</extra>",
            row=1,
            col=1,
        )
        figure.add_bar(
            x=(table["low"] + table["high"]) / 2,
            y=table["images"],
            name=name,
            legendgroup=name,
            showlegend=False,
            marker={"color": pale(tone) if name in uncalibrated else tone, "line": {"color": tone, "width": 1}},
            hovertemplate="%{y:,} images<extra>" + name + "</extra>",
            row=2,
            col=1,
        )
    # a phone has one line of legend for each
    _lay_out(figure, 380 + ENTRY * len(tables), None, None, rows=2)
    figure.update_xaxes(range=[0, 1], tickformat=".0%")
    figure.update_xaxes(title_text=x, row=2, col=1)
    figure.update_yaxes(range=[0, 1.02], tickformat=".0%", title_text=y, row=1, col=1)
    figure.update_yaxes(title_text="Images", nticks=3, row=2, col=1)
    return figure


CELL = 46
"""Pixels of the height of a cell of a confusion matrix."""
SHARES = {0.0: "#F3F6F4", 0.5: "#6FB0AB", 1.0: "#164F4D"}
"""The colours of a cell by its share, pale at the low end on both light and dark pages."""
DARK = 0.745
"""Above this share, white text is easier to read than black."""


def confusion(table: pd.DataFrame, selectable: bool = False) -> go.Figure:
    """An `error_analysis.confusion` table: labels down, predictions across; counts above shares of the row.

    A `selectable` matrix has an invisible mark on every cell, since Plotly cannot select the cells of a heat map; its
    custom data are label and prediction.
    """
    codes, predictions = (list(dict.fromkeys(table[name])) for name in ("label", "predicted"))
    shape = (len(codes), len(predictions))
    counts, shares = (table[name].to_numpy().reshape(shape) for name in ("images", "share"))
    words = [
        [f"{count:,}<br>{share:.0%}" if share == share else f"{count:,}" for count, share in zip(*row, strict=True)]
        for row in zip(counts, shares, strict=True)
    ]
    figure = go.Figure(
        go.Heatmap(
            z=np.nan_to_num(shares),
            x=predictions,
            y=codes,
            zmin=0,
            zmax=1,
            colorscale=[[step, colour] for step, colour in SHARES.items()],
            xgap=2,
            ygap=2,
            showscale=False,
            hoverinfo="skip",
        )
    )
    # a heat map has a single text colour, and Plotly cannot select its cells: both need scatter markers
    invisible = {"marker": {"opacity": 0}}
    figure.add_scatter(
        x=table["predicted"],
        y=table["label"],
        mode="markers+text" if selectable else "text",
        text=[text for row in words for text in row],
        textfont={
            "size": 12 if len(codes) < 8 else 10,
            "color": ["white" if share > DARK else "black" for share in np.nan_to_num(shares).ravel()],
        },
        marker={"size": CELL - 6, "symbol": "square", "opacity": 0},
        selected=invisible if selectable else None,
        unselected=invisible if selectable else None,
        customdata=table[["label", "predicted"]].to_numpy(),
        hovertemplate="label %{y}, predicted %{x}: %{text}<extra></extra>",
        showlegend=False,
    )
    grid = {"showgrid": False}
    more_y = {"autorange": "reversed"} | grid
    _lay_out(figure, 94 + CELL * len(codes), "Predicted", "Label", {"side": "top"} | grid, more_y)
    return figure


def training(table: pd.DataFrame) -> go.Figure:
    """A `training.history` table: losses above accuracies over epochs, if it has both, with a line at the chosen
    epoch."""
    shown = list(dict.fromkeys(table["series"]))
    panel_of = {series: "Loss" if "loss" in series else "Accuracy" for series in shown}
    panels = [title for title in ("Loss", "Accuracy") if title in panel_of.values()]
    figure = make_subplots(rows=len(panels), cols=1, shared_xaxes=True, vertical_spacing=0.08)
    folds = table["fold"].unique() if "fold" in table else [None]
    for number, series in enumerate(shown):
        for index, fold in enumerate(folds):
            part = table[table["series"] == series]
            part = part if fold is None else part[part["fold"] == fold]
            figure.add_scatter(
                x=part["epoch"],
                y=part["value"],
                mode="lines+markers",
                name=series_name(series),
                legendgroup=series,
                showlegend=index == 0,
                line={"color": colour(number), "width": 1.8, "dash": DASHES[number % len(DASHES)]},
                marker={"size": 5},
                hovertemplate="epoch %{x}: %{y:.3f}<extra>" + series_name(series) + "</extra>",
                row=panels.index(panel_of[series]) + 1,
                col=1,
            )
    for epoch in sorted(table.loc[table["chosen"], "epoch"].unique()):
        figure.add_vline(x=epoch, line={"color": GREY, "width": 1, "dash": "dash"})
        figure.add_annotation(
            x=epoch,
            y=1,
            yref="paper",
            yanchor="bottom",
            xanchor="right",
            text="chosen",
            showarrow=False,
            font={"size": 12, "color": INK},
        )
    # on a phone each series takes a line of legend, which leaves axes 320 pixels high; `legend_y` is relative to them
    _lay_out(figure, 440 + ENTRY * len(shown), None, None, rows=len(panels))
    figure.update_layout(legend_y=-78 / 320)
    figure.update_xaxes(title_text="Epoch", row=len(panels), col=1)
    for row, title in enumerate(panels, start=1):
        figure.update_yaxes(title_text=title, tickformat=".0%" if title == "Accuracy" else None, row=row, col=1)
    return figure


def series_name(series: str) -> str:
    """A column of history.csv in words: val_milk10k_balanced_log_loss -> Balanced log loss, MILK10k validation."""
    name = series.removeprefix("val_").removeprefix("logits_")
    # the scores of the first data set do not name it
    dataset = next((known for known in DATASETS if name.startswith(f"{known}_")), "")
    part = "validation" if series.startswith("val_") else "training"
    words = name.removeprefix(f"{dataset}_").replace("_", " ").capitalize()
    return f"{words}, {DATASETS[dataset].title} {part}" if dataset else f"{words}, {part}"


def class_bars(table: pd.DataFrame) -> go.Figure:
    """The error rate of each class, in the classes' colours: columns label, name, note, value, low, high."""
    figure = go.Figure(
        go.Bar(
            x=table["label"],
            y=table["value"],
            marker={"color": [class_colour(code) for code in table["label"]], "cornerradius": 3},
            error_y={
                "type": "data",
                "symmetric": False,
                "array": table["high"] - table["value"],
                "arrayminus": table["value"] - table["low"],
                "color": GREY,
                "thickness": 1.6,
            },
            customdata=np.stack([table["name"], table["note"]], axis=1),
            hovertemplate="%{customdata[0]}: %{customdata[1]}<extra></extra>",
        )
    )
    _lay_out(figure, 320, None, "Error rate", None, {"range": [0, 1], "tickformat": ".0%"})
    return figure


def pale(tone: str) -> str:
    """The colour #rrggbb, nearly transparent."""
    red, green, blue = (int(tone[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, 0.14)"


def _lay_out(
    figure: go.Figure,
    height: int,
    x: str | None,
    y: str | None,
    more_x: dict[str, Any] | None = None,
    more_y: dict[str, Any] | None = None,
    rows: int = 1,
    entries: int = 0,
) -> None:
    """The shared layout, in one call: every change to a Plotly figure costs milliseconds.

    A phone has a line of legend for each of the `entries`; those beyond ENTRIES add to the height.
    """
    both = {"fixedrange": True, "automargin": True, "zeroline": False, "tickfont": {"color": INK}}
    axes: dict[str, Any] = {}
    for number in ("", "2")[:rows]:
        axes[f"xaxis{number}"] = both | {"title": {"text": x, "font": {"color": INK}}} | (more_x or {})
        axes[f"yaxis{number}"] = both | {"title": {"text": y, "font": {"color": INK}}} | (more_y or {})
    figure.update_layout(
        # much faster, but would decouple the axes of several charts
        overwrite=rows == 1,
        height=height + ENTRY * max(0, entries - ENTRIES),
        # room above, so that the button that saves the figure covers none of it, and on the right for the last tick
        margin={"l": 8, "r": 28, "t": 34, "b": 8},
        legend={"orientation": "h", "yanchor": "top", "y": -78 / (height - 118), "x": 0, "title": {"text": None}},
        plot_bgcolor=CLEAR,
        paper_bgcolor=CLEAR,
        font={"color": INK},
        bargap=0.15,
        **axes,
    )


def _ticks(low: float, high: float) -> list[float]:
    """Four to nine round numbers from `low` to `high`."""
    step = 10 ** np.floor(np.log10(high - low))
    step *= next(part for part in (0.2, 0.5, 1, 2) if (high - low) / (step * part) < 9)
    # treat an end as a round number if only rounding error makes it differ
    first, last = int(np.ceil(low / step - 1e-4)), int(np.floor(high / step + 1e-4))
    return [float(round(step * number, 6)) for number in range(first, last + 1)]
