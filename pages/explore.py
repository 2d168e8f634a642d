"""Who is in the data: every panel for any selection of a data set, and what the data cannot tell you."""

import functools
from collections.abc import Callable

import streamlit as st

from skinapp.datasets.metadata import SYMPTOMS
from skinapp.datasets.registry import DATASETS
from skinapp.demographics import records, statistics
from skinapp.errors import SkinappError
from skinapp.inference import registry
from skinapp.ui import address, filters, gallery, layout, own_table, population_panels, selection_panels
from skinapp.ui.filters import OWN

VIEWS = {
    "overview": "Overview",
    "people": "People",
    "sites": "Sites",
    "confirmation": "Confirmation",
    "associations": "Associations",
    "compare": "Compare",
    "symptoms": "Symptoms",
    "models": "Models",
    "images": "Images",
    "split": "Split and labels",
    "limits": "Limits",
}
OLD_VIEWS = {"Relations": "associations"}
"""Names of views in old links."""


def open_images(prefix: str, clicked: str) -> None:
    """In a callback: filter by a cell, and show its images."""
    filters.apply(prefix, clicked)
    st.session_state["view"] = "images"
    address.forget("gallery_page")


with layout.page("Explore"):
    st.title("Who is in the data", anchor=False)
    for reason in registry.problems().values():
        st.warning(reason)
    if not registry.models():
        st.error(layout.NO_MODELS)
    titles = {key: dataset.title for key, dataset in DATASETS.items()} | {OWN: "Your own table"}
    with address.option("data", titles, "ham10000"):
        data = (
            st.segmented_control(
                "Data set",
                list(titles),
                format_func=titles.__getitem__,
                required=True,
                key="data",
                on_change=filters.clear,
                args=("",),
                label_visibility="collapsed",
            )
            or "ham10000"
        )
    tables = {key: records.shipped(key) for key in DATASETS}
    own = None
    if data == OWN:
        own = own_table.choose()
        if own is None:
            st.stop()
        tables[OWN] = own.table
    table, prefix = tables[data], "own_" if own else ""
    sentence = st.container()
    chosen = filters.choose_folded(table, prefix, shared=own is None)
    frame = records.select(table, chosen)
    with sentence:
        selection_panels.show_selection(table, frame, chosen)
    selection_panels.show_totals(table, frame)
    if own is None:
        images, published = statistics.totals(table.frame).images, DATASETS[data].published_images
        few = f" {images:,} of the {published:,} published images are counted here." if images < published else ""
        st.caption(f"{DATASETS[data].about}{few}")
    clicked = functools.partial(filters.apply, prefix)
    opened = functools.partial(open_images, prefix)
    panels: dict[str, Callable[[], None]] = {
        "overview": functools.partial(population_panels.show_overview, table, frame, clicked),
        "people": functools.partial(population_panels.show_people, table, frame, opened),
        "sites": functools.partial(population_panels.show_sites, table, frame, clicked, opened),
        "confirmation": functools.partial(population_panels.show_confirmation, table, frame, opened),
        "associations": functools.partial(selection_panels.show_associations, frame),
        "compare": functools.partial(selection_panels.show_comparison, table, frame, chosen, tables),
    }
    if any(name in table.frame for name in SYMPTOMS):
        panels["symptoms"] = functools.partial(population_panels.show_symptoms, table, frame)
    if own:
        panels["models"] = functools.partial(selection_panels.show_own_performance, table, frame)
        panels["images"] = functools.partial(gallery.show, table, chosen, own_table.images())
        panels["split"] = functools.partial(selection_panels.show_split, own)
    else:
        panels["models"] = functools.partial(selection_panels.show_performance, table, chosen)
        panels["images"] = functools.partial(gallery.show, table, chosen)
    panels["limits"] = functools.partial(population_panels.show_limits, table)
    offered = {code: VIEWS[code] for code in panels}
    with address.option("view", offered, "overview", OLD_VIEWS):
        view = st.pills(
            "Show",
            list(offered),
            format_func=VIEWS.__getitem__,
            required=True,
            key="view",
            label_visibility="collapsed",
        )
    if frame.empty:
        st.warning("No image matches these filters. Remove one, or clear them all.")
    else:
        try:
            panels[view or "overview"]()
        except SkinappError as error:
            st.error(str(error))
