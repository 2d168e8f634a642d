"""Where a model looked: any class, by any method, at any block, side by side, and how far to believe it."""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st

from skinapp import formatting
from skinapp.attention import catalogue as methods
from skinapp.attention import heatmap, picture, record, targets
from skinapp.attention.targets import Target
from skinapp.errors import SkinappError
from skinapp.images import imaging
from skinapp.images.imaging import Crop
from skinapp.inference import architecture, registry, runtime
from skinapp.inference.registry import Model
from skinapp.ui import attention_audit, layout, lesion_panels
from skinapp.ui import photo as photos
from skinapp.ui.photo import Photo

MAP_SIDE = 512
MOST_MAPS = 12
QUICK = ("last-convolution",)
"""Methods that are judged without being asked, as fast as the answer."""
OVERLAY, ALONE = "Over the image", "Map alone"
RATHER_THAN_NONE = ""


@dataclass(frozen=True)
class Panel:
    """One map that was asked for, or the sentence that says why there is none."""

    model: Model
    target: Target
    method: methods.Method
    layer: str | None
    settings: dict[str, Any]
    pixels: np.ndarray
    answer: str = ""
    raw: np.ndarray | None = None
    problem: str = ""

    @property
    def name(self) -> str:
        """For files: tells the maps of a page apart."""
        parts = [self.model.id, self.method.id, self.layer, targets.code(self.target)]
        return "-".join(part for part in parts if part)


def choose_models(usable: dict[str, Model]) -> list[Model]:
    chosen = st.multiselect(
        "Models",
        list(usable),
        [next(iter(usable))],
        format_func=lambda key: usable[key].title,
        max_selections=2,
        key="attention_models",
        help="One, or two side by side.",
    )
    return [usable[key] for key in chosen]


def choose_targets(models: list[Model], answers: dict[str, runtime.Prediction]) -> list[Target]:
    """The classes to explain, those of all the chosen models; first what the first model finds most probable."""
    names = {label.code: label.name for model in models for label in model.labels.labels}
    first = answers[models[0].id].predicted if models[0].id in answers else next(iter(names))
    asked, against = st.columns([3, 2], gap="medium")
    codes = asked.multiselect(
        "Classes",
        list(names),
        [first],
        format_func=names.__getitem__,
        key="attention_classes_" + "_".join(model.id for model in models),
        help="The evidence for each of these is shown. The first one given is what the model finds most probable.",
    )
    other = against.selectbox(
        "Rather than",
        [RATHER_THAN_NONE, *names],
        format_func=lambda code: names[code] if code else "Any other class",
        key="attention_against",
        help="With a class here, the maps show what speaks for the one class and not for the other: the gradient of "
        "the difference of the two logits.",
    )
    return [(code, other) if other else code for code in codes]


def choose_methods() -> list[methods.Method]:
    chosen = st.multiselect(
        "Methods",
        list(methods.METHODS),
        ["last-convolution"],
        format_func=lambda key: methods.METHODS[key].title,
        key="attention_methods",
        help="The first is as fast as the answer. Methods with gradients load TensorFlow once, which takes some "
        "seconds; occlusion and RISE ask the model hundreds of times.",
    )
    for key in chosen:
        method = methods.METHODS[key]
        st.caption(f"**{method.title}**: {method.says} {layout.plain(method.source)}.")
    return [methods.METHODS[key] for key in chosen]


def choose_layer(model: Model, chosen: list[methods.Method]) -> str | None:
    """The block for the methods that take one; None for the last."""
    known = {block.name: block for block in architecture.blocks(model)}
    if not known or not any(method.layered for method in chosen):
        return None
    return st.selectbox(
        f"Block, {model.title}",
        list(reversed(known)),
        format_func=lambda name: known[name].title,
        key=f"attention_layer_{model.id}",
        help="Early blocks see edges and colours in fine detail, late ones see parts of a lesion, coarsely.",
    )


