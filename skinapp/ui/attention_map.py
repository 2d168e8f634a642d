"""Where a model looked: the map that comes with a prediction, beside the square it belongs to."""

import numpy as np
import streamlit as st

from skinapp.attention import heatmap
from skinapp.charts import probabilities
from skinapp.inference.analysis import Analysis
from skinapp.ui import explained_map, layout, lesion_panels
from skinapp.ui import photo as photos
from skinapp.ui.photo import Photo


def show(analysis: Analysis, photo: Photo) -> None:
    """The map of any class with its panels, or why there is none."""
    if analysis.prediction.class_maps is None:
        st.caption("This network ends in dense layers, so there is no map of where it looked.")
    else:
        _show(analysis, photo, analysis.prediction.class_maps)


@st.fragment
def _show(analysis: Analysis, photo: Photo, class_maps: np.ndarray) -> None:
    labels = analysis.model.labels
    st.space("small")
    st.subheader(
        "Where the model looked",
        anchor=False,
        help="Grad-CAM at the network's last convolution. It is coarse, and it shows where the evidence for a class "
        "is, not whether that evidence is good. Patient metadata does not affect it.",
    )
    choice, strength = st.columns(2, gap="medium")
    code = choice.selectbox(
        "Map of the class",
        probabilities.probability_frame(analysis.prediction)["code"].tolist(),
        format_func=lambda code: labels[code].name,
        # a new square or image starts at its own most likely class
        key=f"map_class_{photo.key}_{analysis.prediction.predicted}",
    )
    opacity = strength.slider("Opacity", 0, 100, 60, 5, format="%d%%", key="map_opacity") / 100
    shown = explained_map.of_last_convolution(analysis, photo, code, class_maps)
    overlay = heatmap.overlay(analysis.square, shown.cam, opacity)
    before, after = st.columns(2, gap="medium")
    before.image(analysis.square, "What the model saw", width="stretch", alt="The square of the image")
    if shown.cam.any():
        words = f"Yellow areas counted most towards “{shown.name}”, dark areas less, and uncoloured areas not at all."
    else:
        words = f"No part of the image counted towards “{shown.name}”."
    after.image(overlay, words, width="stretch", alt=f"The same square with the attention map of {shown.name}")
    after.download_button(
        "Download the map as PNG",
        photos.png(overlay),
        f"{photo.name}-map-{code}.png",
        "image/png",
        key="download_map",
        icon=":material/download:",
        on_click="ignore",
    )
    if after.button(
        "More methods, layers and models",
        icon=":material/visibility:",
        key="to_attention",
        on_click=photos.keep_for_next_page,
        args=(photo,),
    ):
        st.switch_page(layout.path("attention"))
    if shown.cam.any():
        # after the map is shown, since the panels need a few more predictions
        lesion_panels.show(shown)
