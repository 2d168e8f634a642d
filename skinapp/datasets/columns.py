"""Recognises the columns of any table of lesion images by their names in published tables."""

from collections.abc import Callable, Sequence

import pandas as pd

from skinapp import tables
from skinapp.datasets import isic_columns, metadata
from skinapp.datasets.registry import DATASETS, ISIC_MORE, DataSet

FIELDS = {
    "diagnosis": (
        isic_columns.key(isic_columns.CLASS),
        *("diagnosis", "dx", "diagnostic", "label", "class", "target", "benign_malignant"),
    ),
    "image": ("image", "image_id", "img_id", "isic_id", "image_name", "filename", "file", "path"),
    "lesion": ("lesion", "lesion_id", "group"),
    "patient": ("patient", "patient_id"),
    "sex": ("sex", "gender"),
    "age": ("age", "age_approx", "age_years"),
    "site": ("site", "localization", "localisation", "region", "anatom_site_general_challenge", "anatom_site_general"),
    "confirmation": ("confirmation", "dx_type", "diagnosis_confirm_type", "diagnostic_method"),
    "skin_type": ("skin_type", "fitspatrick", "fitzpatrick", "fitzpatrick_skin_type"),
    "split": ("split", "part", "fold", "subset"),
}
"""The kinds of column, each with its names in published tables."""


def read(
    content: bytes,
    name: str = "The file",
    *,
    max_rows: int | None = None,
    has_header: Callable[[list[str]], bool] = lambda cells: True,
) -> pd.DataFrame:
    """The bytes of a CSV -> its cells as text, "" if they are empty, see `skinapp.tables.read`.

    In a table with a publisher's columns, these are renamed to ours, and ids have the form that the data set's parser
    gives them; one with the columns of the ISIC archive also has the classes of its diagnoses, see
    `isic_columns.with_class`.
    """
    raw = tables.read(content, name, max_rows=max_rows, has_header=has_header)
    known = publisher(list(raw.columns))
    if known and known.arrange:
        frame = known.arrange(tables.read(content, name, text=metadata.text_columns(known.columns)))
        frame = frame.astype(object).where(frame.notna(), "").astype(str)
        others = [column for column in raw.columns if column not in {*known.columns.values(), *frame.columns}]
        return frame.join(raw[others])
    return isic_columns.with_class(raw) if isic_columns.official(list(raw.columns)) else raw


def guess(columns: Sequence[str]) -> dict[str, str | None]:
    """The most likely column for each of FIELDS, by name; None if no name fits."""
    known = {isic_columns.key(column): column for column in reversed(columns)}
    return {field: next((known[name] for name in names if name in known), None) for field, names in FIELDS.items()}


def publisher(columns: Sequence[str]) -> DataSet | None:
    """The data set whose published columns a table has, all of them; None for any other table."""
    return next(
        (one for one in (*DATASETS.values(), ISIC_MORE) if one.columns and set(one.columns.values()) <= set(columns)),
        None,
    )
