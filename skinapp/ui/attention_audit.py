"""The table of `python -m train attention-audit` of a model, if there is one in its folder: which method to trust."""

import io

import pandas as pd
import streamlit as st

from skinapp.errors import ModelError
from skinapp.inference import registry
from skinapp.inference.registry import Model

FILE = "attention-audit.csv"
MEASURES = {
    "energy": ("On the lesion", "Share of the map's sum inside the lesion's mask. Higher is better."),
    "insertion": ("Insertion", "Area under the probability while the strongest pixels are put in. Higher is better."),
    "deletion": ("Deletion", "Area under the probability while the strongest pixels are removed. Lower is better."),
    "head": ("Like untrained head", "Rank correlation with the map of the network with a random last layer."),
    "network": ("Like untrained network", "Rank correlation with the map of a network that has learnt nothing."),
}


def show(model: Model) -> None:
    if FILE not in model.card["files"]:
        return
    st.space("small")
    st.subheader(f"Which method to trust: {model.title}", anchor=False)
    try:
        table = pd.read_csv(io.BytesIO(registry.verified_bytes(model, FILE)))
    except ModelError as error:
        st.error(str(error))
        return
    st.caption(
        f"Measured on up to {table['images'].max():,} test images of HAM10000 with lesion masks, for the class "
        "that the model names; 95% intervals over lesions in brackets. A method is worth its time where it beats the "
        "random map and the centred blob, and where its map changes when the network has not learnt."
    )
    shown = pd.DataFrame({"Method": table["title"], "Images": table["images"]})
    for measure, (name, _) in MEASURES.items():
        shown[name] = [
            f"{row[measure]:.2f} ({row[f'{measure}_low']:.2f} to {row[f'{measure}_high']:.2f})"
            if pd.notna(row[measure])
            else ""
            for _, row in table.iterrows()
        ]
    shown["Time, ms"] = [
        f"{row['milliseconds']:,.0f} ({row['milliseconds_low']:,.0f} to {row['milliseconds_high']:,.0f})"
        if pd.notna(row["milliseconds"])
        else ""
        for _, row in table.iterrows()
    ]
    shown["In answers"] = [f"{ratio:.1f}" if pd.notna(ratio) else "" for ratio in table["answers"]]
    st.dataframe(
        shown,
        hide_index=True,
        column_config={name: st.column_config.TextColumn(name, help=text) for name, text in MEASURES.values()}
        | {
            "Time, ms": st.column_config.TextColumn(
                "Time, ms", help="Median and quartiles of one map, on two busy cores."
            ),
            "In answers": st.column_config.TextColumn(
                "In answers", help="The time of one map as a multiple of one answer of the model."
            ),
        },
        alt="Every method with its measures on test images",
    )
    st.download_button(
        "Download as CSV",
        table.to_csv(index=False),
        f"{model.id}-{FILE}",
        "text/csv",
        key=f"audit_{model.id}",
        icon=":material/download:",
        on_click="ignore",
    )
