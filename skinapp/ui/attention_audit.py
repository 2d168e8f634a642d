"""The scores of each attention method, from `python -m train attention-audit`, if they are in a model's folder."""

import io
from collections.abc import Sequence

import pandas as pd
import streamlit as st

from skinapp.errors import ModelError
from skinapp.inference import registry
from skinapp.inference.registry import Model
from skinapp.ui import panel

FILE = "attention-audit.csv"
MEASURES = {
    "energy": ("On the lesion", "Share of the map that is inside the border of the lesion. Higher is better."),
    "insertion": (
        "Insertion",
        "Area under the probability curve as the strongest pixels are inserted. Higher is better.",
    ),
    "deletion": ("Deletion", "Area under the probability curve as the strongest pixels are deleted. Lower is better."),
    "head": (
        "Similarity, untrained head",
        "Rank correlation with the map of a copy of the network with a random last layer.",
    ),
    "network": ("Similarity, untrained network", "Rank correlation with the map of an untrained network."),
}
TIMES = {
    "Time, ms": "Time for one map: median and quartiles, on two busy cores.",
    "Times one classification": "Time for one map, as a multiple of the time for one classification.",
}


def with_audit(model: Model) -> Model | None:
    """The model whose table applies to this one: itself, or another with the same networks, and therefore the same
    maps; None where there is none."""
    others = (one for one in registry.models(model.folder.parent).values() if one.id != model.id and one.runnable)
    same = (other for other in others if other.hashes == model.hashes and other.views == model.views)
    return next((one for one in (model, *same) if FILE in one.card["files"]), None)


def show(models: Sequence[Model]) -> None:
    """Show the tables of the models, one for models with the same networks; nothing if methods were not measured."""
    tables: dict[str, tuple[Model, list[Model]]] = {}
    for model in models:
        if source := with_audit(model):
            tables.setdefault(source.id, (source, []))[1].append(model)
    for source, known in tables.values():
        _show(source, " and ".join(model.short_name for model in known))


def _show(model: Model, names: str) -> None:
    st.space("small")
    st.subheader(f"Comparison of methods: {names}", anchor=False)
    try:
        table = pd.read_csv(io.BytesIO(registry.verified_bytes(model, FILE)))
    except ModelError as error:
        st.error(str(error))
        return
    # older tables do not name their images, which are always from HAM10000
    images_of, outlines = (
        table[name].iloc[0] if name in table else older
        for name, older in (("images_of", "HAM10000"), ("outlines", "the published lesion masks"))
    )
    st.caption(
        f"Measured on up to {table['images'].max():,} test images from {images_of}, with {outlines}, for the predicted "
        "class; in brackets, 95% intervals from resampling lesions. A method is worth its time if it beats the random "
        "map and the centred blob, and if an untrained network gives a different map."
    )
    panel.show_table(
        formatted(table),
        f"{model.id}-{FILE.removesuffix('.csv')}",
        "Every method with its measures on test images",
        {name: st.column_config.TextColumn(name, help=text) for name, text in (*MEASURES.values(), *TIMES.items())},
        download=table,
    )


def formatted(table: pd.DataFrame) -> pd.DataFrame:
    """The table for display: intervals in brackets, empty if a measure is missing."""
    shown = pd.DataFrame({"Method": table["title"], "Images": table["images"]})
    for measure, (name, _) in MEASURES.items():
        shown[name] = _with_interval(table, measure, ".2f")
    time, ratio = TIMES
    shown[time] = _with_interval(table, "milliseconds", ",.0f")
    shown[ratio] = [f"{value:.1f}" if pd.notna(value) else "" for value in table["answers"]]
    return shown


def _with_interval(table: pd.DataFrame, measure: str, form: str) -> list[str]:
    columns = table[measure], table[f"{measure}_low"], table[f"{measure}_high"]
    return [
        f"{value:{form}} ({low:{form}} to {high:{form}})" if pd.notna(value) else ""
        for value, low, high in zip(*columns, strict=True)
    ]