def choose_settings(chosen: list[methods.Method]) -> dict[str, dict[str, Any]]:
    """The settings of each method that has some, by method."""
    found: dict[str, dict[str, Any]] = {}
    if any(method.settings for method in chosen):
        with st.expander("Settings of the methods", icon=":material/tune:", key="attention_settings"):
            for method in chosen:
                if method.settings:
                    st.markdown(f"**{method.title}**")
                    with st.grid(3, min_column_width=140):
                        found[method.id] = {key: number(method, key, value) for key, value in method.settings.items()}
    return found


def number(method: methods.Method, key: str, usual: Any) -> Any:
    """A field for one setting, up to ten times its usual value."""
    low, high = (0.01, 1.0) if isinstance(usual, float) else (0 if key == "seed" else 1, max(10 * usual, 100))
    return st.number_input(key.capitalize(), low, high, usual, key=f"attention_{method.id}_{key}")


def answers_of(models: list[Model], pixels: dict[str, np.ndarray]) -> dict[str, runtime.Prediction]:
    found = {}
    for model in models:
        try:
            found[model.id] = runtime.classifier(model).predict(pixels[model.id])
        except SkinappError as error:
            st.error(str(error))
    return found


def make(panels: list[Panel], photo: Photo, crop: Crop) -> list[Panel]:
    """The panels with their maps. Those of this image and square that were made before come from the session."""
    kept: dict[tuple, tuple[np.ndarray | None, str]] = photos.kept("attention_maps", (photo.key, crop), dict)
    signs = [
        (one.model.id, one.method.id, one.layer, one.target, tuple(one.settings.items()), one.model.folder)
        for one in panels
    ]
    new = [(sign, panel) for sign, panel in zip(signs, panels, strict=True) if sign not in kept]
    slow = [panel for _, panel in new if panel.method.id != "last-convolution"]
    if slow:
        with st.status(f"Making {len(slow)} {'map' if len(slow) == 1 else 'maps'}", expanded=True) as status:
            for sign, panel in new:
                kept[sign] = made(panel)
            status.update(label="The maps are made", state="complete", expanded=False)
    else:
        kept |= {sign: made(panel) for sign, panel in new}
    return [
        Panel(**(vars(panel) | {"raw": kept[sign][0], "problem": kept[sign][1]}))
        for sign, panel in zip(signs, panels, strict=True)
    ]


def made(panel: Panel) -> tuple[np.ndarray | None, str]:
    """The raw map, or the sentence that says why there is none."""
    if sentence := methods.missing(panel.method.needs):
        return None, sentence
    words = f"{panel.method.title}: {targets.code(panel.target)}"
    if "tensorflow" in panel.method.needs:
        words += " (the first time, TensorFlow and the network are loaded)"
    bar = st.progress(0.0, words) if panel.method.id != "last-convolution" else None

    def progress(share: float) -> None:
        if bar:
            bar.progress(min(share, 1.0), words)

    try:
        return methods.raw(
            panel.method.id,
            panel.model,
            panel.pixels,
            panel.target,
            panel.layer,
            progress,
            **panel.settings,
        ), ""
    except SkinappError as error:
        return None, str(error)
    finally:
        if bar:
            bar.empty()


