"""The full faithfulness measures of a map: insertion and deletion, stability, parts of the square, ROAD."""

import dataclasses
import itertools

import numpy as np
import pandas as pd
import streamlit as st

from skinapp.attention import catalogue, faithfulness, pytorch_grad_cam
from skinapp.charts.performance import lines
from skinapp.errors import SkinappError
from skinapp.formatting import percent
from skinapp.ui import layout, panel, segmentation, turn
from skinapp.ui import photo as photos
from skinapp.ui.explained_map import ExplainedMap

STEPS = 12
"""Steps of the insertion and deletion curves: enough for their areas, in about a second."""


def show(shown: ExplainedMap) -> None:
    """Insertion and deletion, stability, and the probability for the lesion and for the skin alone."""
    st.markdown(
        "The model classifies altered copies of the square: with pixels hidden in the order given by the map, with "
        "small changes, with the lesion alone, and with the skin alone."
    )
    if not shown.cam.any():
        st.info("The map is empty: no part of the image is evidence for this class.")
        return
    if not st.toggle("Measure this map", key="measure_map"):
        return
    try:
        curves, stability = photos.cached("faithfulness", shown.content_key, lambda: _measure(shown))
    except SkinappError as error:
        st.warning(str(error))
        return
    st.markdown(
        f"**Probability of “{layout.plain(shown.name)}” as the strongest pixels are inserted, and as they are deleted**"
    )
    for at, (title, column) in enumerate(zip(("Insertion", "Deletion"), st.columns(2, gap="medium"), strict=True)):
        with column:
            _show_curves(title, {name: pair[at] for name, pair in curves.items()})
    st.caption(
        "With a good map, the probability rises fast under insertion and falls fast under deletion: faster than with a "
        "random map, and faster than with a blob in the middle, where photographers put the lesion. Hidden pixels are "
        "blurred. Petsiuk et al. 2018, arXiv:1806.07421."
    )
    left, right = st.columns(2, gap="medium")
    with left:
        st.markdown("**Stability: how similar the map stays**")
        st.dataframe(
            pd.DataFrame(stability.items(), columns=["change", "rank correlation"]).round(2),
            hide_index=True,
            alt="Similarity of the map after small changes",
        )
        st.caption("1 means the same map, 0 no similarity.")
    with right:
        st.markdown("**Probability when only part of the square is shown**")
        _show_parts(shown)


def show_road(shown: ExplainedMap) -> None:
    """ROAD of the map and of its two baselines."""
    if not st.toggle(
        "Remove and fill in (ROAD)",
        key="road_map",
        help="The strongest pixels, and then the weakest, are filled in from their surroundings, so the model cannot "
        "use the shape of the hole.",
    ):
        return
    if sentence := catalogue.missing(catalogue.TORCH):
        st.warning(sentence)
        return
    try:
        scores = photos.cached("road", shown.content_key, lambda: _road(shown))
    except SkinappError as error:
        st.warning(str(error))
        return
    st.dataframe(
        pd.DataFrame(scores.items(), columns=["map", "ROAD"]).round(3),
        hide_index=True,
        width="content",
        alt="ROAD of the map and of two others",
    )
    st.caption(
        "Half the difference between two drops in the class's probability: without the strongest 20%, 50% and 80% of "
        "the square, and without the weakest. 0 is no better than chance. Rong et al. 2022, arXiv:2202.00449."
    )


def _show_curves(title: str, curves: dict[str, np.ndarray]) -> None:
    shares = np.linspace(0, 1, STEPS + 1)
    areas = ", ".join(f"{name} {faithfulness.area(curve):.2f}" for name, curve in curves.items())
    st.caption(f"**{title}**, area under the curve: {areas}.")
    figure = lines(
        {name: pd.DataFrame({"x": shares, "y": curve, "low": curve, "high": curve}) for name, curve in curves.items()},
        "Share of the square",
        "Probability",
    )
    # room for the label of the last tick, and for a legend of two rows below the axis title
    figure.update_layout(
        xaxis={"tickvals": [0, 0.25, 0.5, 0.75, 1]},
        margin={"r": 24, "b": 104},
        legend={"yref": "container", "y": 0, "yanchor": "bottom"},
    )
    panel.show(
        figure,
        pd.DataFrame({"share": shares} | curves).round(4),
        title.lower(),
        f"{title}: probability against the share of the square. {areas}",
    )


def _show_parts(shown: ExplainedMap) -> None:
    try:
        lesion = segmentation.current(shown)
        parts = faithfulness.parts(shown.probability, shown.analysis.pixels, lesion.mask)
    except (SkinappError, ValueError) as error:
        st.info(
            str(error) if isinstance(error, SkinappError) else "There is no skin around the lesion to compare with."
        )
        return
    st.dataframe(
        pd.DataFrame(
            {
                "shown": ["the whole square", "the lesion alone", "the skin alone"],
                "probability": [percent(share) for share in (parts.unchanged, parts.lesion, parts.background)],
            }
        ),
        hide_index=True,
        alt="Probability of the class for parts of the square",
    )
    inside = faithfulness.energy_inside(shown.cam, lesion.mask)
    st.caption(f"{inside:.0%} of this map is on the lesion, which covers {lesion.share:.0%} of the square.")


def _with_baselines(shown: ExplainedMap) -> dict[str, np.ndarray]:
    """The map, and two baselines that do not depend on the model."""
    return {
        "this map": shown.cam,
        "centred blob": faithfulness.centred_blob(shown.cam.shape),
        "random map": faithfulness.random_map(shown.cam.shape),
    }


def _measure(shown: ExplainedMap) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], dict[str, float]]:
    """The two curves of each map, and the stability of this one."""
    pixels = shown.analysis.pixels
    maps = _with_baselines(shown)
    total = len(maps) * 2 * (STEPS + 1)
    with turn.at_slow_work("Classifying altered squares", "measure", turn.off("measure_map")) as progress:
        done = itertools.count()
        counting = dataclasses.replace(shown, before_each=lambda: progress(next(done) / total))
        curves = {name: faithfulness.curves(counting.probability, pixels, cam, STEPS) for name, cam in maps.items()}
        return curves, faithfulness.stability(counting.explain, pixels, shown.cam)


def _road(shown: ExplainedMap) -> dict[str, float]:
    pixels, maps, scores = shown.analysis.pixels, _with_baselines(shown), {}
    words = "Filling in parts of the square (loads PyTorch the first time)"
    with turn.at_slow_work(words, "road", turn.off("road_map")) as progress:
        for number, (name, cam) in enumerate(maps.items()):
            progress(number / len(maps))
            scores[name] = pytorch_grad_cam.road(
                shown.model, pixels, faithfulness.resized(cam, pixels.shape[:2]), shown.index
            )
    return scores
