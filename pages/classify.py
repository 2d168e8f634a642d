"""Classify an image, or many: the answer first, then where the model looked, then everything else."""

from collections.abc import Mapping

import streamlit as st

from skinapp.errors import SkinappError
from skinapp.inference import registry
from skinapp.inference.registry import Model
from skinapp.ui import add_image, answer, batch, gate, layout, model_notes, over_time, privacy, session_images, turn
from skinapp.ui.session_images import Photo

AUTOMATIC = ""
"""The option that picks the best model for the kind of image."""


def choose_model(models: Mapping[str, Model]) -> Model | None:
    """The model that the visitor chose; None for the best one for each image."""
    key = st.selectbox(
        "Model",
        [AUTOMATIC, *models],
        format_func=lambda key: models[key].short_name if key else "The best one for your kind of image",
        key="model",
        persist_state="session",
        help="Some models were trained on dermoscopy images, others on phone photos. By default, the app chooses "
        "the best one for your image.",
    )
    return models.get(key)


def show_row(models: Mapping[str, Model]) -> Model | None:
    """The controls folded into one row, above an answer; returns the chosen model."""
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall", width="content"):
        layout.show_image_chip()
        # a new key closes it once another image is there
        with st.popover("Change", icon=":material/tune:", key=f"change_{session_images.additions()}"):
            add_image.choose()
            chosen = choose_model(models)
        files = session_images.files()
        if len(files) > 1 and (session_images.current() or session_images.comparing()):
            st.button(
                "Both files" if len(files) == 2 else f"All {len(files)} files",
                icon=":material/grid_view:",
                key="all_files",
                on_click=session_images.show,
                args=(None,),
            )
    return chosen


@turn.needed
def show_photo(models: list[Model], chosen: Model | None, photo: Photo) -> None:
    """The answer to one photo, after the question of its kind where that is not clear."""
    found = gate.route(models, photo, chosen)
    if found.can_ask and found.recognised:
        gate.ask_kind(photo, found.recognised)
    if found.doubt and not found.unknown:
        st.warning(found.doubt)
    answer.show(found, photo)


with layout.page("Classify", chip=False):
    # beside the title, where there is room
    head = st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", gap="small")
    head.title("Classify an image", anchor=False, width="content")
    for reason in registry.problems().values():
        st.warning(reason)
    models = {model.id: model for model in registry.ranked()}
    if not models:
        st.error(layout.NO_MODELS)
        st.stop()
    photo = session_images.current()
    several = bool(session_images.files())
    if photo or several:
        with head:
            chosen = show_row(models)
    else:
        st.markdown(
            "Add one or more dermoscopy images or phone photos of a spot to see the probability of every class and "
            "where the model looked. Nothing you add is stored."
        )
        privacy.link()
        add_image.choose()
        chosen = choose_model(models)
    for note in session_images.notes():
        st.info(note)
    try:
        if photo:
            show_photo(list(models.values()), chosen, photo)
        elif session_images.comparing():
            over_time.show(list(models.values()), chosen)
        elif several:
            batch.show(list(models.values()), chosen)
        else:
            model = chosen or next(iter(models.values()))
            session_images.forget_computed()
            model_notes.show_classes(model)
            model_notes.show_limits(model)
    except SkinappError as error:
        st.error(str(error))
