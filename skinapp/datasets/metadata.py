"""Shared by the parsers of the publishers' metadata: the columns of their result, and reading a table.

A parser turns a data set's folder into a table with one row per image. `image` (id) and `diagnosis` (code of the data
set's label set) are always present. Of the others, a parser returns those that are published: `lesion` and `patient`
(ids), `split`, `modality` (dermoscopy or clinical), `age` (years), `sex`, `site`, `confirmation`, `skin_type`
(Fitzpatrick, "1" to "6"), `skin_tone` ("0" very dark to "5" very light), SYMPTOMS (yes or no) and DIAMETERS (mm).
Values are spelt as published; those not stated are missing, or have the publisher's word for missing.
"""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from skinapp import tables

FILE = "metadata.csv"
SYMPTOMS = ("itch", "grew", "hurt", "changed", "bleed", "elevation")
DIAMETERS = ("diameter_1", "diameter_2")
TEXT = ("image", "lesion", "patient", "diagnosis", "sex", "site", "source", "copy_of")
NOT_STATED = "not stated"
NOT_STATED_WORDS = ("", "unknown", "unk", "n/a", "na", "nan", "none", "null", "?", "-", NOT_STATED)
REMEDY = "set SKINAPP_DATA to the folder of the data sets"


def read(folder: Path, columns: Mapping[str, str]) -> pd.DataFrame:
    """The publisher's table in a folder. DataError if it is missing, lacks one of `columns` (our name -> the
    publisher's), or lists an image twice."""
    return tables.read_file(
        folder / FILE,
        text=text_columns(columns),
        required=tuple(columns.values()),
        unique=columns["image"],
        remedy=REMEDY,
    )


def text_columns(columns: Mapping[str, str]) -> list[str]:
    """The publisher's columns that are read as text."""
    return [columns[name] for name in TEXT if name in columns]


def renamed(table: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    """The publisher's columns under our names."""
    return table[list(columns.values())].set_axis(list(columns), axis=1)
