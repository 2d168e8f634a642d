"""The form for the patient metadata that a model uses. Every field is optional, and no value leaves the session."""

import streamlit as st

from skinapp.inference import metadata
from skinapp.inference.metadata import Field, Metadata
from skinapp.inference.registry import Model
from skinapp.ui.session_images import Photo


def show(model: Model, photo: Photo) -> Metadata:
    """Show the model's questions about the patient of this photo; return the values, none for a model without
    questions.

    DataError if a value is impossible.
    """
    if not model.clinical:
        return {}
    st.caption(
        "All fields are optional. Each detail shifts the probabilities by an amount that the model learnt from other "
        "patients; an empty field changes nothing. If you leave them all empty, the image-only model answers. Nothing "
        "is stored, and the next photo starts with empty fields."
    )
    with st.grid(3, min_column_width=150, gap="small"):
        values = {
            field.name: _widget(field, f"patient_{model.id}_{field.name}_{photo.key}") for field in model.clinical
        }
    return metadata.parse(model.clinical, values)


def _widget(field: Field, key: str) -> float | str | None:
    # use the current wording, even if the model's card has an older one
    question = next((known for known in metadata.QUESTIONS if known.name == field.name), field)
    hint = question.hint or None
    if field.kind == "number":
        whole = field.name not in ("diameter_1", "diameter_2")
        kind = int if whole else float
        return st.number_input(
            f"{question.title} ({question.unit})",
            kind(field.low),
            kind(field.high),
            None,
            kind(1),
            format="%d" if whole else "%.1f",
            key=key,
            help=hint,
            placeholder="Unknown",
            persist_state="session",
        )
    if field.kind == "category":
        return st.selectbox(
            question.title,
            list(field.categories),
            None,
            format_func=field.categories.__getitem__,
            key=key,
            help=hint,
            placeholder="Unknown",
            persist_state="session",
        )
    return st.segmented_control(
        question.title, ["yes", "no"], format_func=str.capitalize, key=key, help=hint, persist_state="session"
    )
