"""Where a model looked: any class, by any method, at any block, side by side, with sanity checks."""

from collections.abc import Sequence

import streamlit as st

from skinapp.attention import catalogue, targets
from skinapp.errors import SkinappError
from skinapp.images import quality
from skinapp.images.imaging import Crop
from skinapp.inference import analysis, registry
from skinapp.inference.analysis import Analysis
from skinapp.inference.registry import Model
from skinapp.report import case_report
from skinapp.ui import (
    add_image,
    answer,
    attention_audit,
    gate,
    layout,
    lesion_panels,
    map_controls,
    map_grid,
    map_strip,
    privacy,
    removal,
    session_images,
    square,
    turn,
)
from skinapp.ui import photo as photos
from skinapp.ui.admission import BusyError
from skinapp.ui.explained_map import ExplainedMap
from skinapp.ui.map_grid import MadeMap
from skinapp.ui.session_images import Photo


def analyse(models: Sequence[Model], photo: Photo, crop: Crop) -> list[Analysis]:
    """The analysis by each model; the page shows the error of a model that cannot be run."""
    analyses = []
    for model in models:
        try:
            image = photos.decoded(photo, crop)
            analyses.append(analysis.analyse(image, model, crop, remove=removal.chosen(model)))
        except SkinappError as error:
            st.error(str(error))
    return analyses


@st.fragment
def show_checks(maps: Sequence[MadeMap], photo: Photo) -> None:
    """Sanity check and faithfulness of one of the maps. A fragment, so that measuring a map redraws nothing else."""
    checkable = {
        made.request.name: made
        for made in maps
        if made.raw is not None and made.raw.max() > 0 and isinstance(made.request.target, str)
    }
    if not checkable:
        return
    st.space("small")
    st.subheader("Sanity check and faithfulness", anchor=False)
    names = {
        key: f"{targets.name(made.request.model, made.request.target)}, {made.request.method.title}, "
        f"{made.request.model.short_name}"
        for key, made in checkable.items()
    }
    made = checkable[
        st.selectbox(
            "Map",
            list(checkable),
            format_func=names.__getitem__,
            key="attention_checked",
            label_visibility="collapsed",
        )
    ]
    request = made.request
    switch = f"check_{request.name}"
    if request.method.id != "last-convolution":
        st.caption(
            "The check makes a few more maps with this method, and each takes as long as the first. The check's limits "
            "were chosen for Grad-CAM at the last convolution."
        )
        if not st.toggle("Check this map", key=switch):
            return
    assert isinstance(request.target, str)
    assert made.raw is not None
    cam = catalogue.scaled(made.raw)
    shown = ExplainedMap(request.analysis, photo, request.target, cam, request.method, request.layer, request.settings)
    try:
        lesion_panels.show(shown, switch)
    except BusyError as error:
        turn.show_busy(error, "checks")
    except turn.CancelledError as error:
        st.caption(str(error))


def admitted(usable: dict[str, Model], photo: Photo, crop: Crop) -> bool:
    """Whether the maps are shown: asks what the classify page asks, and keeps what was said there."""
    found = gate.route(list(usable.values()), photo, usable.get(st.session_state.get("model", "")))
    if found.can_ask and found.recognised:
        gate.ask_kind(photo, found.recognised)
    if found.doubt and not found.unknown:
        st.warning(found.doubt)
    reasons = gate.reasons(found, quality.measure(photos.decoded(photo, crop), crop))
    if reasons and not gate.ask_anyway(photo, reasons):
        photos.show_uncropped(photo)
        return False
    # the model that answered comes first, and again when another one answers; without an answer it is the best single
    # network that needs nothing else, since a map shows the image alone and most methods take one network
    answered = {model.id for model in found.models} & {st.session_state.get(answer.ANSWERED_BY)}
    alone = [one.id for one in usable.values() if one.modality == found.model.modality and _takes_any_method(one)]
    first = next(iter((*answered, *alone)), found.model.id)
    chosen = (photo.key, first)
    if st.session_state.get("attention_first") != chosen or "attention_models" not in st.session_state:
        st.session_state["attention_first"] = chosen
        st.session_state["attention_models"] = [first]
    return True


