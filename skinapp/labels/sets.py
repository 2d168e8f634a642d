"""The label sets: code, name, harmless, pre-cancer or cancer, a sentence on what it is, and the order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from skinapp.errors import DataError

Kind = Literal["cancer", "pre-cancer", "harmless"]
KINDS: tuple[Kind, ...] = ("cancer", "pre-cancer", "harmless")
"""The kinds of diagnosis, the most serious first."""

GROUPS: dict[tuple[Kind, ...], str] = {
    ("cancer",): "Cancer, all types together",
    ("cancer", "pre-cancer"): "Cancer or pre-cancer",
    ("pre-cancer",): "Pre-cancer",
    ("pre-cancer", "harmless"): "Pre-cancer or harmless",
    ("harmless",): "Harmless",
}
"""The name of each group of classes, by the kinds of diagnosis that the classes contain."""


@dataclass(frozen=True)
class Label:
    """One class of a label set. `malignant_pre_cancer` says that the data set counts this pre-cancer as malignant."""

    code: str
    name: str
    kind: Kind
    summary: str
    malignant_pre_cancer: bool = False
    common_name: str = ""

    @property
    def malignant(self) -> bool:
        """Whether it counts as malignant in the data set's own grouping, which every malignancy score uses."""
        return self.kind == "cancer" or self.malignant_pre_cancer

    @property
    def spoken(self) -> str:
        """The name for use within a sentence, the common one first: "mole (melanocytic nevus)"."""
        name = self.name[0].lower() + self.name[1:]
        return f"{self.common_name} ({name})" if self.common_name else name


@dataclass(frozen=True)
class LabelSet:
    """An ordered set of classes; a model's outputs follow this order."""

    id: str
    labels: tuple[Label, ...]

    @property
    def codes(self) -> tuple[str, ...]:
        return tuple(label.code for label in self.labels)

    def __getitem__(self, code: str) -> Label:
        for label in self.labels:
            if label.code == code:
                return label
        raise DataError(f"There is no class '{code}' in the label set '{self.id}'; it has {', '.join(self.codes)}.")


HAM10000 = LabelSet(
    "ham10000",
    (
        Label(
            "akiec",
            "Actinic keratosis or Bowen's disease",
            "pre-cancer",
            "Rough, sun-damaged patches that are pre-cancers or very early, surface-only squamous cell cancers.",
            malignant_pre_cancer=True,
        ),
        Label(
            "bcc",
            "Basal cell carcinoma",
            "cancer",
            "The most common skin cancer: it grows slowly, rarely spreads, and harms the tissue around it if left "
            "untreated.",
        ),
        Label(
            "bkl",
            "Benign keratosis",
            "harmless",
            "Harmless growths of the outer skin: seborrhoeic keratoses, sun spots and lichen-planus-like keratoses.",
        ),
        Label(
            "df",
            "Dermatofibroma",
            "harmless",
            "A firm, harmless nodule of scar-like tissue, often on the legs.",
        ),
        Label(
            "mel",
            "Melanoma",
            "cancer",
            "A cancer of the pigment cells that can spread early; it is the most dangerous of these classes.",
        ),
        Label(
            "nv",
            "Melanocytic nevus",
            "harmless",
            "An ordinary mole: a harmless cluster of pigment cells.",
            common_name="mole",
        ),
        Label(
            "vasc",
            "Vascular lesion",
            "harmless",
            "Harmless growths or leaks of small blood vessels: cherry angiomas, angiokeratomas, small bleeds.",
        ),
    ),
)

MALIGNANCY = LabelSet(
    "malignancy",
    (
        Label("benign", "Benign", "harmless", "Not malignant: most often an ordinary mole."),
        Label(
            "malignant",
            "Malignant",
            "cancer",
            "A skin cancer; in some data sets, pre-cancers count too.",
        ),
    ),
)

PAD_UFES_20 = LabelSet(
    "pad_ufes_20",
    (
        Label(
            "ACK",
            "Actinic keratosis",
            "pre-cancer",
            "A rough, sun-damaged patch: a pre-cancer, which this data set does not count among its cancers.",
        ),
        Label(
            "BCC",
            "Basal cell carcinoma",
            "cancer",
            "The most common skin cancer: it grows slowly, rarely spreads, and harms the tissue around it if left "
            "untreated.",
        ),
        Label(
            "MEL",
            "Melanoma",
            "cancer",
            "A cancer of the pigment cells that can spread early; it is the most dangerous of these classes.",
        ),
        Label(
            "NEV",
            "Melanocytic nevus",
            "harmless",
            "An ordinary mole: a harmless cluster of pigment cells.",
            common_name="mole",
        ),
        Label(
            "SCC",
            "Squamous cell carcinoma",
            "cancer",
            "A skin cancer of sun-damaged skin that can spread if left untreated; Bowen's disease is counted here too.",
        ),
        Label("SEK", "Seborrhoeic keratosis", "harmless", "A harmless, often brown and waxy growth of the outer skin."),
    ),
)

