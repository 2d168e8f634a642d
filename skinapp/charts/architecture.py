"""The diagram of a network: its stages, from the image to the probabilities."""

import itertools
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from skinapp.charts.performance import GREY, colour, pale
from skinapp.charts.style import INK
from skinapp.inference import architecture
from skinapp.inference.architecture import Block
from skinapp.inference.registry import Model


@dataclass(frozen=True)
class Stage:
    """A part of a network: its name, what it does, and the shape of its output."""

    name: str
    does: str
    shape: str


def stages(model: Model) -> list[Stage]:
    """From the image to the probabilities. The backbone's blocks are listed where model.keras is in the folder."""
    size, card = model.input_size, model.card
    classes = len(model.labels.codes)
    width = math.prod(card["outputs"].get("embedding", card["outputs"]["logits"]))
    backbone = _backbone(model)
    if not backbone:
        kind = "Convolutions" if model.has_class_maps else "Layers"
        maps = card["outputs"].get("class_maps")
        shape = f"{maps[0]} x {maps[1]} x {width}" if maps else f"{width}"
        backbone = [Stage(card["architecture"]["name"], f"{kind}; {card['initial_weights']}", shape)]
    pooling = [Stage("Global average pooling", "The mean of each feature over the image", f"{width}")]
    return [
        Stage(
            "Image" if model.kind != "pair" else "Each of two images",
            f"{card['input']['channels']}, values 0-255; rescaled inside",
            f"{size} x {size} x 3",
        ),
        *backbone,
        *(pooling if model.has_class_maps else []),
        Stage("Head", "One dense layer: a logit for each class", f"{classes}"),
        *_averaging(model, classes),
        Stage("Probabilities", f"Softmax of the logits / {model.temperature:g}", f"{classes}"),
    ]


def _averaging(model: Model, classes: int) -> list[Stage]:
    """The stage that averages or adds up the logits; none for a single network with a single view."""
    if model.kind == "pair":
        weights = (f"{picture['weight']:.2f}" for picture in model.card["pair"]["pictures"])
        does = f"Of the logits for both images, weights {' and '.join(weights)}, and a constant for each class"
        return [Stage("Weighted sum", does, f"{classes}")]
    networks, views = len(model.weights), len(model.views)
    over = [f"{count} {what}s" for count, what in ((networks, "network"), (views, "view")) if count > 1]
    return [Stage("Mean", f"Of the logits of {' and '.join(over)}", f"{classes}")] if over else []


def _backbone(model: Model) -> list[Stage]:
    """The stages of the backbone: its blocks, grouped by number; empty if they are not known."""
    blocks: Sequence[Block] = architecture.blocks(model)
    if "adopted" in model.card:
        return [
            Stage(
                one.title.partition(",")[0], f"Up to the layer {one.layer}", f"{one.side} x {one.side} x {one.channels}"
            )
            for one in blocks
        ]
    stages = []
    for number, group in itertools.groupby(blocks, key=lambda block: block.stage):
        blocks = list(group)
        last, kernel = blocks[-1], max(block.kernel for block in blocks)
        does = f"{len(blocks)} inverted bottleneck{'s' * (len(blocks) > 1)}" if number else "Convolution"
        title = f"Block {number}" if number else last.title.partition(",")[0]
        shape = f"{last.side} x {last.side} x {last.channels}"
        stages.append(Stage(title, f"{does}, kernels up to {kernel} x {kernel}", shape))
    return stages


def diagram(boxes: Sequence[Stage]) -> go.Figure:
    """A network from top to bottom: a box for each stage, with arrows between."""
    figure = go.Figure()
    for number, stage in enumerate(boxes):
        figure.add_shape(
            type="rect",
            x0=0.02,
            x1=0.98,
            y0=number - 0.34,
            y1=number + 0.34,
            line={"color": colour(0), "width": 1.2},
            fillcolor=pale(colour(0)),
        )
        # wrapped to fit on a phone
        text = "<br>".join([f"<b>{stage.name}</b>", *textwrap.wrap(stage.does, 46)])
        figure.add_annotation(
            x=0.05,
            xanchor="left",
            align="left",
            y=number,
            text=text,
            showarrow=False,
            font={"color": INK, "size": 13},
        )
        figure.add_annotation(
            x=0.95, xanchor="right", y=number - 0.2, text=stage.shape, showarrow=False, font={"color": INK, "size": 12}
        )
        if number:
            figure.add_annotation(
                x=0.5,
                y=number - 0.35,
                ax=0.5,
                ay=number - 0.65,
                axref="x",
                ayref="y",
                arrowhead=2,
                arrowcolor=GREY,
                text="",
            )
    figure.update_layout(
        height=84 * len(boxes) + 34,
        margin={"l": 0, "r": 0, "t": 34, "b": 0},
        plot_bgcolor="rgba(0,0,0,0)",
        paper_bgcolor="rgba(0,0,0,0)",
    )
    figure.update_xaxes(range=[0, 1], visible=False, fixedrange=True)
    figure.update_yaxes(range=[len(boxes) - 0.55, -0.45], visible=False, fixedrange=True)
    return figure
