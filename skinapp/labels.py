"""The label sets: code, name, whether it counts as malignant, a sentence on what it is, and the order."""

from dataclasses import dataclass

from skinapp.errors import DataError


@dataclass(frozen=True)
class Label:
    """One class of a label set. `malignant` follows the data set's own grouping, pre-cancers included."""

    code: str
    name: str
    malignant: bool
    summary: str


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
            True,
            "Rough, sun-damaged patches that are pre-cancers or very early, surface-only squamous cell cancers.",
        ),
        Label(
            "bcc",
            "Basal cell carcinoma",
            True,
            "The most common skin cancer: it grows slowly, rarely spreads, and harms the tissue around it if left.",
        ),
        Label(
            "bkl",
            "Benign keratosis",
            False,
            "Harmless growths of the outer skin: seborrhoeic keratoses, sun spots and lichen-planus-like keratoses.",
        ),
        Label(
            "df",
            "Dermatofibroma",
            False,
            "A firm, harmless nodule of scar-like tissue, often on the legs.",
        ),
        Label(
            "mel",
            "Melanoma",
            True,
            "A cancer of the pigment cells that can spread early; it is the most dangerous of these classes.",
        ),
        Label(
            "nv",
            "Melanocytic nevus",
            False,
            "An ordinary mole: a harmless cluster of pigment cells.",
        ),
        Label(
            "vasc",
            "Vascular lesion",
            False,
            "Harmless growths or leaks of small blood vessels: cherry angiomas, angiokeratomas, small bleeds.",
        ),
    ),
)

LABEL_SETS = {label_set.id: label_set for label_set in (HAM10000,)}


def label_set(set_id: str) -> LabelSet:
    """The label set of that id; DataError where there is none."""
    try:
        return LABEL_SETS[set_id]
    except KeyError:
        raise DataError(f"There is no label set '{set_id}'; there are {', '.join(LABEL_SETS)}.") from None
