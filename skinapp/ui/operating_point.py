"""The operating point of a comparison: the threshold, and everything that depends on it."""

import pandas as pd
import streamlit as st

from skinapp.evaluation import curves, operating_points
from skinapp.evaluation.comparison import CLASSES, Shared
from skinapp.evaluation.operating_points import OperatingPoint
from skinapp.report import operating_point_views
from skinapp.report.comparison_views import Names
from skinapp.report.operating_point_views import CURVES
from skinapp.ui import address, panel
from skinapp.ui.comparison import computed_once, weights_of

THRESHOLD, SENSITIVITY, PREVALENCE = 50, 95, 5.0
"""The sliders' defaults, in percent."""

BY_THRESHOLD, BY_SENSITIVITY = "threshold", "sensitivity"
OLD_SETTINGS = {"The threshold": BY_THRESHOLD, "At least this sensitivity": BY_SENSITIVITY}
ALL = "all"
"""The code of all malignant classes together, where a class can be chosen."""
OLD_CLASSES = {"The malignant classes together": ALL}

METRICS = {
    "sensitivity": ("Sensitivity", ".1%", "The share of malignant images that are called malignant."),
    "specificity": ("Specificity", ".1%", "The share of the other images that are not called malignant."),
    "missed_cancers": (
        "Missed cancers per 1,000 people",
        ".1f",
        "People with a malignant lesion that is not called malignant.",
    ),
    "false_alarms": (
        "False alarms per 1,000 people",
        ".0f",
        "People without a malignant lesion who are referred.",
    ),
}
"""Field of an operating point -> label, format and meaning."""


def thresholds(shared: Shared) -> dict[str, float]:
    """Each model's threshold, as the widgets of `show` have it."""
    state = st.session_state
    wanted = state.get("sensitivity", SENSITIVITY) / 100 if state.get("by") == BY_SENSITIVITY else None
    return operating_points.thresholds(shared, state.get("threshold", THRESHOLD) / 100, wanted)


def prevalence() -> float:
    """The share of people with a malignant lesion (0-1), as the widgets of `show` have it."""
    return st.session_state.get("prevalence", PREVALENCE) / 100


@st.fragment
def show(shared: Shared, pair: list[str], names: Names) -> None:
    """The threshold and everything that depends on it. A fragment, so that moving it redraws only this part."""
    st.markdown(
        "A lesion is called malignant when its malignant probability is at or above the threshold. A low threshold "
        "misses fewer cancers and sends more healthy people to a doctor."
    )
    _choose(shared)
    at = thresholds(shared)
    weights = weights_of(shared)
    points = {
        name: operating_points.operating_point(shared, weights, name, at[name], prevalence()) for name in shared.ids
    }
    for name in pair:
        _show_metrics(names[name], points[name])
    st.dataframe(
        operating_point_views.table_of(points, names),
        hide_index=True,
        key="points_table",
        alt="Every model's operating point",
    )
    if st.session_state.get("by") == BY_SENSITIVITY:
        st.caption("Each threshold was chosen on these images, so its results are slightly optimistic.")
    for column, name in zip(st.columns(len(pair), gap="medium"), pair, strict=True):
        with column:
            st.markdown(f"**{names[name]}**")
            chart = operating_point_views.confusion(points[name], names[name])
            panel.show(chart.figure, chart.table, f"called_{name}", chart.words)
    _show_curves(shared, at, names)


def _choose(shared: Shared) -> None:
    left, middle, right = st.columns(3, gap="medium")
    by = address.segmented_control(
        left, "Set", {BY_THRESHOLD: "Threshold", BY_SENSITIVITY: "Minimum sensitivity"}, "by", old_labels=OLD_SETTINGS
    )
    if by == BY_SENSITIVITY:
        middle.slider(
            "Minimum sensitivity", 50, 100, SENSITIVITY, format="%d%%", key="sensitivity", bind="query-params"
        )
    else:
        middle.slider("Threshold", 1, 99, THRESHOLD, format="%d%%", key="threshold", bind="query-params")
    right.slider(
        "Prevalence of malignant lesions",
        0.5,
        50.0,
        PREVALENCE,
        0.5,
        format="%.1f%%",
        key="prevalence",
        bind="query-params",
        help="The share of the people examined who have a malignant lesion. Predictive values and counts per 1,000 "
        f"people depend on it. Among these test images it is {shared.malignant.mean():.0%}, far more than in a "
        "screening clinic.",
    )


def _show_metrics(name: str, point: OperatingPoint) -> None:
    st.markdown(f"**{name}**, threshold {point.threshold:.3f}")
    # wide enough for the longest name and an interval
    with st.grid(4, min_column_width=240):
        for field, (label, form, meaning) in METRICS.items():
            interval = getattr(point, field)
            limits = f"{interval.low:{form}} to {interval.high:{form}}" if interval.exists else "no interval"
            st.metric(
                label,
                f"{interval.value:{form}}",
                limits,
                delta_color="off",
                delta_arrow="off",
                delta_description="95% interval" if interval.exists else None,
                help=meaning,
            )


def _show_curves(shared: Shared, at: dict[str, float], names: Names) -> None:
    classes = {
        code: shared.labels[code].name
        for number, code in enumerate(shared.labels.codes)
        if shared.question == CLASSES and (shared.truth == number).any()
    }
    chosen = address.selectbox(
        st.container(), "Curves of", {ALL: "All malignant classes", **classes}, "curves_of", old_labels=OLD_CLASSES
    )
    code = None if chosen == ALL else chosen
    with st.grid(2, min_column_width=320, gap="medium"):
        for kind, (title, _, _) in CURVES.items():
            with st.container():
                st.markdown(f"**{title}**")
                chart = operating_point_views.curve(shared, _curves(shared, kind, code), kind, code, at, names)
                panel.show(chart.figure, chart.table, f"curve_{kind}", chart.words)
    st.caption(
        "Bands are pointwise 95% intervals; large marks show the operating point. At a threshold t, net benefit counts "
        "a false alarm as t / (1 - t) of a detected cancer, at the prevalence among these images. Risk and coverage do "
        "not depend on the threshold, so they have no mark."
    )


def _curves(shared: Shared, kind: str, code: str | None) -> dict[str, pd.DataFrame]:
    weights = weights_of(shared)
    return computed_once(
        shared,
        f"{kind} {code}",
        lambda: {name: curves.curve(shared, weights, name, kind, code) for name in shared.ids},
    )
