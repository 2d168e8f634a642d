"""The controls of the attention page: models, classes, methods, blocks and settings, as a list of maps to make."""

import itertools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import streamlit as st

from skinapp.attention import catalogue, targets
from skinapp.attention.catalogue import Method
from skinapp.attention.targets import Target
from skinapp.errors import SkinappError
from skinapp.formatting import joined, percent
from skinapp.inference import architecture
from skinapp.inference.analysis import Analysis
from skinapp.inference.registry import Model
from skinapp.ui import layout
from skinapp.ui.session_images import Photo

ANY_OTHER = ""
MAX_SEED = 100
MAX_MAPS = 12
MAX_CLASSIFICATIONS = 6000
"""The limit for all maps requested together: twelve maps by RISE with its default settings."""


@dataclass(frozen=True, eq=False)
class MapRequest:
    """One map to make: of a target, by a method, at a block if the method needs one."""

    analysis: Analysis
    target: Target
    method: Method
    layer: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def model(self) -> Model:
        return self.analysis.model

    @property
    def name(self) -> str:
        """For files: distinguishes the maps of a page."""
        parts = [self.model.id, self.method.id, self.layer, targets.code(self.target)]
        return "-".join(part for part in parts if part)

    @property
    def key(self) -> tuple:
        """Distinguishes the maps of one image."""
        settings = tuple(self.settings.items())
        removed = tuple(self.analysis.remove)
        return self.model.id, self.method.id, self.layer, self.target, settings, removed, self.model.folder

    @property
    def probability(self) -> str:
        """The probability of the class; for two classes, of the first against the second. Empty if unknown."""
        try:
            weights = targets.class_weights(self.model, self.target)
        except SkinappError:
            return ""
        logits = self.analysis.image_prediction.logits[np.newaxis]
        return percent(float(targets.probability(logits, weights, self.model.temperature)[0]))


def choose_models(usable: dict[str, Model]) -> list[Model]:
    shared = Counter(model.short_name for model in usable.values())

    def name(key: str) -> str:
        # the browser returns names, so each has to be unique
        short = usable[key].short_name
        return short if shared[short] == 1 else f"{short}, {key}"

    chosen = st.multiselect(
        "Models",
        list(usable),
        format_func=name,
        max_selections=2,
        key="attention_models",
        help="One, or two side by side.",
    )
    for key in chosen:
        if usable[key].clinical:
            st.caption(
                f"“{layout.plain(usable[key].short_name)}” also uses details about the patient. Its maps, and the "
                "probabilities beside them, come from the image alone."
            )
    return [usable[key] for key in chosen]


def choose(analyses: list[Analysis], photo: Photo) -> list[MapRequest]:
    """Let the visitor choose maps, for the models of one or two analyses of a photo."""
    chosen_targets = _choose_targets(analyses, photo)
    methods = _choose_methods([analysis.model for analysis in analyses])
    layers = {analysis.model.id: _choose_layer(analysis.model, methods) for analysis in analyses}
    settings = _choose_settings(methods)
    return [
        MapRequest(
            analysis,
            target,
            method,
            layers[analysis.model.id] if method.layered else None,
            settings.get(method.id, {}),
        )
        for analysis, target, method in itertools.product(analyses, chosen_targets, methods)
        if catalogue.available(method, analysis.model)
    ]


def within_bounds(requests: list[MapRequest]) -> list[MapRequest]:
    """The first of these maps, at most MAX_MAPS and within MAX_CLASSIFICATIONS."""
    total = itertools.accumulate(request.method.classifications(**request.settings) for request in requests[:MAX_MAPS])
    return [one for one, so_far in zip(requests, total, strict=False) if so_far <= MAX_CLASSIFICATIONS]


def _choose_targets(analyses: list[Analysis], photo: Photo) -> list[Target]:
    """Let the visitor choose the classes to explain, from all models; initially the most likely one of the first
    model."""
    names = _names_of_classes([analysis.model for analysis in analyses])
    predicted = analyses[0].prediction.predicted
    classes, other_class = st.columns([3, 2], gap="medium")
    codes = classes.multiselect(
        "Classes",
        list(names),
        [predicted],
        format_func=names.__getitem__,
        # a new square or image starts with its own most likely class
        key="_".join(["attention_classes", *(analysis.model.id for analysis in analyses), predicted, photo.key]),
        help="One map is made for each class. The default is the model's most likely class.",
    )
    other = other_class.selectbox(
        "Rather than",
        [ANY_OTHER, *names],
        format_func=lambda code: names[code] if code else "Any other class",
        key="attention_against",
        help="If you choose a class here, the maps show the evidence for one class rather than the other: the gradient "
        "of the difference between the two logits.",
    )
    return [(code, other) if other else code for code in codes]


