"""The official columns of the ISIC archive, as `isic image download` writes them to metadata.csv: the classes of their
diagnoses, and what is wrong with them by the archive's own rules, which the package `isic-metadata` holds."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pandas as pd

CLASS = "Class, from the ISIC diagnosis"
"""The column that `with_class` adds."""
SPECIFIC = {
    "isic_id",
    "age_approx",
    "anatom_site_general",
    "anatom_site_1",
    "diagnosis_1",
    "diagnosis_confirm_type",
    "dermoscopic_type",
    "image_type",
    "fitzpatrick_skin_type",
}
"""Official columns whose names few other tables use. A table with two of them has the archive's columns."""
IDS = ("isic_id", "lesion_id", "patient_id")
LEVELS = tuple(f"diagnosis_{level}" for level in range(1, 6))

MELANOMA = "Malignant:Malignant melanocytic proliferations (Melanoma)"
CLASSES = {
    MELANOMA: "MEL",
    "Benign:Benign melanocytic proliferations:Nevus": "NV",
    "Malignant:Malignant adnexal epithelial proliferations - Follicular:Basal cell carcinoma": "BCC",
    "Malignant:Malignant epidermal proliferations:Squamous cell carcinoma in situ": "AKIEC",
    "Malignant:Malignant epidermal proliferations:Squamous cell carcinoma": "SCCKA",
    "Malignant:Malignant epidermal proliferations:Keratoacanthoma": "SCCKA",
    "Indeterminate:Indeterminate epidermal proliferations": "AKIEC",
    "Benign:Benign epidermal proliferations:Seborrheic keratosis": "BKL",
    "Benign:Benign epidermal proliferations:Solar lentigo": "BKL",
    "Benign:Benign epidermal proliferations:Lichen planus like keratosis": "BKL",
    "Benign:Benign epidermal proliferations:Pigmented benign keratosis": "BKL",
    "Benign:Benign soft tissue proliferations - Fibro-histiocytic:Dermatofibroma": "DF",
    "Benign:Benign soft tissue proliferations - Vascular": "VASC",
    "Benign:Hemorrhagic lesions": "VASC",
    "Benign:Inflammatory or infectious diseases": "INF",
    "Benign:": "BEN_OTH",
    "Malignant:": "MAL_OTH",
}
"""Maps prefixes of the archive's diagnoses to classes of MILK10k; the first match counts. A diagnosis that only says
benign, malignant or indeterminate matches none."""
MAX_EXAMPLES = 8
"""The number of rule violations that are listed; the others are only counted."""
LEGACY = {"melanoma": MELANOMA}
"""Names in the archive's former column `diagnosis` that are not the last level of a current diagnosis."""


def key(column: str) -> str:
    """A column's name in normalised form: lower case, with underscores."""
    return re.sub(r"\W+", "_", column.strip().lower())


def official(columns: Sequence[str]) -> bool:
    """Whether these are the columns of the ISIC archive."""
    return len(SPECIFIC & {key(column) for column in columns}) > 1


def with_class(table: pd.DataFrame) -> pd.DataFrame:
    """A table of text with official columns, and the column CLASS if it states any diagnosis: the class of MILK10k, or
    benign or malignant if most rows say no more than that; a diagnosis that fits neither is kept as stated."""
    named = {key(str(column)): column for column in table.columns}
    if "diagnosis_1" in named:
        levels = [table[named[level]].str.strip() for level in LEVELS if level in named]
        stated = levels[0].str.cat(pd.concat(levels[1:], axis=1), sep=":").str.rstrip(":") if levels[1:] else levels[0]
    elif "diagnosis" in named:
        stated = table[named["diagnosis"]].str.strip()
    elif "benign_malignant" in named:
        stated = table[named["benign_malignant"]].str.strip().str.capitalize()
    else:
        return table
    codes, values = pd.factorize(stated)
    paths = [_path(str(value)) for value in values]
    rows = np.bincount(codes, minlength=len(paths)) * np.array([bool(path) for path in paths])
    coarse = sum(count for count, path in zip(rows, paths, strict=True) if ":" not in path) > rows.sum() / 2
    classes = [path.split(":")[0].lower() if coarse else _class(path) for path in paths]
    return table.assign(**{CLASS: np.array(classes, dtype=object)[codes]})


def problems(table: pd.DataFrame) -> list[str]:
    """Sentences on cells that break the archive's rules, and on lesions of several patients, in a table of text with
    official columns. Each combination of cells is checked once."""
    from isic_metadata.metadata import MetadataRow, convert_errors
    from pydantic import ValidationError

    names = {column: key(str(column)) for column in table.columns}
    checked = {column: name for column, name in names.items() if name in {*MetadataRow.model_fields, *LEVELS}}
    checked |= {column: "age" for column, name in names.items() if name == "age_approx"}
    checked = {column: name for column, name in checked.items() if name not in IDS}
    counts = table[list(checked)].set_axis(list(checked.values()), axis=1)
    counts = counts.loc[:, ~counts.columns.duplicated()]
    if "diagnosis" in counts and not counts["diagnosis"].str.contains(":").any():
        # the former column has names that are no longer diagnoses
        counts = counts.drop(columns="diagnosis")
    broken: Counter[tuple[str, str]] = Counter()
    if len(counts.columns):
        names_of_cells = list(counts.columns)
        for cells, rows in counts.value_counts(sort=False).items():
            row: dict[str, Any] = dict(zip(names_of_cells, cast("tuple[str, ...]", cells), strict=True))
            try:
                MetadataRow.model_validate(row)
            except ValidationError as error:
                for one in convert_errors(error):
                    broken[str(one["loc"][0]) if one["loc"] else "", one["msg"].rstrip(".")] += int(rows)
    sentences = [
        f"{rows:,} {'row breaks' if rows == 1 else 'rows break'} a rule of the ISIC archive"
        f"{f' for {name}' if name else ''}: {message}."
        for (name, message), rows in broken.most_common(MAX_EXAMPLES)
    ]
    if len(broken) > MAX_EXAMPLES:
        sentences.append(f"{len(broken) - MAX_EXAMPLES:,} more rules of the ISIC archive are broken.")
    return sentences


def _path(stated: str) -> str:
    """A diagnosis as the archive writes it, from its first level on; "" if it is not stated."""
    from isic_metadata.diagnosis_hierarchical import DiagnosisEnum

    if ":" in stated or not stated:
        return stated
    return LEGACY.get(stated.lower()) or str(DiagnosisEnum.accept_terminal_values(stated[0].upper() + stated[1:]))


def _class(path: str) -> str:
    return next((code for start, code in CLASSES.items() if path.startswith(start)), path)
