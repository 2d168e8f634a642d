"""The questions about the patient that a model can use. None need be answered, and no answer leaves the session."""

import streamlit as st

from skinapp.inference import metadata
from skinapp.inference.metadata import Answers, Field
from skinapp.inference.registry import Model


def ask(model: Model) -> Answers:
    """Show the model's questions, folded away; return what was answered. Nothing for a model without any."""
    if not model.clinical:
        return {}
    with st.expander("About the patient (optional)", icon=":material/person:", key="patient"):
        st.caption(
            "Nothing here is needed. What you answer moves the probabilities, as it did for the patients that the "
            "model learnt from; what you leave out changes nothing. It is not kept."
        )
        with st.grid(3, min_column_width=150, gap="small"):
            given = {one.name: _ask(one, f"patient_{model.id}_{one.name}") for one in model.clinical}
    return metadata.parse(model.clinical, given)


def _ask(one: Field, key: str) -> float | str | None:
    hint = one.hint or None
    if one.kind == "number":
        whole = one.name not in ("diameter_1", "diameter_2")
        kind = int if whole else float
        return st.number_input(
            f"{one.title} ({one.unit})",
            kind(one.low),
            kind(one.high),
            None,
            kind(1),
            format="%d" if whole else "%.1f",
            key=key,
            help=hint,
            placeholder="Not known",
        )
    if one.kind == "category":
        return st.selectbox(
            one.title,
            list(one.categories),
            None,
            format_func=one.categories.__getitem__,
            key=key,
            help=hint,
            placeholder="Not known",
        )
    return st.segmented_control(one.title, ["yes", "no"], format_func=str.capitalize, key=key, help=hint)
