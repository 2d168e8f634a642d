"""Shows published results next to the scores of the models here, and the results of a search and of studies."""

from collections.abc import Mapping

import streamlit as st

from skinapp.errors import DataError
from skinapp.evaluation import head_search, studies
from skinapp.evaluation.claims import Compared, compare
from skinapp.evaluation.predictions import Predictions
from skinapp.report import published_views
from skinapp.report.comparison_views import Names
from skinapp.ui import address, comparison_panels, panel
from skinapp.ui.layout import plain

CLAIMS, PROTOCOLS, SEARCH, STUDIES = "claims", "protocols", "search", "studies"
ARTEFACTS = "artefacts"
"""The choice of study that shows what the removal of artefacts changes."""


def show(known: Mapping[str, Predictions], names: Names) -> None:
    """Show the results of tutorials next to ours, the networks that were tested in two ways, the search, or a
    study."""
    options = {
        CLAIMS: "Accuracies",
        PROTOCOLS: "Same network, two tests",
        SEARCH: "Head search",
        STUDIES: "Studies",
    }
    # a link from before the choice was offered
    if "protocols_of" in st.query_params and "published" not in {*st.query_params, *st.session_state}:
        st.query_params["published"] = PROTOCOLS
    shown = address.segmented_control(st.container(), "Show", options, "published")
    if shown == CLAIMS:
        show_claims(known, names)
    elif shown == PROTOCOLS:
        comparison_panels.show_protocols(known, names)
    elif shown == SEARCH:
        show_search()
    else:
        show_study()


def show_claims(known: Mapping[str, Predictions], names: Names) -> None:
    """Show published accuracies next to ours."""
    models = {name: one.model for name, one in known.items() if one.model}
    key = tuple((name, known[name].digest, model.card["version"]) for name, model in models.items())
    compared = _compared(key, {name: known[name] for name in models})
    st.markdown(f"**{published_views.TITLE}**")
    st.markdown(published_views.INTRODUCTION)
    panel.show_table(published_views.claims(compared), "claims", "Published accuracies, each beside ours")
    st.caption(plain(" ".join(published_views.notes(compared, names))))


def show_search() -> None:
    """The heads of a pre-trained network that were tried, or how to run the search."""
    try:
        searched = head_search.read()
    except DataError as error:
        st.warning(plain(str(error)))
        return
    if searched is None:
        st.markdown("There are no results here yet; `python -m train search-head` creates them.")
        return
    st.markdown(f"**{published_views.SEARCH}**")
    st.markdown(published_views.search_words(searched))
    panel.show_table(
        published_views.search(searched),
        "head_search",
        "Every head tried, best first",
        {"Parameters": st.column_config.NumberColumn(format="localized")},
    )


def show_study() -> None:
    """The table of a study, chosen by the visitor, and the command that measures it again."""
    measured = {study.id: study for study in studies.measured()}
    titles = {ARTEFACTS: published_views.REMOVALS} | {name: study.title for name, study in measured.items()}
    chosen = address.selectbox(st.container(), "Study", titles, "study")
    if chosen == ARTEFACTS:
        st.markdown(published_views.removals_words("dermoscopy"))
        panel.show_table(published_views.removals("dermoscopy"), "artefacts", published_views.REMOVALS)
        return
    study = measured[chosen]
    st.markdown(f"{study.about} Measured by `{study.command}`.")
    try:
        panel.show_table(studies.read(study), study.id, study.title)
    except DataError as error:
        st.warning(plain(str(error)))


@st.cache_resource(max_entries=4, show_spinner=False)
def _compared(files: tuple[tuple[str, str, str], ...], _known: Mapping[str, Predictions]) -> list[Compared]:
    """Computed once for all visitors, from the files with these digests and versions."""
    return compare(_known)
