"""A gallery of the images that models misclassify, with buttons to classify them or see their attention maps."""

from pathlib import Path

import numpy as np
import streamlit as st

from skinapp.datasets.registry import DATASETS
from skinapp.evaluation import error_analysis, predictions
from skinapp.evaluation.comparison import Shared
from skinapp.images import imaging
from skinapp.report.comparison_views import Names
from skinapp.ui import add_image, address, layout
from skinapp.ui.layout import plain

SHOWN = 8
BOTH, ANY = "both", "any"
"""Codes: the images that only one of two models classifies correctly; every label."""


@st.fragment
def show(shared: Shared, pair: list[str], names: Names) -> None:
    """The most confident errors of one model, or the images that only one of two classifies correctly."""
    lists = {name: f"Most confident errors of {names[name]}" for name in pair}
    # verbatim as links that were shared before the rewording hold them
    old_labels = {f"Surest mistakes of {names[name]}": name for name in pair}
    if len(pair) == 2:
        lists = {BOTH: "Only one of the two is correct", **lists}
        old_labels["Only one of the two is right"] = BOTH
    left, right = st.columns(2, gap="medium")
    which = address.selectbox(left, "Images", lists, "errors", old_labels=old_labels)
    code = address.selectbox(
        right, "Label", {ANY: "Any class", **{label.code: label.name for label in shared.labels.labels}}, "errors_label"
    )
    if which == BOTH:
        table = error_analysis.disagreements(shared, *pair)
        table["correct"] = table["correct"].map(names)
    else:
        table = error_analysis.errors(shared, which)
    if code != ANY:
        table = table[table["label"] == code]
    st.caption(f"{len(table):,} of {len(shared.images):,} images, most confident errors first.")
    datasets = dict(zip(shared.images, shared.facts["dataset"], strict=True))
    with st.grid(4, min_column_width=150, gap="small"):
        for row in table.head(SHOWN).to_dict("records"):
            with st.container(border=True, height="stretch"):
                _show_error(row, datasets[row["image"]])
    with st.expander("Table and download", icon=":material/table_chart:", key="errors_table"):
        st.dataframe(table, hide_index=True, alt="The images that were misclassified")
        st.download_button(
            "Download as CSV",
            table.to_csv(index=False),
            "errors.csv",
            "text/csv",
            key="errors_csv",
            icon=":material/download:",
            on_click="ignore",
        )


def _show_error(row: dict, dataset: str) -> None:
    """One image: a thumbnail where the data set is on disk, its label and prediction, and buttons to open it."""
    image = str(row["image"])
    file = predictions.image_file(dataset, image)
    if file:
        st.image(_thumbnail(str(file)), width="stretch", alt=f"{image}, labelled {row['label']}")
    predicted = f"predicted {row['predicted']}" if "predicted" in row else f"A: {row['first']}, B: {row['second']}"
    st.markdown(f"**{plain(image)}**  \n{row['label']} · {predicted}")
    st.caption(f"Confidence in the wrong class: {row['confidence']:.0%}")
    if file or image.startswith("ISIC_"):
        with st.container(horizontal=True, gap="small"):
            for page, icon in (("classify", ":material/image_search:"), ("attention", ":material/visibility:")):
                if layout.path(page).exists() and st.button(page.capitalize(), icon=icon, key=f"{page}_{image}"):
                    title = DATASETS[dataset].title if dataset in DATASETS else dataset
                    caption = f"{image} of {title}, labelled {row['label']}"
                    add_image.hand_over(image, file.read_bytes() if file else None, caption, dataset)
                    st.switch_page(layout.path(page))


@st.cache_data(max_entries=256, show_spinner=False)
def _thumbnail(file: str) -> np.ndarray:
    return imaging.load(Path(file), 200)
