"""The tables of studies that belong to no single model: what was asked, and the command that measures it again."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from skinapp.errors import DataError


@dataclass(frozen=True)
class Study:
    """A table in this folder: `command` measures it, `about` says what its rows are."""

    id: str
    title: str
    about: str
    command: str

    @property
    def file(self) -> Path:
        """Where the table is."""
        return Path(__file__).with_name(f"{self.id}.csv")


CLINICS = Study(
    "left-out",
    "A clinic that was not trained on",
    "ROC AUC for malignancy of two short runs of the same network on the same images of each source: one was trained "
    "on other lesions of that source too, the other never saw the source.",
    "python -m train left-out --sources ham10000 milk10k",
)
FOURIER = Study(
    "fourier",
    "Malignant or benign from Fourier features",
    "An accuracy of 95.4% has been published for this, with images divided at random. The same trees were trained on "
    "each set of features; images of a lesion can be in both parts only in the first row of each set.",
    "python -m train features-study",
)
FUSION = Study(
    "fusion",
    "What measured features add to networks",
    "The log probabilities of a network and of a features model, added with weights that were chosen on images "
    "held out from training; scores and paired differences are on test images.",
    "python -m train features-study",
)
SEARCH = Study(
    "search",
    "A search over 25 small networks",
    "71 to 75% accuracy has been published for an automatic search. The same 25 networks were trained on 100 images of "
    "each class at 32 px: once under the published protocol, which samples images with replacement and tests on the "
    "images that were used to choose the network, and once with different lesions for training, choosing and testing.",
    "python -m train search --protocol resampled (or grouped)",
)
TUTORIAL = Study(
    "tutorial",
    "The classic tutorial: 300 images, split twice",
    "Melanoma or mole, three images of each of 100 lesions, in three parts. The same network was trained and tested "
    "with the images divided at random and by lesion.",
    "python -m train tutorial",
)
STUDIES = {study.id: study for study in (CLINICS, FOURIER, FUSION, SEARCH, TUTORIAL)}


def measured() -> list[Study]:
    """The studies whose tables are here."""
    return [study for study in STUDIES.values() if study.file.is_file()]


def read(study: Study) -> pd.DataFrame:
    """The table of a study, with every cell as text, as it is shown. DataError if it cannot be read."""
    try:
        return pd.read_csv(study.file, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{study.file} is not a table ({error}); run {study.command} again.") from None
