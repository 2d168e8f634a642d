"""The counts of a selection of a data set: diagnoses, people, sites, confirmation, symptoms; and the limitations of the
data. `clicked` and `opened` are callbacks for a click on a bar or cell, see `panel.show`."""

from collections.abc import Callable

import pandas as pd
import streamlit as st

from skinapp.datasets.registry import DATASETS
from skinapp.demographics import limitations, statistics
from skinapp.demographics.records import Table
from skinapp.report import population_views as views
from skinapp.ui import layout, panel
from skinapp.ui.filters import OWN

SHARE = st.column_config.NumberColumn("Share", format="percent")
OPENS = "Click a part of a bar to see its images."
COUNT = {
    "images": st.column_config.NumberColumn("Images", format="localized"),
    "lesions": st.column_config.NumberColumn("Lesions", format="localized"),
    "share": SHARE,
}


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
            columns = {"images": "Images per lesion"} | {key: COUNT[key] for key in ("lesions", "share")}
            panel.show_chart(views.images_per_lesion(frame), "images_per_lesion", columns)
        else:
            st.caption("The table has no lesion numbers, so every image counts as a separate lesion.")
        if "modality" in frame:
            st.subheader("Kinds of image", anchor=False)
            columns = {"value": "Images available"} | {key: COUNT[key] for key in ("lesions", "share")}
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
            "The number beside each name is the median. Boxes show the first to third quartiles, whiskers the "
            "youngest and oldest, and the dashed line the mean. The table gives the 95% interval of the mean."
        )
    show_shares(table, frame, "sex", "Sex", clicked)
    for column, title in views.SKIN.items():
        if column in frame:
            show_shares(table, frame, column, title, clicked)


def show_shares(table: Table, frame: pd.DataFrame, column: str, title: str, clicked: Callable[[str], None]) -> None:
    st.subheader(title, anchor=False)
    panel.show_chart(views.by_diagnosis(table, frame, column, title), f"{column}_by_diagnosis", clicked=clicked)
    st.caption(OPENS)


def show_sites(
    table: Table, frame: pd.DataFrame, clicked: Callable[[str], None], opened: Callable[[str], None]
) -> None:
    drawing, numbers = st.columns(2, gap="medium")
    with drawing:
        chart, elsewhere = views.on_the_body(frame)
        st.subheader("On the body", anchor=False)
        panel.show_chart(chart, "body", {"value": "Site"} | COUNT, clicked)
        words = (
            "Darker means more images; click a part to filter by its site. Left and right, and front and back, are "
            "counted together. "
        )
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
        "The number of images, and their share of the diagnosis. Click a cell to see its images. "
        + (views.codes_explained(table, frame) if table.labels else "")
    )


def show_confirmation(table: Table, frame: pd.DataFrame, clicked: Callable[[str], None]) -> None:
    show_shares(table, frame, "confirmation", "How the diagnosis was confirmed", clicked)
    st.caption(
        "Histology: removed tissue was examined under the microscope. Follow-up: the lesion did not change between "
        "visits. Expert consensus: doctors agreed on the image. Confocal microscopy: skin cells were imaged without "
        "removing any tissue."
    )


def show_symptoms(table: Table, frame: pd.DataFrame) -> None:
    st.subheader("What patients report about the lesion", anchor=False)
    columns = {name: st.column_config.NumberColumn(name.capitalize(), format="percent") for name in ("low", "high")}
    panel.show_chart(views.symptoms(table, frame), "symptoms", columns | {"share": SHARE})
    st.caption(
        "The number of images with the symptom, and their share of the diagnosis. The table gives 95% intervals."
    )


def show_limits(table: Table) -> None:
    st.subheader("What the data cannot tell you", anchor=False)
    for heading, text in limitations.limits(table):
        st.markdown(f"**{heading}.** {text}")
