"""Charts of a data set: frame -> Plotly figure, pure."""

import re
import textwrap
import urllib.parse
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.colors import sample_colorscale
from plotly.subplots import make_subplots

from skinapp.charts.style import INK, PHONE_LINE, annotate, class_colour
from skinapp.demographics.records import NOT_STATED

CATEGORY_COLOURS = {
    "female": "#CC79A7",
    "male": "#0072B2",
    "histology": "#0072B2",
    "follow-up": "#56B4E9",
    "expert consensus": "#E69F00",
    "confocal microscopy": "#009E73",
    "clinical only": "#E69F00",
    "yes": "#D55E00",
    "no": "#56B4E9",
    NOT_STATED: "#C4C8C6",
}
"""Colours of values that are not classes: Okabe and Ito's palette, safe for colour vision deficiency
(https://jfly.uni-koeln.de/color/)."""
OTHER_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")
ACCENT = "#2E8B86"
LINE = "#7F8C8A"
"""Both have a contrast of at least 3 : 1 on light and dark pages."""
SCALE = [[0.0, "#EEF3F1"], [0.15, "#C6DEDA"], [0.4, "#7FB8B1"], [0.7, "#368A85"], [1.0, "#0E4A48"]]
"""Light to dark, so that it can be read without colour."""
CLEAR = "rgba(0,0,0,0)"
PERCENT = {"tickvals": [0, 0.25, 0.5, 0.75, 1], "tickformat": ".0%", "range": [0, 1], "fixedrange": True}
"""An axis from 0 to 100%."""
COUNT_SHARE, SHARE_ONLY = 0.22, 0.08
"""The smallest shares at which a bar has room for its count and percentage, or for its percentage alone."""
LEGEND_BELOW, LEGEND_LINE = 36, 20
"""Pixels from the axis to the legend, which leave room for the axis's labels, and for a line of the legend."""
TOP = 36
"""Pixels above a figure, where a phone shows the button that saves it."""
CODES = 30
"""Characters of all the codes above a heat map that fit side by side on a phone."""
MAX_ROWS = 25
"""More bars or columns than this are hard to read; the rest are counted together."""

Namer = Callable[[str], str]


def _cell(**filters: object) -> str:
    """The filter that a bar or cell represents, as the last item of its `customdata`: "diagnosis=mel&site=back"."""
    return urllib.parse.urlencode(filters, doseq=True)


def bars(
    table: pd.DataFrame,
    names: Sequence[str],
    colours: Sequence[str],
    unit: str = "images",
    whole: int | None = None,
    column: str = "",
) -> go.Figure:
    """A `statistics.counts` -> one horizontal bar per row, the name and the count above it. The longest bar fills the
    width, or, with `whole`, its share of that total. `column` is the filter that a bar stands for, its value the row's
    `value`."""
    table, names, colours = table.head(MAX_ROWS), list(names)[:MAX_ROWS], list(colours)[:MAX_ROWS]
    rows = list(range(len(table)))
    top = whole or (max(1, int(table[unit].max())) if len(table) else 1)
    figure = go.Figure(
        go.Bar(
            x=table[unit],
            y=rows,
            orientation="h",
            width=0.34,
            marker={"color": colours, "cornerradius": 3},
            customdata=[
                (name, share, _cell(**{column: value}) if column else "")
                for name, share, value in zip(names, table["share"], table.get("value", names), strict=True)
            ],
            hovertemplate=f"%{{customdata[0]}}: %{{x:,}} {unit} (%{{customdata[1]:.1%}})<extra></extra>",
            showlegend=False,
        )
    )
    above = {"yshift": 16, "font": {"size": 14, "color": INK}}
    texts = []
    for row, name, count, share in zip(rows, names, table[unit], table["share"], strict=True):
        texts.append(above | {"x": 0, "xanchor": "left", "y": row, "text": name})
        texts.append(above | {"x": top, "xanchor": "right", "y": row, "text": f"{count:,} · {share:.1%}"})
    annotate(figure, texts)
    figure.update_layout(
        overwrite=True,
        height=44 * len(rows) + TOP + 14,
        margin={"l": 0, "r": 0, "t": TOP, "b": 4},
        xaxis={"range": [0, top], "visible": False, "fixedrange": True},
        yaxis={"range": [len(rows) - 0.6, -0.75], "visible": False, "fixedrange": True},
    )
    return _clear(figure)