@st.fragment
def show_maps(panels: list[Panel], square: np.ndarray, crop: Crop) -> None:
    """The maps side by side. A fragment, so that a slider redraws these and makes nothing anew."""
    st.space("small")
    with st.grid(4, min_column_width=200, gap="medium"):
        view = st.segmented_control("View", [OVERLAY, ALONE], default=OVERLAY, required=True, key="attention_view")
        opacity = st.slider("Opacity", 0, 100, 60, 5, format="%d%%", key="attention_opacity") / 100
        share = st.slider(
            "Line around the strongest",
            0,
            95,
            50,
            5,
            format="%d%%",
            key="attention_share",
            help="The line encloses the fewest places that hold this share of the map's sum. At 0% there is none.",
        )
        linked = st.toggle(
            "One scale",
            key="attention_linked",
            help="The maps of one model, method and block get one colour scale, so that a class with less evidence "
            "looks fainter. Otherwise every map goes up to its own maximum.",
        )
    peaks: dict[tuple, float] = {}
    for panel in panels:
        if panel.raw is not None:
            group = (panel.model.id, panel.method.id, panel.layer)
            peaks[group] = max(peaks.get(group, 0.0), float(panel.raw.max()))
    with st.grid(min(len(panels) + 1, 3), min_column_width=240, gap="medium"):
        with st.container(gap="xsmall"):
            st.image(square, "The square that is looked at", width="stretch", alt="The square of the image")
            st.image(
                picture.scale(), "No evidence to most evidence", width="stretch", alt="Colours from dark to yellow"
            )
        for panel in panels:
            peak = peaks.get((panel.model.id, panel.method.id, panel.layer)) if linked else None
            with st.container(gap="xsmall"):
                named = len({panel.model.id for panel in panels}) > 1
                show_panel(panel, square, view == OVERLAY, opacity, share / 100, peak, crop, named)


def show_panel(
    panel: Panel,
    square: np.ndarray,
    over: bool,
    opacity: float,
    share: float,
    peak: float | None,
    crop: Crop,
    named: bool,
) -> None:
    """One map with what it is of, its model where it is `named`, and its downloads; or why there is none."""
    name = targets.name(panel.model, panel.target) if not panel.problem else targets.code(panel.target)
    place = f", {architecture.block(panel.model, panel.layer).title}" if panel.layer and not panel.problem else ""
    words = f"**{layout.plain(name)}**{panel.answer}  \n{panel.method.title}{place}"
    if named:
        words += f"  \n{layout.plain(panel.model.title)}"
    if panel.raw is None:
        st.markdown(words)
        st.warning(panel.problem)
        return
    cam = methods.scaled(panel.raw, peak)
    shown = heatmap.overlay(square, cam, opacity) if over else picture.alone(cam, MAP_SIDE)
    if share and cam.any():
        shown = picture.outlined(shown, picture.strongest(cam, share, MAP_SIDE))
    st.image(shown, width="stretch", alt=f"Attention map of {name} by {panel.method.title}, {panel.model.title}")
    st.markdown(words)
    if not cam.any():
        st.caption("No part of the image speaks for it.")
    described = record.describe(
        panel.method.id, panel.model, panel.pixels, panel.target, panel.layer, panel.settings, panel.raw, crop
    )
    with st.popover("Save", icon=":material/download:", key=f"save_{panel.name}"):
        for label, data, suffix, kind in (
            ("Picture as PNG", photos.png(shown), "png", "image/png"),
            ("Map as NumPy", record.to_npz(panel.raw, described), "npz", "application/octet-stream"),
            ("How it was made, JSON", record.to_json(described), "json", "application/json"),
        ):
            st.download_button(
                label, data, f"map-{panel.name}.{suffix}", kind, key=f"{suffix}_{panel.name}", on_click="ignore"
            )


@st.fragment
def show_trust(
    panels: list[Panel], square: np.ndarray, photo: Photo, crop: Crop, answers: dict[str, runtime.Prediction]
) -> None:
    """Whether to believe one of the maps. A fragment, so that measuring one redraws no other."""
    judged = {
        panel.name: panel
        for panel in panels
        if panel.raw is not None and panel.raw.max() > 0 and isinstance(panel.target, str) and panel.model.id in answers
    }
    if not judged:
        return
    st.space("small")
    st.subheader("Whether to believe a map", anchor=False)
    panel = judged[
        st.selectbox(
            "Map",
            list(judged),
            format_func=lambda key: (
                f"{targets.name(judged[key].model, judged[key].target)}, {judged[key].method.title}, "
                f"{judged[key].model.title}"
            ),
            key="attention_judged",
            label_visibility="collapsed",
        )
    ]
    if panel.method.id not in QUICK:
        st.caption(
            "This method makes some more maps for the judgement, each as long as the first. The limits of the verdict "
            "were chosen for Grad-CAM at the last convolution."
        )
        if not st.toggle("Judge this map", key=f"judge_{panel.name}"):
            return

    def explain(pixels: np.ndarray) -> np.ndarray:
        return methods.explain(panel.method.id, panel.model, pixels, panel.target, panel.layer, None, **panel.settings)

    assert isinstance(panel.target, str)
    assert panel.raw is not None
    cam = methods.scaled(panel.raw)
    subject = lesion_panels.Subject(panel.model, photo, crop, square, panel.pixels, panel.target, cam, explain)
    lesion_panels.show_sentence(subject)
    lesion_panels.show_panels(subject, answers[panel.model.id], research=True)


