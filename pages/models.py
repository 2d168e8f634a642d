"""Every model: what it is good and bad at, the way to use it, then its card in full."""

import re

import pandas as pd
import streamlit as st

from skinapp.charts import architecture
from skinapp.evaluation.bootstrap import Interval
from skinapp.formatting import joined
from skinapp.inference import modality, model_card, registry
from skinapp.inference.model_card import Section, Table
from skinapp.inference.registry import Model
from skinapp.lesion import features
from skinapp.ui import address, layout, panel


def choose(models: list[Model]) -> Model:
    """The model chosen by the visitor, or by a link: `?card=<id>`, or `?card=<title> (<id>)` in old links."""
    linked = st.query_params.get("card", "")
    if old := re.fullmatch(r".*\((.*)\)", linked):
        st.query_params["card"] = old[1]
    by_id = {model.id: model for model in models}
    names = {model.id: model.short_name for model in models}
    return by_id[address.selectbox(st.container(), "Model", names, "card")]


def use(model: Model) -> None:
    """In a callback: the Classify page, which is opened next, answers with this model."""
    st.session_state["model"] = model.id


def show_use(model: Model) -> None:
    """What the model takes, its main score, and the way to the Classify page."""
    score, test = Interval(**model.card["scores"]["balanced_accuracy"]), model.card["test"]
    interval = (
        f"95% interval {score.low:.0%} to {score.high:.0%}"
        if score.exists
        else "no interval: too few lesions or patients"
    )
    with st.container(gap=None):
        st.metric("Balanced accuracy", f"{score.value:.0%}")
        st.caption(f"{interval}; {test['images']:,} test images from {layout.plain(test['dataset'])}")
    fields = [field.title.lower() for field in model.clinical]
    asks = f" It also uses {joined(fields)}, if you enter them." if fields else ""
    st.markdown(f"For {modality.IMAGES[model.modality]}, {len(model.labels.codes)} classes.{asks}")
    if not model.runnable:
        st.info("This folder has the model's scores but not its weights; the card says how to train it.")
    elif model.kind == "pair":
        st.page_link(layout.path("classify"), label="Add both images of a lesion", icon=":material/image_search:")
    elif st.button("Use this model", type="primary", icon=":material/image_search:", on_click=use, args=(model,)):
        st.switch_page(layout.path("classify"))


def show_strengths(model: Model) -> None:
    """What the model is good and bad at, as its card says."""
    for title, icon, sentences, none in (
        ("Good at", ":green[:material/check_circle:]", model.card["good_at"], "None of its classes."),
        ("Bad at", ":red[:material/cancel:]", model.card["bad_at"], "No class with enough test images."),
    ):
        st.subheader(title, anchor=False)
        st.markdown("  \n".join(f"{icon} {layout.plain(sentence)}" for sentence in sentences) or none)
    st.caption(
        f"Good: {model_card.GOOD_SENSITIVITY:.0%} or more of a class's test images are recognised; bad: fewer than "
        f"{model_card.BAD_SENSITIVITY:.0%}. Classes with fewer than {model_card.FEW_IMAGES} test images are left out."
    )


def show_contract(model: Model) -> None:
    """Input, output, training data, licence and intended use."""
    card, size = model.card, model.input_size
    entry = card["input"]
    low, high = entry["range"]
    networks = f"{len(model.weights)} x " if len(model.weights) > 1 else ""
    rows = {
        "Title": card["title"],
        "Id": model.id,
        "Task": "diagnosis" if model.task == "diagnosis" else "malignant or benign",
        "Kind of image": modality.IMAGES[model.modality],
        "Version": card["version"],
        "Input": f"{'two images, each ' if model.kind == 'pair' else ''}{size} x {size} px, {entry['channels']}, "
        f"{entry['dtype']} from {low} to {high}",
        "Preprocessing": entry["resize"],
        "Output": "; ".join(f"{name} {shape}" for name, shape in card["outputs"].items()),
        **({"Views": ", ".join(model.views)} if len(model.views) > 1 else {}),
        "Probabilities": f"softmax of logits / {model.temperature:g}",
        ("Network" if model.is_network else "Classifier"): f"{networks}{card['architecture']['name']}, "
        f"{card['architecture']['parameters']:,} {'parameters' if model.is_network else 'leaves'}",
        "Initial weights": card["initial_weights"],
        "Trained on": card["training"]["dataset"],
        "Licence": card["licence"],
        "Intended use": card["intended_use"],
    }
    st.markdown("\n".join(f"- **{name}**: {layout.plain(words)}" for name, words in rows.items()))


def show_layers(model: Model) -> None:
    stages = architecture.stages(model)
    panel.show(
        architecture.diagram(stages),
        pd.DataFrame(vars(stage) for stage in stages),
        f"layers_{model.id}",
        "From top to bottom: " + "; ".join(f"{stage.name}, {stage.shape}" for stage in stages),
    )


def show_features() -> None:
    for group, titles in features.GROUPS.items():
        st.markdown(f"- **{group}**: {'; '.join(titles.values())}")


def show_section(section: Section) -> None:
    if section.title:
        st.subheader(section.title, anchor=False)
    for block in section.blocks:
        if isinstance(block, Table):
            # a data frame needs unique column names: a repeated one gets trailing blanks
            names = [name + " " * block.header[:position].count(name) for position, name in enumerate(block.header)]
            table = pd.DataFrame(block.rows, columns=names)
            st.dataframe(table, hide_index=True, alt=f"A table of {', '.join(block.header)}")
        else:
            st.markdown(block)


with layout.page("Models"):
    st.title("Models", anchor=False)
    st.markdown("What each model is good at and bad at, how it was made and tested, and what it is not for.")
    for reason in registry.problems().values():
        st.warning(reason)
    models = registry.listed()
    if not models:
        st.error(layout.NO_MODELS)
        st.stop()
    model = choose(models)
    strengths, numbers = st.columns([3, 2], gap="large")
    with numbers:
        show_use(model)
    with strengths:
        show_strengths(model)
    st.subheader("Limits", anchor=False)
    st.markdown("\n".join(f"- {layout.plain(sentence)}" for sentence in model.card["limits"]))
    layout.guide_links({label.code: label.name for label in model.labels.labels})
    with st.expander("Input, output and licence", icon=":material/input:", key="contract"):
        show_contract(model)
    if model.is_network:
        with st.expander("Layers of the network", icon=":material/layers:", key="layers"):
            show_layers(model)
    else:
        with st.expander("Features it measures", icon=":material/straighten:", key="layers"):
            show_features()
    with st.expander("The whole card", icon=":material/description:", key="whole_card"):
        st.header(model.title, anchor=False)
        for section in model_card.sections(model.card):
            show_section(section)