def age_histogram(bands: pd.DataFrame, name: Namer, width: int = 5) -> go.Figure:
    """A `statistics.age_bands` -> stacked columns, one colour per diagnosis."""
    figure = go.Figure()
    for key in bands.columns:
        figure.add_bar(
            x=bands.index + width / 2,
            y=bands[key],
            width=width * 0.92,
            name=name(key),
            marker={"color": class_colour(key)},
            customdata=[
                (f"{start} to {start + width - 1}", _cell(diagnosis=key, age=f"{start}-{start + width - 1}"))
                for start in bands.index
            ],
            hovertemplate=f"{name(key)}, age %{{customdata[0]}}: %{{y:,}} images<extra></extra>",
        )
    # on a phone, where each diagnosis takes a line of the legend
    axes = 200
    figure.update_layout(
        overwrite=True,
        barmode="stack",
        height=TOP + max(380, axes + LEGEND_BELOW + LEGEND_LINE * len(bands.columns)),
        xaxis={"dtick": 10, "fixedrange": True},
        yaxis={"title": "Images", "fixedrange": True},
    )
    return _below(_clear(figure), axes)


def age_boxes(summary: pd.DataFrame, name: Namer) -> go.Figure:
    """A `statistics.age_summary` -> one horizontal box per diagnosis: quartiles, median, range; dashed at the mean."""
    figure = go.Figure()
    names = []
    for row, ages in enumerate(summary.to_dict("records")):
        code = ages[summary.columns[0]]
        figure.add_box(
            y=[row],
            orientation="h",
            lowerfence=[ages["min"]],
            q1=[ages["q1"]],
            median=[ages["median"]],
            q3=[ages["q3"]],
            upperfence=[ages["max"]],
            mean=[ages["mean"]],
            boxmean=True,
            width=0.36,
            line={"color": INK, "width": 1.5},
            fillcolor=class_colour(code),
            hoverinfo="x",
            showlegend=False,
        )
        names.append(f"{name(code)} · {ages['median']:.0f} · n = {ages['images']:,}")
    annotate(figure, _row_names(names, 12, 13))
    figure.update_layout(
        overwrite=True,
        height=52 * len(summary) + 60 + TOP,
        margin={"l": 0, "r": 8, "t": TOP, "b": 40},
        xaxis={"title": "Age in years", "range": [-1, max(90, _top(summary))], "dtick": 20, "fixedrange": True},
        yaxis={"range": [len(summary) - 0.6, -0.8], "visible": False, "fixedrange": True},
    )
    return _clear(figure)


