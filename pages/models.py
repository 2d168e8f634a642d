"""Every model's card, with what goes in, what comes out, its layers, licence and intended use."""

import re

import pandas as pd
import streamlit as st

from skinapp.charts import architecture
from skinapp.inference import registry
from skinapp.inference.registry import Model
from skinapp.ui import layout, panel


def show_contract(model: Model) -> None:
    """What goes in and what comes out, with licence and intended use."""
    card = model.card
    size = model.input_size
    entry = card["input"]
    low, high = entry["range"]
    rows = {
        "Task": "one of several diagnoses" if model.task == "diagnosis" else "malignant or not",
        "Made for": f"{model.modality} images",
        "Input": f"{size} x {size} px, {entry['channels']}, {entry['dtype']} from {low} to {high}",
        "How an image becomes it": entry["resize"],
        "Output": "; ".join(f"{name} {shape}" for name, shape in card["outputs"].items()),
        "Probabilities": f"softmax of logits / {model.temperature:g}",
        "Network": f"{card['architecture']['name']}, {card['architecture']['parameters']:,} parameters",
        "Initial weights": card["initial_weights"],
        "Learnt from": card["training"]["dataset"],
        "Licence": card["licence"],
        "Intended use": card["intended_use"],
    }
    st.markdown("\n".join(f"- **{name}**: {layout.plain(words)}" for name, words in rows.items()))
    if not model.runnable:
        st.info("Only the figures of this model are here, not its weights; the card says how to train it.")


def show_card(text: str) -> None:
    """The card's Markdown: its headings a level lower, as the page has its own title; its tables within the screen."""
    for part in re.split(r"((?:^\|.*\n?)+)", text, flags=re.MULTILINE):
        if part.startswith("|"):
            head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines()]
            # a name that occurs again needs to be another one, and cells are shown as they are, without Markdown
            names = [name + " " * head[:place].count(name) for place, name in enumerate(head)]
            cells = [[cell.replace("`", "").replace("**", "") for cell in row] for row in rows]
            st.dataframe(pd.DataFrame(cells, columns=names), hide_index=True, alt=f"A table of {', '.join(head)}")
        elif part.strip():
            st.markdown(re.sub(r"^#", "##", part, flags=re.MULTILINE))


with layout.page("Models"):
    st.title("Model cards", anchor=False)
    st.markdown("What each model takes and gives, what it was trained on, how it was tested, and what it is not for.")
    for reason in registry.problems().values():
        st.warning(reason)
    models = registry.models()
    if not models:
        st.error("There is no model here yet. Put a model folder into `models`, then load this page again.")
        st.stop()
    order = list(dict.fromkeys([*(model.id for model in registry.ranked()), *models]))
    model = models[
        st.selectbox(
            "Model",
            order,
            format_func=lambda name: f"{models[name].title} ({name})",
            key="card",
            bind="query-params",
        )
    ]
    contract, network = st.columns(2, gap="large")
    with contract:
        st.subheader("Contract", anchor=False)
        show_contract(model)
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
        show_card((model.folder / "README.md").read_text())
