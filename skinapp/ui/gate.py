"""What stands between an image and its answer: which kind of image it is, whether it is skin, whether it is sharp."""

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from skinapp.errors import ModelError
from skinapp.images import quality
from skinapp.inference import modality
from skinapp.inference.modality import Recognised
from skinapp.inference.registry import Model
from skinapp.ui import photo as photos
from skinapp.ui.session_images import Photo

SURE = 0.9
"""Below this probability of the recognised kind, the visitor says which kind it is."""

ONE = {"smartphone": "a phone photo", "dermoscopy": "a dermoscopy image"}
NAMES = {"smartphone": "Phone photo", "dermoscopy": "Dermoscopy"}


@dataclass(frozen=True)
class Route:
    """The models that answer, the first one first: two while the kind of image is open. `sentence` says what the image
    was recognised as; `doubt` why an answer means little, if it does; `asked` that the visitor can name the kind;
    `unknown` that the image is of no kind that a model knows."""

    models: tuple[Model, ...]
    recognised: Recognised | None = None
    sentence: str = ""
    doubt: str = ""
    asked: bool = False
    unknown: bool = False


def route(models: Sequence[Model], photo: Photo, chosen: Model | None) -> Route:
    """Which of the models, best first, answer for a photo: the `chosen` one, or those for its kind.

    Where the kind cannot be recognised, `doubt` says why. ImageError where the photo cannot be read.
    """
    try:
        recognised = photos.recognised(photo)
    except ModelError as error:
        return Route((chosen or models[0],), doubt=str(error))
    if recognised is None:
        return Route((chosen or models[0],))
    if recognised.kind == "neither":
        looks = f"This looks like {modality.KINDS['neither']} ({recognised.reason})."
        doubt = f"{looks} The models know nothing else, so a prediction means nothing."
        return Route((chosen or models[0],), recognised, "Not recognised as skin", doubt, unknown=True)
    best = {kind: next((model for model in models if model.modality == kind), None) for kind in NAMES}
    stated = kind_stated(photo)
    kind = stated or recognised.kind
    sentence = f"{NAMES[kind]}, as you said" if stated else f"{NAMES[kind]}, {recognised.reason}"
    suited = best[kind]
    unsure = recognised.probabilities[recognised.kind] < SURE and all(best.values()) and chosen is None
    answering = chosen or suited or models[0]
    doubt = ""
    if answering.modality != kind:
        missing = "" if suited else f" No model for {modality.IMAGES[kind]} is installed."
        doubt = (
            f"This looks like {ONE[kind]}.{missing} “{answering.title}” was trained on "
            f"{modality.IMAGES[answering.modality]}, so its prediction is less reliable here."
        )
    if unsure and not stated:
        other = next(model for key, model in best.items() if key != kind and model)
        return Route((answering, other), recognised, sentence, doubt, asked=True)
    return Route((answering,), recognised, sentence, doubt, asked=unsure)


def kind_stated(photo: Photo) -> str | None:
    """The kind of image that the visitor named; None if they named none."""
    return st.session_state.get(_kind_key(photo))


def ask_kind(photo: Photo, recognised: Recognised) -> None:
    """Phone photo or dermoscopy? The answer holds on every page."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.segmented_control(
            "Phone photo or dermoscopy?",
            list(NAMES),
            format_func=NAMES.__getitem__,
            key=_kind_key(photo),
            persist_state="session",
            help=f"The app is only {recognised.probabilities[recognised.kind]:.0%} sure that this is "
            f"{ONE[recognised.kind]}. Each kind has a model of its own.",
        )


def shows_anyway(photo: Photo) -> bool:
    """Whether the visitor asked for the answer to an image that fails a check."""
    return bool(st.session_state.get(_anyway_key(photo)))


def ask_anyway(photo: Photo, reasons: Sequence[str]) -> bool:
    """Say why there is no answer yet; True if the visitor wants it anyway."""
    for sentence in reasons:
        st.warning(sentence, icon=":material/photo_camera:")
    if not shows_anyway(photo):
        st.markdown("**Take it again, or show the answer anyway.**")
    return st.toggle("Show the answer anyway", key=_anyway_key(photo), persist_state="session")


def reasons(found: Route, measured: quality.Quality) -> list[str]:
    """Why the answer to an image is not shown at once; empty for a usable image."""
    return ([found.doubt] if found.unknown else []) + quality.warnings(measured)


def _kind_key(photo: Photo) -> str:
    return f"kind_{photo.key}"


def _anyway_key(photo: Photo) -> str:
    return f"anyway_{photo.key}"
