"""A visitor's own table: read it from any CSV, assign its columns, list its problems."""

import re
from collections.abc import Mapping

import numpy as np
import pandas as pd

from skinapp import tables
from skinapp.demographics.records import CATEGORIES, EXTRAS, NAMES, NOT_STATED_WORDS, Table, tidy
from skinapp.errors import DataError
from skinapp.labels.sets import LABEL_SETS, LabelSet

FIELDS = {
    "diagnosis": ("diagnosis", "dx", "diagnostic", "label", "class", "target", "benign_malignant"),
    "image": ("image", "image_id", "img_id", "isic_id", "image_name", "filename", "file"),
    "lesion": ("lesion", "lesion_id", "group"),
    "sex": ("sex", "gender"),
    "age": ("age", "age_approx", "age_years"),
    "site": ("site", "localization", "localisation", "region", "anatom_site_general_challenge", "anatom_site_general"),
    "confirmation": ("confirmation", "dx_type", "diagnosis_confirm_type", "diagnostic_method"),
    "skin_type": ("skin_type", "fitspatrick", "fitzpatrick", "fitzpatrick_skin_type"),
    "split": ("split", "part", "fold", "subset"),
}
"""What a column can be, and its names in published tables."""

FIELD_NAMES = NAMES | {"image": "Image", "lesion": "Lesion"}
MAX_ROWS = 1_000_000
MAX_AGE = 120
MAX_VALUES = {"diagnosis": 30, "sex": 30, "skin_type": 30, "confirmation": 100, "site": 5000, "split": 100}
"""In columns with more values, the rarer ones are counted together, so that charts stay readable."""
OTHER_VALUES = "other values"


def read(data: bytes) -> pd.DataFrame:
    """The bytes of a CSV, in any encoding and with any separator -> its cells as text; at most MAX_ROWS rows.

    Without a header, columns are called "Column 1" and so on. DataError as in `skinapp.tables.read`.
    """
    return tables.read(data, most_rows=MAX_ROWS, has_header=_is_header)


def guess(columns: list[str]) -> dict[str, str | None]:
    """The most likely column for each of FIELDS, by name; None if no name fits."""
    known = {re.sub(r"\W+", "_", column.strip().lower()): column for column in reversed(columns)}
    return {field: next((known[name] for name in names if name in known), None) for field, names in FIELDS.items()}


def build(raw: pd.DataFrame, chosen: Mapping[str, str | None]) -> tuple[Table, list[str]]:
    """The cells, and the column of each of FIELDS -> a table as in `records`, and a sentence for every problem.

    DataError if no column was chosen, or one was chosen twice.
    """
    mapping = {field: column for field, column in chosen.items() if column is not None}
    if not mapping:
        raise DataError("Choose at least one column, preferably the diagnosis.")
    twice = [column for column in mapping.values() if list(mapping.values()).count(column) > 1]
    if twice:
        raise DataError(f"The column '{twice[0]}' is chosen twice; choose it once.")
    frame = raw[list(mapping.values())].set_axis(list(mapping), axis=1)
    problems: list[str] = []
    labels = None
    if "diagnosis" in frame:
        frame["diagnosis"], labels = _diagnoses(frame["diagnosis"], problems)
    if "age" in frame:
        frame["age"] = _ages(frame["age"], problems)
    _repeated(raw, frame, problems)
    if "lesion" in frame:
        frame["lesion"] = _lesions(frame["lesion"], problems)
        _shared(frame, problems)
    else:
        problems.append("No column identifies the lesion, so every image counts as a separate lesion.")
    for name in (*CATEGORIES, *EXTRAS):
        if name in frame and name in MAX_VALUES:
            frame[name] = _fewer(name, frame[name], problems)
    return Table("own", "Your own table", tidy(frame, labels), labels, "lesion" in frame), problems


def _is_header(cells: list[str]) -> bool:
    """Whether a first row is a header: it is not if it holds a number or a known class."""
    known = {code.lower() for labels in LABEL_SETS.values() for code in labels.codes} | {"male", "female"}
    return not any(_number(cell) or cell.strip().lower() in known for cell in cells)


def _number(cell: str) -> bool:
    return bool(re.fullmatch(r"\s*[-+]?\d+([.,]\d+)?\s*", cell))


