"""More about a map and its lesion, in tabs."""

import streamlit as st

from skinapp.ui import faithfulness, retrieval, sanity_check, segmentation
from skinapp.ui.explained_map import ExplainedMap


def show(shown: ExplainedMap, research: bool = False) -> None:
    """The sanity check in one sentence, and everything else in tabs; panels that load TensorFlow or PyTorch only if
    `research`."""
    sanity_check.show_sentence(shown)
    lesion, measures, cases = st.tabs(["Segmentation, shape and colour", "Faithfulness of the map", "Similar cases"])
    with lesion:
        segmentation.show(shown)
    with measures:
        faithfulness.show(shown)
        if research:
            faithfulness.show_road(shown)
            sanity_check.show_randomised(shown)
    with cases:
        retrieval.show(shown.analysis)
