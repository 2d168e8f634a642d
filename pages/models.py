"""Every model's card, with what goes in, what comes out, its layers, licence and intended use."""

import streamlit as st

from skinapp import registry, ui

with ui.page("Models"):
    st.title("Model cards", anchor=False)
    for reason in registry.problems().values():
        st.warning(reason)
    models = registry.models()
    if not models:
        st.error("There is no model here yet. Put a model folder into `models`, then load this page again.")
        st.stop()
