"""The filters of a data set's table, and the choice of a second selection to compare with."""

import urllib.parse
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, cast

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


FOLDED = """<style>@supports selector(:has(*)) {
@media (max-width: 640px) {
.stMain:not(:has(.st-key-show_filters input:checked)) .st-key-filter_box { display: none; } }
@media (min-width: 640.02px) { .st-key-show_filters { display: none; } } }</style>"""
"""On a phone the filters are collapsed behind a switch, which wider screens do not need. The server does not know the
screen width, so this is CSS."""
NONE: dict[str, object] = {name: [] for name in records.FILTERS} | {"malignant": None, "age": AGES}
"""For each filter, the value that selects everything."""


def clear(prefix: str) -> None:
    """Clear every filter."""
    for name, value in NONE.items():
        address.clear(f"{prefix}{name}", value)


def apply(prefix: str, clicked: str) -> None:
    """In a callback: apply the filter of a clicked bar, cell or part of the body, such as "diagnosis=mel&age=60-64" or
    "site=chest&site=abdomen". A click on what already is the whole selection clears its filter."""
    state = st.session_state
    chosen: dict[str, Any] = {}
    for name, text in urllib.parse.parse_qsl(clicked):
        if name == "age":
            low, high = map(int, text.split("-"))
            chosen[name] = (low, min(high, AGES[1]))
        elif name in records.FILTERS:
            chosen[name] = [*chosen.get(name, []), text]
    if len(chosen) == 1 and all(state.get(f"{prefix}{name}") == value for name, value in chosen.items()):
        chosen = {name: NONE[name] for name in chosen}
    for name, value in chosen.items():
        state[f"{prefix}{name}"] = value


def choose_folded(table: Table, prefix: str, *, shared: bool) -> Filters:
    """Like `choose`, in a box that is collapsed on phones, with a button that clears the filters."""
    st.html(FOLDED)
    switches = st.container(horizontal=True, vertical_alignment="center", gap="medium", key="filter_switches")
    with switches:
        st.toggle("Show filters", key="show_filters")
    with st.container(border=True, key="filter_box"):
        chosen = choose(table, prefix, shared=shared)
    if chosen.active:
        icon = ":material/filter_alt_off:"
        switches.button("Clear all filters", icon=icon, key="clear", on_click=clear, args=(prefix,))
    return chosen


def choose(table: Table, prefix: str, *, shared: bool = True) -> Filters:
    """Show the filters of a table and return what is chosen. With `shared`, they are in the page's address."""

    def bound(name: str, binding: AbstractContextManager[None]) -> AbstractContextManager[None]:
        return binding if shared else address.private(f"{prefix}{name}", NONE[name])

    def several(name: str, label: Callable[[str], str] = str) -> tuple[str, ...]:
        every = records.values(table, name)
        labels = {code: label(code) for code in every[:MAX_OPTIONS]}
        if chosen := st.session_state.get(f"{prefix}{name}"):
            # a clicked bar may represent a value that is not among the options
            st.session_state[f"{prefix}{name}"] = [code for code in chosen if code in labels]
        with bound(name, address.several(f"{prefix}{name}", labels)):
            return tuple(
                st.multiselect(
                    NAMES[name],
                    list(labels),
                    format_func=labels.__getitem__,
                    key=f"{prefix}{name}",
                    placeholder="All",
                    help=f"Lists only the {MAX_OPTIONS:,} most common of {len(every):,} values."
                    if len(every) > MAX_OPTIONS
                    else None,
                )
            )

    with st.grid(3, min_column_width=240, gap=("small", "medium")):
        diagnosis = several("diagnosis", table.name)
        sex = several("sex", str.capitalize)
        site = several("site", str.capitalize)
        confirmation = several("confirmation", str.capitalize)
        skin = {name: several(name, str.capitalize) for name in records.SKIN if name in table.frame}
        with bound("age", address.interval(f"{prefix}age", AGES)):
            # the slider's two ends come from the session
            low, high = cast(
                "tuple[int, int]",
                st.slider(
                    "Age in years",
                    *AGES,
                    key=f"{prefix}age",
                    help="Both ends are included. Once you move the slider, images without a stated age are left out.",
                ),
            )
        with bound("malignant", address.option(f"{prefix}malignant", MALIGNANT)):
            malignant = st.segmented_control(
                "Malignant or not",
                list(MALIGNANT),
                format_func=MALIGNANT.__getitem__,
                key=f"{prefix}malignant",
                help="As the data set classifies its diagnoses. Choose neither to see both.",
                disabled=table.labels is None,
            )
    return Filters(
        diagnosis,
        None if malignant is None else malignant == "yes",
        sex,
        None if (low, high) == AGES else (low, high if high < AGES[1] else np.inf),
        site,
        confirmation,
        **skin,
    )


def choose_second(
    table: Table, frame: pd.DataFrame, filters: Filters, tables: Mapping[str, Table]
) -> tuple[Table, pd.DataFrame, str] | None:
    """Show the options for comparing a selection; return the table, rows and name of the second selection, or None,
    with a message on the page, if there is none."""
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
