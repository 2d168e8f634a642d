"""A visitor's own table: added, its columns assigned, its problems shown. It stays in their session's memory."""

import streamlit as st

from skinapp.demographics import own_table, statistics
from skinapp.demographics.records import Table
from skinapp.errors import SkinappError
from skinapp.ui.layout import plain


def forget() -> None:
    """Remove the table and the choices made for it."""
    for key in [key for key in st.session_state if str(key).startswith("own_") and key != "own_upload"]:
        del st.session_state[key]


def choose() -> Table | None:
    """Show how to add a table and assign its columns; return it, or None while there is none."""
    st.markdown(
        "Add a CSV with one row per image. It stays in this session's memory, is never stored, and is gone when you "
        "close the page."
    )
    file = st.file_uploader("Your table, as CSV", key="own_upload", on_change=forget)
    try:
        if file is not None and st.session_state.get("own_file") != file.file_id:
            with st.spinner("Reading the table"):
                st.session_state["own_raw"] = own_table.read(file.getvalue())
                st.session_state["own_file"] = file.file_id
        raw = st.session_state.get("own_raw")
        if raw is None:
            st.caption(
                "Useful columns: diagnosis, lesion, image, sex, age, site, how the diagnosis was confirmed, skin type, "
                "and training or test. If a name is not recognised, you can assign the column yourself."
            )
            return None
        columns = [str(column) for column in raw.columns]
        guessed = own_table.guess(columns)
        with st.expander(
            "Assign the columns",
            icon=":material/view_column:",
            expanded=guessed["diagnosis"] is None,
            key="own_columns",
        ):
            if all(column.startswith("Column ") for column in columns):
                st.caption("The first row holds data, not names, so the columns are numbered.")
            with st.grid(3, min_column_width=200, gap="small"):
                chosen = {
                    field: st.selectbox(
                        own_table.FIELD_NAMES[field],
                        columns,
                        index=columns.index(guess) if guess is not None else None,
                        key=f"own_column_{field}",
                        placeholder="None",
                    )
                    for field, guess in guessed.items()
                }
            st.dataframe(raw.head(5), hide_index=True, alt="The first rows of the table")
        table, problems = _built(tuple(chosen.items()))
    except SkinappError as error:
        st.error(plain(str(error)))
        return None
    _show_problems(table, problems)
    return table


def _built(chosen: tuple[tuple[str, str | None], ...]) -> tuple[Table, list[str]]:
    """The table with its columns as assigned; built again only when that changes."""
    if st.session_state.get("own_chosen") != chosen:
        with st.spinner("Counting"):
            st.session_state["own_built"] = own_table.build(st.session_state["own_raw"], dict(chosen))
            st.session_state["own_chosen"] = chosen
    table, problems = st.session_state["own_built"]
    return table, problems


def _show_problems(table: Table, problems: list[str]) -> None:
    images = statistics.totals(table.frame).images
    if not problems:
        st.success(f"{images:,} rows, no problems.")
        return
    words = "\n".join(f"- {plain(problem)}" for problem in problems)
    st.warning(f"{images:,} rows. Problems and remarks:\n\n{words}")
