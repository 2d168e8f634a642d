"""A table of somebody's own: read from a CSV of any make, its columns named, and what is wrong with it told."""

import csv
import io
import re
from collections.abc import Mapping

import numpy as np
import pandas as pd

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
"""What a column can be, and the names by which it is known in published tables."""

FIELD_NAMES = NAMES | {"image": "Image", "lesion": "Lesion"}
MOST_ROWS = 1_000_000
OLDEST = 120
MOST_VALUES = {"diagnosis": 30, "sex": 30, "skin_type": 30, "confirmation": 100, "site": 5000, "split": 100}
"""Of columns with more different values, the rarer ones are counted together: nobody could read the charts."""
OTHERS = "other values"


def read(data: bytes) -> pd.DataFrame:
    """The bytes of a CSV -> its cells as text, whatever its encoding and separator.

    Without a header the columns are called "Column 1" and so on. Raises DataError for what is no table.
    """
    if not data.strip():
        raise DataError("The file is empty; choose another one.")
    if data[:4] in (b"PK\x03\x04", b"\xd0\xcf\x11\xe0"):
        raise DataError("This is an Excel file or an archive, not a CSV; save the sheet as CSV and add that.")
    text = _text(data)
    separator = _separator(text)
    first = next(csv.reader(io.StringIO(text), delimiter=separator), [])
    has_header = _is_header(first)
    try:
        raw = pd.read_csv(
            io.StringIO(text),
            sep=separator,
            header=0 if has_header else None,
            dtype=str,
            keep_default_na=False,
            na_filter=False,
            index_col=False,
            skipinitialspace=True,
            nrows=MOST_ROWS + 1,
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError, csv.Error) as error:
        found = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
        where = f" Line {found[2]} has {found[3]} fields where {found[1]} are expected." if found else ""
        raise DataError(f"The file cannot be read as a table.{where} Save it as a CSV again.") from None
    if len(raw) > MOST_ROWS:
        raise DataError(f"The table has more than {MOST_ROWS:,} rows; add a part of it.")
    if raw.empty:
        raise DataError("The table has a header but no rows; add one with at least one row.")
    raw.columns = [
        " ".join(str(name).split()) or f"Column {place}" if has_header else f"Column {place}"
        for place, name in enumerate(raw.columns, start=1)
    ]
    return raw


def guess(columns: list[str]) -> dict[str, str | None]:
    """For each of FIELDS the column that is most likely it, by its name; None where no name fits."""
    known = {re.sub(r"\W+", "_", column.strip().lower()): column for column in reversed(columns)}
    return {field: next((known[name] for name in names if name in known), None) for field, names in FIELDS.items()}


def build(raw: pd.DataFrame, chosen: Mapping[str, str | None]) -> tuple[Table, list[str]]:
    """The cells and which column is what -> a table as in `demographics`, and a sentence for every problem found.

    DataError where no column was chosen, or one for two things.
    """
    mapping = {field: column for field, column in chosen.items() if column is not None}
    if not mapping:
        raise DataError("Choose at least one column, best that of the diagnosis.")
    twice = [column for column in mapping.values() if list(mapping.values()).count(column) > 1]
    if twice:
        raise DataError(f"The column '{twice[0]}' is chosen for two things; choose it once.")
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
        problems.append("No column names the lesion, so every image counts as a lesion of its own.")
    for name in (*CATEGORIES, *EXTRAS):
        if name in frame and name in MOST_VALUES:
            frame[name] = _fewer(name, frame[name], problems)
    return Table("own", "Your own table", tidy(frame, labels), labels, "lesion" in frame), problems


