"""Classify an image: the probability of every class, and where the model looked."""

import streamlit as st

from skinapp.errors import ModelError, SkinappError
from skinapp.images import quality
from skinapp.inference import analysis, modality, registry
from skinapp.inference.modality import Recognised
from skinapp.inference.registry import Model
from skinapp.ui import attention_map, layout, metadata_form, model_notes, pair, prediction
from skinapp.ui import photo as photos
from skinapp.ui.photo import Photo

AUTOMATIC = ""
"""The option that picks the best model for the kind of image."""


@st.fragment
def show_prediction(model: Model, photo: Photo, recognised: Recognised | None) -> None:
    """The square and the model's prediction. A fragment, so that moving the square redraws no more than this."""
    left, result = st.columns(2, gap="medium")
    try:
        with left:
            crop = photos.choose_crop(photo)
            warnings = st.container()
            remove_hair = not model.removes_hair and st.toggle(
                "Remove hairs first",
                key="hair_removal",
                help="Dark hairs are detected and filled in from the skin beside them. The model was trained on images "
                "with hairs, and removing them does not improve its results on test images.",
            )
            values = metadata_form.show(model)
        made = analysis.analyse(
            photos.decoded(photo, crop), model, crop, remove_hair=remove_hair, modality=recognised, values=values
        )
    except SkinappError as error:
        result.error(str(error))
        return
    for sentence in quality.warnings(made.quality):
        warnings.warning(sentence, icon=":material/photo_camera:")
    with result:
        prediction.show(made)
    attention_map.show(made, photo)
    pair.show(made, photo)


def show_photo(models: list[Model], chosen: Model | None, photo: Photo) -> Model:
    """The photo and its prediction; returns the model that was used."""
    recognised = None
    try:
        recognised = photos.recognised(photo)
    except ModelError as error:
        st.warning(str(error))
    route = modality.route(models, recognised, chosen)
    if route.sentence:
        say = st.warning if route.doubtful else st.caption
        say(f":material/{'warning' if route.doubtful else 'fork_right'}: {route.sentence}")
    unknown = recognised is not None and recognised.kind == "neither"
    if unknown and not st.toggle("Show the answer anyway", key=f"anyway_{photo.key}"):
        with st.columns(2, gap="medium")[0]:
            photos.show_uncropped(photo)
    else:
        show_prediction(route.model, photo, recognised)
    return route.model


with layout.page("Classify"):
    st.title("Classify an image", anchor=False)
    st.markdown(
        "Add a dermoscopy image or a phone photo of a spot to see the probability of every class, and where the model "
        "looked. Nothing you add is stored."
    )
    for reason in registry.problems().values():
        st.warning(reason)
    models = {model.id: model for model in registry.ranked()}
    if not models:
        st.error(layout.NO_MODELS)
        st.stop()
    chosen = models.get(
        st.selectbox(
            "Model",
            [AUTOMATIC, *models],
            format_func=lambda key: models[key].title if key else "The best one for the kind of image",
            key="model",
            help="Some models were trained on dermoscopy images, others on phone photos. By default, the app chooses "
            "the best one for your image.",
        )
    )
    model = chosen or next(iter(models.values()))
    photo = photos.choose()
    if photo is None:
        photos.forget()
    else:
        try:
            model = show_photo(list(models.values()), chosen, photo)
        except SkinappError as error:
            st.error(str(error))
    model_notes.show_classes(model)
    model_notes.show_limits(model)
