"""A chart with its table, a CSV, a PNG, and a description for screen readers."""

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from skinapp import tables
from skinapp.report.document import Chart


def show_chart(
    chart: Chart, key: str, columns: dict[str, Any] | None = None, clicked: Callable[[str], None] | None = None
) -> None:
    """Show a chart of the report, see `show`."""
    show(chart.figure, chart.table, key, chart.words, columns, clicked=clicked)


def show(
    figure: go.Figure | None,
    table: pd.DataFrame,
    key: str,
    alt: str,
    columns: dict[str, Any] | None = None,
    order: Sequence[str] | None = None,
    clicked: Callable[[str], None] | None = None,
) -> None:
    """The figure, if there is one, and below it its table and downloads. `key` names the widgets and the files;
    `alt` says what is shown; `columns` is the table's `column_config`, `order` the columns that are shown, all of them
    by default. `clicked` is a callback for a click on a bar or cell; it gets the last of its `customdata`."""
    if figure is not None:
        # a chart with a new key has no selection
        click_key = f"{key}_{st.session_state.get(f'{key}_clicks', 0)}"

        def select() -> None:
            points = st.session_state[click_key].selection.points
            if clicked and points and (data := points[0].get("customdata")):
                st.session_state[f"{key}_clicks"] = st.session_state.get(f"{key}_clicks", 0) + 1
                clicked(str(data[-1]))

        st.plotly_chart(
            figure,
            key=key if clicked is None else click_key,
            on_select=select if clicked else "ignore",
            selection_mode="points",
            alt=alt,
            config={
                "displaylogo": False,
                "modeBarButtons": [["toImage"]],
                "toImageButtonOptions": {"format": "png", "filename": key, "scale": 2},
            },
        )
    with st.expander("Table and downloads", icon=":material/table_chart:", key=f"{key}_table"):
        show_table(table, key, alt, columns, order)
        if figure is not None:
            st.caption("The camera above the chart saves it as a PNG.")


def show_table(
    table: pd.DataFrame,
    key: str,
    alt: str,
    columns: dict[str, Any] | None = None,
    order: Sequence[str] | None = None,
    download: pd.DataFrame | None = None,
) -> None:
    """A table and its CSV, which contains `download` if that differs from the displayed table."""
    st.dataframe(table, hide_index=True, column_config=columns, column_order=order, alt=alt)
    offer_csv(table if download is None else download, key)


def offer_csv(table: pd.DataFrame, key: str) -> None:
    """The button that downloads a table as `key`.csv."""
    st.download_button(
        "Download as CSV",
        tables.downloadable(table),
        f"{key}.csv",
        "text/csv",
        key=f"{key}_csv",
        icon=":material/download:",
        on_click="ignore",
    )
