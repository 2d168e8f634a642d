"""Which model is better, how sure we are, and what an operating point costs."""

from functools import partial

import pandas as pd
import streamlit as st

from skinapp.errors import DataError
from skinapp.evaluation import bootstrap, measures, predictions
from skinapp.evaluation.comparison import CLASSES, Shared
from skinapp.evaluation.predictions import Predictions
from skinapp.report import comparison_report, document
from skinapp.report.comparison_views import Names
from skinapp.ui import comparison, comparison_panels, error_gallery, layout, operating_point
from skinapp.ui.layout import plain


def write_report(
    shared: Shared, known: dict[str, Predictions], published: pd.DataFrame, pair: list[str], names: Names
) -> str:
    """The comparison as one HTML file, at the operating point that the page shows."""
    sections = comparison_report.sections(
        shared,
        comparison.weights_of(shared),
        comparison.draws_of(shared),
        known,
        published,
        pair,
        operating_point.thresholds(shared),
        operating_point.prevalence(),
        names,
    )
    return document.render("Comparison of skin-lesion classifiers", sections, comparison_report.CAUTION)


with layout.page("Compare"):
    st.title("Which model is better, and how sure are we?", anchor=False)
    st.markdown(
        "Models side by side, on the test images that all of them have predictions for. None of them was trained on "
        "these lesions."
    )
    known, left_out = predictions.shipped()
    for reason in left_out.values():
        st.warning(plain(reason))
    if not known:
        st.error(layout.NO_MODELS)
        st.stop()
    controls = st.container()
    own = comparison.choose_own(known)
    if own:
        known = known | {comparison.OWN: own}
    with controls:
        choice = comparison.choose(known)
    if not choice.models:
        st.info("Choose at least one model above.")
        st.stop()
    try:
        shared = comparison.share(choice)
    except DataError as error:
        st.error(plain(str(error)))
        st.stop()
    malignant = int(shared.malignant.sum())
    controls.markdown(
        f":material/photo_library: **{len(shared.images):,} images** of {bootstrap.count(shared.groups):,} lesions or "
        f"patients, with predictions from {f'all {len(shared.ids)} models' if len(shared.ids) > 1 else 'the model'}; "
        f"{malignant:,} are malignant ({malignant / len(shared.images):.0%})."
    )
    with st.spinner("Resampling lesions"):
        comparison.draws_of(shared)
    names = comparison.names_of(shared)
    published = measures.published(choice.question, choice.dataset)

    st.subheader("Leaderboard", anchor=False)
    comparison_panels.show_leaderboard(shared, known, published, names)

    st.space("medium")
    st.subheader("Two models, image by image" if len(shared.ids) > 1 else "One model", anchor=False)
    pair = comparison.choose_pair(shared, names)
    if len(pair) == 2:
        comparison_panels.show_pair(shared, pair, names)

    st.space("medium")
    st.subheader("Operating point", anchor=False)
    operating_point.show(shared, pair, names)

    st.space("medium")
    st.subheader("Calibration", anchor=False)
    comparison_panels.show_calibration(shared, known, pair, names)

    if with_sets := comparison_panels.have_sets(known, pair):
        st.space("medium")
        st.subheader("Prediction sets", anchor=False)
        comparison_panels.show_sets(shared, known, with_sets, names)

    if choice.question == CLASSES:
        st.space("medium")
        st.subheader("Confusion matrix", anchor=False)
        comparison_panels.show_classes(shared, pair, names)

    st.space("medium")
    st.subheader("Subgroups", anchor=False)
    comparison_panels.show_subgroups(shared, pair, names)

    st.space("medium")
    st.subheader("Errors", anchor=False)
    error_gallery.show(shared, pair, names)

    st.space("medium")
    comparison_panels.show_training(known, pair, names)
    comparison_panels.show_protocols(known)

    st.space("medium")
    st.download_button(
        "Download the whole comparison",
        partial(write_report, shared, known, published, pair, names),
        "comparison.html",
        "text/html",
        key="report",
        icon=":material/download:",
        on_click="ignore",
        help="One HTML file with every figure and table. It opens anywhere and prints well.",
    )
