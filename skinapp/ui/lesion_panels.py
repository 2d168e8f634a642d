"""More about a map and its lesion, in tabs."""

import streamlit as st

from skinapp.ui import attribution, faithfulness, retrieval, sanity_check, segmentation
from skinapp.ui.explained_map import ExplainedMap


def show(shown: ExplainedMap, switch: str) -> None:
    """The sanity check of a map, and everything else in tabs, including panels that load TensorFlow or PyTorch.
    `switch` as for the badge."""
    sanity_check.show_badge(shown, switch)
    names = ["Segmentation", "Border, colour, texture", "Faithfulness of the map", "Similar cases"]
    lesion, features, measures, cases = st.tabs(names, key="lesion_panels", on_change="rerun")
    with lesion:
        segmentation.show(shown)
    with features:
        # this takes a committee seconds
        if features.open:
            attribution.show(shown)
    with measures:
        faithfulness.show(shown)
        faithfulness.show_road(shown)
        sanity_check.show_randomised(shown)
    with cases:
        retrieval.show(shown.analysis)
