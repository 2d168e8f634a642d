"""Which of two models finds more of what matters, at what cost, and how sure we are."""

from functools import partial

import pandas as pd
import streamlit as st

from skinapp.errors import DataError
from skinapp.evaluation import bootstrap, measures, predictions
from skinapp.evaluation.comparison import Shared
from skinapp.evaluation.predictions import Predictions
from skinapp.report.comparison_views import Names
from skinapp.ui import address, claims, comparison, comparison_panels, error_gallery, layout, operating_point
from skinapp.ui.layout import plain
from skinapp.ui.operating_point import Answer

TABS = {
    "scores": "Scores",
    "pair": "Two models",
    "operating": "Operating point",
    "calibration": "Calibration and coverage",
    "subgroups": "Subgroups",
    "errors": "Errors",
    "training": "Training",
    "protocols": "Published",
}


def write_report(
    shared: Shared,
    known: dict[str, Predictions],
    published: pd.DataFrame,
    pair: list[str],
    answered: Answer,
    names: Names,
) -> str:
    """The comparison as one HTML file, at the operating point that the page shows."""
    from skinapp.report import comparison_report, document  # here, as the page is shown sooner without it

    sections = comparison_report.sections(
        shared,
        comparison.weights_of(shared),
        comparison.draws_of(shared),
        known,
        published,
        pair,
        answered.thresholds,
        answered.setting.prevalence,
        answered.setting.aim(shared.target),
        comparison.results_of(shared, known, next(iter(measures.scores(shared)))),
        names,
    )
    return document.render("Comparison of skin-lesion classifiers", sections, comparison_report.CAUTION)


with layout.page("Compare"):
    st.title("Which model is better, and how sure are we?", anchor=False)
    known, left_out = predictions.shipped()
    for reason in left_out.values():
        st.warning(plain(reason))
    if not known:
        st.error(layout.NO_MODELS)
        st.stop()
    question, settings = st.container(), st.columns([2, 2, 2, 2], gap="medium")
    answer = st.container()
    with st.container(horizontal=True, vertical_alignment="center"):
        counted = st.container()
        more = st.popover("More models", icon=":material/add:", key="more")
    content = st.container()
    with st.expander("Compare your own predictions", icon=":material/upload_file:", key="own_file"):
        own = comparison.choose_own(known)
    if own:
        known = known | {comparison.OWN: own}
    with question:
        choice = comparison.choose(known, settings[0], more)
    setting = operating_point.choose(*settings[1:])
    try:
        shared = comparison.share(choice)
        answered = operating_point.answer(shared, known, choice.pair, setting, choice.dataset)
    except DataError as error:
        answer.error(plain(str(error)))
        st.stop()
    names, pair = comparison.names_of({name: known[name] for name in shared.ids}), choice.pair
    with answer:
        operating_point.show_answer(shared, known, pair, answered, names)
    counted.markdown(
        f":small[:material/photo_library: **{len(shared.images):,} images** of {bootstrap.count(shared.groups):,} "
        f"lesions or patients that all of these models have predictions for{comparison.not_trained_on(shared, known)}]"
    )

    published = measures.published(choice.question, choice.dataset)
    shown = {code: title for code, title in TABS.items() if code != "pair" or len(pair) == 2}
    with content:
        tabs = address.tabs(shown, "tab")
    tab = next((code for code, container in tabs.items() if container.open), "scores")
    with tabs[tab]:
        if tab == "scores":
            comparison_panels.show_scores(shared, known, published, names)
        elif tab == "pair":
            comparison_panels.show_pair(shared, known, published, pair, names)
        elif tab == "operating":
            operating_point.show(shared, pair, answered, names)
        elif tab == "calibration":
            comparison_panels.show_calibration(shared, known, pair, names)
        elif tab == "subgroups":
            comparison_panels.show_subgroups(shared, pair, answered.thresholds, names)
        elif tab == "errors":
            error_gallery.show(shared, pair, names)
        elif tab == "training":
            comparison_panels.show_training(known, pair, names)
        else:
            claims.show(known, comparison.names_of(known))

    st.download_button(
        "Download the whole comparison",
        partial(write_report, shared, known, published, pair, answered, names),
        "comparison.html",
        "text/html",
        key="report",
        icon=":material/download:",
        on_click="ignore",
        help="One HTML file with every figure and table. It opens anywhere and prints well.",
    )
