"""The table of a data set in one validated form, and selections from it.

A frame here has one row for images that are alike in everything: categorical `diagnosis`, `sex`, `site` and
`confirmation` and whatever a data set has besides, `age` in years (float), `lesion` (whole numbers that tell lesions
apart) and `images`, how many images the row stands for. Not stated is NaN.
"""

import functools
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pandas as pd

from skinapp.datasets import registry
from skinapp.datasets.metadata import SYMPTOMS
from skinapp.labels.sets import LabelSet

TABLES = Path(__file__).parents[1] / "datasets" / "tables"
"""One compressed table a data set, made by `train summarise`."""

NOT_STATED = "not stated"
NOT_STATED_WORDS = ("", "unknown", "unk", "n/a", "na", "nan", "none", "null", "?", "-", NOT_STATED)

CATEGORIES = ("diagnosis", "sex", "site", "confirmation")
EXTRAS = ("skin_type", *SYMPTOMS, "split", "origin")
"""What only some data sets publish."""

CONFIRMATIONS = {
    "histo": "histology",
    "biopsy": "histology",
    "follow_up": "follow-up",
    "consensus": "expert consensus",
    "confocal": "confocal microscopy",
    "clinical": "clinical only",
}
"""The publishers' words for how a diagnosis was confirmed, in words that mean the same in every data set."""

NAMES = {
    "diagnosis": "Diagnosis",
    "sex": "Sex",
    "age": "Age",
    "site": "Site",
    "confirmation": "Confirmation",
    "skin_type": "Fitzpatrick skin type",
    "itch": "Itches",
    "grew": "Has grown",
    "hurt": "Hurts",
    "changed": "Has changed",
    "bleed": "Bleeds",
    "elevation": "Is raised",
    "split": "Part",
    "origin": "Diagnosis in HAM10000",
}
"""What a column is called on the screen."""


@dataclass(frozen=True)
class Table:
    """A data set's frame with its name. `labels` is None where the diagnoses are of no label set known here; without
    `has_lesions` every image counts as a lesion of its own."""

    id: str
    title: str
    frame: pd.DataFrame
    labels: LabelSet | None
    has_lesions: bool = True

    def name(self, code: str) -> str:
        """The name of a diagnosis."""
        return self.labels[code].name if self.labels and code in self.labels.codes else str(code)


@dataclass(frozen=True)
class Filters:
    """What a selection must be; an empty tuple or None leaves all. `NOT_STATED` in a tuple takes what is missing.

    `age` is inclusive on both ends and, where set, leaves out images whose age is not stated.
    """

    diagnosis: tuple[str, ...] = ()
    malignant: bool | None = None
    sex: tuple[str, ...] = ()
    age: tuple[float, float] | None = None
    site: tuple[str, ...] = ()
    confirmation: tuple[str, ...] = ()

    @property
    def active(self) -> bool:
        return self != Filters()

    def changed(self, **changes: object) -> "Filters":
        """The same filters with some changed."""
        return replace(self, **changes)  # type: ignore[arg-type]


@functools.cache
def shipped(dataset: str) -> Table:
    """The table of a data set that comes with the project; DataError where there is none of that name."""
    known = registry.dataset(dataset)
    raw = pd.read_csv(TABLES / f"{dataset}.csv.gz", dtype={"skin_type": "string"}, keep_default_na=True)
    return Table(dataset, known.title, tidy(raw, known.labels), known.labels)


def tidy(raw: pd.DataFrame, labels: LabelSet | None) -> pd.DataFrame:
    """A frame of text columns -> the form of this module: words unified, categories ordered, lesions numbered.

    Columns that are missing become not stated, without `lesion` each row is one, without `images` each row is one.
    Diagnoses keep the order of `labels`, other categories that of their frequency. Further columns stay.
    """
    frame = raw.copy()
    images = raw["images"].astype("int64") if "images" in raw else pd.Series(1, raw.index)
    for name in (*CATEGORIES, *(extra for extra in EXTRAS if extra in raw)):
        values = raw[name] if name in raw else pd.Series(np.nan, raw.index, dtype=object)
        frame[name] = _category(name, values, images.to_numpy(), labels)
    age = pd.to_numeric(raw["age"], errors="coerce") if "age" in raw else pd.Series(np.nan, raw.index)
    frame["age"] = age.astype("float64")
    frame["lesion"] = pd.factorize(raw["lesion"])[0] if "lesion" in raw else np.arange(len(raw))
    frame["images"] = images
    return frame.reset_index(drop=True)


def _category(name: str, values: pd.Series, images: np.ndarray, labels: LabelSet | None) -> pd.Categorical:
    codes, levels = pd.factorize(values)
    words = pd.Series(levels, dtype=object).map(lambda word: _word(name, word))
    unified, names = pd.factorize(words)
    codes = np.where(codes < 0, -1, unified[codes]) if len(unified) else codes
    if name == "diagnosis" and labels is not None:
        order = [code for code in labels.codes if code in set(names)] + [n for n in names if n not in labels.codes]
    elif name in ("skin_type", "split", *SYMPTOMS):
        order = sorted(names)
    else:
        frequency = np.bincount(codes[codes >= 0], weights=images[codes >= 0], minlength=len(names))
        order = [names[index] for index in np.argsort(-frequency, kind="stable")]
    position = {word: index for index, word in enumerate(order)}
    renumber = np.array([position[word] for word in names] + [-1])
    return pd.Categorical.from_codes(renumber[codes], categories=pd.Index(order, dtype=object))


def _word(name: str, value: object) -> str | None:
    """A published value in the words used here; None where it says that nothing is known."""
    text = " ".join(str(value).split())
    if text.lower() in NOT_STATED_WORDS:
        return None
    if name == "sex":
        return {"m": "male", "f": "female", "man": "male", "woman": "female"}.get(text.lower(), text.lower())
    if name == "confirmation":
        return CONFIRMATIONS.get(text.lower(), text.lower())
    return text if name in ("diagnosis", "origin") else text.lower()


def malignant(table: Table) -> np.ndarray:
    """Whether each category of `diagnosis` counts as malignant: 1, 0, or NaN where that is not known."""
    known = {label.code: float(label.malignant) for label in table.labels.labels} if table.labels else {}
    return np.array([known.get(code, np.nan) for code in table.frame["diagnosis"].cat.categories])


def select(table: Table, filters: Filters) -> pd.DataFrame:
    """The rows of a table that pass the filters; a value that the table does not have selects nothing."""
    frame = table.frame
    keep = np.ones(len(frame), dtype=bool)
    for name in CATEGORIES:
        chosen = getattr(filters, name)
        if chosen:
            categories = frame[name].cat.categories
            # the last entry is for code -1: not stated
            keep &= np.append(categories.isin(chosen), NOT_STATED in chosen)[frame[name].cat.codes]
    if filters.malignant is not None:
        keep &= np.append(malignant(table) == filters.malignant, False)[frame["diagnosis"].cat.codes]
    if filters.age is not None:
        keep &= frame["age"].between(*filters.age).to_numpy()
    return frame if keep.all() else frame[keep]


def values(table: Table, column: str) -> list[str]:
    """What a filter on a column offers: its categories, and NOT_STATED where some are."""
    data = table.frame[column].cat
    return [*data.categories, *([NOT_STATED] if (data.codes < 0).any() else [])]


FILTERS = tuple(field.name for field in fields(Filters))
