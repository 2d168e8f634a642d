"""The other image of the same lesion, dermoscopy or close-up, and the prediction of a model for both."""

from functools import partial
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.runtime.uploaded_file_manager import DeletedFile

from skinapp.attention import heatmap
from skinapp.charts import probabilities
from skinapp.errors import ModelError, SkinappError
from skinapp.evaluation.observed_risk import ObservedRisk
from skinapp.formatting import percent
from skinapp.images import imaging, isolated
from skinapp.inference import analysis as analyses
from skinapp.inference import conformal, modality, pair, registry, warnings
from skinapp.inference.analysis import Analysis
from skinapp.inference.model_card import IMAGES_OF_PAIR
from skinapp.inference.pair import PairAnalysis
from skinapp.inference.registry import Model
from skinapp.report import case_report, operating_point_views
from skinapp.ui import gate, panel, prediction, session_images, turn
from skinapp.ui import photo as photos
from skinapp.ui.layout import plain
from skinapp.ui.session_images import Photo

HINT = "It stays in this session's memory and is never stored."


@st.fragment
@turn.needed
def show(made: Analysis, photo: Photo) -> None:
    """Offer to add the other image of the lesion, and show the answer from both; nothing if no model takes two
    images."""
    models = registry.pairs()
    if not models:
        return
    st.space("small")
    recognised = made.modality.kind if made.modality and made.modality.kind in IMAGES_OF_PAIR else made.model.modality
    first = gate.kind_stated(photo) or recognised
    [other] = [name for kind, name in IMAGES_OF_PAIR.items() if kind != first]
    added = session_images.second(photo)
    if added is None:
        _offer(photo, other)
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f":material/photo_library: **{other[0].upper()}{other[1:]} of the same lesion added**")
        st.button(
            f"Remove the {other}",
            icon=":material/close:",
            key=f"pair_remove_{photo.key}",
            on_click=session_images.remove_second,
            args=(photo,),
        )
        swapped = st.toggle(
            "Swap the two images",
            key=f"pair_swap_{photo.key}_{added.key}",
            persist_state="session",
            help="The app decides which of the two is the dermoscopy image by looking at your first image.",
        )
    try:
        image = photos.cached("pair_image", added.key, lambda: isolated.decode(added.data))
        kind = photos.cached("pair_recognised", added.key, lambda: _recognised(image))
        images, crops, kinds = [made.image, image], [made.crop, imaging.CENTRE], [made.modality, kind]
        if (first == "smartphone") != swapped:
            images, crops, kinds = images[::-1], crops[::-1], kinds[::-1]
        mismatches = pair.mismatches(kinds)
        for sentence in mismatches:
            st.warning(sentence, icon=":material/warning:")
        if mismatches and not st.toggle(
            "Show the answer anyway", key=f"pair_anyway_{photo.key}_{added.key}", persist_state="session"
        ):
            st.columns(2, gap="medium")[0].image(image, added.caption, width="stretch", alt="The second image")
            return
        answered = pair.analyse(models[0], images, crops, kinds)
        # the page has already said what is wrong with the first
        [theirs] = [one for one in answered.alone if one.image is image]
        for sentence in warnings.of_quality(theirs.quality, theirs.model.modality).values():
            st.warning(f"The second image: {sentence}", icon=":material/warning:")
        combined = answered.prediction.combined
        observed = None if mismatches else prediction.what_it_meant(combined)
        prevalence = prediction.chosen_prevalence(observed)
        _show(answered, observed, prevalence, familiar=not mismatches)
        prediction.offer_report(
            "Save the answer from both images",
            partial(case_report.write_pair, answered, prevalence=prevalence, doubts=tuple(mismatches)),
            f"{photo.name}-both-images-answer.html",
            "save_pair_answer",
        )
    except SkinappError as error:
        st.error(str(error))


def _offer(photo: Photo, other: str) -> None:
    key = f"pair_upload_{photo.key}"

    def add() -> None:
        file = st.session_state[key]
        # the browser may resend the file of an uploader that the page has just replaced
        if file and not isinstance(file, DeletedFile) and file.type != session_images.NOT_STORED:
            session_images.add_second(photo, file, f"the-{other.replace(' ', '-')}")

    with st.expander(f"Add the {other} of the same lesion", icon=":material/add_photo_alternate:", key="pair"):
        st.caption("A model that uses both images of a lesion, dermoscopy and close-up, then adds its own answer.")
        file = st.file_uploader(f"The {other}", key=key, help=HINT, on_change=add)
    if file and file.type == session_images.NOT_STORED:
        st.error(f"Not read: together, your images exceed {session_images.MEGABYTES}. Remove some, then add it again.")


