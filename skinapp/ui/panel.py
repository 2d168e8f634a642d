"""A chart with what every chart here has: its table, a CSV of it, a PNG, and words for who cannot see it."""

from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st


def show(figure: go.Figure, table: pd.DataFrame, key: str, alt: str, columns: dict[str, Any] | None = None) -> None:
    """The figure, and below it its table and downloads. `key` names the widgets and the files; `alt` says what the
    figure shows; `columns` is the table's `column_config`."""
    st.plotly_chart(
        figure,
        key=key,
        alt=alt,
        config={
            "displaylogo": False,
            "modeBarButtons": [["toImage"]],
            "toImageButtonOptions": {"format": "png", "filename": key, "scale": 2},
        },
    )
    with st.expander("Table and downloads", icon=":material/table_chart:", key=f"{key}_table"):
        st.dataframe(table, hide_index=True, column_config=columns, alt=alt)
        st.download_button(
            "Download as CSV",
            table.to_csv(index=False),
            f"{key}.csv",
            "text/csv",
            key=f"{key}_csv",
            icon=":material/download:",
            on_click="ignore",
        )
        st.caption("The camera above the chart saves it as a PNG.")
