"""The checks before an answer: which kind of image it is, whether it shows skin, and whether its quality is
sufficient."""

from collections.abc import Sequence

import streamlit as st

from skinapp.errors import ModelError
from skinapp.images.quality import Quality
from skinapp.inference import modality, warnings
from skinapp.inference.analysis import Analysis
from skinapp.inference.modality import NAMES, ONE, Recognised, Route
from skinapp.inference.registry import Model
from skinapp.ui import photo as photos
from skinapp.ui.session_images import Photo


def route(models: Sequence[Model], photo: Photo, chosen: Model | None) -> Route:
    """Which of the models, best first, answer for a photo: the `chosen` one, or those for its kind.

    Where the kind cannot be recognised, `doubt` says why. ImageError if the photo cannot be read.
    """
    try:
        recognised = photos.recognised(photo)
    except ModelError as error:
        return Route((chosen or models[0],), doubt=str(error))
    return modality.route(models, recognised, chosen, kind_stated(photo))


def kind_stated(photo: Photo) -> str | None:
    """The kind of image that the visitor named; None if they named none."""
    return st.session_state.get(_kind_key(photo))


def ask_kind(photo: Photo, recognised: Recognised) -> None:
    """Ask "Phone photo or dermoscopy?" The visitor's choice applies to every page."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.segmented_control(
            "Phone photo or dermoscopy?",
            list(NAMES),
            format_func=NAMES.__getitem__,
            key=_kind_key(photo),
            persist_state="session",
            help=f"The app is only {recognised.probabilities[recognised.kind]:.0%} sure that this is "
            f"{ONE[recognised.kind]}. Each kind has its own model.",
        )


def shows_anyway(photo: Photo) -> bool:
    """Whether the visitor asked for the answer to an image that fails a check."""
    return bool(st.session_state.get(_anyway_key(photo)))


def ask_anyway(photo: Photo, reasons: Sequence[str]) -> bool:
    """Show why there is no answer yet; return whether the visitor wants it anyway."""
    for sentence in reasons:
        st.warning(sentence, icon=":material/photo_camera:")
    if not shows_anyway(photo):
        st.markdown("**Take the photo again, or show the answer anyway.**")
    return st.toggle("Show the answer anyway", key=_anyway_key(photo), persist_state="session")


def reasons(chosen_route: Route, measured: Quality) -> list[str]:
    """Why the answer to an image is not shown at once; empty for a usable image. A problem of quality counts if it
    predicts errors of the model that answers."""
    problems = warnings.of_quality(measured, chosen_route.model.modality)
    return ([chosen_route.doubt] if chosen_route.unknown else []) + list(problems.values())


def announce_cautions(analysis: Analysis) -> list[str]:
    """Say next to the answer that there are warnings, and return them for `show_cautions`: they take so much
    room that on a phone they would push the picture out of view."""
    cautions = list(warnings.cautions(analysis).values())
    if cautions:
        which = "the warning" if len(cautions) == 1 else f"the {len(cautions)} warnings"
        st.caption(f":material/help: See {which} below the picture.")
    return cautions


def show_cautions(cautions: list[str], analysis: Analysis) -> None:
    """Show why the answer may be wrong, and how to take a better photo, including hints on defects that do not predict
    errors of this model."""
    for sentence in cautions:
        st.warning(sentence, icon=":material/help:")
    for hint in warnings.hints(analysis.quality, analysis.model.modality):
        st.caption(f":material/photo_camera: {hint}")


def _kind_key(photo: Photo) -> str:
    return f"kind_{photo.key}"


def _anyway_key(photo: Photo) -> str:
    return f"anyway_{photo.key}"
