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

MALIGNANCY = LabelSet(
    "malignancy",
    (
        Label("benign", "Benign", False, "A harmless lesion: most often an ordinary mole."),
        Label(
            "malignant",
            "Malignant",
            True,
            "A skin cancer or a pre-cancer: melanoma, basal cell carcinoma, actinic keratosis or Bowen's disease.",
        ),
    ),
)

PAD_UFES_20 = LabelSet(
    "pad_ufes_20",
    (
        Label(
            "ACK",
            "Actinic keratosis",
            False,
            "A rough, sun-damaged patch: a pre-cancer, which this data set does not count among its cancers.",
        ),
        Label(
            "BCC",
            "Basal cell carcinoma",
            True,
            "The most common skin cancer: it grows slowly, rarely spreads, and harms the tissue around it if left.",
        ),
        Label(
            "MEL",
            "Melanoma",
            True,
            "A cancer of the pigment cells that can spread early; it is the most dangerous of these classes.",
        ),
        Label("NEV", "Melanocytic nevus", False, "An ordinary mole: a harmless cluster of pigment cells."),
        Label(
            "SCC",
            "Squamous cell carcinoma",
            True,
            "A skin cancer of sun-damaged skin that can spread if it is left; Bowen's disease is counted here too.",
        ),
        Label("SEK", "Seborrhoeic keratosis", False, "A harmless, often brown and waxy growth of the outer skin."),
    ),
)

LABEL_SETS = {label_set.id: label_set for label_set in (HAM10000, MALIGNANCY, PAD_UFES_20)}


def label_set(set_id: str) -> LabelSet:
    """The label set of that id; DataError where there is none."""
    try:
        return LABEL_SETS[set_id]
    except KeyError:
        raise DataError(f"There is no label set '{set_id}'; there are {', '.join(LABEL_SETS)}.") from None
