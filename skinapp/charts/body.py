"""Counts on a drawing of the body, front and back: polygons in units of an eighth of the body's height."""

import urllib.parse
from collections.abc import Iterator

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from skinapp.charts.population import LINE, SCALE, TOP
from skinapp.charts.style import INK
from skinapp.formatting import joined

Polygon = tuple[tuple[float, float], ...]

ARM: Polygon = ((0.82, 6.42), (1.02, 6.3), (1.14, 5.95), (1.2, 5.2), (0.96, 5.2), (0.86, 5.85))
FOREARM: Polygon = ((0.96, 5.16), (1.2, 5.16), (1.26, 4.75), (1.24, 4.2), (1.08, 4.2), (0.99, 4.7))
THIGH: Polygon = ((0.05, 4.0), (0.4, 4.12), (0.72, 4.22), (0.74, 3.6), (0.62, 2.35), (0.22, 2.35), (0.1, 3.2))
LOWER_LEG: Polygon = ((0.22, 2.31), (0.62, 2.31), (0.66, 1.8), (0.5, 0.62), (0.28, 0.62), (0.24, 1.5))
FLANKS: Polygon = (
    (-0.7, 5.28),
    (0.7, 5.28),
    (0.64, 4.8),
    (0.72, 4.26),
    (0.3, 4.1),
    (-0.3, 4.1),
    (-0.72, 4.26),
    (-0.64, 4.8),
)
NECK: Polygon = ((-0.2, 6.95), (0.2, 6.95), (0.22, 6.72), (0.5, 6.56), (-0.5, 6.56), (-0.22, 6.72))

FRONT: dict[str, Polygon] = {
    "neck": NECK,
    "chest": ((-0.5, 6.53), (0.5, 6.53), (0.8, 6.4), (0.8, 5.8), (0.7, 5.32), (-0.7, 5.32), (-0.8, 5.8), (-0.8, 6.4)),
    "abdomen": FLANKS,
    "genital": ((-0.26, 4.08), (0.26, 4.08), (0.03, 3.82), (-0.03, 3.82)),
}
BACK: dict[str, Polygon] = {
    "neck": NECK,
    "back": (
        *((-0.5, 6.53), (0.5, 6.53), (0.8, 6.4), (0.8, 5.8), (0.7, 5.28), (0.64, 4.8), (0.72, 4.26), (0.3, 4.06)),
        *((-0.3, 4.06), (-0.72, 4.26), (-0.64, 4.8), (-0.7, 5.28), (-0.8, 5.8), (-0.8, 6.4)),
    ),
}
LIMBS: dict[str, Polygon] = {"arm": ARM, "forearm": FOREARM, "thigh": THIGH, "lower leg": LOWER_LEG}

SITES: dict[str, tuple[str, ...]] = {
    "upper extremity": ("arm", "forearm"),
    "lower extremity": ("thigh", "lower leg"),
    "anterior torso": ("chest", "abdomen"),
    "posterior torso": ("back",),
    "palms/soles": ("hand", "foot"),
    "head/neck": ("scalp", "face", "ear", "nose", "lip", "neck"),
    "head, neck or face": ("scalp", "face", "ear", "nose", "lip", "neck"),
}
"""Published sites that cover several parts of the drawing; any other site is the part of the same name."""
PARTS: tuple[str, ...] = ("scalp", "face", "ear", "nose", "lip", "neck", "chest", "abdomen", "back", "genital")
PARTS += ("arm", "forearm", "hand", "thigh", "lower leg", "foot")
BACK_AT = 3.2
"""How far the back view is to the right of the front view."""
MARKER = 24
"""Width, in pixels, of the clickable area in the middle of a part."""


def images_by_part(sites: pd.DataFrame) -> pd.Series:
    """Maps a `statistics.counts` of sites to the number of images for each part of the drawing that corresponds to a
    published site."""
    images = dict.fromkeys(PARTS, 0)
    named = set()
    for site, count in zip(sites["value"], sites["images"], strict=True):
        for part in SITES.get(site, (site,)):
            if part in images:
                images[part] += int(count)
                named.add(part)
    return pd.Series({part: count for part, count in images.items() if part in named}, dtype="int64")


def elsewhere(sites: pd.DataFrame) -> pd.DataFrame:
    """The rows of `sites` that the drawing has no part for."""
    return sites[[not set(SITES.get(site, (site,))) & set(PARTS) for site in sites["value"]]]