def share_bars(
    shares: pd.DataFrame,
    counts: pd.DataFrame,
    name: Namer,
    value_name: Namer = str,
    column: str = "",
    merged: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> go.Figure:
    """`statistics.shares` of a `cross` of diagnoses -> one horizontal bar of 100% per row, the row's name and its count
    above. `column` is the filter that the segments stand for, together with the diagnosis; `merged` has the values of
    those that stand for several."""
    figure = go.Figure()
    rows = list(range(len(shares)))
    spare = iter(OTHER_COLOURS * len(shares.columns))
    used = [CATEGORY_COLOURS.get(str(value)) for value in shares.columns]
    for value, colour in zip(shares.columns, used, strict=True):
        shade = colour or next(each for each in spare if each not in used or len(used) > len(OTHER_COLOURS))
        images = counts[value].tolist()
        figure.add_bar(
            x=shares[value],
            y=rows,
            orientation="h",
            width=0.44,
            name=value_name(str(value)),
            marker={"color": shade},
            text=[_inside(count, share) for count, share in zip(images, shares[value], strict=True)],
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            insidetextfont={"size": 12, "color": ink_on(shade)},
            customdata=[
                (name(row), count, _cell(diagnosis=row, **{column: merged.get(value, value)}) if column else "")
                for row, count in zip(shares.index, images, strict=True)
            ],
            hovertemplate=f"%{{customdata[0]}}, {value_name(str(value))}: %{{x:.1%}}, %{{customdata[1]:,}} images"
            "<extra></extra>",
        )
    annotate(
        figure,
        _row_names((f"{name(label)} · n = {int(counts.loc[label].sum()):,}" for label in shares.index), 12, 13),
    )
    height = 50 * len(rows) + 20
    figure.update_layout(
        overwrite=True,
        barmode="stack",
        height=height + TOP + 80,
        xaxis=PERCENT,
        yaxis={"range": [len(rows) - 0.6, -0.8], "visible": False, "fixedrange": True},
        uniformtext={"minsize": 10, "mode": "hide"},
    )
    return _below(_clear(figure), height)


def heat_map(
    shares: pd.DataFrame,
    counts: pd.DataFrame,
    name: Namer,
    column: str = "",
    merged: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> go.Figure:
    """Values down, diagnoses across; colour is the share of a diagnosis's images, and a cell has its count and share.
    `column` and `merged` are those of `share_bars`.

    The cells are bars, since Plotly selects no cells of a heat map.
    """
    rows, columns = list(shares.columns), list(shares.index)
    codes = list(map(str, columns))
    # codes that do not fit side by side on a phone are turned there
    above = TOP + (24 if sum(map(len, codes)) <= CODES else 8 * max(map(len, codes)) + 8)
    cells = [
        (row, place, counts.loc[key, row], shares.loc[key, row]) for place, key in enumerate(columns) for row in rows
    ]
    top = max((share for *_, share in cells), default=1) or 1
    colours = sample_colorscale(SCALE, [share / top for *_, share in cells]) if cells else []
    figure = go.Figure(
        go.Bar(
            y=[rows.index(row) for row, *_ in cells],
            x=[0.97] * len(cells),
            base=[place + 0.015 for _, place, *_ in cells],
            width=0.94,
            orientation="h",
            marker={"color": colours},
            text=[f"{count:,}<br>{_rounded(share)}" if count else "0" for *_, count, share in cells],
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            insidetextfont={"size": 12, "color": [ink_on(colour) for colour in colours]},
            customdata=[
                (
                    f"{name(str(columns[place]))}, {row}: {count:,} images, {share:.1%} of that diagnosis",
                    _cell(diagnosis=columns[place], **{column: merged.get(row, row)}) if column else "",
                )
                for row, place, count, share in cells
            ],
            hovertemplate="%{customdata[0]}<extra></extra>",
            showlegend=False,
        )
    )
    figure.update_layout(
        overwrite=True,
        height=40 * len(rows) + above + 6,
        margin={"l": 0, "r": 0, "t": above, "b": 4},
        xaxis={
            "side": "top",
            "fixedrange": True,
            "range": [0, len(columns)],
            "tickvals": [place + 0.5 for place in range(len(columns))],
            "ticktext": codes,
            "showgrid": False,
            "zeroline": False,
        },
        yaxis={
            "range": [len(rows) - 0.5, -0.5],
            "fixedrange": True,
            "automargin": True,
            "tickvals": list(range(len(rows))),
            "ticktext": [str(row) for row in rows],
            "showgrid": False,
            "zeroline": False,
        },
        uniformtext={"minsize": 8, "mode": "hide"},
    )
    return _clear(figure)


def lesion_bars(table: pd.DataFrame) -> go.Figure:
    """`statistics.images_per_lesion` -> a column for each number of images."""
    table = table.head(MAX_ROWS)
    figure = go.Figure(
        go.Bar(
            x=table["images"].astype(str),
            y=table["lesions"],
            text=[f"{count:,}" for count in table["lesions"]],
            textposition="outside",
            cliponaxis=False,
            marker={"color": ACCENT, "cornerradius": 3},
            hovertemplate="%{x} images: %{y:,} lesions<extra></extra>",
        )
    )
    figure.update_layout(
        overwrite=True,
        height=280,
        xaxis={"title": "Images per lesion", "type": "category", "fixedrange": True},
        yaxis={"title": "Lesions", "fixedrange": True},
        margin={"l": 0, "r": 0, "t": TOP, "b": 40},
    )
    return _clear(figure)


def love_plot(table: pd.DataFrame, label: Sequence[str]) -> go.Figure:
    """`statistics.standardised_differences` -> a dot with its interval per row, and the band within 0.1 shaded."""
    rows = list(range(len(table)))
    figure = go.Figure()
    figure.add_vrect(-0.1, 0.1, fillcolor="rgba(128,128,128,0.18)", line_width=0)
    figure.add_vline(0, line={"color": LINE, "width": 1})
    figure.add_scatter(
        x=table["difference"],
        y=rows,
        mode="markers",
        marker={"color": ACCENT, "size": 9},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": table["high"] - table["difference"],
            "arrayminus": table["difference"] - table["low"],
            "color": ACCENT,
            "width": 0,
        },
        customdata=list(label),
        hovertemplate="%{customdata}: %{x:.2f}<extra></extra>",
        showlegend=False,
    )
    names = ("<br>".join(textwrap.wrap(name, PHONE_LINE)) for name in label)
    annotate(figure, _row_names(names, 6, 12, xref="x domain"))
    figure.update_layout(
        overwrite=True,
        height=44 * len(rows) + 70 + TOP,
        margin={"l": 0, "r": 8, "t": TOP, "b": 40},
        xaxis={"title": "Difference in standard deviations", "fixedrange": True},
        yaxis={"range": [len(rows) - 0.4, -0.8], "visible": False, "fixedrange": True},
    )
    return _clear(figure)


def cells(table: pd.DataFrame, columns: Sequence[str], names: dict[str, str]) -> go.Figure:
    """A `subgroups.cells` -> the measures side by side, a dot with its interval per cell; a grey ring if too wide."""
    figure = make_subplots(1, len(columns), subplot_titles=[names[column] for column in columns], shared_yaxes=True)
    rows = list(range(len(table)))
    for number, column in enumerate(columns, start=1):
        shown = table[f"{column}_shown"].to_numpy(dtype=bool)
        value, low, high = (table[f"{column}{end}"].to_numpy(dtype=float) for end in ("", "_low", "_high"))
        figure.add_scatter(
            x=value,
            y=rows,
            mode="markers",
            marker={
                "color": [ACCENT if each else LINE for each in shown],
                "size": 9,
                "symbol": ["circle" if each else "circle-open" for each in shown],
            },
            error_x={
                "type": "data",
                "symmetric": False,
                "array": high - value,
                "arrayminus": value - low,
                "color": LINE,
                "width": 0,
            },
            customdata=[
                f"{value:.2f} ({low:.2f} to {high:.2f})" + ("" if each else ", too few images")
                for value, low, high, each in zip(value, low, high, shown, strict=True)
            ],
            hovertemplate="%{customdata}<extra></extra>",
            showlegend=False,
            row=1,
            col=number,
        )
        limits = [-0.02, 1.02] if column != "calibration" else [-0.6, 0.6]
        ticks = [0, 0.5, 1] if column != "calibration" else [-0.5, 0, 0.5]
        figure.update_xaxes(range=limits, fixedrange=True, tickvals=ticks, row=1, col=number)
        if column == "calibration":
            figure.add_vline(0, line={"color": LINE, "width": 1}, row=1, col=number)
    annotate(figure, _row_names(map(str, table["cell"]), 5, 12, xref="x domain"))
    figure.update_yaxes(range=[len(rows) - 0.5, -0.8], visible=False, fixedrange=True)
    figure.update_layout(
        overwrite=True, height=42 * len(rows) + 60 + 2 * TOP, margin={"l": 0, "r": 8, "t": 2 * TOP, "b": 30}
    )
    return _clear(figure)


def _row_names(names: Iterable[str], shift: int, size: int, xref: str = "x") -> list[dict[str, Any]]:
    """Annotations with the name of each row at the left, `shift` pixels above the middle of its mark."""
    left: dict[str, Any] = {"x": 0, "xref": xref, "xanchor": "left", "align": "left"}
    above: dict[str, Any] = {"yanchor": "bottom", "yshift": shift, "font": {"size": size, "color": INK}}
    return [left | above | {"y": row, "text": name} for row, name in enumerate(names)]


def _top(summary: pd.DataFrame) -> float:
    return float(summary["max"].max()) + 2 if len(summary) else 90


def _clear(figure: go.Figure) -> go.Figure:
    figure.update_layout(overwrite=True, plot_bgcolor=CLEAR, paper_bgcolor=CLEAR, font={"size": 13, "color": INK})
    # Streamlit's theme has a paler colour for the texts of axes
    ink = {"color": INK}
    figure.update_xaxes(overwrite=True, tickfont=ink, title_font=ink)
    figure.update_yaxes(overwrite=True, tickfont=ink, title_font=ink)
    return figure


def _below(figure: go.Figure, height: int) -> go.Figure:
    """Put the legend below a figure whose axes are `height` pixels high, so that it takes no width on a phone."""
    figure.update_layout(
        overwrite=True,
        showlegend=True,
        legend={"orientation": "h", "yanchor": "top", "y": -LEGEND_BELOW / height, "x": 0, "traceorder": "normal"},
        margin={"l": 16, "r": 24, "t": TOP, "b": 40},
    )
    return figure


def _rounded(share: float) -> str:
    """The percentage of a share that is not 0."""
    return f"{share:.0%}" if share >= 0.005 else "<1%"


def _inside(count: int, share: float) -> str:
    if share < SHARE_ONLY:
        return ""
    return f"{count:,} · {share:.0%}" if share >= COUNT_SHARE else f"{share:.0%}"


def ink_on(colour: str) -> str:
    """Black or white, whichever is readable on a colour: at least 4.5 : 1 (WCAG 2.2, 1.4.3)."""
    channels = (
        re.findall(r"\d+", colour) if colour.startswith("rgb") else [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    )
    parts = [float(channel) / 255 for channel in channels[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000000" if luminance > 0.179 else "#FFFFFF"