MILK10K = LabelSet(
    "milk10k",
    (
        Label(
            "AKIEC",
            "Actinic keratosis or Bowen's disease",
            "pre-cancer",
            "Rough, sun-damaged patches that are pre-cancers or very early, surface-only squamous cell cancers.",
            malignant_pre_cancer=True,
        ),
        Label(
            "BCC",
            "Basal cell carcinoma",
            "cancer",
            "The most common skin cancer: it grows slowly, rarely spreads, and harms the tissue around it if left "
            "untreated.",
        ),
        Label(
            "BEN_OTH",
            "Other benign growth",
            "harmless",
            "Harmless growths of other kinds, and two harmless growths in one place.",
        ),
        Label(
            "BKL",
            "Benign keratosis",
            "harmless",
            "Harmless growths of the outer skin: seborrhoeic keratoses, sun spots and lichen-planus-like keratoses.",
        ),
        Label(
            "DF",
            "Dermatofibroma",
            "harmless",
            "A firm, harmless nodule of scar-like tissue, often on the legs.",
        ),
        Label(
            "INF",
            "Inflammation or infection",
            "harmless",
            "Skin that is inflamed or infected, without any growth.",
        ),
        Label(
            "MAL_OTH",
            "Other cancer",
            "cancer",
            "Cancers of other kinds, and a cancer together with another growth in one place.",
        ),
        Label(
            "MEL",
            "Melanoma",
            "cancer",
            "A cancer of the pigment cells that can spread early; it is the most dangerous of these classes.",
        ),
        Label(
            "NV",
            "Melanocytic nevus",
            "harmless",
            "An ordinary mole: a harmless cluster of pigment cells.",
            common_name="mole",
        ),
        Label(
            "SCCKA",
            "Squamous cell carcinoma",
            "cancer",
            "A skin cancer of sun-damaged skin that can spread if left untreated; keratoacanthoma is counted here too.",
        ),
        Label(
            "VASC",
            "Vascular lesion",
            "harmless",
            "Harmless growths or leaks of small blood vessels: cherry angiomas, angiokeratomas, small bleeds.",
        ),
    ),
)

LABEL_SETS = {label_set.id: label_set for label_set in (HAM10000, MALIGNANCY, PAD_UFES_20, MILK10K)}


def label_set(set_id: str) -> LabelSet:
    """The label set with this id; DataError if there is none."""
    try:
        return LABEL_SETS[set_id]
    except KeyError:
        raise DataError(f"There is no label set '{set_id}'; choose one of {', '.join(LABEL_SETS)}.") from None


def of_card(described: Mapping[str, Any]) -> LabelSet:
    """The label set of the `labels` of a model's card: a built-in one or, with `classes`, the model's own.

    DataError if there is no such set, or where a set of its own has the id of one here.
    """
    if "classes" not in described:
        return label_set(described["set"])
    if described["set"] in LABEL_SETS:
        raise DataError(f"The label set '{described['set']}' is defined here, so a model cannot redefine it.")
    return LabelSet(described["set"], tuple(Label(**one) for one in described["classes"]))


def contents(labels: LabelSet, diagnoses: LabelSet) -> dict[str, tuple[Label, ...]]:
    """Maps each class code to the diagnoses in the class: itself, except for the two classes of MALIGNANCY, which
    contain the diagnoses that do and do not count as malignant in the label set that the data were published with."""
    if labels.id != MALIGNANCY.id:
        return {label.code: (label,) for label in labels.labels}
    return {
        label.code: tuple(one for one in diagnoses.labels if one.malignant == label.malignant)
        for label in labels.labels
    }


def kinds(labels: LabelSet, diagnoses: LabelSet) -> dict[str, tuple[Kind, ...]]:
    """Maps each class code to the kinds of the diagnoses that it contains, the most serious first."""
    return {
        code: tuple(kind for kind in KINDS if any(one.kind == kind for one in holds))
        for code, holds in contents(labels, diagnoses).items()
    }


def target(labels: LabelSet, codes: Sequence[str]) -> str:
    """The common name of some classes, for use within a sentence: melanoma, cancer, or cancer or pre-cancer."""
    chosen = [labels[code] for code in codes]
    if [label.name for label in chosen] == ["Melanoma"]:
        return "melanoma"
    return "cancer or pre-cancer" if any(label.kind == "pre-cancer" for label in chosen) else "cancer"


def groups(labels: LabelSet, diagnoses: LabelSet) -> dict[str, tuple[str, ...]]:
    """Maps each name in GROUPS to the codes of its classes, the most serious group first. Every class is in exactly one
    group."""
    of_classes = kinds(labels, diagnoses)
    return {
        name: codes
        for group, name in GROUPS.items()
        if (codes := tuple(code for code, kinds_of_class in of_classes.items() if kinds_of_class == group))
    }
