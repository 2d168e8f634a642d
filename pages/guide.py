"""Every diagnosis in plain words; how many images the data hold of it, and how often the models find it."""

import pandas as pd
import streamlit as st

from skinapp.datasets.registry import SOURCES
from skinapp.demographics import records, statistics
from skinapp.errors import SkinappError
from skinapp.evaluation import subgroups
from skinapp.inference import registry
from skinapp.labels import guide
from skinapp.labels.guide import Entry
from skinapp.ui import layout

COLUMNS = {
    "Images": st.column_config.NumberColumn(format="localized"),
    "Lesions": st.column_config.NumberColumn(format="localized"),
    "Share": st.column_config.NumberColumn(format="percent"),
}


def in_the_data(entry: Entry) -> pd.DataFrame:
    """Images and lesions of a diagnosis in each data set that has it, and their share of its images."""
    rows = []
    for key, source in SOURCES.items():
        counts = statistics.counts(records.shipped(key).frame, "diagnosis")
        mine = counts[counts["value"].isin(entry.codes)]
        if len(mine):
            rows.append((source.title, *(mine[name].sum() for name in ("images", "lesions", "share"))))
    return pd.DataFrame(rows, columns=["Data set", "Images", "Lesions", "Share"])


def by_the_models(entry: Entry) -> pd.DataFrame:
    """How often each model names the diagnosis on its test images, each data set apart; the default model first."""
    models = registry.models()
    order = [model.id for model in registry.ranked()]
    rows = []
    for model in sorted(models.values(), key=lambda each: order.index(each.id) if each.id in order else len(order)):
        for code in set(entry.codes) & set(model.labels.codes):
            for dataset in sorted(subgroups.tested_on(model) & set(SOURCES)):
                found = subgroups.found(subgroups.predictions(model, dataset).frame, code)
                if found is not None:
                    share, interval = f"{found.share:.0%}", f"{found.low:.0%} to {found.high:.0%}"
                    rows.append((share, interval, found.images, model.title, SOURCES[dataset].title))
    return pd.DataFrame(rows, columns=["share", "interval", "images", "model", "dataset"])


def show_numbers(entry: Entry) -> None:
    data = in_the_data(entry)
    st.subheader("In the data", anchor=False)
    st.dataframe(
        data,
        hide_index=True,
        height="content",
        column_config=COLUMNS,
        alt=f"Images of {entry.name}",
    )
    st.subheader("How often models find it", anchor=False)
    try:
        models = by_the_models(entry)
    except SkinappError as error:
        st.error(str(error))
        return
    if models.empty:
        st.caption("No model here was tested on images of this class.")
        return
    first = models.iloc[0]
    st.metric(
        first["model"],
        first["share"],
        f"{first['interval']}, n = {first['images']:,}",
        delta_color="off",
        delta_arrow="off",
        delta_description="95% interval",
    )
    st.dataframe(
        models,
        hide_index=True,
        height="content",
        column_config={
            "share": st.column_config.TextColumn("Found", width=60),
            "interval": st.column_config.TextColumn("95% interval", width=100),
            "images": st.column_config.NumberColumn("Of", format="localized", width=60),
            "model": "Model",
            "dataset": "Tested on",
        },
        alt=f"How often each model names {entry.name}",
    )
    st.caption(
        "Of the test images with this diagnosis, the share for which it was the most probable class, with its 95% "
        "interval. It says nothing about other images that are given this name wrongly."
    )


with layout.page("Guide"):
    st.title("Guide to the diagnoses", anchor=False)
    st.markdown(
        "What the names mean, in plain words. To learn about yourself, ask a doctor: no text and no model has seen you."
    )
    for reason in registry.problems().values():
        st.warning(reason)
    if not registry.models():
        st.error("There is no model to report on. Put a model folder into `models`, then load this page again.")
    # links hold the code of a class; older ones hold the name of its entry, which is what a bound widget would write
    linked = st.query_params.get("class", "")
    opened = next((entry for entry in guide.ENTRIES if linked in (entry.name, *entry.codes)), guide.ENTRIES[0])
    entries = {entry.name: entry for entry in guide.ENTRIES}
    name = st.pills(
        "Diagnosis", list(entries), default=opened.name, required=True, key="class", label_visibility="collapsed"
    )
    entry = entries.get(name, opened)
    if entry != opened or linked:
        st.query_params["class"] = entry.codes[0]
    words, numbers = st.columns([3, 2], gap="large")
    with words:
        st.header(entry.name, anchor=False)
        for field, heading in guide.SECTIONS.items():
            st.markdown(f"**{heading}**  \n{getattr(entry, field)}")
        st.caption(f"In our own words; to read on and to check: {'; '.join(entry.sources)}.")
    with numbers:
        show_numbers(entry)
