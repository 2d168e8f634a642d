"""When to see a doctor; every diagnosis in plain words; skin cancer and the sun; how to check your skin; what happens
to images."""

from typing import Any

import pandas as pd
import streamlit as st

from skinapp.errors import SkinappError
from skinapp.inference import registry
from skinapp.labels import guide, self_check, skin_cancer
from skinapp.labels.guide import Entry
from skinapp.report import population_views
from skinapp.ui import address, archive, layout, privacy

COUNTS = {
    "Images": st.column_config.NumberColumn(format="localized"),
    "Lesions": st.column_config.NumberColumn(format="localized"),
    "Share": st.column_config.NumberColumn(format="percent"),
}
SENSITIVITIES: dict[str, Any] = {
    "sensitivity": st.column_config.TextColumn("Sensitivity"),
    "interval": st.column_config.TextColumn("95% interval"),
    "images": st.column_config.NumberColumn("Images", format="localized"),
    "model": st.column_config.TextColumn("Model", width="large"),
    "dataset": "Tested on",
}


def show_counts(entry: Entry) -> None:
    st.subheader("In the data", anchor=False)
    counts = population_views.counts_of(entry)
    st.dataframe(counts, hide_index=True, height="content", column_config=COUNTS, alt=f"Images of {entry.name}")


def show_first(models: pd.DataFrame) -> None:
    """How often the model that answers by default recognises the diagnosis, or the first that has it."""
    first = models.iloc[0]
    st.metric(
        first["model"],
        first["sensitivity"],
        f"{first['interval']}, n = {first['images']:,}",
        delta_color="off",
        delta_arrow="off",
        delta_description="95% interval",
    )


def show_sensitivities(entry: Entry, models: pd.DataFrame) -> None:
    st.subheader("How often models recognise it", anchor=False)
    alt = f"How often each model recognises {entry.name}"
    st.dataframe(models, hide_index=True, height="content", column_config=SENSITIVITIES, alt=alt)
    st.caption(
        "Sensitivity: of the test images with this diagnosis, the share for which it was the most likely class, with "
        "its 95% interval. It says nothing about other images that are mistaken for this diagnosis."
    )


def show_doctor() -> None:
    """The signs that need a doctor, whatever else the page shows."""
    with st.container(border=True):
        st.subheader("When to see a doctor", anchor="doctor")
        st.markdown("\n".join(f"- {sentence}" for sentence in self_check.SECTIONS[self_check.DOCTOR]))


def show_diagnoses() -> None:
    """The entry of the chosen diagnosis, with its numbers and pictures."""
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
        st.markdown(f"Read more: {guide.links(entry.sources)}.")
    pictures = st.container()
    with numbers:
        show_counts(entry)
    try:
        models = population_views.sensitivities(entry)
    except SkinappError as error:
        numbers.error(str(error))
    else:
        if models.empty:
            numbers.caption("No model was tested on images of this class.")
        else:
            with numbers:
                st.markdown("**Recognised by**")
                show_first(models)
            show_sensitivities(entry, models)
    if entry.pictures:
        # last, so that the text does not wait for the archive
        with pictures:
            st.subheader("Pictures", anchor=False)
            archive.show_lesions(entry.pictures, entry.name)


def show_skin_cancer() -> None:
    """What skin cancers there are, and the sun."""
    for topic in skin_cancer.TOPICS:
        st.subheader(topic.title, anchor=False)
        st.markdown("\n".join(f"- {point}" for point in topic.points))
        st.markdown(f"Read more: {'; '.join(topic.sources)}.")


def show_self_check() -> None:
    """How to look over one's skin once a month, and how to photograph a spot over time."""
    st.subheader("The ABCDE signs of melanoma", anchor=False)
    st.markdown("\n".join(f"- **{sign}**: {words}" for sign, words in self_check.SIGNS.items()))
    st.subheader(self_check.TITLE, anchor="check")
    st.markdown(
        "Two photos of a spot, taken weeks apart, show a change better than memory does. Add them on the Classify "
        "page, then choose “Compare over time”."
    )
    shown = {heading: points for heading, points in self_check.SECTIONS.items() if heading != self_check.DOCTOR}
    for (heading, sentences), column in zip(shown.items(), st.columns(len(shown), gap="large"), strict=True):
        points = "\n".join(f"- {sentence}" for sentence in sentences)
        column.markdown(f"**{heading}**\n{points}")
    st.markdown(f"{self_check.EVIDENCE} Read more: {'; '.join(self_check.SOURCES)}.")
    st.page_link(layout.path("classify"), label="Add photos", icon=":material/image_search:")


CHAPTERS = {
    "diagnoses": ("Diagnoses", show_diagnoses),
    "general": ("Skin cancer and the sun", show_skin_cancer),
    "check": ("Check your skin", show_self_check),
    privacy.CHAPTER: (privacy.TITLE, privacy.show),
}
"""Code in the address -> the chapter's title, and what shows it."""

with layout.page("Guide"):
    st.title("Guide", anchor=False)
    st.markdown(
        "Skin cancer and its look-alikes in plain words. Neither this text nor a model can examine you; a doctor can."
    )
    for reason in registry.problems().values():
        st.warning(reason)
    if not registry.models():
        st.error(layout.NO_MODELS)
    show_doctor()
    titles = {code: title for code, (title, _) in CHAPTERS.items()}
    chapter = address.segmented_control(st.container(), "Chapter", titles, "chapter", label_visibility="collapsed")
    CHAPTERS[chapter][1]()
