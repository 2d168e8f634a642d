"""Headings, text, tables and figures -> one HTML file that needs nothing else, on screen and in print."""

import base64
import datetime
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go
from PIL import Image
from plotly.offline import get_plotlyjs


@dataclass(frozen=True)
class Chart:
    """A figure with the table behind it, and words for people who cannot see it."""

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


Block = str | Heading | pd.DataFrame | Chart | Picture
"""A paragraph of plain text, a heading, a table, a figure or an image."""


@dataclass(frozen=True)
class Section:
    """A heading and the blocks below it."""

    heading: str
    blocks: Sequence[Block]


STYLE = """
:root { color-scheme: light; --ink: #1b2726; --line: #dadfd9; --accent: #1d6b68; --pale: #f1f3ef; }
body { font: 16px/1.5 "Source Sans 3", "Source Sans Pro", system-ui, sans-serif; color: var(--ink); background: #fdfdfb;
  max-width: 1000px; margin: 0 auto; padding: 2rem 1rem 4rem; }
h1, h2, h3 { font-family: "Source Serif 4", Georgia, serif; line-height: 1.2; }
h3 { margin: 1.75rem 0 0.25rem; }
h2 { margin-top: 2.5rem; border-top: 1px solid var(--line); padding-top: 1.5rem; }
nav ul { columns: 2; padding-left: 1.2rem; } a { color: var(--accent); }
.table { overflow-x: auto; } table { border-collapse: collapse; font-size: 0.85rem; margin: 0.75rem 0; }
th, td { border-bottom: 1px solid var(--line); padding: 0.25rem 0.7rem 0.25rem 0; text-align: left; }
th { color: #51605e; font-weight: 600; } td.number { text-align: right; font-variant-numeric: tabular-nums; }
figure { margin: 1rem 0; } figcaption, .note { color: #51605e; font-size: 0.85rem; } img { max-width: 100%; }
details { margin: 0.5rem 0 1.5rem; } summary { cursor: pointer; color: var(--accent); }
.caution { background: var(--pale); border-left: 4px solid var(--accent); padding: 0.75rem 1rem; }
@media print { body { max-width: none; padding: 0; font-size: 10pt; }
  table { font-size: 8.5pt; } td, th { padding: 0.1rem 0.5rem 0.1rem 0; } h2, figure, tr { break-inside: avoid; }
  h2, h3 { break-after: avoid; } figure { break-before: avoid; } img { max-height: 9cm; }
  nav, details, .modebar { display: none; } }
@media (max-width: 600px) { nav ul { columns: 1; } }
"""

PRINTED = """
addEventListener("beforeprint", () => document.querySelectorAll(".js-plotly-plot").forEach(
  figure => Plotly.relayout(figure, { width: 660 })));
addEventListener("afterprint", () => document.querySelectorAll(".js-plotly-plot").forEach(
  figure => Plotly.relayout(figure, { width: null, autosize: true })));
"""
"""Figures as wide as an A4 or letter page: at screen width, they would shrink the whole printout."""


def png(image: Image.Image) -> bytes:
    """The bytes of a PNG file, without metadata."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def render(title: str, sections: Sequence[Section], caution: str, made: datetime.datetime | None = None) -> str:
    """The whole file as text. Plotly's script is in it once, and only where there is a figure.

    `caution` is shown below the title; `made` is the time shown above it. Text is escaped, so it may come from
    anywhere.
    """
    made = made or datetime.datetime.now(datetime.UTC)
    charts = any(isinstance(block, Chart) for section in sections for block in section.blocks)
    script = f"<script>{get_plotlyjs()}</script><script>{PRINTED}</script>" if charts else ""
    links = "".join(
        f'<li><a href="#part-{number}">{html.escape(section.heading)}</a></li>'
        for number, section in enumerate(sections)
    )
    body = "\n".join(
        f'<section id="part-{number}"><h2>{html.escape(section.heading)}</h2>\n'
        + "\n".join(_block(block, f"{number}-{index}") for index, block in enumerate(section.blocks))
        + "</section>"
        for number, section in enumerate(sections)
    )
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title><style>{STYLE}</style>{script}</head>
<body><h1>{html.escape(title)}</h1>
<p class="note">Written {made:%Y-%m-%d %H:%M} UTC.</p>
<p class="caution">{html.escape(caution)}</p>
<nav><ul>{links}</ul></nav>
{body}
</body></html>
"""


def _block(block: Block, anchor: str) -> str:
    if isinstance(block, str):
        return f"<p>{html.escape(block)}</p>"
    if isinstance(block, Heading):
        return f"<h3>{html.escape(block.text)}</h3>"
    if isinstance(block, pd.DataFrame):
        return _table(block)
    if isinstance(block, Picture):
        data = base64.b64encode(block.png).decode()
        caption = html.escape(block.caption)
        image = f'<img src="data:image/png;base64,{data}" alt="{caption}">'
        return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"
    # Plotly's own colours for saved figures, as the page's theme is not here
    figure = go.Figure(block.figure).update_layout(template="plotly_white")
    plot = figure.to_html(
        full_html=False,
        include_plotlyjs=False,
        div_id=f"figure-{anchor}",
        config={"displaylogo": False, "responsive": True, "modeBarButtons": [["toImage"]]},
    )
    return (
        f'<figure role="img" aria-label="{html.escape(block.words)}">{plot}</figure>'
        f"<details><summary>Table of this figure</summary>{_table(block.table)}</details>"
    )


def _table(table: pd.DataFrame) -> str:
    heads = "".join(f"<th>{html.escape(str(name))}</th>" for name in table.columns)
    rows = "\n".join(
        "<tr>" + "".join(_cell(value) for value in row) + "</tr>" for row in table.itertuples(index=False, name=None)
    )
    return f'<div class="table"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'


def _cell(value: object) -> str:
    if value is None or value is pd.NA or value != value:
        return "<td></td>"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"<td>{html.escape(str(value))}</td>"
    return f'<td class="number">{f"{value:,}" if isinstance(value, int) else f"{value:.4g}"}</td>'
