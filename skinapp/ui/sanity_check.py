"""The sanity check of a map: one sentence, and the comparison with randomised copies of the network."""

import dataclasses

import numpy as np
import pandas as pd
import streamlit as st

from skinapp.attention import catalogue, randomisation, sanity_check
from skinapp.attention.sanity_check import Evidence, Outcome
from skinapp.errors import ModelError, SegmentationError, SkinappError
from skinapp.ui import photo as photos
from skinapp.ui import segmentation, turn
from skinapp.ui.explained_map import ExplainedMap

NOT_MEASURED = "How often supported maps of this method are right has not been measured."
MARKS = {
    Outcome.SUPPORTED: ":green-badge[:material/visibility: {}]",
    Outcome.WEAK: ":orange-badge[:material/visibility: {}]",
    Outcome.DO_NOT_USE: ":red-badge[:material/visibility_off: {}]",
}


def show_badge(shown: ExplainedMap, switch: str = "") -> None:
    """Whether the map can be used: a badge, and why in one sentence. `switch` is the key of the widget that turns the
    check on. CancelledError if a slow check was cancelled."""
    mask, missing = None, ""
    try:
        lesion = segmentation.current(shown)
        mask, missing = lesion.mask, lesion.note
    except (SegmentationError, ModelError) as error:
        missing = str(error)
    evidence = photos.cached(
        "sanity_check",
        hash((shown.content_key, None if mask is None else mask.tobytes())),
        lambda: _gather(shown, mask, switch),
    )
    words = sanity_check.sentence(evidence, shown.model.labels)
    record = sanity_check.record(shown.model) if shown.method.id == "last-convolution" else NOT_MEASURED
    st.markdown(
        f"{MARKS[evidence.outcome].format(evidence.badge)} :small[{words}]"
        + (f" :small[{missing}]" if missing else ""),
        help=record,
    )


def _gather(shown: ExplainedMap, mask: np.ndarray | None, switch: str) -> Evidence:
    """A few classifications and another map: about as much work as an answer unless the method is slow."""
    if shown.method.quick:
        with turn.at_answer():
            return _evidence(shown, mask)
    with turn.at_slow_work("Checking the map", "sanity_check", turn.off(switch)) as progress:
        return _evidence(dataclasses.replace(shown, before_each=lambda: progress(0.0)), mask)


def _evidence(shown: ExplainedMap, mask: np.ndarray | None) -> Evidence:
    trusted = shown.method.id == "last-convolution" and sanity_check.trusted(shown.model)
    return sanity_check.gather(
        shown.all_probabilities, shown.explain, shown.analysis.pixels, shown.index, shown.cam, mask, trusted
    )


def _randomised(shown: ExplainedMap) -> dict[str, np.ndarray]:
    words = "Making the same map for randomised copies (loads TensorFlow the first time)"
    with turn.at_slow_work(words, "randomised", turn.off("randomised_map")) as progress:
        counting = dataclasses.replace(shown, before_each=lambda: progress(0.0))
        return randomisation.cascade(
            shown.model, lambda copy: counting.explain(shown.analysis.pixels, copy), shown.method.quick, progress
        )


def show_randomised(shown: ExplainedMap) -> None:
    """How similar the map is to maps of randomised copies of the network, by the same method."""
    if "model.keras" not in shown.model.card["files"]:
        st.caption(
            "This map cannot be compared with randomised copies of the network: the model comes without the network "
            "that they are made from."
        )
        return
    if not shown.method.runs_on_copies:
        st.caption(
            "This map cannot be compared with randomised copies of the network: the method runs on the published "
            "network only."
        )
        return
    if sentence := catalogue.missing(catalogue.TENSORFLOW):
        st.caption(sentence)
        return
    if not st.toggle("Compare with randomised copies of the network", key="randomised_map"):
        return
    try:
        maps = photos.cached("randomised", shown.content_key, lambda: _randomised(shown))
    except SkinappError as error:
        st.warning(str(error))
        return
    correlations = randomisation.similarities(shown.cam, maps)
    st.dataframe(
        pd.DataFrame(correlations.items(), columns=["randomised down to", "rank correlation"]).round(2),
        hide_index=True,
        width="content",
        alt="Similarity of the map to maps of randomised copies",
    )
    source = f"The maps of the copies use the same method, {shown.method.title}. Adebayo et al. 2018, arXiv:1810.03292."
    if randomisation.passed(correlations):
        st.caption(f"The map changes when the network's weights are randomised, as it should. {source}")
    else:
        st.warning(
            "This map fails the randomisation test: it looks the same when the network's weights are randomised.",
            icon=":material/visibility_off:",
        )
        st.caption(source)
