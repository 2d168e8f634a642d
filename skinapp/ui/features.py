"""A features model's measurements of the lesion, and how they led to its answer: shown instead of a map."""

import dataclasses

import numpy as np
import streamlit as st
from PIL import Image

from skinapp.charts import probabilities
from skinapp.errors import ModelError, SegmentationError
from skinapp.inference.analysis import Analysis
from skinapp.lesion import segmentation
from skinapp.report import feature_views
from skinapp.ui import panel
from skinapp.ui import photo as photos
from skinapp.ui.session_images import Photo


def show(analysis: Analysis, photo: Photo) -> None:
    """The contributions of the features to the class that the visitor chooses, at first the most likely one."""
    labels = analysis.model.labels
    code = st.selectbox(
        "What counted towards the class",
        probabilities.probability_frame(analysis.prediction)["code"].tolist(),
        format_func=lambda code: labels[code].name,
        # a new square or image starts at its own most likely class
        key=f"features_class_{analysis.prediction.predicted}_{photo.key}",
        help="The bars and the mean score of the training images add up exactly to the class's score (Shapley values "
        "from TreeSHAP). The score is the logit, before calibration.",
    )
    st.caption(feature_views.READING)
    panel.show_chart(
        feature_views.chart(analysis.prediction, code),
        "features",
        {
            "feature": None,
            "title": "Feature",
            "group": "Group",
            "value": st.column_config.NumberColumn("Value", format="%.3g", help="Empty if missing."),
            "contribution": st.column_config.NumberColumn("Contribution", format="%+.3f"),
        },
    )


def show_segmentation(analysis: Analysis) -> None:
    """The border of the area in which the features were measured."""
    try:
        # segmented in the square used for the features, but drawn on the larger one
        lesion = segmentation.segment(analysis.pixels)
    except (SegmentationError, ModelError) as error:
        st.warning(str(error))
        return
    size = analysis.square.shape[:2]
    mask = np.asarray(Image.fromarray(lesion.mask).resize(size, Image.Resampling.NEAREST))
    st.image(
        segmentation.with_border(analysis.square, dataclasses.replace(lesion, mask=mask)),
        "The features were measured inside this border. If it is wrong, so is the answer.",
        width=photos.SHOWN_HEIGHT,
        alt="The square with the border of the lesion",
    )
