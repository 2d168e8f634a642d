"""Every diagnosis in plain words."""

import streamlit as st

from skinapp import ui

with ui.page("Guide"):
    st.title("Guide", anchor=False)
