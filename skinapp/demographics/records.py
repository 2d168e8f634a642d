"""The table of a data set in one validated form, and selections from it.

One row of a frame stands for all images of a lesion with the same metadata; `images` counts them. The other columns are
the categorical `diagnosis`, `sex`, `site`, `confirmation` and any others that the data set publishes, `age` in years
(float), and `lesion`, a number for each lesion. Values that are not stated are NaN.
"""

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pandas as pd

from skinapp.datasets import registry
from skinapp.datasets.metadata import NOT_STATED as NOT_STATED
from skinapp.datasets.metadata import NOT_STATED_WORDS, SYMPTOMS
from skinapp.formatting import joined
from skinapp.labels.sets import LabelSet

TABLES = Path(__file__).parents[1] / "datasets" / "tables"
"""One compressed table per data set, made by `train summarise`."""

CATEGORIES = ("diagnosis", "sex", "site", "confirmation")
PROVENANCE = ("split", "origin", "modality")
"""Columns that describe the image, not the person or the lesion."""
SKIN = {"skin_type": "Fitzpatrick skin type", "skin_tone": "skin tone"}
EXTRAS = (*SKIN, *SYMPTOMS, *PROVENANCE)
"""Columns that only some data sets publish."""

CONFIRMATIONS = {
    "histo": "histology",
    "biopsy": "histology",
    "follow_up": "follow-up",
    "consensus": "expert consensus",
    "confocal": "confocal microscopy",
    "clinical": "clinical only",
    "histopathology": "histology",
    "single contributor clinical assessment": "clinical only",
    "serial imaging showing no change": "follow-up",
    "single image expert consensus": "expert consensus",
    "confocal microscopy with consensus dermoscopy": "confocal microscopy",
}
"""How a diagnosis was confirmed: the publishers' words -> one word for all data sets."""
SKIN_TYPES = {"i": "1", "ii": "2", "iii": "3", "iv": "4", "v": "5", "vi": "6"}

NAMES = {
    "diagnosis": "Diagnosis",
    "sex": "Sex",
    "age": "Age",
    "site": "Site",
    "confirmation": "Confirmation",
    "skin_type": "Fitzpatrick skin type",
    "skin_tone": "Skin tone",
    "itch": "Itches",
    "grew": "Has grown",
    "hurt": "Hurts",
    "changed": "Has changed",
    "bleed": "Bleeds",
    "elevation": "Is raised",
    "split": "Part",
    "modality": "Kind of image",
    "origin": "Diagnosis in HAM10000",
}
"""Column names on the screen."""


@dataclass(frozen=True)
class Table:
    """A data set's frame with its name. `labels` is None if the diagnoses are not from a known label set; without
    `has_lesions`, every image counts as a separate lesion."""

    id: str
    title: str
    frame: pd.DataFrame
    labels: LabelSet | None
    has_lesions: bool = True

    def name(self, code: str) -> str:
        """The name of a diagnosis."""
        return self.labels[code].name if self.labels and code in self.labels.codes else str(code)


SEXES = {"female": "women", "male": "men"}


@dataclass(frozen=True)
class Filters:
    """What to select; an empty tuple or None selects everything. `NOT_STATED` in a tuple selects missing values.

    `age` includes both ends and, if set, leaves out images whose age is not stated.
    """

    diagnosis: tuple[str, ...] = ()
    malignant: bool | None = None
    sex: tuple[str, ...] = ()
    age: tuple[float, float] | None = None
    site: tuple[str, ...] = ()
    confirmation: tuple[str, ...] = ()
    skin_type: tuple[str, ...] = ()
    skin_tone: tuple[str, ...] = ()

    @property
    def active(self) -> bool:
        return self != Filters()

    def changed(self, **changes: object) -> "Filters":
        """The same filters with some changed."""
        return replace(self, **changes)  # type: ignore[arg-type]


@functools.cache
def shipped(dataset: str) -> Table:
    """The table shipped for a data set; DataError if there is no data set with this id."""
    known = registry.dataset(dataset)
    raw = pd.read_csv(
        TABLES / f"{dataset}.csv.gz", dtype={"skin_type": "string", "skin_tone": "string"}, keep_default_na=True
    )
    return Table(dataset, known.title, tidy(raw, known.labels), known.labels)


