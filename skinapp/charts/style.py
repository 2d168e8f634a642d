"""Frames -> Plotly figures: pure functions, and the one palette of the classes."""

from collections.abc import Iterable
from typing import Any

import plotly.graph_objects as go

PALETTE = {
    "akiec": "#CCBB44",
    "bcc": "#EE6677",
    "bkl": "#228833",
    "df": "#9A9A9A",
    "mel": "#AA3377",
    "nv": "#4477AA",
    "vasc": "#66CCEE",
    "benign": "#4477AA",
    "malignant": "#AA3377",
    "ACK": "#CCBB44",
    "BCC": "#EE6677",
    "MEL": "#AA3377",
    "NEV": "#4477AA",
    "SCC": "#EE8866",
    "SEK": "#228833",
    "AKIEC": "#CCBB44",
    "BEN_OTH": "#44BB99",
    "BKL": "#228833",
    "DF": "#9A9A9A",
    "INF": "#7766AA",
    "MAL_OTH": "#CC3311",
    "NV": "#4477AA",
    "SCCKA": "#EE8866",
    "VASC": "#66CCEE",
}
"""One colour per class code, distinguishable with and without colour vision deficiency: Paul Tol's "bright" scheme
(https://personal.sron.nl/~pault/), warm where the class counts as malignant. It is the same on every page."""


OTHER_COLOUR = "#777777"


INK = "#000037"
"""Near-black in saved figures; on a page, Streamlit's theme replaces exactly this value by its own strong text colour,
light or dark (`GRAY_90` in its Plotly theme). Its default for text is too pale to read easily."""


PHONE_LINE = 54
"""Characters that fit on one line on a phone."""


def annotate(figure: go.Figure, annotations: Iterable[dict[str, Any]]) -> None:
    """Add all annotations, without arrows, at once: each change to a Plotly figure costs milliseconds."""
    figure.layout.annotations = [
        *figure.layout.annotations,
        *({"showarrow": False} | annotation for annotation in annotations),
    ]


def class_colour(code: str) -> str:
    """The colour of a class, grey for a code that has none."""
    return PALETTE.get(code, OTHER_COLOUR)
