"""Every model's card, with its input and output, layers, licence and intended use."""

import re

import pandas as pd
import streamlit as st

from skinapp.charts import architecture
from skinapp.inference import model_card, registry
from skinapp.inference.model_card import Section, Table
from skinapp.inference.registry import Model
from skinapp.ui import layout, panel


def show_summary(model: Model) -> None:
    """Input, output, training data, licence and intended use."""
    card, size = model.card, model.input_size
    entry = card["input"]
    low, high = entry["range"]
    networks = f"{len(model.weights)} x " if len(model.weights) > 1 else ""
    rows = {
        "Task": "diagnosis" if model.task == "diagnosis" else "malignant or benign",
        "Kind of image": model.modality,
        "Version": card["version"],
        "Input": f"{'two images, each ' if model.kind == 'pair' else ''}{size} x {size} px, {entry['channels']}, "
        f"{entry['dtype']} from {low} to {high}",
        "Preprocessing": entry["resize"],
        "Output": "; ".join(f"{name} {shape}" for name, shape in card["outputs"].items()),
        **({"Views": ", ".join(model.views)} if len(model.views) > 1 else {}),
        "Probabilities": f"softmax of logits / {model.temperature:g}",
        "Network": f"{networks}{card['architecture']['name']}, {card['architecture']['parameters']:,} parameters",
        "Initial weights": card["initial_weights"],
        "Trained on": card["training"]["dataset"],
        "Licence": card["licence"],
        "Intended use": card["intended_use"],
    }
    st.markdown("\n".join(f"- **{name}**: {layout.plain(words)}" for name, words in rows.items()))
    if not model.runnable:
        st.info("This folder has the model's scores but not its weights; the card says how to train it.")


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


def choose(models: dict[str, Model]) -> Model:
    """The model chosen by the visitor, or by a link: `?card=<id>`, or `?card=<title> (<id>)` in old links."""
    order = list(dict.fromkeys([*(model.id for model in registry.ranked()), *models]))
    linked = re.sub(r"^.*\((.*)\)$", r"\1", st.query_params.get("card", ""))
    if "card" not in st.session_state and linked in models:
        st.session_state["card"] = linked
    chosen = st.selectbox("Model", order, format_func=lambda name: f"{models[name].title} ({name})", key="card")
    st.query_params["card"] = chosen
    return models[chosen]


with layout.page("Models"):
    st.title("Model cards", anchor=False)
    st.markdown("How each model works, what it was trained on, how it was tested, and what it is not for.")
    for reason in registry.problems().values():
        st.warning(reason)
    models = registry.models()
    if not models:
        st.error(layout.NO_MODELS)
        st.stop()
    model = choose(models)
    summary, network = st.columns(2, gap="large")
    with summary:
        st.subheader("Input and output", anchor=False)
        show_summary(model)
    with network:
        st.subheader("Layers", anchor=False)
        stages = architecture.stages(model)
        panel.show(
            architecture.diagram(stages),
            pd.DataFrame(vars(stage) for stage in stages),
            f"layers_{model.id}",
            "From top to bottom: " + "; ".join(f"{stage.name}, {stage.shape}" for stage in stages),
        )
    layout.guide_links({label.code: label.name for label in model.labels.labels})
    st.space("medium")
    with st.container(border=True):
        st.header(model.title, anchor=False)
        for section in model_card.sections(model.card):
            show_section(section)