def answer_text(model: Model, target: Target, answers: dict[str, runtime.Prediction]) -> str:
    """The model's probability of the class, in brackets; of two classes, of the first among these two."""
    if model.id not in answers:
        return ""
    try:
        direction = targets.direction(model, target)
    except SkinappError:
        return ""
    logits = answers[model.id].logits[np.newaxis]
    return f", {formatting.percent(float(targets.probability(logits, direction, model.temperature)[0]))}"


def show_lab(usable: dict[str, Model], photo: Photo) -> None:
    picture_side, controls = st.columns([2, 3], gap="medium")
    with picture_side:
        image = photos.decoded(photo)
        crop = photos.choose_crop(photo, image)
        image = photos.decoded(photo, crop)
    with controls:
        models = choose_models(usable)
        if not models:
            st.info("Choose a model.")
            return
        pixels = {model.id: imaging.crop_resize(image, model.input_size, crop) for model in models}
        answers = answers_of(models, pixels)
        chosen_targets = choose_targets(models, answers)
        chosen_methods = choose_methods()
        layers = {model.id: choose_layer(model, chosen_methods) for model in models}
        settings = choose_settings(chosen_methods)
    asked = [
        Panel(
            model,
            target,
            method,
            layers[model.id] if method.layered else None,
            settings.get(method.id, {}),
            pixels[model.id],
            answer_text(model, target, answers),
        )
        for model, target, method in itertools.product(models, chosen_targets, chosen_methods)
    ]
    if not asked:
        st.info("Choose a class and a method.")
        return
    if len(asked) > MOST_MAPS:
        st.info(f"These are {len(asked)} maps; the first {MOST_MAPS} are shown.")
    with controls:
        panels = make(asked[:MOST_MAPS], photo, crop)
    square = imaging.crop_resize(image, MAP_SIDE, crop)
    show_maps(panels, square, crop)
    show_trust(panels, square, photo, crop, answers)
    for model in models:
        attention_audit.show(model)


def show_limits() -> None:
    st.space("small")
    with st.container(border=True):
        st.subheader("What a map does not tell you", anchor=False)
        st.markdown(
            """
- **A map is not a diagnosis, nor a reason.** It shows where a change would move the score, not whether a doctor would
  look there.
- **Methods differ.** That two of them agree is worth more than that one looks right. A map that looks the same for a
  network which has learnt nothing shows the image, not the model.
- **Maps are coarse.** At the last convolution one cell covers 32 x 32 pixels of what the model sees.
- **Hidden pixels are new to the model.** Occlusion and RISE ask about images unlike any it learnt from.
"""
        )


with layout.page("Attention"):
    st.title("Where a model looked", anchor=False)
    st.markdown(
        "Maps of the evidence for any class, by several methods, at any block of the network. Nothing you add is kept."
    )
    for reason in registry.problems().values():
        st.warning(reason)
    usable = {model.id: model for model in registry.ranked() if not model.clinical}
    if not usable:
        st.error("There is no model to look into. Put a model folder into `models`, then load this page again.")
        st.stop()
    photo = photos.choose()
    if photo is None:
        photos.forget()
    else:
        try:
            show_lab(usable, photo)
        except SkinappError as error:
            st.error(str(error))
    show_limits()
