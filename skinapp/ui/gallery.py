"""The images of a selection: thumbnails that open with their record if the files are available, and otherwise their
ids, with links to the ISIC archive.

If a data set has several kinds of image, those of a lesion are side by side.
"""

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from PIL import Image

from skinapp.datasets import isic, registry
from skinapp.datasets.registry import DATASETS
from skinapp.demographics import records
from skinapp.demographics.records import NAMES, NOT_STATED, Filters, Table
from skinapp.errors import ImageError, SkinappError
from skinapp.images import imaging, isolated
from skinapp.ui import add_image, address, layout, panel, session_images

PAGE_SIZE = 24
THUMBNAIL = 200
"""Pixels of a thumbnail's side."""
KINDS = {"dermoscopy": "Dermoscopy image", "clinical": "Close-up"}
"""Kinds of image, in the order in which they are shown."""
ISIC_ID = re.compile(r"(?:.*/)?(ISIC_\d{7})(?:\.\w+)?", re.IGNORECASE)
LISTED = ("diagnosis", "sex", "age", "site", "confirmation")
"""The columns that are listed with an image's id."""

File = Path | bytes
"""A file on disk, or the bytes of one that the visitor added."""
Picture = tuple[dict[Any, Any], File]
"""The record of an image, and its file."""


def show(table: Table, filters: Filters, own: Mapping[str, bytes] | None = None) -> None:
    """The images that match the filters; `own` are the bytes of a visitor's images, by id."""
    st.subheader("Images", anchor=False)
    root = registry.data_root()
    files: Mapping[str, File] = registry.image_files(table.id, root) if own is None else own
    if own is None and files:
        table = _images(table, root)
    chosen = records.select(table, filters)
    if "ids" in chosen:
        chosen = records.by_image(chosen)
    if "image" not in chosen:
        st.info("No column of the table contains image names. Assign one above.")
        return
    here = chosen[chosen["image"].isin(files.keys())].drop_duplicates("image")
    if here.empty:
        if own is None and not files:
            st.info(
                f"The images of this data set are not on this machine. `{DATASETS[table.id].command}` downloads them."
            )
        elif own is None:
            st.info("None of the images that match the filters is on this machine.")
        _list(table, chosen)
        return
    if absent := chosen["image"].nunique() - len(here):
        have = "image in this selection has" if absent == 1 else "images in this selection have"
        where = "on this machine" if own is None else "among those you added"
        st.caption(f"{absent:,} {have} no file {where}.")
    _thumbnails(table, here, files)


def _list(table: Table, chosen: pd.DataFrame) -> None:
    """The ids of images, with links to those that are in the ISIC archive."""
    ids = chosen["image"].astype(str)
    archived = ids.map(lambda image: match[1] if (match := ISIC_ID.fullmatch(image)) else "")
    shown = pd.DataFrame({"image": ids})
    if archived.any():
        shown["archive"] = archived.map(lambda image: isic.page(image) if image else None)
    for name in LISTED:
        if chosen[name].notna().any():
            shown[name] = chosen[name].map(table.name) if name == "diagnosis" else chosen[name]
    columns: dict[str, Any] = {"image": "Image", "archive": st.column_config.LinkColumn("In the ISIC archive")}
    columns |= {name: NAMES[name] for name in LISTED}
    panel.show_table(shown, "images", f"Images in this selection: {len(shown):,}", columns)


