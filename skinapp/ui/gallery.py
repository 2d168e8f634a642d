"""Thumbnails of a selection's images, where the data set is on disk; each opens with its record.

Where a data set has several kinds of image, those of a lesion are side by side.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from PIL import Image

from skinapp.datasets import registry
from skinapp.datasets.registry import DATASETS
from skinapp.demographics import records
from skinapp.demographics.records import NAMES, NOT_STATED, Filters, Table
from skinapp.errors import ImageError, SkinappError
from skinapp.images import imaging
from skinapp.ui import add_image, layout

PAGE_SIZE = 24
THUMBNAIL = 200
"""Pixels of a thumbnail's side."""
KINDS = {"dermoscopy": "Dermoscopy image", "clinical": "Close-up"}
"""Kinds of image, in the order in which they are shown."""

Picture = tuple[dict[Any, Any], Path]
"""The record of an image, and its file."""


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
    tiles = _tiles(chosen.to_dict("records"), files)
    what = "Lesions" if "modality" in chosen else "Images"
    pages = -(-len(tiles) // PAGE_SIZE)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        number = 1
        if pages > 1:
            number = int(st.number_input(f"Page (of {pages:,})", 1, pages, key=f"gallery_page_{pages}", width=160))
        start = (number - 1) * PAGE_SIZE
        st.caption(
            f"{what} {start + 1:,} to {min(start + PAGE_SIZE, len(tiles)):,} of {len(tiles):,}. Click the "
            f"button below {'a lesion' if what == 'Lesions' else 'an image'} to open it."
        )
    columns = (4, 160) if what == "Lesions" else (6, 130)
    with st.grid(columns[0], min_column_width=columns[1], gap="small"):
        for pictures in tiles[start : start + PAGE_SIZE]:
            with st.container(gap="xsmall"):
                _thumbnail(table, pictures)


def _tiles(records: list[dict[Any, Any]], files: dict[str, Path]) -> list[list[Picture]]:
    """The pictures that are shown together: all of a lesion if there are several kinds of image, otherwise single
    ones."""
    tiles: dict[Any, list[Picture]] = {}
    for record in records:
        key = record["lesion"] if "modality" in record else record["image"]
        tiles.setdefault(key, []).append((record, files[record["image"]]))
    for pictures in tiles.values():
        pictures.sort(key=lambda picture: list(KINDS).index(picture[0].get("modality", "dermoscopy")))
    return list(tiles.values())


def _thumbnail(table: Table, pictures: list[Picture]) -> None:
    record = pictures[0][0]
    name = table.name(str(record["diagnosis"]))
    images = []
    for each, file in pictures:
        try:
            images.append(small(str(file), file.stat().st_mtime))
        except (OSError, ImageError):
            st.caption(f"{each['image']} can no longer be read.")
            return
    kinds = [str(each.get("modality", "")) for each, _ in pictures]
    shown = side_by_side(dict(zip(kinds, images, strict=True))) if "modality" in record else images[0]
    st.image(shown, width="stretch", alt=f"{' and '.join(each['image'] for each, _ in pictures)}, {name}")
    if st.button(
        str(record["diagnosis"]), key=f"open_{record['image']}", width="stretch", help=f"{record['image']}: {name}"
    ):
        _open(table, pictures)


@st.dialog("Image and record", width="large")
def _open(table: Table, pictures: list[Picture]) -> None:
    record = pictures[0][0]
    columns = st.columns(2, gap="medium")
    if "modality" not in record:
        with columns[0]:
            data = _picture(table, *pictures[0])
        with columns[1]:
            st.markdown(f"**{record['image']}**")
            _record(table, record)
            if data is not None:
                _buttons(table, record, data)
        return
    for column, (each, file) in zip(columns, pictures, strict=False):
        with column:
            data = _picture(table, each, file)
            st.markdown(f"**{KINDS[each['modality']]}**, {file.stem}")
            if data is not None:
                _buttons(table, each, data)
    _record(table, record)


def _picture(table: Table, record: dict[Any, Any], file: Path) -> bytes | None:
    """Show an image; return its file's bytes, or None, with a sentence, if it cannot be read."""
    try:
        data = imaging.read(file)
        image = imaging.decode(data)
    except SkinappError as error:
        st.error(str(error))
        return None
    st.image(image, width="stretch", alt=f"{record['image']}, {table.name(str(record['diagnosis']))}")
    return data


def _record(table: Table, record: dict[Any, Any]) -> None:
    known = {"diagnosis": table.name(str(record["diagnosis"]))}
    known |= {name: record[name] for name in NAMES if name in record and name not in ("diagnosis", "modality")}
    st.markdown("  \n".join(f"{NAMES[name]}: {_text(value)}" for name, value in known.items()))
    layout.guide_link(str(record["diagnosis"]), f"About {table.name(str(record['diagnosis']))}")


def _buttons(table: Table, record: dict[Any, Any], data: bytes) -> None:
    diagnosis = table.name(str(record["diagnosis"]))
    name, caption = str(record["image"]), f"{record['image']} of {table.title}. {DATASETS[table.id].credit}."
    if st.button("Classify this image", icon=":material/image_search:", key=f"send_{name}", type="primary"):
        add_image.send(data, name, caption, dataset=table.id, diagnosis=diagnosis)
    if st.button("See where models look", icon=":material/visibility:", key=f"send_attention_{name}"):
        add_image.send(data, name, caption, "attention", table.id, diagnosis)


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
    return jpeg(imaging.crop_resize(imaging.decode(imaging.read(file)), THUMBNAIL))


def side_by_side(thumbnails: dict[str, bytes]) -> bytes:
    """The thumbnails of KINDS as one JPEG, each kind in its place, which stays grey if there is none."""
    gap = 4
    whole = Image.new("RGB", (len(KINDS) * (THUMBNAIL + gap) - gap, THUMBNAIL), "#C4C8C6")
    for place, kind in enumerate(KINDS):
        if kind in thumbnails:
            whole.paste(Image.open(io.BytesIO(thumbnails[kind])), (place * (THUMBNAIL + gap), 0))
    return jpeg(np.asarray(whole))


def jpeg(pixels: np.ndarray) -> bytes:
    """Uint8 [H, W, 3] -> the bytes of a JPEG, without metadata."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=82)
    return stream.getvalue()
