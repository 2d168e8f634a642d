"""Who is in the data: every panel for any selection of a data set, and what the data cannot tell you."""

import functools
from collections.abc import Callable

import pandas as pd
import streamlit as st

from skinapp.datasets.metadata import SYMPTOMS
from skinapp.datasets.registry import DATASETS
from skinapp.demographics import limitations, records, statistics
from skinapp.demographics.records import Table
from skinapp.errors import SkinappError
from skinapp.inference import registry
from skinapp.report import population_views as views
from skinapp.ui import address, filters, gallery, layout, own_table, panel, selection_panels
from skinapp.ui.filters import OWN

SHARE = st.column_config.NumberColumn("Share", format="percent")
OPENS = "Click a part of a bar to see its images."
COUNT = {
    "images": st.column_config.NumberColumn("Images", format="localized"),
    "lesions": st.column_config.NumberColumn("Lesions", format="localized"),
    "share": SHARE,
}
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


def show_overview(table: Table, frame: pd.DataFrame, clicked: Callable[[str], None]) -> None:
    st.subheader("Diagnoses", anchor=False)
    columns = {"diagnosis": "Diagnosis"} | COUNT
    panel.show_chart(views.diagnoses(table, frame), "diagnoses", columns, clicked)
    st.caption("Click a bar to filter by it, and again to remove the filter.")
    if table.labels is not None:
        codes = [code for code in statistics.counts(frame, "diagnosis")["value"] if code in table.labels.codes]
        layout.guide_links({code: table.name(code) for code in codes})
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader("Images per lesion", anchor=False)
        if table.has_lesions:
            columns = {"images": "Images of the lesion"} | {key: COUNT[key] for key in ("lesions", "share")}
            panel.show_chart(views.images_per_lesion(frame), "images_per_lesion", columns)
        else:
            st.caption("The table has no lesion numbers, so every image counts as a separate lesion.")
        if "modality" in frame:
            st.subheader("Kinds of image", anchor=False)
            columns = {"value": "The lesion has"} | {key: COUNT[key] for key in ("lesions", "share")}
            panel.show_chart(views.lesions_by_modality(frame), "lesions_by_modality", columns)
    with right:
        st.subheader("Not stated", anchor=False)
        columns = {"column": "Column"} | {key: COUNT[key] for key in ("images", "share")}
        panel.show_chart(views.not_stated(frame), "missing", columns)
    if table.id != OWN:
        figures, disagreements = views.headline(table)
        with st.expander("Headline figures of the whole data set", icon=":material/table_chart:", key="headline"):
            st.caption(f"{DATASETS[table.id].credit}. {disagreements}")
            names = {"name": "Figure", "here": "Counted here", "count": "Details", "published": "As published"}
            alt = "The data set's headline figures"
            st.dataframe(figures, hide_index=True, height="content", column_config=names, alt=alt)


def show_people(table: Table, frame: pd.DataFrame, clicked: Callable[[str], None]) -> None:
    st.subheader("Age in years", anchor=False)
    if frame["age"].isna().all():
        st.caption("No ages are stated in this selection.")
    else:
        panel.show_chart(views.ages(table, frame), "ages", {"from_age": "From age"}, clicked)
        panel.show_chart(views.ages_by_diagnosis(table, frame), "age_by_diagnosis")
        st.caption(
            "The number beside each name is the median. Boxes show the first to the third quartile, whiskers the "
            "youngest and the oldest, the dashed line the mean. The table has the mean's 95% interval, over lesions."
        )
    show_shares(table, frame, "sex", "Sex", clicked)
    for column, title in views.SKIN.items():
        if column in frame:
            show_shares(table, frame, column, title)


def show_shares(
    table: Table, frame: pd.DataFrame, column: str, title: str, clicked: Callable[[str], None] | None = None
) -> None:
    st.subheader(title, anchor=False)
    panel.show_chart(views.by_diagnosis(table, frame, column, title), f"{column}_by_diagnosis", clicked=clicked)
    if clicked:
        st.caption(OPENS)


def show_sites(
    table: Table, frame: pd.DataFrame, clicked: Callable[[str], None], opened: Callable[[str], None]
) -> None:
    drawing, numbers = st.columns(2, gap="medium")
    with drawing:
        chart, elsewhere = views.on_the_body(frame)
        st.subheader("On the body", anchor=False)
        panel.show_chart(chart, "body", {"value": "Site"} | COUNT)
        words = "Darker means more images. Left and right, and front and back, are counted together. "
        if len(elsewhere):
            names = map(layout.plain, elsewhere["value"].head(10))
            words += f"Not on the drawing: {views.listed(names, elsewhere['images'])}."
        st.caption(words)
    with numbers:
        st.subheader("All sites", anchor=False)
        panel.show_chart(views.sites(frame), "sites", {"value": "Site"} | COUNT, clicked)
        st.caption("Click a bar to filter by it.")
    st.subheader("Site by diagnosis", anchor=False)
    panel.show_chart(views.sites_by_diagnosis(table, frame), "site_by_diagnosis", clicked=opened)
    st.caption(
        "Images, and their share of the diagnosis. Click a cell to see its images. "
        + (views.codes_explained(table, frame) if table.labels else "")
    )


def show_confirmation(table: Table, frame: pd.DataFrame, clicked: Callable[[str], None]) -> None:
    show_shares(table, frame, "confirmation", "How the diagnosis was confirmed", clicked)
    st.caption(
        "Histology: removed tissue was examined under the microscope. Follow-up: the lesion did not change between "
        "visits. Expert consensus: doctors agreed on the image. Confocal microscopy: the skin's cells were imaged "
        "without removing any."
    )


def show_symptoms(table: Table, frame: pd.DataFrame) -> None:
    st.subheader("What patients report about the lesion", anchor=False)
    columns = {name: st.column_config.NumberColumn(name.capitalize(), format="percent") for name in ("low", "high")}
    panel.show_chart(views.symptoms(table, frame), "symptoms", columns | {"share": SHARE})
    st.caption("Images with the symptom, and their share of the diagnosis. The table has 95% intervals.")


def show_limits(table: Table) -> None:
    st.subheader("What the data cannot tell you", anchor=False)
    for heading, text in limitations.limits(table):
        st.markdown(f"**{heading}.** {text}")


def open_images(prefix: str, clicked: str) -> None:
    """In a callback: filter by a cell, and show its images."""
    filters.apply(prefix, clicked)
    st.session_state["view"] = "images"
    st.session_state.pop("gallery_page", None)


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
        "overview": functools.partial(show_overview, table, frame, clicked),
        "people": functools.partial(show_people, table, frame, opened),
        "sites": functools.partial(show_sites, table, frame, clicked, opened),
        "confirmation": functools.partial(show_confirmation, table, frame, opened),
        "associations": functools.partial(selection_panels.show_associations, frame),
        "compare": functools.partial(selection_panels.show_comparison, table, frame, chosen, tables),
    }
    if any(name in table.frame for name in SYMPTOMS):
        panels["symptoms"] = functools.partial(show_symptoms, table, frame)
    if own:
        panels["models"] = functools.partial(selection_panels.show_own_performance, table, frame)
        panels["images"] = functools.partial(gallery.show, table, chosen, own_table.images())
        panels["split"] = functools.partial(selection_panels.show_split, own)
    else:
        panels["models"] = functools.partial(selection_panels.show_performance, table, chosen)
        panels["images"] = functools.partial(gallery.show, table, chosen)
    panels["limits"] = functools.partial(show_limits, table)
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