def drawing(sites: pd.DataFrame) -> go.Figure:
    """Draw a `statistics.counts` of sites on the body, front and back, darker where there are more images.

    A count belongs to the whole site: left and right are counted together, and so are front and back of limbs and neck.
    """
    images = images_by_part(sites)
    top = max(1, int(images.max())) if len(images) else 1
    figure = go.Figure()
    middles: list[tuple[float, float]] = []
    clicks: list[list[str]] = []
    hovers: list[str] = []
    for part, x, y in _shapes():
        count = images.get(part)
        # the square root, so that sites with few images differ visibly from those with none
        fill = "rgba(128,128,128,0.10)" if count is None else sample_colorscale(SCALE, [np.sqrt(count / top)])[0]
        names = _sites_of(part, sites)
        hover = f"{part}: not in this selection"
        if count is not None:
            hover = f"{joined(names)}: {count:,} {'image' if count == 1 else 'images'}"
            middles.append(((min(x) + max(x)) / 2, (min(y) + max(y)) / 2))
            clicks.append([urllib.parse.urlencode([("site", name) for name in names])])
            hovers.append(hover)
        figure.add_scatter(
            x=x,
            y=y,
            mode="lines",
            fill="toself",
            fillcolor=fill,
            line={"color": LINE, "width": 1, "shape": "spline", "smoothing": 0.7},
            hoveron="fills",
            hoverinfo="text",
            text=hover,
            showlegend=False,
        )
    if middles:
        figure.add_scatter(
            x=[x for x, _ in middles],
            y=[y for _, y in middles],
            mode="markers",
            # a filled outline cannot be clicked, so each part has an invisible marker in its middle
            marker={"size": MARKER, "opacity": 0},
            customdata=clicks,
            text=hovers,
            hoverinfo="text",
            showlegend=False,
        )
    for middle, text in ((0.0, "Front"), (BACK_AT, "Back")):
        figure.add_annotation(x=middle, y=8.35, text=text, showarrow=False, font={"size": 14, "color": INK})
    figure.update_layout(
        overwrite=True,
        height=500,
        margin={"l": 0, "r": 0, "t": TOP, "b": 4},
        xaxis={"visible": False, "fixedrange": True, "range": [-1.5, BACK_AT + 1.5]},
        yaxis={"visible": False, "fixedrange": True, "range": [-0.05, 8.6], "scaleanchor": "x"},
        plot_bgcolor="rgba(0,0,0,0)",
        paper_bgcolor="rgba(0,0,0,0)",
    )
    return figure


def _sites_of(part: str, sites: pd.DataFrame) -> list[str]:
    """The published sites that a part of the drawing belongs to."""
    return [site for site in sites["value"] if part in SITES.get(site, (site,))]


def _shapes() -> Iterator[tuple[str, list[float], list[float]]]:
    """Every shape of the drawing: its part and its closed outline. Later shapes cover earlier ones."""
    for shift, front in ((0.0, True), (BACK_AT, False)):
        for side in (-1, 1):
            yield _ellipse("ear", shift + side * 0.42, 7.4, 0.08, 0.16)
        yield _ellipse("scalp", shift, 7.52, 0.41, 0.55)
        if front:
            yield _ellipse("face", shift, 7.38, 0.36, 0.46)
            yield _ellipse("nose", shift, 7.4, 0.06, 0.13)
            yield _ellipse("lip", shift, 7.13, 0.13, 0.05)
        for part, points in (FRONT if front else BACK).items():
            yield _closed(part, points, shift, 1)
        for side in (-1, 1):
            for part, points in LIMBS.items():
                yield _closed(part, points, shift, side)
            yield _ellipse("hand", shift + side * 1.18, 3.9, 0.13, 0.27)
            yield _ellipse("foot", shift + side * 0.4, 0.36, 0.2, 0.23)


def _closed(part: str, points: Polygon, shift: float, side: int) -> tuple[str, list[float], list[float]]:
    return part, [shift + side * x for x, _ in (*points, points[0])], [y for _, y in (*points, points[0])]


def _ellipse(part: str, x: float, y: float, width: float, height: float) -> tuple[str, list[float], list[float]]:
    angle = np.linspace(0, 2 * np.pi, 25)
    return part, list(x + width * np.cos(angle)), list(y + height * np.sin(angle))
