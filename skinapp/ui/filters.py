"""The filters of a data set's table, and the choice of a second selection to compare with."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import cast

import numpy as np
import pandas as pd
import streamlit as st

from skinapp.demographics import records
from skinapp.demographics.records import NAMES, Filters, Table
from skinapp.ui import address

OWN = "own"
"""The id of a visitor's own table, whose filters never appear in the address."""
AGES = (0, 100)
"""The ends of the age slider; the upper end includes older people."""
MAX_OPTIONS = 1000
MALIGNANT = {"yes": "Malignant", "no": "Not malignant"}
REST = "rest"
AGAINST = {REST: "The rest of this data set", "selection": "Another selection"}


def clear(prefix: str) -> None:
    """Clear every filter."""
    for name in records.FILTERS:
        address.clear(f"{prefix}{name}", AGES if name == "age" else None if name == "malignant" else [])


def choose(table: Table, prefix: str, *, shared: bool = True) -> Filters:
    """Show the filters of a table and return what is chosen. With `shared`, they are in the page's address."""

    def bound(binding: AbstractContextManager[None]) -> AbstractContextManager[None]:
        return binding if shared else nullcontext()

    def several(name: str, label: Callable[[str], str] = str) -> tuple[str, ...]:
        every = records.values(table, name)
        labels = {code: label(code) for code in every[:MAX_OPTIONS]}
        with bound(address.several(f"{prefix}{name}", labels)):
            return tuple(
                st.multiselect(
                    NAMES[name],
                    list(labels),
                    format_func=labels.__getitem__,
                    key=f"{prefix}{name}",
                    placeholder="All",
                    help=f"Only the {MAX_OPTIONS:,} most common of {len(every):,} values."
                    if len(every) > MAX_OPTIONS
                    else None,
                )
            )

    if not shared:
        st.session_state.setdefault(f"{prefix}age", AGES)
    with st.grid(3, min_column_width=240, gap=("small", "medium")):
        diagnosis = several("diagnosis", table.name)
        sex = several("sex", str.capitalize)
        site = several("site", str.capitalize)
        confirmation = several("confirmation", str.capitalize)
        with bound(address.interval(f"{prefix}age", AGES)):
            # the slider's two ends come from the session
            low, high = cast(
                "tuple[int, int]",
                st.slider(
                    "Age in years",
                    *AGES,
                    step=5,
                    key=f"{prefix}age",
                    help="Both ends are included. Once you move the slider, images without a stated age are left out."
                    + (
                        " Ages are published in steps of five, so over 60 means 65 and up."
                        if table.id == "ham10000"
                        else ""
                    ),
                ),
            )
        with bound(address.option(f"{prefix}malignant", MALIGNANT)):
            malignant = st.segmented_control(
                "Malignant or not",
                list(MALIGNANT),
                format_func=MALIGNANT.__getitem__,
                key=f"{prefix}malignant",
                help="As the data set groups its diagnoses. Select neither to see both.",
                disabled=table.labels is None,
            )
    return Filters(
        diagnosis,
        None if malignant is None else malignant == "yes",
        sex,
        None if (low, high) == AGES else (low, high if high < AGES[1] else np.inf),
        site,
        confirmation,
    )


def choose_second(
    table: Table, frame: pd.DataFrame, filters: Filters, tables: Mapping[str, Table]
) -> tuple[Table, pd.DataFrame, str] | None:
    """Show what a selection can be compared with; return the table, rows and name of the second selection, or None,
    with a sentence on the page, while there is none."""
    with address.option("against", AGAINST, REST):
        against = st.segmented_control(
            "Compare the selection with",
            list(AGAINST),
            format_func=AGAINST.__getitem__,
            required=True,
            key="against",
            label_visibility="collapsed",
        )
    if against == REST:
        if not filters.active:
            st.info("The selection is the whole data set. Set a filter above, or compare with another selection.")
            return None
        return table, table.frame.drop(frame.index), "The rest"
    titles = {key: each.title for key, each in tables.items()}
    with address.option("b_data", titles, table.id):
        chosen = st.selectbox(
            "Data set to compare with",
            list(titles),
            format_func=titles.__getitem__,
            key="b_data",
            on_change=clear,
            args=("b_",),
        )
    other = tables[chosen or table.id]
    second = records.select(other, choose(other, "b_", shared=OWN not in (table.id, other.id)))
    if second.empty:
        st.warning("No image matches the second selection. Remove a filter.")
        return None
    return other, second, other.title