def by_image(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame of a shipped table with one row per image: `image`, its id, in place of `ids`."""
    alone = frame.assign(image=frame["ids"].str.split(), images=1).drop(columns="ids")
    return alone.explode("image", ignore_index=True)


def tidy(raw: pd.DataFrame, labels: LabelSet | None) -> pd.DataFrame:
    """A frame of text columns -> the form of this module: words unified, categories ordered, lesions numbered.

    Missing columns are filled with not stated. Without `lesion` each row is a separate lesion, without `images` a
    single image. Diagnoses are in the order of `labels`, other categories by frequency. Other columns are kept.
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
    elif name in ("skin_type", "skin_tone", "split", *SYMPTOMS):
        order = sorted(names)
    else:
        frequency = np.bincount(codes[codes >= 0], weights=images[codes >= 0], minlength=len(names))
        order = [names[index] for index in np.argsort(-frequency, kind="stable")]
    position = {word: index for index, word in enumerate(order)}
    renumber = np.array([position[word] for word in names] + [-1])
    return pd.Categorical.from_codes(renumber[codes], categories=pd.Index(order, dtype=object))


def _word(name: str, value: object) -> str | None:
    """The term used here for a published value; None if it means not stated."""
    text = " ".join(str(value).split())
    if text.lower() in NOT_STATED_WORDS:
        return None
    if name == "sex":
        return {"m": "male", "f": "female", "man": "male", "woman": "female"}.get(text.lower(), text.lower())
    if name == "confirmation":
        return CONFIRMATIONS.get(text.lower(), text.lower())
    if name == "skin_type":
        return SKIN_TYPES.get(text.lower(), text.lower())
    return text if name in ("diagnosis", "origin") else text.lower()


def malignant(table: Table) -> np.ndarray:
    """Whether each category of `diagnosis` is malignant: 1, 0, or NaN if unknown."""
    known = {label.code: float(label.malignant) for label in table.labels.labels} if table.labels else {}
    return np.array([known.get(code, np.nan) for code in table.frame["diagnosis"].cat.categories])


def select(table: Table, filters: Filters) -> pd.DataFrame:
    """The rows of a table that pass the filters; a value that the table does not have selects nothing."""
    frame = table.frame
    keep = np.ones(len(frame), dtype=bool)
    for name in (*CATEGORIES, *SKIN):
        chosen = getattr(filters, name)
        if chosen and name not in frame:
            keep[:] = False
        elif chosen:
            categories = frame[name].cat.categories
            # the last entry is for code -1: not stated
            keep &= np.append(categories.isin(chosen), NOT_STATED in chosen)[frame[name].cat.codes]
    if filters.malignant is not None:
        keep &= np.append(malignant(table) == filters.malignant, False)[frame["diagnosis"].cat.codes]
    if filters.age is not None:
        keep &= frame["age"].between(*filters.age).to_numpy()
    return frame if keep.all() else frame[keep]


def values(table: Table, column: str) -> list[str]:
    """The choices of a filter on a column: its categories, and NOT_STATED if any row lacks a value."""
    data = table.frame[column].cat
    return [*data.categories, *([NOT_STATED] if (data.codes < 0).any() else [])]


def in_words(table: Table, filters: Filters) -> str:
    """The filters in plain English: "melanoma, women, back, 60 or older; ages are recorded in fives". "" without
    any."""
    parts = [_either(map(_spoken(table), filters.diagnosis), "diagnosis")]
    parts.append({None: "", True: "malignant", False: "not malignant"}[filters.malignant])
    parts.append(_either((SEXES.get(sex, sex) for sex in filters.sex), "sex"))
    parts.append(_either(filters.site, "site"))
    parts.append(_ages(filters.age))
    confirmed = _either((word for word in filters.confirmation), "confirmation")
    parts.append(confirmed if NOT_STATED in filters.confirmation else f"confirmed by {confirmed}" * bool(confirmed))
    for name, spoken in SKIN.items():
        stated = joined(getattr(filters, name), "or")
        parts.append(f"{spoken} {stated}" * bool(stated))
    words = ", ".join(part for part in parts if part)
    known = table.frame["age"].dropna()
    return words + "; ages are recorded in steps of five years" * bool(
        filters.age and len(known) and (known % 5 == 0).all()
    )


def _spoken(table: Table) -> Callable[[str], str]:
    labels = table.labels
    return lambda code: labels[code].spoken if labels and code in labels.codes else str(code)


def _either(words: Iterable[str], column: str) -> str:
    """melanoma or mole; site not stated"""
    return joined((f"{column} {NOT_STATED}" if word == NOT_STATED else word for word in words), "or")


def _ages(ages: tuple[float, float] | None) -> str:
    if ages is None:
        return ""
    low, high = ages
    if low == high:
        return f"{low:.0f} years old"
    if np.isinf(high):
        return f"{low:.0f} or older"
    return f"{high:.0f} or younger" if low == 0 else f"{low:.0f} to {high:.0f} years old"


FILTERS = tuple(field.name for field in fields(Filters))