def _recognised(image: Any) -> modality.Recognised | None:
    try:
        return modality.recognise(image)
    except ModelError:
        # the page has already reported this for the first image
        return None


def _show(made: PairAnalysis, observed: ObservedRisk | None, prevalence: float | None, *, familiar: bool) -> None:
    """The answer from both images next to those from each alone, and both maps. If the images are not `familiar`, that
    is, not of the kinds that the networks were trained on, there is no prediction set and no observed risk."""
    combined = made.prediction.combined
    model = combined.model
    st.subheader(f"Both images, most likely: {analyses.most_likely(combined)}", anchor=False)
    prediction.show_shares(combined)
    if familiar and conformal.of_model(model):
        st.markdown(f":material/checklist: {conformal.in_words(combined, conformal.COVERAGE)}")
    step, reason = analyses.next_step(combined)
    st.markdown(f":material/stethoscope: **{step}** {reason}")
    if observed:
        prediction.show_observed(observed, prevalence)
    names = list(IMAGES_OF_PAIR.values())
    st.markdown(
        "  \n".join(
            f":material/photo: From the {name} alone: {analyses.most_likely(one)}."
            for name, one in zip(names, made.prediction.alone, strict=True)
        )
    )
    _show_maps(made)
    frame = probabilities.probability_frame(combined)
    for name, one in zip(names, made.prediction.alone, strict=True):
        frame[name] = frame["code"].map(dict(zip(model.labels.codes, one.probabilities, strict=True)))
    panel.show(
        probabilities.probability_bars(frame),
        frame,
        "pair_probabilities",
        "; ".join(f"{row['class']} {percent(row['probability'])}" for row in frame.to_dict("records")),
        {
            "class": "Class",
            "kind": "Kind",
            "probability": st.column_config.NumberColumn("Both images", format="percent"),
            **{name: st.column_config.NumberColumn(f"{name.capitalize()} alone", format="percent") for name in names},
        },
        ["class", "kind", "probability", *names],
    )
    _show_notes(model, frame)


def _show_maps(made: PairAnalysis) -> None:
    model = made.prediction.combined.model
    if made.prediction.class_maps is None:
        st.caption("These networks end in dense layers, so there is no map of where they looked.")
        return
    frame = probabilities.probability_frame(made.prediction.combined)
    code = st.selectbox(
        "Class shown on the maps",
        frame["code"].tolist(),
        format_func=lambda code: model.labels[code].name,
        key=f"pair_map_{made.prediction.combined.predicted}",
        help="Grad-CAM at the last convolution of each network. Both maps share one scale, so the image that counted "
        "more looks brighter.",
    )
    cams = pair.maps(made.prediction, code)
    columns = st.columns(2, gap="medium")
    for column, one, cam, name in zip(columns, made.alone, cams, IMAGES_OF_PAIR.values(), strict=True):
        words = f"{name.capitalize()}: yellow areas counted most towards “{model.labels[code].name}”."
        if not cam.any():
            words = f"{name.capitalize()}: no part of it counted towards “{model.labels[code].name}”."
        overlay = heatmap.overlay(one.square, cam, 0.6)
        column.image(overlay, words, width="stretch", alt=f"The square of the {name} with its attention map")
    st.caption("The model sees only the centre square of the second image.")


def _show_notes(model: Model, frame: pd.DataFrame) -> None:
    scores = model.card["scores"]["accuracy"]
    for sentence in operating_point_views.published(model, dict(zip(frame["code"], frame["probability"], strict=True))):
        st.markdown(f"- {sentence}")
    st.caption(
        f"“{plain(model.short_name)}”. On {model.card['test']['images']:,} test lesions, the most likely class was "
        f"correct for {scores['value']:.0%} (95% interval {scores['low']:.0%} to {scores['high']:.0%}). This is not a "
        "diagnosis."
    )
