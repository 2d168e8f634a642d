"""The lesion's segmentation, the controls that correct it, and the shape and colour measured inside it."""

import pandas as pd
import streamlit as st

from skinapp.errors import ModelError, SegmentationError, SkinappError
from skinapp.lesion import segmentation, shape
from skinapp.lesion.segmentation import Segmentation
from skinapp.ui import panel
from skinapp.ui import photo as photos
from skinapp.ui.explained_map import ExplainedMap

BY_NETWORK, BY_HAND = "Automatic", "Ellipse"
CENTRES, AXES = {"x": "Left to right", "y": "Top to bottom"}, {"width": "Width", "height": "Height"}


def current(shown: ExplainedMap) -> Segmentation:
    """The lesion in the square, with the visitor's corrections. SegmentationError or ModelError if there is none."""
    state, key, square = st.session_state, shown.square_key, shown.analysis.square
    if state.get(f"segmentation_way_{key}", BY_NETWORK) == BY_HAND:
        x, y, width, height = (state.get(f"segmentation_{name}_{key}", 50) / 100 for name in CENTRES | AXES)
        degrees = state.get(f"segmentation_rotation_{key}", 0)
        return segmentation.ellipse(square.shape[:2], x, y, width, height, degrees)
    automatic = photos.cached("segmentation", hash(square.tobytes()), lambda: _segment(shown))
    if isinstance(automatic, SkinappError):
        raise automatic
    threshold = state.get(f"segmentation_threshold_{key}")
    if threshold is not None:
        automatic = segmentation.at_threshold(automatic.probabilities, threshold / 100)
    return segmentation.grown(automatic, state.get(f"segmentation_growth_{key}", 0) / 100)


def show(shown: ExplainedMap) -> None:
    """The segmentation, its corrections, and what is measured inside it."""
    left, controls = st.columns([2, 3], gap="medium")
    with controls:
        _choose(shown)
        millimetres = st.number_input(
            "Side of the square in millimetres, if you know it",
            0.5,
            500.0,
            None,
            key=f"millimetres_{shown.square_key}",
            placeholder="Unknown",
            help="For example, from a ruler in the image. Needed for the diameter.",
        )
    square = shown.analysis.square
    try:
        lesion = current(shown)
    except (SegmentationError, ModelError) as error:
        left.image(square, width="stretch", alt="The square of the image")
        st.warning(str(error))
        return
    left.image(
        segmentation.with_border(square, lesion),
        "The lesion's border. Check it before you use the numbers.",
        width="stretch",
        alt="The square with the border of the lesion",
    )
    if lesion.note:
        st.warning(lesion.note)
    measurements = photos.cached(
        "shape",
        hash((square.tobytes(), lesion.mask.tobytes(), millimetres)),
        lambda: shape.measure(square, lesion.mask, millimetres),
    )
    with st.grid(6, min_column_width=130, gap="small"):
        for one in measurements:
            st.metric(one.name, one.shown, help=f"{one.definition} {one.source}.")
    st.caption(
        "These are measurements, not a diagnosis: what counts as high or low depends on the camera, the light and the "
        "border."
    )
    with st.expander("Definitions and download", icon=":material/straighten:", key="shape_table"):
        for one in measurements:
            st.markdown(f"**{one.name}**: {one.definition} *{one.source}.*")
        panel.offer_csv(_table(measurements), f"{shown.photo.name}-shape")


def _table(measurements: list[shape.Measurement]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "measurement": [measurement.name for measurement in measurements],
            "value": [round(measurement.value, 4) for measurement in measurements],
            "unit": ["share, 0-1" if measurement.unit == "%" else measurement.unit for measurement in measurements],
            "definition": [measurement.definition for measurement in measurements],
            "source": [measurement.source for measurement in measurements],
        }
    )


def _segment(shown: ExplainedMap) -> Segmentation | SkinappError:
    try:
        return segmentation.segment(shown.analysis.square)
    except (SegmentationError, ModelError) as error:
        return error


def _choose(shown: ExplainedMap) -> None:
    """The controls that `current` reads."""
    key = shown.square_key
    way = st.segmented_control(
        "Segmentation",
        [BY_NETWORK, BY_HAND],
        default=BY_NETWORK,
        required=True,
        key=f"segmentation_way_{key}",
        label_visibility="collapsed",
    )
    if way == BY_HAND:
        with st.grid(2, min_column_width=140, gap="small"):
            for names, low in ((CENTRES, 0), (AXES, 5)):
                for name, title in names.items():
                    st.slider(title, low, 100, 50, format="%d%%", key=f"segmentation_{name}_{key}")
        st.slider("Rotation", 0, 175, 0, 5, format="%d°", key=f"segmentation_rotation_{key}")
        return
    try:
        default = round(100 * segmentation.card()["threshold"])
    except ModelError:
        return
    with st.grid(2, min_column_width=140, gap="small"):
        st.slider(
            "Threshold",
            5,
            95,
            default,
            5,
            format="%d%%",
            key=f"segmentation_threshold_{key}",
            help="A pixel belongs to the lesion if its probability is at least this.",
        )
        st.slider(
            "Grow or shrink",
            -10,
            10,
            0,
            format="%d%%",
            key=f"segmentation_growth_{key}",
            help="Moves the border out or in, by a percentage of the square's side.",
        )