def _thumbnails(table: Table, chosen: pd.DataFrame, files: Mapping[str, File]) -> None:
    """One page of thumbnails, each with a button that opens it."""
    # shuffled, so that the diagnoses are mixed, in the same order on every run
    tiles = _tiles(chosen.sample(frac=1, random_state=0).to_dict("records"), files)
    what = "Lesions" if "modality" in chosen else "Images"
    pages = -(-len(tiles) // PAGE_SIZE)
    selection = hash(tuple(chosen["image"]))
    if st.session_state.get("gallery_of", selection) != selection:
        address.forget("gallery_page")
    st.session_state["gallery_of"] = selection
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        number = 1
        if pages > 1:
            numbers = {str(page): str(page) for page in range(1, pages + 1)}
            with address.option("gallery_page", numbers, "1"):
                number = int(st.selectbox(f"Page (of {pages:,})", list(numbers), key="gallery_page", width=160) or 1)
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


def _tiles(records: list[dict[Any, Any]], files: Mapping[str, File]) -> list[list[Picture]]:
    """Groups of pictures that are shown side by side: all of a lesion if there are several kinds of image, otherwise
    single ones."""
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
            images.append(small(str(file), file.stat().st_mtime) if isinstance(file, Path) else _own_small(file))
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
            st.markdown(f"**{layout.plain(str(record['image']))}**")
            _record(table, record)
            if data is not None:
                _buttons(table, record, data)
        return
    for column, (each, file) in zip(columns, pictures, strict=False):
        with column:
            data = _picture(table, each, file)
            st.markdown(f"**{KINDS[each['modality']]}**, {str(each['image']).rpartition('/')[2]}")
            if data is not None:
                _buttons(table, each, data)
    _record(table, record)


def _picture(table: Table, record: dict[Any, Any], file: File) -> bytes | None:
    """Show an image; return its file's bytes, or None, with a sentence, if it cannot be read."""
    try:
        data = imaging.read(file) if isinstance(file, Path) else file
        image = isolated.decode(data)
    except SkinappError as error:
        st.error(str(error))
        return None
    st.image(image, width="stretch", alt=f"{record['image']}, {table.name(str(record['diagnosis']))}")
    return data


def _record(table: Table, record: dict[Any, Any]) -> None:
    known = {"diagnosis": table.name(str(record["diagnosis"]))}
    known |= {name: record[name] for name in NAMES if name in record and name not in ("diagnosis", "modality")}
    st.markdown("  \n".join(f"{NAMES[name]}: {layout.plain(_text(value))}" for name, value in known.items()))
    if table.labels and record["diagnosis"] in table.labels.codes:
        layout.guide_link(str(record["diagnosis"]), f"About {table.name(str(record['diagnosis']))}")


def _buttons(table: Table, record: dict[Any, Any], data: bytes) -> None:
    name, photo = str(record["image"]), session_images.own(data)
    if table.id in DATASETS:
        caption = f"{name} from {table.title}. {DATASETS[table.id].credit}."
        photo = add_image.published(name, data, caption, table.id, table.name(str(record["diagnosis"])))
    if st.button("Classify this image", icon=":material/image_search:", key=f"send_{name}", type="primary"):
        add_image.send(photo)
    if st.button("See where models look", icon=":material/visibility:", key=f"send_attention_{name}"):
        add_image.send(photo, "attention")


def _text(value: Any) -> str:
    if value is None or pd.isna(value):
        return NOT_STATED
    return f"{value:.0f}" if isinstance(value, float) else str(value)


@st.cache_data(max_entries=3, show_spinner=False)
def _published(dataset: str, root: str) -> pd.DataFrame:
    return records.tidy(registry.published(dataset, Path(root)), DATASETS[dataset].labels)


def _images(table: Table, root: Path) -> Table:
    """The data set with one row per image, as published."""
    if table.id == "malignant_benign":
        # this data set has no table
        return table
    return Table(table.id, table.title, _published(table.id, str(root)), table.labels)


@st.cache_data(max_entries=2000, show_spinner=False)
def small(file: str, changed: float) -> bytes:
    """A JPEG of the middle of an image of a published data set."""
    return jpeg(imaging.crop_resize(imaging.decode(imaging.read(file)), THUMBNAIL))


def _own_small(data: bytes) -> bytes:
    """A thumbnail of a visitor's image; kept in their session."""
    thumbnails = st.session_state.setdefault("own_thumbnails", {})
    if id(data) not in thumbnails:
        thumbnails[id(data)] = jpeg(imaging.crop_resize(isolated.decode(data), THUMBNAIL))
    return thumbnails[id(data)]


def side_by_side(thumbnails: dict[str, bytes]) -> bytes:
    """The thumbnails of KINDS as one JPEG, each kind in a fixed place; missing ones are left grey."""
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
