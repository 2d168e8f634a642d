"""Where a model looked: the map that comes with a prediction, over its photo."""

import streamlit as st

from skinapp.attention import heatmap
from skinapp.charts import probabilities
from skinapp.inference.analysis import Analysis
from skinapp.inference.registry import Model
from skinapp.report.case_report import no_map
from skinapp.ui import explained_map, faithfulness, layout, sanity_check, square
from skinapp.ui import photo as photos
from skinapp.ui.explained_map import ExplainedMap
from skinapp.ui.session_images import Photo

OPACITY = 60


def of(analysis: Analysis, photo: Photo) -> ExplainedMap | None:
    """The map of the class that the visitor chose, at first the most likely one; None for a network without maps."""
    class_maps = analysis.prediction.class_maps
    if class_maps is None:
        return None
    predicted = analysis.prediction.predicted
    code = st.session_state.get(_class_key(analysis, photo), predicted)
    return explained_map.of_last_convolution(analysis, photo, code, class_maps)


@st.fragment
def show_picture(model: Model, photo: Photo, shown: ExplainedMap | None) -> None:
    """The photo with its square, the map over it, and how far the map can be used. A fragment, so that the switch and
    the opacity redraw only this."""
    if shown is None:
        square.show(photo)
        st.caption(no_map(model))
        return
    place = st.container(gap="xsmall")
    with st.container(horizontal=True, vertical_alignment="center", wrap=False, gap="small"):
        on = st.toggle("Map", True, key="map_shown", persist_state="session", width="content")
        st.markdown(":small[Opacity]", width="content")
        opacity: int = st.slider(
            "Opacity",
            0,
            100,
            OPACITY,
            5,
            format="%d%%",
            key="map_opacity",
            persist_state="session",
            label_visibility="collapsed",
            disabled=not on,
        )
    with place:
        if on:
            square.show(photo, shown.cam, opacity / 100, shown.name)
        else:
            square.show(photo)
        if not shown.cam.any():
            st.caption(f"No part of the image counted towards “{shown.name}”.")
            return
        if on:
            st.caption(f"Yellow areas counted most towards “{shown.name}”.")
        sanity_check.show_badge(shown)


def show_details(analysis: Analysis, photo: Photo, shown: ExplainedMap | None) -> None:
    """The class of the map, its download, its faithfulness, and the way to other methods."""
    if shown is None:
        st.caption(no_map(analysis.model))
        return
    labels = analysis.model.labels
    st.selectbox(
        "Class shown on the map",
        probabilities.probability_frame(analysis.prediction)["code"].tolist(),
        format_func=lambda code: labels[code].name,
        # a new square or image starts with its own most likely class
        key=_class_key(analysis, photo),
        help="Grad-CAM at the network's last convolution. It is coarse, and it shows where the evidence for a class "
        "is, not whether that evidence is good. Details about the patient do not affect it.",
    )
    overlay = heatmap.overlay(analysis.square, shown.cam, st.session_state.get("map_opacity", OPACITY) / 100)
    with st.container(horizontal=True, gap="small"):
        st.download_button(
            "Download the map as PNG",
            photos.png(overlay),
            f"{photo.name}-map-{shown.code}.png",
            "image/png",
            key="download_map",
            icon=":material/download:",
            on_click="ignore",
        )
        if st.button("More methods, layers and models", icon=":material/visibility:", key="to_attention"):
            st.switch_page(layout.path("attention"))
    faithfulness.show(shown)


def _class_key(analysis: Analysis, photo: Photo) -> str:
    return f"map_class_{analysis.model.id}_{analysis.prediction.predicted}_{photo.key}"
