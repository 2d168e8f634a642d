"""Checks patient metadata, encodes it, and adds it to the logits of the image.

A model that uses it lists its fields in `model.json` under `inputs.clinical`, with their coding, and keeps the weights
in `clinical.json`:

    logits = scale * logits of the image + coded values @ weights + bias

Every coded column is zero on average over the patients with a value, and zero where a value is missing. So a missing
value adds nothing, and neither does the mere fact that a value was recorded. The image's own logits, and with them its
class maps, are unchanged.
"""

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from skinapp.errors import DataError, ModelError

Metadata = dict[str, float | str]
"""Field name -> a number, the code of a category, or "yes" or "no". Unknown values are left out."""

WEIGHTS_FILE = "clinical.json"
MISSING = {"", "nan", "none", "na", "n/a", "unk", "unknown", "missing", "-"}
YES_NO = {
    **dict.fromkeys(("yes", "y", "true", "1", "1.0"), "yes"),
    **dict.fromkeys(("no", "n", "false", "0", "0.0"), "no"),
}


@dataclass(frozen=True)
class Field:
    """A question about the patient or the lesion.

    `kind` is number, category or yes-no. A number is from `low` to `high`, in `unit`; `categories` maps the codes of a
    category to what a person reads. `coding` says how a value becomes columns, see `columns`; it is empty for a field
    that no model uses.
    """

    name: str
    title: str
    kind: str
    hint: str = ""
    unit: str = ""
    low: float = 0
    high: float = 0
    categories: Mapping[str, str] = dataclasses.field(default_factory=dict)
    coding: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def flag(self) -> str:
        """The option of the command line."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def form(self) -> str:
        """The form of a value, for the command line's help."""
        if self.kind == "number":
            return self.unit.split()[0].upper() if self.name != "skin_type" else "1-6"
        return "yes|no" if self.kind == "yes-no" else "|".join(self.categories) or "NAME"


QUESTIONS = (
    Field("age", "Age", "number", "", "years", 0, 120),
    Field("sex", "Sex", "category", categories={"female": "Female", "male": "Male"}),
    Field("site", "Site", "category", "Where on the body the lesion is."),
    Field("itch", "It itches", "yes-no"),
    Field("grew", "It has grown", "yes-no"),
    Field("hurt", "It hurts", "yes-no"),
    Field("changed", "It has changed", "yes-no", "Recently, in colour or shape."),
    Field("bleed", "It has bled", "yes-no"),
    Field("elevation", "It is raised", "yes-no", "It rises above the skin around it."),
    Field(
        "skin_type",
        "Skin type",
        "number",
        "Fitzpatrick: 1 always burns and never tans, 6 is deeply pigmented and never burns.",
        "Fitzpatrick",
        1,
        6,
    ),
    Field("diameter_1", "Larger diameter", "number", "", "mm", 0.5, 200),
    Field("diameter_2", "Smaller diameter", "number", "At right angles to the larger one.", "mm", 0.5, 200),
)
"""All fields that a model may use; each model defines its own sites. Whether a biopsy was taken must never be among
them: in PAD-UFES-20 it is recorded only if cancer was suspected, so it reveals the diagnosis."""


@dataclass(frozen=True)
class Fusion:
    """How coded metadata [D] is added to the image's logits [K]: `scale`, `bias` [K] and `weights` [D, K]."""

    scale: float
    bias: np.ndarray
    weights: np.ndarray

    def add(self, logits: np.ndarray, coded: np.ndarray) -> np.ndarray:
        """Logits [..., K] of images and coded metadata [..., D] -> float64 [..., K]."""
        return self.scale * logits.astype(np.float64) + coded @ self.weights + self.bias


def fields_of(card: Mapping[str, Any]) -> tuple[Field, ...]:
    """The fields that a model card lists; none for a model that uses the image alone."""
    return tuple(Field(**listed) for listed in card.get("inputs", {}).get("clinical", ()))


def described(fields: Iterable[Field]) -> list[dict[str, Any]]:
    """The fields as `model.json` lists them; `fields_of` reads them back."""
    empty: tuple[Any, ...] = ("", 0, {})
    return [
        {name: value for name, value in dataclasses.asdict(field).items() if value not in empty}
        | {"coding": field.coding}
        for field in fields
    ]


