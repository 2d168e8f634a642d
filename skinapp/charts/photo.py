"""A photo in which a box can be drawn."""

import base64
import io

import plotly.graph_objects as go
from PIL import Image

from skinapp.images.imaging import Crop

GRID = 24
"""Invisible points along each side: Plotly reports a box only if it contains points."""


def drawable(image: Image.Image, crop: Crop) -> go.Figure:
    """An RGB image with the square `crop`, its axes in pixels of the image, rows downwards; dragging draws a box."""
    width, height = image.size
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=85)
    source = "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
    points = [
        (width * (column + 0.5) / GRID, height * (row + 0.5) / GRID) for row in range(GRID) for column in range(GRID)
    ]
    invisible = {"opacity": 0}
    figure = go.Figure(
        go.Scatter(
            x=[x for x, _ in points],
            y=[y for _, y in points],
            mode="markers",
            marker=invisible,
            selected={"marker": invisible},
            unselected={"marker": invisible},
            hoverinfo="skip",
        )
    )
    left, top, right, bottom = crop.box(width, height)
    line = {"type": "rect", "x0": left, "y0": top, "x1": right, "y1": bottom, "line": {"color": "white", "width": 3}}
    hidden = {"visible": False, "fixedrange": True}
    figure.update_layout(
        images=[
            {
                "source": source,
                "xref": "x",
                "yref": "y",
                "x": 0,
                "y": 0,
                "sizex": width,
                "sizey": height,
                "sizing": "stretch",
                "layer": "below",
            }
        ],
        shapes=[line, line | {"line": {"color": "black", "width": 1}}],
        xaxis=hidden | {"range": [0, width], "constrain": "domain"},
        yaxis=hidden | {"range": [height, 0], "scaleanchor": "x", "constrain": "domain"},
        dragmode="select",
        showlegend=False,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        height=min(380, round(340 * height / width)),
    )
    return figure
