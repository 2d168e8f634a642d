"""The controls of the attention page: models, classes, methods, blocks and settings, as a list of maps to make."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import streamlit as st

from skinapp.attention import catalogue, targets
from skinapp.attention.catalogue import Method
from skinapp.attention.targets import Target
from skinapp.errors import SkinappError
from skinapp.formatting import percent
from skinapp.inference import architecture
from skinapp.inference.analysis import Analysis
from skinapp.inference.registry import Model
from skinapp.ui import layout

ANY_OTHER = ""


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
    def probability(self) -> str:
        """The probability of the class; for two classes, of the first against the second. Empty if unknown."""
        try:
            weights = targets.class_weights(self.model, self.target)
        except SkinappError:
            return ""
        logits = self.analysis.image_prediction.logits[np.newaxis]
        return percent(float(targets.probability(logits, weights, self.model.temperature)[0]))


def choose_models(usable: dict[str, Model]) -> list[Model]:
    chosen = st.multiselect(
        "Models",
        list(usable),
        format_func=lambda key: usable[key].title,
        max_selections=2,
        key="attention_models",
        help="One, or two side by side.",
    )
    return [usable[key] for key in chosen]


def choose(analyses: list[Analysis]) -> list[MapRequest]:
    """The maps that the visitor chooses, of the models of one or two analyses."""
    chosen_targets = _choose_targets(analyses)
    methods = _choose_methods([one.model for one in analyses])
    layers = {one.model.id: _choose_layer(one.model, methods) for one in analyses}
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


def _choose_targets(analyses: list[Analysis]) -> list[Target]:
    """The classes to explain, from all the models; at first the most likely one of the first model."""
    names = {label.code: label.name for one in analyses for label in one.model.labels.labels}
    classes, other_class = st.columns([3, 2], gap="medium")
    codes = classes.multiselect(
        "Classes",
        list(names),
        [analyses[0].prediction.predicted],
        format_func=names.__getitem__,
        key="attention_classes_" + "_".join(one.model.id for one in analyses),
        help="One map is made for each class. The default is the model's most likely class.",
    )
    other = other_class.selectbox(
        "Rather than",
        [ANY_OTHER, *names],
        format_func=lambda code: names[code] if code else "Any other class",
        key="attention_against",
        help="If you choose a class here, the maps show the evidence for one class rather than the other: the gradient "
        "of the difference of the two logits.",
    )
    return [(code, other) if other else code for code in codes]


def _choose_methods(models: list[Model]) -> list[Method]:
    """The methods that one of the models allows; a sentence says which models do not allow all of them."""
    offered = [
        key for key, method in catalogue.METHODS.items() if any(catalogue.available(method, model) for model in models)
    ]
    without = [model for model in models if "model.keras" not in model.card["files"]]
    for model in without:
        names = [method.title for method in catalogue.METHODS.values() if catalogue.available(method, model)]
        st.caption(
            f"“{model.title}” comes without the network that gradients need, so its maps are made by "
            f"{', '.join(names[:-1])} or {names[-1]} only."
        )
    first = next((key for key in offered if catalogue.METHODS[key].quick), offered[0])
    chosen = st.multiselect(
        "Methods",
        offered,
        [first],
        format_func=lambda key: catalogue.METHODS[key].title,
        key="attention_methods" if len(offered) == len(catalogue.METHODS) else f"attention_methods_{'_'.join(offered)}",
        help="The first is as fast as the prediction. Gradient methods load TensorFlow once, which takes a few "
        "seconds; occlusion and RISE run the model hundreds of times.",
    )
    methods = [catalogue.METHODS[key] for key in chosen]
    for method in methods:
        st.caption(f"**{method.title}**: {method.description} {layout.plain(method.source)}.")
    return methods


def _choose_layer(model: Model, methods: list[Method]) -> str | None:
    """The block for the methods that need one; None for the last."""
    blocks = {block.name: block for block in architecture.blocks(model)}
    if not blocks or not any(method.layered for method in methods):
        return None
    return st.selectbox(
        f"Block of {model.title}",
        list(reversed(blocks)),
        format_func=lambda name: blocks[name].title,
        key=f"attention_layer_{model.id}",
        help="Early blocks see edges and colours in fine detail; late blocks see larger parts of a lesion, coarsely.",
    )


def _choose_settings(methods: list[Method]) -> dict[str, dict[str, Any]]:
    """The settings of each method that has some, by method."""
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
    """A field for one setting, up to ten times its default."""
    low, high = (0.01, 1.0) if isinstance(default, float) else (0 if key == "seed" else 1, max(10 * default, 100))
    return st.number_input(key.capitalize(), low, high, default, key=f"attention_{method.id}_{key}")
