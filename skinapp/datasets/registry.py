"""The data sets: what each is, where it lies, and its publisher's table."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from skinapp.errors import DataError
from skinapp.images import imaging
from skinapp.labels.sets import HAM10000, MALIGNANCY, PAD_UFES_20, LabelSet

SYMPTOMS = ("itch", "grew", "hurt", "changed", "bleed", "elevation")


@dataclass(frozen=True)
class Source:
    """A published data set: its folder below the data root, its classes, and what its publisher says of it."""

    id: str
    title: str
    folder: str
    labels: LabelSet
    about: str
    citation: str
    published_images: int


SOURCES = {
    source.id: source
    for source in (
        Source(
            "ham10000",
            "HAM10000",
            "ham10000",
            HAM10000,
            "Dermoscopy images of pigmented lesions, collected over 20 years at a university clinic in Vienna, "
            "Austria, and a skin cancer practice in Queensland, Australia.",
            "Tschandl, Rosendahl and Kittler 2018, doi:10.1038/sdata.2018.161, CC BY-NC 4.0",
            10_015,
        ),
        Source(
            "pad_ufes_20",
            "PAD-UFES-20",
            "pad_ufes_20",
            PAD_UFES_20,
            "Smartphone photos of lesions, with what the patients said about them, collected in Espírito Santo, "
            "Brazil, where many people have ancestors from Pomerania, Germany or Italy.",
            "Pacheco et al. 2020, doi:10.1016/j.dib.2020.106221, CC BY 4.0",
            2_298,
        ),
        Source(
            "malignant_benign",
            "Malignant/benign",
            "malignant_benign",
            MALIGNANCY,
            "Dermoscopy images of the ISIC archive, compiled on Kaggle in two folders and without any table (the half "
            "meant for training). Three of four are HAM10000's, so their age, sex, site and confirmation are known.",
            "Skin Cancer: Malignant vs. Benign, compiled by Claudio Fanconi on Kaggle, ISIC archive terms of use",
            2_637,
        ),
    )
}


def data_root() -> Path:
    """Where the data sets lie: the environment variable SKINAPP_DATA, or the folder `data`."""
    return Path(os.environ.get("SKINAPP_DATA", "data"))


def published(dataset: str, root: Path) -> pd.DataFrame:
    """A publisher's table below the data root, one row an image: `image`, `lesion` and what else is published.

    Raises DataError where the table is missing or is not the publisher's. The malignant/benign set has no table; its
    rows are in the shipped one.
    """
    file = root / SOURCES[dataset].folder / "metadata.csv"
    try:
        raw = pd.read_csv(file)
        if dataset == "ham10000":
            frame = raw[["image_id", "lesion_id", "dx", "dx_type", "age", "sex", "localization"]].set_axis(
                ["image", "lesion", "diagnosis", "confirmation", "age", "sex", "site"], axis=1
            )
        else:
            frame = pd.DataFrame(
                {
                    "image": raw["img_id"].str.rsplit(".", n=1).str[0],
                    "lesion": raw["patient_id"] + "_" + raw["lesion_id"].astype(str),
                    "diagnosis": raw["diagnostic"],
                    "confirmation": np.where(raw["biopsed"], "biopsy", "clinical"),
                    "age": raw["age"],
                    "sex": raw["gender"],
                    "site": raw["region"],
                    "skin_type": raw["fitspatrick"].astype("Int64").astype("string"),
                    **{
                        name: raw[name].map({"True": "yes", "False": "no", True: "yes", False: "no"})
                        for name in SYMPTOMS
                    },
                }
            )
    except FileNotFoundError:
        raise DataError(f"There is no table {file}; set SKINAPP_DATA to the folder of the data sets.") from None
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(f"{file} is not a CSV file that can be read ({error}).") from None
    except KeyError as error:
        raise DataError(f"{file} lacks a column that the publisher's table has: {error}. Download it again.") from None
    return frame


def image_files(dataset: str, root: Path) -> dict[str, Path]:
    """The files of a data set's images below the data root, by image id. Empty where they are not on disk."""
    folder = root / SOURCES[dataset].folder
    if dataset == "malignant_benign":
        return {f"{file.parent.name}/{file.stem}": file for code in MALIGNANCY.codes for file in _images(folder / code)}
    return {file.stem: file for file in _images(folder / "images")}


def _images(folder: Path) -> list[Path]:
    try:
        return [file for file in folder.iterdir() if file.suffix.lower() in imaging.EXTENSIONS]
    except OSError:
        return []