def parse(fields: Iterable[Field], raw: Mapping[str, object]) -> Metadata:
    """Parse values that were typed, selected or read from a table. DataError with a sentence where a value is
    impossible.

    Empty, None, NaN and "unknown" count as missing; entries that `fields` does not name are ignored.
    """
    values: Metadata = {}
    for field in fields:
        text = "" if raw.get(field.name) is None else " ".join(str(raw[field.name]).split())
        if text.lower() not in MISSING:
            values[field.name] = _parsed(field, text)
    return values


def columns(field: Field) -> int:
    """The number of columns of a field: for a number, one plus one per knot; otherwise one per category, or one for yes
    or no."""
    if field.kind == "number":
        return 1 + len(field.coding["knots"])
    return len(field.categories) if field.kind == "category" else 1


def raw_columns(field: Field, value: float | str) -> np.ndarray:
    """A value before centring, float64 [columns].

    A number is clipped to `seen`, the range of the training data, put on a logarithmic scale where `log` is set, and
    followed by its excess over each of the `knots`, so that the slope of its effect may change there. A category is
    one-hot. Yes is 1, no is 0.
    """
    if field.kind == "number":
        low, high = field.coding["seen"]
        number = min(max(float(value), low), high)
        if field.coding["log"]:
            number = math.log(number)
        return np.array([number, *(max(number - knot, 0.0) for knot in field.coding["knots"])])
    if field.kind == "category":
        return np.array([float(value == code) for code in field.categories])
    return np.array([float(value == "yes")])


def code(fields: Iterable[Field], values: Metadata) -> np.ndarray:
    """Metadata -> float64 [D]: the concatenation of each field's `raw_columns`, minus the `centre` and divided by the
    `spread` of its coding; zeros for a missing value."""
    parts = [
        (raw_columns(field, values[field.name]) - field.coding["centre"]) / field.coding["spread"]
        if field.name in values
        else np.zeros(columns(field))
        for field in fields
    ]
    return np.concatenate(parts) if parts else np.zeros(0)


def to_json(fusion: Fusion, fields: Iterable[Field]) -> str:
    """The content of `clinical.json`: scale, bias, and the weights [columns][K] of each field by name."""
    content: dict[str, Any] = {"scale": fusion.scale, "bias": fusion.bias.tolist(), "weights": {}}
    start = 0
    for field in fields:
        content["weights"][field.name] = fusion.weights[start : start + columns(field)].tolist()
        start += columns(field)
    return json.dumps(content, indent=1) + "\n"


def from_json(content: str | bytes, fields: Iterable[Field], classes: int) -> Fusion:
    """Read `clinical.json` back. ModelError if it does not fit these fields and this number of classes."""
    try:
        read = json.loads(content)
        weights = [
            np.array(read["weights"][field.name], dtype=np.float64).reshape(columns(field), -1) for field in fields
        ]
        fusion = Fusion(float(read["scale"]), np.array(read["bias"], dtype=np.float64), np.concatenate(weights))
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{WEIGHTS_FILE} does not fit the fields in model.json ({error}).") from None
    if fusion.bias.shape != (classes,) or fusion.weights.shape[1] != classes:
        raise ModelError(f"{WEIGHTS_FILE} is not for {classes} classes.")
    if not all(np.isfinite(values).all() for values in (fusion.scale, fusion.bias, fusion.weights)):
        raise ModelError(f"{WEIGHTS_FILE} holds a value that is not a number.")
    return fusion


def _parsed(field: Field, text: str) -> float | str:
    if field.kind == "number":
        return _number(field, text)
    if field.kind == "yes-no":
        if text.lower() not in YES_NO:
            raise DataError(f"{field.title}: '{text}' is neither yes nor no; write yes or no, or leave it out.")
        return YES_NO[text.lower()]
    wanted = _plain(text)
    names = {code: (_plain(code), _plain(title)) for code, title in field.categories.items()}
    exact = [code for code, spellings in names.items() if wanted in spellings]
    begun = exact or [code for code, spellings in names.items() if any(name.startswith(wanted) for name in spellings)]
    if len(begun) != 1:
        raise DataError(
            f"{field.title}: '{text}' is not one of the choices; write one of {', '.join(field.categories)}, or leave "
            "it out."
        )
    return begun[0]


def _number(field: Field, text: str) -> float:
    allowed = f"write a number from {field.low:g} to {field.high:g} ({field.unit}), or leave it out"
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        raise DataError(f"{field.title}: '{text}' is not a number; {allowed}.") from None
    if not field.low <= value <= field.high:
        raise DataError(f"{field.title}: {text} is not possible; {allowed}.")
    return value


def _plain(text: str) -> str:
    return " ".join(text.lower().replace("_", " ").replace("-", " ").split())
