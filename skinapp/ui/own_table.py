"""A visitor's own table, or a folder with a table and its images: upload, assignment of columns, list of problems. It
stays in their session's memory."""

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import streamlit as st
from streamlit.runtime.uploaded_file_manager import DeletedFile

from skinapp.datasets import columns
from skinapp.datasets.metadata import FILE
from skinapp.demographics import own_table, statistics
from skinapp.demographics.own_table import OwnTable
from skinapp.errors import DataError, SkinappError
from skinapp.images import imaging
from skinapp.ui import address, privacy, session_images
from skinapp.ui.layout import plain

if TYPE_CHECKING:
    from streamlit.typing import UploadedFile

SOURCES = {"table": "A table", "folder": "A folder with its images"}
UPLOADERS = ("own_upload", "own_folder", "own_source")
"""The widgets that stay when the table is removed."""


def forget() -> None:
    """Remove the table and the choices made for it."""
    for key in [key for key in st.session_state if str(key).startswith("own_") and key not in UPLOADERS]:
        del st.session_state[key]


def images() -> dict[str, bytes]:
    """The bytes of the visitor's images, by their ids in the table."""
    return st.session_state.get("own_images", {})


def choose() -> OwnTable | None:
    """Show how to add a table and assign its columns; return it, or None while there is none."""
    if st.session_state.get("own_raw") is None:
        _add()
    else:
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f"**{plain(st.session_state['own_name'])}**, in this session's memory only")
            st.button("Remove", icon=":material/close:", key="own_remove", on_click=forget)
    if (raw := st.session_state.get("own_raw")) is None:
        return None
    names = [str(column) for column in raw.columns]
    guessed = columns.guess(names)
    try:
        with st.expander(
            "Assign the columns",
            icon=":material/view_column:",
            expanded=guessed["diagnosis"] is None,
            key="own_columns",
        ):
            if all(column.startswith("Column ") for column in names):
                st.caption("The first row holds data, not names, so the columns are numbered.")
            with st.grid(3, min_column_width=200, gap="small"):
                chosen = {field: _column(field, names, guess) for field, guess in guessed.items()}
            st.dataframe(raw.head(5), hide_index=True, alt="The first rows of the table")
        built = _built(tuple(chosen.items()))
    except SkinappError as error:
        st.error(plain(str(error)))
        return None
    _show_problems(built)
    return built


def _column(field: str, names: list[str], guess: str | None) -> str | None:
    key = f"own_column_{field}"
    with address.private(key, guess):
        return st.selectbox(own_table.FIELD_NAMES[field], names, key=key, index=None, placeholder="None")


def _add() -> None:
    """Show the uploaders, and read the uploaded files."""
    st.markdown(
        "Add a CSV with one row per image, or a folder with a CSV and the images, like the one `isic image download` "
        "creates. It stays in this session's memory, is never stored, and is gone soon after you close the page."
    )
    privacy.link()
    source = st.segmented_control(
        "What to add",
        list(SOURCES),
        format_func=SOURCES.__getitem__,
        default="table",
        required=True,
        key="own_source",
        label_visibility="collapsed",
    )
    uploads: list[UploadedFile] = []
    if source == "folder":
        endings = ["csv", *(ending.removeprefix(".") for ending in imaging.EXTENSIONS)]
        uploads = (
            st.file_uploader(
                f"A folder with {FILE} and its images, at most {session_images.MEGABYTES}",
                endings,
                accept_multiple_files="directory",
                key="own_folder",
                on_change=forget,
            )
            or []
        )
    elif file := st.file_uploader("Your table, as CSV", key="own_upload", on_change=forget):
        uploads = [file]
    st.caption(
        "Useful columns: diagnosis, lesion, patient, image, sex, age, site, how the diagnosis was confirmed, skin "
        "type, and part (training or test). If a name is not recognised, you can assign the column yourself."
    )
    uploads = [upload for upload in uploads if not isinstance(upload, DeletedFile)]
    if not uploads:
        return
    try:
        with st.spinner("Reading the table"):
            _read(uploads, folder=source == "folder")
    except SkinappError as error:
        st.error(plain(str(error)))
    else:
        st.rerun()


def _read(uploads: "Sequence[UploadedFile]", folder: bool) -> None:
    """Store the table among the uploaded files, and the images that it lists. DataError if there is no table."""
    tables = [upload for upload in uploads if not folder or PurePosixPath(upload.name).suffix.lower() == ".csv"]
    table = next((one for one in tables if PurePosixPath(one.name).name == FILE), tables[0] if tables else None)
    files = [upload for upload in uploads if upload not in tables]
    if table is None:
        raise DataError(
            f"The folder has no {FILE} (other files: {len(files):,}). isic-cli writes it last, so the download did not "
            "finish: run the same `isic image download` command again."
        )
    raw = own_table.read(table.getvalue())
    st.session_state["own_raw"] = raw
    st.session_state["own_name"] = PurePosixPath(table.name).name
    stored = [one for one in files if one.type != session_images.NOT_STORED]
    st.session_state["own_dropped"] = len(files) - len(stored)
    held: dict[str, bytes] = {}
    for one in stored:
        path, data = PurePosixPath(one.name), one.getvalue()
        held |= {path.stem: data, f"{path.parent.name}/{path.stem}": data}
    st.session_state["own_images"] = held
    session_images.free_uploads(uploads)


def _built(chosen: tuple[tuple[str, str | None], ...]) -> OwnTable:
    """The table with its assigned columns; rebuilt only when the assignment changes."""
    if st.session_state.get("own_chosen") != chosen:
        with st.spinner("Counting"):
            st.session_state["own_built"] = own_table.build(st.session_state["own_raw"], dict(chosen))
            st.session_state["own_chosen"] = chosen
    return st.session_state["own_built"]


def _show_problems(built: OwnTable) -> None:
    rows = statistics.totals(built.table.frame).images
    problems = [*built.problems, *built.audit.problems, *_of_images(built)]
    if not problems:
        st.caption(f":material/check: {rows:,} rows, no problems.")
        return
    count = f"{len(problems)} {'issue' if len(problems) == 1 else 'issues'} in the {rows:,} rows"
    with st.expander(count, icon=":material/warning:", expanded=len(problems) < 4, key="own_problems"):
        st.markdown("\n".join(f"- {plain(problem)}" for problem in problems))


def _of_images(built: OwnTable) -> list[str]:
    """Sentences on images of the table that were not added, and on files that were dropped."""
    held, problems = images(), []
    if held and "image" in built.table.frame:
        named = built.table.frame["image"]
        if absent := int((~named.isin(held.keys())).sum()):
            problems.append(
                f"{absent:,} of {len(named):,} images in the table are not in the folder. If isic-cli was interrupted, "
                "run the same `isic image download` command again."
            )
    if dropped := st.session_state.get("own_dropped", 0):
        problems.append(
            f"{dropped:,} {'image was' if dropped == 1 else 'images were'} left out, because a session holds at most "
            f"{session_images.MEGABYTES}. Everything except viewing them still works."
        )
    return problems
