"""Thumbnails of a selection's images, where the data set is on disk; each opens with its record."""

import io
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st
from PIL import Image

from skinapp.datasets import registry
from skinapp.datasets.registry import DATASETS
from skinapp.demographics import records
from skinapp.demographics.records import NAMES, NOT_STATED, Filters, Table
from skinapp.errors import ImageError, SkinappError
from skinapp.images import imaging
from skinapp.ui import layout, photo

PAGE_SIZE = 24
THUMBNAIL = 200
"""Pixels of a thumbnail's side."""


def show(table: Table, filters: Filters) -> None:
    """One page of thumbnails of the images that match the filters."""
    st.subheader("Images", anchor=False)
    root = registry.data_root()
    files = registry.image_files(table.id, root)
    if not files:
        st.info(
            "The images of this data set are not on this machine. Everything else on this page works without them; "
            f"`{DATASETS[table.id].command}` downloads them."
        )
        return
    images = _images(table, root)
    chosen = records.select(images, filters)
    # shuffled, so that the diagnoses are mixed, in the same order on every run
    chosen = chosen[chosen["image"].isin(files.keys())].sample(frac=1, random_state=0)
    if chosen.empty:
        st.info("None of the images that match the filters is on this machine.")
        return
    pages = -(-len(chosen) // PAGE_SIZE)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        number = 1
        if pages > 1:
            number = int(st.number_input(f"Page (of {pages:,})", 1, pages, key=f"gallery_page_{pages}", width=160))
        start = (number - 1) * PAGE_SIZE
        st.caption(
            f"Images {start + 1:,} to {min(start + PAGE_SIZE, len(chosen)):,} of {len(chosen):,}. Click the "
            "button below an image to open it."
        )
    with st.grid(6, min_column_width=130, gap="small"):
        for record in chosen.iloc[start : start + PAGE_SIZE].to_dict("records"):
            with st.container(gap="xsmall"):
                _thumbnail(table, record, files[record["image"]])


def _thumbnail(table: Table, record: dict[Any, Any], file: Path) -> None:
    name = table.name(str(record["diagnosis"]))
    try:
        st.image(small(str(file), file.stat().st_mtime), width="stretch", alt=f"{record['image']}, {name}")
    except (OSError, ImageError):
        st.caption(f"{record['image']} can no longer be read.")
        return
    if st.button(
        str(record["diagnosis"]), key=f"open_{record['image']}", width="stretch", help=f"{record['image']}: {name}"
    ):
        _open(table, record, file)


@st.dialog("Image and record", width="large")
def _open(table: Table, record: dict[Any, Any], file: Path) -> None:
    try:
        data = imaging.read(file)
        image = imaging.decode(data)
    except SkinappError as error:
        st.error(str(error))
        return
    left, right = st.columns(2, gap="medium")
    left.image(image, width="stretch", alt=f"{record['image']}, {table.name(str(record['diagnosis']))}")
    with right:
        st.markdown(f"**{record['image']}**")
        known = {"diagnosis": table.name(str(record["diagnosis"]))}
        known |= {name: record[name] for name in NAMES if name in record and name != "diagnosis"}
        st.markdown("  \n".join(f"{NAMES[name]}: {_text(value)}" for name, value in known.items()))
        layout.guide_link(str(record["diagnosis"]), f"About {table.name(str(record['diagnosis']))}")
        name, caption = str(record["image"]), f"{record['image']} of {table.title}. {DATASETS[table.id].credit}."
        if st.button("Classify this image", icon=":material/image_search:", key="send", type="primary"):
            photo.send(data, name, caption)
        if st.button("See where models look", icon=":material/visibility:", key="send_attention"):
            photo.send(data, name, caption, "attention")


def _text(value: Any) -> str:
    if value is None or pd.isna(value):
        return NOT_STATED
    return f"{value:.0f}" if isinstance(value, float) else str(value)


@st.cache_data(max_entries=3, show_spinner=False)
def _published(dataset: str, root: str) -> pd.DataFrame:
    return records.tidy(registry.published(dataset, Path(root)), DATASETS[dataset].labels)


def _images(table: Table, root: Path) -> Table:
    """The data set with one row per image, which most shipped tables do not have."""
    if "image" in table.frame:
        return table
    return Table(table.id, table.title, _published(table.id, str(root)), table.labels)


@st.cache_data(max_entries=2000, show_spinner=False)
def small(file: str, changed: float) -> bytes:
    """A JPEG of the middle of an image of a published data set."""
    image = Image.fromarray(imaging.crop_resize(imaging.decode(imaging.read(file)), THUMBNAIL))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=82)
    return stream.getvalue()