def _diagnoses(column: pd.Series, problems: list[str]) -> tuple[pd.Series, LabelSet | None]:
    """The column as codes of the label set that covers most rows, matched by code or name; other values stay."""
    counts = _stated(column).value_counts()
    matches = {}
    for labels in LABEL_SETS.values():
        known = {label.name.lower(): label.code for label in labels.labels}
        known |= {label.code.lower(): label.code for label in labels.labels}
        codes = {
            value: known[str(value).strip().lower()] for value in counts.index if str(value).strip().lower() in known
        }
        matches[labels.id] = (int(counts[list(codes)].sum()) if codes else 0, codes)
    best = max(matches, key=lambda key: matches[key][0])
    rows, codes = matches[best]
    if not rows:
        problems.append(
            "None of the diagnoses is a known class, so malignant and benign cannot be distinguished: "
            f"{_examples(counts)}."
        )
        return column, None
    unknown = counts.drop(list(codes))
    if len(unknown):
        problems.append(
            f"{_rows(int(unknown.sum()))} with unknown labels: {_examples(unknown)}. They are shown, but count as "
            "neither malignant nor benign."
        )
    return column.map(lambda value: codes.get(value, value)), LABEL_SETS[best]


def _ages(column: pd.Series, problems: list[str]) -> pd.Series:
    stated = _stated(column)
    ages = pd.to_numeric(stated.astype(object).str.replace(",", "."), errors="coerce")
    words = stated[ages.isna() & stated.notna()]
    if len(words):
        problems.append(
            f"{_some(len(words), 'age is not a number', 'ages are not numbers')}: {_examples(words.value_counts())}. "
            "They count as not stated."
        )
    impossible = ages[(ages < 0) | (ages > MAX_AGE)]
    if len(impossible):
        problems.append(
            f"{_some(len(impossible), 'age is', 'ages are')} below 0 or over {MAX_AGE}: "
            f"{_examples(stated[impossible.index].value_counts())}. They count as not stated."
        )
    return ages.where(ages.between(0, MAX_AGE)).astype("float64")


def _repeated(raw: pd.DataFrame, frame: pd.DataFrame, problems: list[str]) -> None:
    if "image" in frame:
        again = frame["image"].duplicated() & _stated(frame["image"]).notna()
        if again.any():
            problems.append(
                f"{_rows(int(again.sum()))} with the image of an earlier row: "
                f"{_examples(frame.loc[again, 'image'].value_counts())}. All rows are counted."
            )
    same = raw.duplicated()
    if same.any():
        problems.append(f"{_rows(int(same.sum()))} identical to an earlier row. All rows are counted.")


def _lesions(column: pd.Series, problems: list[str]) -> pd.Series:
    stated = _stated(column)
    absent = int(stated.isna().sum())
    if absent:
        problems.append(f"{_rows(absent)} without a lesion; each counts as a separate lesion.")
    codes, names = pd.factorize(stated)
    alone = codes < 0
    codes[alone] = len(names) + np.arange(int(alone.sum()))
    return pd.Series(codes, column.index)


def _shared(frame: pd.DataFrame, problems: list[str]) -> None:
    for name, subject, text in (
        ("diagnosis", ("lesion has", "lesions have"), "images with different diagnoses."),
        (
            "split",
            ("lesion is", "lesions are"),
            "in several parts of the split, so test results on them are optimistic.",
        ),
    ):
        if name in frame:
            stated = frame[["lesion", name]][_stated(frame[name]).notna()].drop_duplicates()
            shared = int((stated["lesion"].value_counts() > 1).sum())
            if shared:
                problems.append(f"{_some(shared, *subject)} {text}")
    per_lesion = frame["lesion"].value_counts()
    several = per_lesion[per_lesion > 1]
    if len(several):
        problems.append(
            f"{_some(len(several), 'lesion has', 'lesions have')} several images, {int(several.sum()):,} in all: split "
            "by lesion, not by image."
        )


def _fewer(name: str, column: pd.Series, problems: list[str]) -> pd.Series:
    counts = _stated(column).value_counts()
    most = MAX_VALUES[name]
    if len(counts) <= most:
        return column
    problems.append(
        f"The column for {FIELD_NAMES[name].lower()} has {len(counts):,} different values. The {most:,} most common "
        f"are shown, the others are counted as '{OTHER_VALUES}'. Is it the right column?"
    )
    return column.where(column.isin(counts.index[:most]) | _stated(column).isna(), OTHER_VALUES)


def _stated(column: pd.Series) -> pd.Series:
    """The column with None for cells that mean not stated."""
    codes, names = pd.factorize(column)
    unknown = np.array([str(name).strip().lower() in NOT_STATED_WORDS for name in names] + [True])
    return column.astype(object).mask(unknown[codes], None)


def _examples(counts: pd.Series) -> str:
    shown = [f"'{str(value)[:40]}' ({count:,})" for value, count in counts.head(5).items()]
    more = len(counts) - len(shown)
    return ", ".join(shown) + (f" and {more:,} others" if more else "")


def _some(count: int, one: str, several: str) -> str:
    """1 age is, 2 ages are"""
    return f"{count:,} {one if count == 1 else several}"


def _rows(count: int) -> str:
    return _some(count, "row", "rows")
