"""Renders headings, text, tables and figures as one self-contained HTML file, for screen and print."""

import base64
import datetime
import functools
import io
from collections.abc import Sequence
from dataclasses import dataclass

import jinja2
import pandas as pd
import plotly.graph_objects as go
from markupsafe import Markup
from PIL import Image
from plotly.offline import get_plotlyjs


@dataclass(frozen=True)
class Chart:
    """A figure with the table behind it, and alternative text."""

    figure: go.Figure
    table: pd.DataFrame
    words: str


@dataclass(frozen=True)
class Picture:
    """A PNG image with its caption, which is also its alternative text."""

    png: bytes
    caption: str


@dataclass(frozen=True)
class Heading:
    """A heading within a section."""

    text: str


@dataclass(frozen=True)
class List:
    """A list of sentences in plain text."""

    items: tuple[str, ...]


Block = str | Heading | List | pd.DataFrame | Chart | Picture
"""A paragraph of plain text, a heading, a list, a table, a figure or an image."""


@dataclass(frozen=True)
class Section:
    """A heading and the blocks below it."""

    heading: str
    blocks: Sequence[Block]


def png(image: Image.Image) -> bytes:
    """The bytes of a PNG file, without metadata."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def render(title: str, sections: Sequence[Section], caution: str, made: datetime.datetime | None = None) -> str:
    """The whole file as text. Plotly's script is included once, and only if there is a figure.

    `caution` is shown below the title; `made` is the time shown above it. Text is escaped, so it may come from any
    source.
    """
    charts = any(isinstance(block, Chart) for section in sections for block in section.blocks)
    return (
        _templates()
        .get_template("report.html")
        .render(
            title=title,
            sections=sections,
            caution=caution,
            made=made or datetime.datetime.now(datetime.UTC),
            plotly=Markup(get_plotlyjs()) if charts else "",  # noqa: S704, a file of Plotly
        )
    )


@functools.cache
def _templates() -> jinja2.Environment:
    """The templates of this package; all values are escaped, unless they are `Markup`."""
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("skinapp.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.tests["number_cell"] = _is_number
    templates.filters |= {"base64": _base64, "cell": _cell, "kind": _kind, "plot": _plot}
    return templates


def _kind(block: Block) -> str:
    kinds = {str: "text", Heading: "heading", pd.DataFrame: "table", List: "list", Picture: "picture", Chart: "chart"}
    return next(name for kind, name in kinds.items() if isinstance(block, kind))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _cell(value: object) -> str:
    if value is None or value is pd.NA or value != value:
        return ""
    if not _is_number(value):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _plot(figure: go.Figure, anchor: str) -> Markup:
    """The figure as HTML; Plotly escapes the text in it."""
    # Plotly's own colours for saved figures, as the page's theme is not here
    plain = go.Figure(figure).update_layout(template="plotly_white")
    plot = plain.to_html(
        full_html=False,
        include_plotlyjs=False,
        div_id=f"figure-{anchor}",
        config={"displaylogo": False, "responsive": True, "modeBarButtons": [["toImage"]]},
    )
    return Markup(plot)  # noqa: S704, a test gives it markup in every place