def _text(data: bytes) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace")
    if b"\0" in data[:4096]:
        raise DataError("This is not a text file, so it is no CSV; save the table as CSV and add that.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        # every byte means something there, so the table is read even where some letters come out wrong
        return data.decode("cp1252", errors="replace")


def _separator(text: str) -> str:
    head = "\n".join(text[:20_000].splitlines()[:20])
    try:
        return csv.Sniffer().sniff(head, delimiters=",;\t|").delimiter
    except csv.Error:
        first = head.splitlines()[0]
        return max(",;\t|", key=first.count)


def _is_header(cells: list[str]) -> bool:
    """A first row with a number or a known class in it is a row of data."""
    known = {code.lower() for labels in LABEL_SETS.values() for code in labels.codes} | {"male", "female"}
    return not any(_number(cell) or cell.strip().lower() in known for cell in cells)


def _number(cell: str) -> bool:
    return bool(re.fullmatch(r"\s*[-+]?\d+([.,]\d+)?\s*", cell))


def _diagnoses(column: pd.Series, problems: list[str]) -> tuple[pd.Series, LabelSet | None]:
    """Codes of the label set that knows most rows, by code or name; what it does not know is kept as it is."""
    counts = _stated(column).value_counts()
    ways = {}
    for labels in LABEL_SETS.values():
        known = {label.name.lower(): label.code for label in labels.labels}
        known |= {label.code.lower(): label.code for label in labels.labels}
        found = {
            value: known[str(value).strip().lower()] for value in counts.index if str(value).strip().lower() in known
        }
        ways[labels.id] = (int(counts[list(found)].sum()) if found else 0, found)
    best = max(ways, key=lambda key: ways[key][0])
    rows, found = ways[best]
    if not rows:
        problems.append(
            f"None of the diagnoses is a class known here, so nothing tells malignant from benign: {_examples(counts)}."
        )
        return column, None
    unknown = counts.drop(list(found))
    if len(unknown):
        problems.append(
            f"Unknown labels in {int(unknown.sum()):,} rows: {_examples(unknown)}. They are shown, and "
            "count as neither malignant nor benign."
        )
    exact = {code: code for code in found.values()}
    return column.map(lambda value: found.get(value, exact.get(value, value))), LABEL_SETS[best]


def _ages(column: pd.Series, problems: list[str]) -> pd.Series:
    stated = _stated(column)
    ages = pd.to_numeric(stated.astype(object).str.replace(",", "."), errors="coerce")
    strange = stated[ages.isna() & stated.notna()]
    if len(strange):
        problems.append(
            f"{len(strange):,} ages are no numbers: {_examples(strange.value_counts())}. They count as not stated."
        )
    impossible = ages[(ages < 0) | (ages > OLDEST)]
    if len(impossible):
        problems.append(
            f"{len(impossible):,} ages are impossible, below 0 or over {OLDEST}: "
            f"{_examples(stated[impossible.index].value_counts())}. They count as not stated."
        )
    return ages.where(ages.between(0, OLDEST)).astype("float64")


def _repeated(raw: pd.DataFrame, frame: pd.DataFrame, problems: list[str]) -> None:
    if "image" in frame:
        again = frame["image"].duplicated() & _stated(frame["image"]).notna()
        if again.any():
            problems.append(
                f"{int(again.sum()):,} rows name an image that an earlier row names: "
                f"{_examples(frame.loc[again, 'image'].value_counts())}. All are counted."
            )
    same = raw.duplicated()
    if same.any():
        problems.append(f"{int(same.sum()):,} rows are equal to an earlier row in every column. All are counted.")


def _lesions(column: pd.Series, problems: list[str]) -> pd.Series:
    stated = _stated(column)
    absent = int(stated.isna().sum())
    if absent:
        problems.append(f"{absent:,} rows name no lesion; each counts as a lesion of its own.")
    codes, names = pd.factorize(stated)
    alone = codes < 0
    codes[alone] = len(names) + np.arange(int(alone.sum()))
    return pd.Series(codes, column.index)


def _shared(frame: pd.DataFrame, problems: list[str]) -> None:
    for name, text in (
        ("diagnosis", "lesions have images with different diagnoses"),
        ("split", "lesions lie in several parts of the split, so a test on them is not fair"),
    ):
        if name in frame:
            stated = frame[["lesion", name]][_stated(frame[name]).notna()].drop_duplicates()
            shared = int((stated["lesion"].value_counts() > 1).sum())
            if shared:
                problems.append(f"{shared:,} {text}.")
    per_lesion = frame["lesion"].value_counts()
    several = per_lesion[per_lesion > 1]
    if len(several):
        problems.append(
            f"{len(several):,} lesions have several images, {int(several.sum()):,} together: split by lesion, not by "
            "image."
        )


def _fewer(name: str, column: pd.Series, problems: list[str]) -> pd.Series:
    counts = _stated(column).value_counts()
    most = MOST_VALUES[name]
    if len(counts) <= most:
        return column
    problems.append(
        f"The column of {FIELD_NAMES[name].lower()} has {len(counts):,} different values; the {most:,} most common are "
        f"told apart, the others counted as '{OTHERS}'. Was the right column chosen?"
    )
    return column.where(column.isin(counts.index[:most]) | _stated(column).isna(), OTHERS)


def _stated(column: pd.Series) -> pd.Series:
    """The column with None where a cell says that nothing is known."""
    codes, names = pd.factorize(column)
    unknown = np.array([str(name).strip().lower() in NOT_STATED_WORDS for name in names] + [True])
    return column.astype(object).mask(unknown[codes], None)


def _examples(counts: pd.Series) -> str:
    shown = [f"'{str(value)[:40]}' ({count:,})" for value, count in counts.head(5).items()]
    more = len(counts) - len(shown)
    return ", ".join(shown) + (f" and {more:,} others" if more else "")
