"""A visitor's own table: read it from any CSV, assign its columns, list its problems."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from skinapp.datasets import audit, columns, isic_columns
from skinapp.datasets.audit import Audit, some
from skinapp.demographics.records import CATEGORIES, EXTRAS, NAMES, Table, tidy
from skinapp.errors import DataError
from skinapp.images import imaging
from skinapp.labels.sets import LABEL_SETS, LabelSet

FIELD_NAMES = NAMES | {"image": "Image", "lesion": "Lesion", "patient": "Patient"}
MAX_ROWS = 1_000_000
MAX_AGE = 120
MAX_VALUES = {"diagnosis": 30, "sex": 30, "skin_type": 30, "confirmation": 100, "site": 5000, "split": 100}
"""In columns with more values, the rarer ones are counted together, so that charts stay readable."""
FILE_ENDING = re.compile(rf"\.({'|'.join(ending.removeprefix('.') for ending in imaging.EXTENSIONS)})$", re.IGNORECASE)
OTHER_VALUES = "other values"


@dataclass(frozen=True)
class OwnTable:
    """A visitor's table in the form of `records`, a sentence for every problem with its cells, and the audit of its
    split."""

    table: Table
    problems: tuple[str, ...]
    audit: Audit


def read(data: bytes) -> pd.DataFrame:
    """The bytes of a CSV, in any encoding and with any separator -> its cells as text; at most MAX_ROWS rows.

    Without a header, columns are called "Column 1" and so on. A publisher's columns get our names, and ISIC diagnoses
    classes, see `skinapp.datasets.columns`. DataError as in `skinapp.tables.read`.
    """
    return columns.read(data, max_rows=MAX_ROWS, has_header=_is_header)


def build(raw: pd.DataFrame, chosen: Mapping[str, str | None]) -> OwnTable:
    """The cells, and the column of each of `columns.FIELDS` -> the table and its problems.

    DataError if no column was chosen, or one was chosen twice.
    """
    mapping = {field: column for field, column in chosen.items() if column is not None}
    if not mapping:
        raise DataError("Choose at least one column, preferably the diagnosis.")
    twice = [column for column in mapping.values() if list(mapping.values()).count(column) > 1]
    if twice:
        raise DataError(f"The column '{twice[0]}' is chosen twice; choose it once.")
    frame = raw[list(mapping.values())].set_axis(list(mapping), axis=1)
    audited = audit.arranged(raw, chosen)
    problems: list[str] = []
    labels = None
    if "diagnosis" in frame:
        frame["diagnosis"], labels = _diagnoses(frame["diagnosis"], problems)
        audited["label"] = frame["diagnosis"]
    if "age" in frame:
        frame["age"] = _ages(frame["age"], problems)
    if "image" in frame:
        frame["image"] = frame["image"].str.replace(FILE_ENDING, "", regex=True)
    same = int(raw.duplicated().sum())
    if same:
        problems.append(
            f"{some(same, 'row is identical to an earlier row', 'rows are identical to earlier rows')}. All rows are "
            "counted."
        )
    if "lesion" in frame:
        frame["lesion"] = _lesions(frame["lesion"], problems)
    else:
        problems.append("No column identifies the lesion, so every image counts as a separate lesion.")
    names = [str(column) for column in raw.columns]
    if isic_columns.official(names):
        problems += isic_columns.problems(raw)
    for name in (*CATEGORIES, *EXTRAS):
        if name in frame and name in MAX_VALUES:
            frame[name] = _fewer(name, frame[name], problems)
    table = Table("own", "Your own table", tidy(frame, labels), labels, "lesion" in frame)
    return OwnTable(table, tuple(problems), audit.of_table(audited))


def _is_header(cells: list[str]) -> bool:
    """Whether a first row is a header: one with the usual name of a column is, one with a number or a known class is
    not."""
    if any(columns.guess(cells).values()):
        return True
    known = {code.lower() for labels in LABEL_SETS.values() for code in labels.codes} | {"male", "female"}
    return not any(_number(cell) or cell.strip().lower() in known for cell in cells)


def _number(cell: str) -> bool:
    return bool(re.fullmatch(r"\s*[-+]?\d+([.,]\d+)?\s*", cell))


def _diagnoses(column: pd.Series, problems: list[str]) -> tuple[pd.Series, LabelSet | None]:
    """The column as codes of the label set that covers most rows, matched by code or name; other values stay."""
    column = audit.stated(column)
    counts = column.value_counts()
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
    return column.map(codes).fillna(column), LABEL_SETS[best]


def _ages(column: pd.Series, problems: list[str]) -> pd.Series:
    stated = audit.stated(column)
    ages = pd.to_numeric(stated.astype(object).str.replace(",", "."), errors="coerce")
    words = stated[ages.isna() & stated.notna()]
    if len(words):
        problems.append(
            f"{some(len(words), 'age is not a number', 'ages are not numbers')}: {_examples(words.value_counts())}. "
            "They count as not stated."
        )
    impossible = ages[(ages < 0) | (ages > MAX_AGE)]
    if len(impossible):
        problems.append(
            f"{some(len(impossible), 'age is', 'ages are')} below 0 or over {MAX_AGE}: "
            f"{_examples(stated[impossible.index].value_counts())}. They count as not stated."
        )
    return ages.where(ages.between(0, MAX_AGE)).astype("float64")


def _lesions(column: pd.Series, problems: list[str]) -> pd.Series:
    stated = audit.stated(column)
    absent = int(stated.isna().sum())
    if absent:
        problems.append(f"{_rows(absent)} without a lesion; each counts as a separate lesion.")
    codes, names = pd.factorize(stated)
    alone = codes < 0
    codes[alone] = len(names) + np.arange(int(alone.sum()))
    return pd.Series(codes, column.index)


def _fewer(name: str, column: pd.Series, problems: list[str]) -> pd.Series:
    counts = audit.stated(column).value_counts()
    most = MAX_VALUES[name]
    if len(counts) <= most:
        return column
    problems.append(
        f"The column for {FIELD_NAMES[name].lower()} has {len(counts):,} different values. The {most:,} most common "
        f"are shown; the others are counted as '{OTHER_VALUES}'. Is this the right column?"
    )
    return column.where(column.isin(counts.index[:most]) | audit.stated(column).isna(), OTHER_VALUES)


def _examples(counts: pd.Series) -> str:
    shown = [f"'{str(value)[:40]}' ({count:,})" for value, count in counts.head(5).items()]
    more = len(counts) - len(shown)
    return ", ".join(shown) + (f" and {more:,} others" if more else "")


def _rows(count: int) -> str:
    return some(count, "row", "rows")
