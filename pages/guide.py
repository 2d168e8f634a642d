"""Every diagnosis in plain words, with its number of images and how often the models recognise it."""

from typing import Any

import streamlit as st

from skinapp.errors import SkinappError
from skinapp.inference import registry
from skinapp.labels import guide, self_check
from skinapp.labels.guide import Entry
from skinapp.report import population_views
from skinapp.ui import address, layout

COUNTS = {
    "Images": st.column_config.NumberColumn(format="localized"),
    "Lesions": st.column_config.NumberColumn(format="localized"),
    "Share": st.column_config.NumberColumn(format="percent"),
}
SENSITIVITIES: dict[str, Any] = {
    "sensitivity": st.column_config.TextColumn("Sensitivity", width=80),
    "interval": st.column_config.TextColumn("95% interval", width=100),
    "images": st.column_config.NumberColumn("Images", format="localized", width=60),
    "model": "Model",
    "dataset": "Tested on",
}


def show_numbers(entry: Entry) -> None:
    st.subheader("In the data", anchor=False)
    counts = population_views.counts_of(entry)
    st.dataframe(counts, hide_index=True, height="content", column_config=COUNTS, alt=f"Images of {entry.name}")
    st.subheader("How often models recognise it", anchor=False)
    try:
        models = population_views.sensitivities(entry)
    except SkinappError as error:
        st.error(str(error))
        return
    if models.empty:
        st.caption("No model was tested on images of this class.")
        return
    first = models.iloc[0]
    st.metric(
        first["model"],
        first["sensitivity"],
        f"{first['interval']}, n = {first['images']:,}",
        delta_color="off",
        delta_arrow="off",
        delta_description="95% interval",
    )
    alt = f"How often each model recognises {entry.name}"
    st.dataframe(models, hide_index=True, height="content", column_config=SENSITIVITIES, alt=alt)
    st.caption(
        "Sensitivity: of the test images with this diagnosis, the share for which it was the most likely class, with "
        "its 95% interval. It says nothing about other images that are mistaken for this diagnosis."
    )


def show_self_check() -> None:
    st.space("small")
    with st.container(border=True):
        st.subheader(self_check.TITLE, anchor="check")
        st.markdown(
            "Two photos of a spot, taken weeks apart, show a change better than memory does. Add them on the Classify "
            "page, then choose “Compare over time”."
        )
        for (heading, sentences), column in zip(self_check.SECTIONS.items(), st.columns(3, gap="medium"), strict=True):
            points = "\n".join(f"- {sentence}" for sentence in sentences)
            column.markdown(f"**{heading}**\n{points}")
        st.caption(f"{self_check.EVIDENCE} Read more: {'; '.join(self_check.SOURCES)}.")
        st.page_link(layout.path("classify"), label="Add photos", icon=":material/image_search:")


with layout.page("Guide"):
    st.title("Guide to the diagnoses", anchor=False)
    st.markdown(
        "What the names mean, in plain words. If you are worried about a spot, see a doctor: neither this text nor a "
        "model has examined you."
    )
    for reason in registry.problems().values():
        st.warning(reason)
    if not registry.models():
        st.error(layout.NO_MODELS)
    entries = {entry.codes[0]: entry for entry in guide.ENTRIES}
    names = {code: entry.name for code, entry in entries.items()}
    same = {code: entry.codes[0] for entry in guide.ENTRIES for code in entry.codes}
    with address.option("class", names, next(iter(names)), same):
        code = st.pills(
            "Diagnosis",
            list(names),
            format_func=names.__getitem__,
            required=True,
            key="class",
            label_visibility="collapsed",
        )
    entry = entries[code or next(iter(entries))]
    words, numbers = st.columns([3, 2], gap="large")
    with words:
        st.header(entry.name, anchor=False)
        for field, heading in guide.SECTIONS.items():
            st.markdown(f"**{heading}**  \n{getattr(entry, field)}")
        st.caption(f"Read more: {'; '.join(entry.sources)}.")
    with numbers:
        show_numbers(entry)
    show_self_check()