def _names_of_classes(models: list[Model]) -> dict[str, str]:
    """Maps the codes of all models to names, each unique, since the browser returns names."""
    names = {label.code: label.name for model in models for label in model.labels.labels}
    shared = Counter(names.values())
    return {code: name if shared[name] == 1 else f"{name} ({code})" for code, name in names.items()}


def _choose_methods(models: list[Model]) -> list[Method]:
    """Let the visitor choose among the methods that any of the models allows. Methods that no model allows, or that are
    not installed, are greyed out, with the reason."""
    without = [model for model in models if "model.keras" not in model.card["files"]]
    names = {key: method.title for key, method in catalogue.METHODS.items()}
    possible: list[str] = []
    impossible: list[str] = []
    missing: dict[str, list[str]] = {}
    for key, method in catalogue.METHODS.items():
        if not any(catalogue.available(method, model) for model in models):
            impossible.append(key)
        elif reason := catalogue.missing(method.needs):
            missing.setdefault(reason, []).append(key)
        else:
            possible.append(key)
    key = "attention_methods" if not impossible else f"attention_methods_{'_'.join(possible)}"
    chosen = st.pills(
        "Methods",
        possible,
        selection_mode="multi",
        wrap=True,
        default=possible[:1],
        format_func=names.__getitem__,
        key=key,
        help="The first is as fast as the prediction. Gradient methods load TensorFlow once, which takes a few "
        "seconds; occlusion and RISE run the model hundreds of times.",
    )
    methods = [catalogue.METHODS[key] for key in possible if key in chosen]
    for method in methods:
        st.caption(f"**{method.title}**: {method.description} {layout.plain(method.source)}.")
    for reason, keys in missing.items():
        _show_greyed(keys, names, reason)
    for model in without:
        offered = [method.title for method in catalogue.METHODS.values() if catalogue.available(method, model)]
        st.caption(
            f"“{layout.plain(model.short_name)}” comes without the network that gradients need, so its maps can only "
            f"be made with {joined(offered, 'or')}."
        )
    if impossible:
        _show_greyed(impossible, names, "Not possible here:")
    return methods


def _show_greyed(keys: list[str], names: dict[str, str], reason: str) -> None:
    """Show the methods that cannot be chosen, and why."""
    with st.container(gap="xsmall"):
        st.markdown(f":small[{reason}]")
        st.pills(
            reason,
            keys,
            wrap=True,
            format_func=names.__getitem__,
            disabled=True,
            key=f"attention_greyed_{keys[0]}",
            label_visibility="collapsed",
        )


def _choose_layer(model: Model, methods: list[Method]) -> str | None:
    """The block for the methods that need one; None for the last."""
    blocks = {block.name: block for block in architecture.blocks(model)}
    if not blocks or not any(method.layered for method in methods):
        return None
    return st.selectbox(
        f"Block of {model.short_name}",
        list(reversed(blocks)),
        format_func=lambda name: blocks[name].title,
        key=f"attention_layer_{model.id}",
        help="Early blocks see edges and colours in fine detail; late blocks see larger parts of a lesion, coarsely.",
    )


def _choose_settings(methods: list[Method]) -> dict[str, dict[str, Any]]:
    """The settings of each method that has any, by method."""
    settings: dict[str, dict[str, Any]] = {}
    if any(method.settings for method in methods):
        with st.expander("Method settings", icon=":material/tune:", key="attention_settings"):
            for method in methods:
                if method.settings:
                    st.markdown(f"**{method.title}**")
                    with st.grid(3, min_column_width=140):
                        settings[method.id] = {
                            key: _number(method, key, default) for key, default in method.settings.items()
                        }
    return settings


def _number(method: Method, key: str, default: Any) -> Any:
    """A field for one setting, within its bounds."""
    low = 0.01 if isinstance(default, float) else int(key in method.max_settings)
    return st.number_input(
        key.capitalize(), low, method.max_settings.get(key, MAX_SEED), default, key=f"attention_{method.id}_{key}"
    )
