"""What the data sets' page and the results document show alike: charts of a data set with their tables and words."""

import pandas as pd

from skinapp.charts import population
from skinapp.charts.style import class_colour
from skinapp.demographics import statistics
from skinapp.demographics.records import NAMES, Table
from skinapp.report.document import Chart


def diagnoses(table: Table, frame: pd.DataFrame) -> Chart:
    """How many images each diagnosis has, the most common first."""
    found = statistics.counts(frame, "diagnosis").sort_values("images", ascending=False, kind="stable")
    names = [table.name(code) for code in found["value"]]
    return Chart(
        population.bars(found, names, [class_colour(code) for code in found["value"]]),
        found.assign(diagnosis=names)[["diagnosis", "images", "lesions", "share"]],
        "Images by diagnosis: " + listed(names, found["images"]),
    )


def not_stated(frame: pd.DataFrame) -> Chart:
    """In how many images each column says nothing."""
    absent = statistics.missing(frame)
    absent["column"] = absent["column"].map(NAMES)
    colours = [population.ACCENT] * len(absent)
    return Chart(
        population.bars(absent, absent["column"].tolist(), colours, whole=int(frame["images"].sum())),
        absent,
        "Images in which a value is not stated: " + listed(absent["column"], absent["images"]),
    )


def ages(table: Table, frame: pd.DataFrame) -> Chart:
    """Ages in bands of five years by diagnosis, of a selection that states at least one."""
    bands = statistics.age_bands(frame)
    return Chart(
        population.age_histogram(bands, table.name),
        bands.rename_axis("from_age").reset_index(),
        f"Ages in bands of five years; the band with most images begins at {bands.sum(axis=1).idxmax()} years",
    )


def by_diagnosis(table: Table, frame: pd.DataFrame, column: str, title: str) -> Chart:
    """A column's values by diagnosis, each diagnosis as a bar of 100%."""
    found = statistics.folded(statistics.cross(frame, "diagnosis", column), 8)
    shares = statistics.shares(found)
    return Chart(
        population.share_bars(shares, found, table.name, str.capitalize),
        with_names(found, table),
        f"{title} by diagnosis. All images: " + listed(found.columns, found.sum()),
    )


def with_names(found: pd.DataFrame, table: Table) -> pd.DataFrame:
    """A cross table for the screen: the diagnoses' names in the first column."""
    shown = found.rename(columns=str).rename_axis(None, axis=1)
    shown.insert(0, "diagnosis", [table.name(code) for code in found.index])
    return shown


def listed(names: object, numbers: object) -> str:
    """melanoma 1,113, nevus 6,705"""
    return ", ".join(f"{name} {number:,.0f}" for name, number in zip(names, numbers, strict=False))  # type: ignore[call-overload]
