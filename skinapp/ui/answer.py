"""The answer to one image: as text, with the map over the photo, and everything else in tabs."""

import contextlib
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from skinapp.errors import ModelError, SegmentationError, SkinappError
from skinapp.evaluation.observed_risk import ObservedRisk
from skinapp.formatting import percent
from skinapp.images import quality
from skinapp.inference import analysis, events, modality, registry
from skinapp.inference.analysis import Analysis
from skinapp.inference.metadata import Metadata
from skinapp.inference.modality import Route
from skinapp.inference.registry import Model
from skinapp.report import case_report
from skinapp.ui import (
    attention_map,
    features,
    gate,
    metadata_form,
    model_notes,
    over_time,
    pair,
    prediction,
    removal,
    retrieval,
    segmentation,
    session_images,
    square,
    turn,
)
from skinapp.ui import photo as photos
from skinapp.ui.explained_map import ExplainedMap
from skinapp.ui.session_images import Photo

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

ANSWERED_BY = "answered_by"
"""The session key for the id of the model that answered last, for the attention page."""


@st.fragment
@turn.needed
def show(route: Route, photo: Photo) -> None:
    """The answer, or the question that has to be answered first. A fragment, so that a new square redraws only this."""
    session_images.leave_unless_current(photo)
    try:
        crop = square.crop_of(photo)
        reasons = gate.reasons(route, quality.measure(photos.decoded(photo, crop), crop))
        if reasons and not gate.shows_anyway(photo):
            photos.count_refusal(photo, events.CHECK_FAILED)
            with _beside_the_photo(photo):
                gate.ask_anyway(photo, reasons)
            return
        if reasons:
            gate.ask_anyway(photo, reasons)
        predictions = [_analyse(route, photo, model).prediction for model in route.models[1:]]
        if predictions:
            predictions.insert(0, _analyse(route, photo, route.models[0]).prediction)
        if len({prediction.most_likely_name(one) for one in predictions}) > 1:
            with _beside_the_photo(photo):
                prediction.show_both(predictions, modality.ONE)
        else:
            _show_one(route, photo)
    except SkinappError as error:
        if isinstance(error, ModelError):
            photos.count_refusal(photo, events.NO_MODEL)
        st.error(str(error))


def _beside_the_photo(photo: Photo) -> "DeltaGenerator":
    """Show the photo with its square, which may need changing; return the container next to it, which a phone shows
    first."""
    words, picture = st.columns(2, gap="small")
    with picture:
        square.show(photo)
        square.offer(photo)
    return words


def _show_one(route: Route, photo: Photo) -> None:
    model = route.models[0]
    st.session_state[ANSWERED_BY] = model.id
    words, picture = st.columns([5, 6], gap="small")
    names = ["Every class", "Map", "Segmentation", "Similar cases", "Over time", "Artefacts", "Limits"]
    if model.clinical:
        names.insert(1, "Patient")
    if not model.is_network:
        names = ["Features", *(name for name in names if name != "Map")]
    tabs = dict(zip(names, st.tabs(names), strict=True))
    values: Metadata = {}
    if model.clinical:
        with tabs["Patient"]:
            values = metadata_form.show(model, photo)
    with tabs["Artefacts"]:
        removal.choose(model)
    with words:
        made = _first_word_then_answer(route, photo, values)
    shown = attention_map.of(made, photo)
    observed = None if route.doubt else prediction.what_it_meant(made.prediction)
    with words, st.container(gap="xsmall"):
        prediction.show_answer(made, route.sentence, observed, familiar=not route.doubt)
        removal.note(made)
        cautions = gate.announce_cautions(made)
    with picture:
        attention_map.show_picture(model, photo, shown)
        # in a container, as a new number of them would close the open popover below
        with st.container():
            gate.show_cautions(cautions, made)
        photos.show_origin(photo, model)
        square.ask_which(photo)
        with st.container(horizontal=True, gap="small"):
            square.offer_change(photo)
            _offer_report(made, route, photo, shown, observed)
            if observed:
                prediction.choose_prevalence(observed)
        pair.show(made, photo)
    with tabs["Every class"]:
        prediction.show_every_class(made)
        model_notes.show_classes(model)
    if model.is_network:
        with tabs["Map"]:
            attention_map.show_details(made, photo, shown)
    else:
        with tabs["Features"]:
            features.show(made, photo)
    with tabs["Segmentation"]:
        if not model.is_network:
            features.show_segmentation(made)
        elif shown is None:
            st.caption(case_report.no_map(model))
        else:
            segmentation.show(shown)
    with tabs["Similar cases"]:
        retrieval.show(made)
    with tabs["Over time"]:
        over_time.offer()
    with tabs["Artefacts"]:
        removal.show(made)
    with tabs["Limits"]:
        model_notes.show_limits(model)


def _offer_report(
    made: Analysis, route: Route, photo: Photo, shown: ExplainedMap | None, observed: ObservedRisk | None
) -> None:
    """The answer as one HTML file, with the border of the lesion as the visitor left it."""
    prevalence = prediction.chosen_prevalence(observed)
    lesion = None
    if shown:
        with contextlib.suppress(SegmentationError, ModelError):
            lesion = segmentation.current(shown)
    prediction.offer_report(
        "Save this answer",
        partial(case_report.write, made, prevalence=prevalence, doubt=route.doubt, lesion=lesion),
        f"{photo.name}-answer.html",
        "save_answer",
    )


def _first_word_then_answer(route: Route, photo: Photo, values: Metadata | None) -> Analysis:
    """The analysis. While a committee classifies a new image, the answer of its best single network is shown."""
    # always, so that the answer of another model takes the place of the one before
    place = st.empty()
    model = route.models[0]
    others = registry.ranked() if model.kind == "committee" else []
    alone = next((one for one in others if one.kind == "classifier" and one.labels == model.labels), None)
    if alone is None:
        return _analyse(route, photo, model, values)

    def say() -> None:
        first = _analyse(route, photo, alone).prediction
        place.caption(
            f"First answer, from one network: {prediction.most_likely_name(first)}, "
            f"{percent(first.probabilities.max())}. The other networks are still running."
        )

    photos.cached("first_word", (photo.key, square.crop_of(photo)), say)
    made = _analyse(route, photo, model, values)
    place.empty()
    return made


def _analyse(route: Route, photo: Photo, model: Model, values: Metadata | None = None) -> Analysis:
    crop, remove = square.crop_of(photo), removal.chosen(model)
    image = photos.decoded(photo, crop)
    return analysis.analyse(image, model, crop, remove=remove, modality=route.recognised, values=values)
