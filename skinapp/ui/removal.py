"""The choice of artefacts that are removed before classification, and the resulting image."""

from collections.abc import Collection

import streamlit as st

from skinapp.images import removal
from skinapp.images.removal import KINDS
from skinapp.inference.analysis import Analysis
from skinapp.inference.registry import Model
from skinapp.ui import photo as photos

CHOICE = "remove_from_"
"""Prefix of the visitor's choices in the session."""


def choose(model: Model) -> None:
    """Let the visitor choose kinds to remove, in addition to those that the model was trained without."""
    if model.removes:
        st.caption(
            f"This model was trained on images without {removal.named(model.removes)}, so these are removed from every "
            "image."
        )
    st.pills(
        "Remove before classifying",
        [kind for kind in KINDS if kind not in model.removes],
        selection_mode="multi",
        default=_default(model.modality, model.removes),
        format_func=KINDS.__getitem__,
        wrap=True,
        key=_key(model),
        persist_state="session",
        help=f"Anything detected is filled in from the skin around it. {removal.advice(model.modality)}",
    )


def chosen(model: Model) -> list[str]:
    """The kinds to remove for this model, on every page."""
    return st.session_state.get(_key(model), _default(model.modality, model.removes))


def choices() -> tuple[tuple[str, ...], ...]:
    """Distinguishes the visitor's choices, for all models; empty if they are the defaults."""
    changed = []
    for key in sorted(str(key) for key in st.session_state if str(key).startswith(CHOICE)):
        modality, *removes = key.removeprefix(CHOICE).split("_")
        if st.session_state[key] != _default(modality, removes):
            changed.append((key, *st.session_state[key]))
    return tuple(changed)


def note(made: Analysis) -> None:
    """A note next to the answer on what was removed from the image, if anything was detected."""
    if made.removed and made.removed.any_detected:
        st.caption(f":material/healing: {removal.sentence(made.removed)} See “Artefacts” below.")


def show(made: Analysis) -> None:
    """The square that the model saw, and what was removed from it."""
    if made.removed:
        st.caption(removal.sentence(made.removed))
    st.image(made.square, "What the model saw", width=photos.SHOWN_HEIGHT, alt="The square as the model saw it")


def _default(modality: str, removes: Collection[str]) -> list[str]:
    return [kind for kind in removal.by_default(modality) if kind not in removes]


def _key(model: Model) -> str:
    # the options and their defaults depend on the model
    return CHOICE + "_".join((model.modality, *model.removes))