def _takes_any_method(model: Model) -> bool:
    return model.kind == "classifier" and not model.clinical


@st.fragment
def show_maps(maps: Sequence[MadeMap], photo: Photo, models: Sequence[Model]) -> None:
    """The maps of the image, and the same of the others. A fragment, so that moving a slider only redraws them."""
    session_images.leave_unless_current(photo)
    view = map_grid.choose_view()
    map_grid.show(maps, view)
    map_strip.show(maps, photo, models, view, map_controls.MAX_MAPS)


def show_lab(usable: dict[str, Model], photo: Photo) -> None:
    """The square, the controls, the maps, and the checks of the maps."""
    with turn.at_answer():
        crop = square.crop_of(photo)
        if not admitted(usable, photo, crop):
            return
    left, controls = st.columns([2, 3], gap="medium")
    with left:
        square.show(photo)
        square.offer(photo)
    with controls:
        models = map_controls.choose_models(usable)
        if not models:
            st.info("Choose a model.")
            return
        with turn.at_answer():
            analyses = analyse(models, photo, crop)
        if not analyses:
            return
        requests = map_controls.choose(analyses, photo)
        if not requests:
            st.info("Choose a class and a method.")
            return
        within = map_controls.within_bounds(requests)
        if len(within) < len(requests):
            st.info(
                f"You chose {len(requests)} maps. At most {map_controls.MAX_MAPS} maps and "
                f"{map_controls.MAX_CLASSIFICATIONS:,} classifications are made at once, so the app shows only the "
                f"first {len(within) if len(within) > 1 else 'one'}."
            )
        maps = map_grid.make(within, photo)
    show_maps(maps, photo, list(usable.values()))
    show_checks(maps, photo)
    attention_audit.show(models)


def show_limits() -> None:
    st.space("small")
    with st.container(border=True):
        st.subheader("What a map does not tell you", anchor=False)
        st.markdown(
            """
- **A map is neither a diagnosis nor a reason for one.** It shows where a change would affect the score, not whether a
  doctor would look there.
- **Methods differ.** Two methods that agree are better evidence than one that looks right. A map that looks the same
  for an untrained network shows the image, not the model.
- **Maps are coarse.** At the last convolution one cell covers 32 x 32 pixels of what the model sees.
- **Hiding pixels makes images unusual.** Occlusion and RISE show the model images unlike any it was trained on.
"""
        )


with layout.page("Attention", chip=False):
    st.title("Where a model looked", anchor=False)
    st.markdown(
        "See which parts of the image count towards any class, with several methods and at any depth of the network. "
        "Nothing you add is stored."
    )
    for reason in registry.problems().values():
        st.warning(reason)
    usable = {model.id: model for model in registry.ranked() if model.is_network}
    if not usable:
        st.error(layout.NO_MODELS)
        st.stop()
    answered = registry.models().get(st.session_state.get(answer.ANSWERED_BY, ""))
    if answered and not answered.is_network and session_images.current():
        st.info(
            f"Your last answer came from “{layout.plain(answered.short_name)}”. {case_report.no_map(answered)} The "
            "features that led to its answer are on the Classify page."
        )
    photo = session_images.current() or map_strip.first_readable()
    if photo is None:
        privacy.link()
        add_image.choose()
        for file in session_images.files():
            st.warning(f"{layout.plain(file.name)}: {file.problem or 'this file cannot be read.'}")
    else:
        with st.container(horizontal=True, vertical_alignment="center", gap="xsmall", wrap=False):
            layout.show_image_chip()
            with st.popover("Change", icon=":material/tune:", key=f"change_{session_images.additions()}"):
                add_image.choose()
        try:
            show_lab(usable, photo)
        except BusyError as error:
            turn.show_busy(error, "attention")
        except SkinappError as error:
            st.error(str(error))
    show_limits()
