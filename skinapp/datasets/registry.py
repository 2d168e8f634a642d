"""The data sets: contents, publisher, licence, split, and files of each.

To add a data set, add an entry here and, in this folder, a parser of its publisher's metadata.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from skinapp.datasets import ham10000, isic_more, malignant_benign, milk10k, pad_ufes_20
from skinapp.errors import DataError
from skinapp.images import imaging
from skinapp.labels.sets import HAM10000, MALIGNANCY, MILK10K, PAD_UFES_20, LabelSet


@dataclass(frozen=True)
class Publisher:
    """Where a data set is published, and the files to download. `train download` reads their sizes and checksums from
    the host's API, if it states them.

    `host` is dataverse, mendeley, kaggle or isic; `key` the data set's id there; `files` maps the pattern of a
    published file name to the name during the download. On isic, images are single files; train/data/splits lists
    them.
    """

    host: str
    key: str
    address: str
    files: Mapping[str, str]
    changes: str
    """How the downloaded folder differs from what is published."""


@dataclass(frozen=True)
class DataSet:
    """A published data set.

    `title` is its short name on the screen, `name` the publisher's. `parse` turns a folder into a table with one row
    per image, see `skinapp.datasets.metadata`; `arrange` does so with the published table alone, and `columns` maps our
    names to the published ones; without a published table there is neither. `group` is lesion or patient: images of one
    group are never split between training and test. `images` are the folders of the image files; if there are several,
    an image's id begins with its folder.
    """

    id: str
    title: str
    name: str
    folder: str
    labels: LabelSet
    modality: str
    about: str
    citation: str
    attribution: str
    licence: str
    publisher: Publisher
    published_images: int
    protocol: str
    group: str
    parse: Callable[[Path], pd.DataFrame]
    arrange: Callable[[pd.DataFrame], pd.DataFrame] | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    images: tuple[str, ...] = ("images",)

    @property
    def credit(self) -> str:
        """Citation and licence, in one line."""
        return f"{self.citation}, {self.licence}"

    @property
    def command(self) -> str:
        """The command that downloads it."""
        return f"python -m train download {self.id.replace('_', '-')}"


DATASETS = {
    each.id: each
    for each in (
        DataSet(
            id="ham10000",
            title="HAM10000",
            name="HAM10000",
            folder="ham10000",
            labels=HAM10000,
            modality="dermoscopy",
            about="Dermoscopy images of pigmented lesions, collected over 20 years at a university clinic in Vienna, "
            "Austria, and a skin cancer practice in Queensland, Australia.",
            citation="Tschandl, Rosendahl and Kittler 2018, doi:10.1038/sdata.2018.161",
            attribution="Tschandl, Rosendahl, Kittler: The HAM10000 dataset, a large collection of multi-source "
            "dermatoscopic images of common pigmented skin lesions. Sci Data 5, 180161 (2018), "
            "doi:10.1038/sdata.2018.161. ViDIR Group, Medical University of Vienna.",
            licence="CC BY-NC 4.0",
            publisher=Publisher(
                host="dataverse",
                key="10.7910/DVN/DBW86T",
                address="https://doi.org/10.7910/DVN/DBW86T",
                files={
                    r"HAM10000_metadata(\.\w+)?": "metadata",
                    r"HAM10000_images_part_1\.zip": "images_1.zip",
                    r"HAM10000_images_part_2\.zip": "images_2.zip",
                    r"HAM10000_segmentations_lesion_tschandl\.zip": "masks.zip",
                },
                changes="Both archives are unpacked into one folder, and a column `split` is added to the table.",
            ),
            published_images=10_015,
            protocol="HAM10000 is split by lesion. Test: the 1,503 images on which published foundation-model results "
            "are reported. Images that share a lesion with a test image are left out altogether, and so is "
            "ISIC_0025226, the same picture as the test image ISIC_0030074 under another lesion number.",
            group="lesion",
            parse=ham10000.parse,
            arrange=ham10000.arrange,
            columns=ham10000.COLUMNS,
        ),
        DataSet(
            id="pad_ufes_20",
            title="PAD-UFES-20",
            name="PAD-UFES-20",
            folder="pad_ufes_20",
            labels=PAD_UFES_20,
            modality="smartphone",
            about="Smartphone photos of lesions, with what the patients said about them, collected in Espírito Santo, "
            "Brazil, where many people have ancestors from Pomerania, Germany or Italy.",
            citation="Pacheco et al. 2020, doi:10.1016/j.dib.2020.106221",
            attribution="Pacheco et al.: PAD-UFES-20, a skin lesion dataset composed of patient data and clinical "
            "images collected from smartphones. Data in Brief 32, 106221 (2020), doi:10.1016/j.dib.2020.106221. "
            "Federal University of Espirito Santo.",
            licence="CC BY 4.0",
            publisher=Publisher(
                host="mendeley",
                key="zr7vgbcyr2/1",
                address="https://doi.org/10.17632/zr7vgbcyr2.1",
                files={name: name for name in ("metadata.csv", *(f"imgs_part_{part}.zip" for part in (1, 2, 3)))},
                changes="The three archives are unpacked into one folder.",
            ),
            published_images=2_298,
            protocol="PAD-UFES-20 is divided by patient into five parts: each image is scored by a network that was "
            "trained on the other four parts and has seen no image of its patient.",
            group="patient",
            parse=pad_ufes_20.parse,
            arrange=pad_ufes_20.arrange,
            columns=pad_ufes_20.COLUMNS,
        ),
        DataSet(
            id="milk10k",
            title="MILK10k",
            name="MILK10k",
            folder="milk10k",
            labels=MILK10K,
            modality="dermoscopy",
            about="Lesions suspected of being cancer, each as a dermoscopy image and a clinical close-up, collected at "
            "five centres. Nearly all diagnoses were confirmed by histology, and each patient's skin tone is stated.",
            citation="MILK study team 2025, doi:10.34970/648456",
            attribution="MILK study team: MILK10k. ISIC Archive (2025), doi:10.34970/648456.",
            licence="CC BY-NC 4.0",
            publisher=Publisher(
                host="isic",
                key="milk10k",
                address="https://doi.org/10.34970/648456",
                files={},
                changes="Images are sorted into dermoscopy/ and clinical/. The table has the columns `split`, `dx7` "
                "and `dx6` (the classes of HAM10000 and PAD-UFES-20), `near_duplicate_of_ham10000_train`, and the "
                "licence and attribution of each image. Pictures of HAM10000's test part are left out.",
            ),
            published_images=10_480,
            protocol="MILK10k is split by lesion, with both images of a lesion in the same part. A lesion whose "
            "picture is also in HAM10000's training part keeps the part and fold that it has there.",
            group="lesion",
            parse=milk10k.parse,
            arrange=milk10k.arrange,
            columns=milk10k.COLUMNS,
            images=("dermoscopy", "clinical"),
        ),
        DataSet(
            id="malignant_benign",
            title="Malignant/benign",
            name="Skin Cancer: Malignant vs. Benign",
            folder="malignant_benign",
            labels=MALIGNANCY,
            modality="dermoscopy",
            about="Dermoscopy images from the ISIC archive, compiled on Kaggle in two folders without a table. Only "
            "the training half is counted here. Three in four of its images are also in HAM10000, so their age, sex, "
            "site and confirmation are known.",
            citation="Skin Cancer: Malignant vs. Benign, compiled by Claudio Fanconi on Kaggle",
            attribution="Skin Cancer: Malignant vs. Benign, compiled by Claudio Fanconi on Kaggle from images in the "
            "ISIC archive, https://www.isic-archive.com. Three in four of its training images are also in HAM10000.",
            licence="ISIC archive terms of use, non-commercial",
            publisher=Publisher(
                host="kaggle",
                key="fanconic/skin-cancer-malignant-vs-benign",
                address="https://www.kaggle.com/datasets/fanconic/skin-cancer-malignant-vs-benign",
                files={"": "archive.zip"},
                changes="The training half is unpacked as benign/ and malignant/, the test half below test/.",
            ),
            published_images=2_637,
            protocol="The malignant/benign set is split by lesion: images that are also in HAM10000 keep the part they "
            "have there, and a random fifth of the other lesions, which are all malignant, is held out for testing. "
            "One image of each test lesion is tested.",
            group="lesion",
            parse=malignant_benign.parse,
            images=MALIGNANCY.codes,
        ),
    )
}
"""In the order in which menus list them."""

ISIC_MORE = DataSet(
    id="isic_more",
    title="More ISIC images",
    name="ISIC images from other collections",
    folder="isic_more",
    labels=HAM10000,
    modality="dermoscopy",
    about="Dermoscopy images of several collections in the ISIC archive that are not in HAM10000.",
    citation="ISIC archive, https://www.isic-archive.com",
    attribution="Images in the ISIC archive, https://www.isic-archive.com, from BCN_20000 and the Hospital Clínic de "
    "Barcelona, Memorial Sloan Kettering Cancer Center, the International Dermoscopy Society, Imperial College London, "
    "the Hospital Italiano de Buenos Aires and the ISIC 2020 Challenge (doi:10.34970/2020-ds01).",
    licence="CC BY-NC 4.0, CC BY 4.0 or CC0",
    publisher=Publisher(
        host="isic",
        key="isic_more",
        address="https://www.isic-archive.com",
        files={},
        changes="The table has the collection of each image, its class in HAM10000, licence and attribution.",
    ),
    published_images=7_874,
    protocol="ISIC images from other collections are used for training only, in every fold. Collections that are "
    "almost all melanomas are left out.",
    group="patient",
    parse=isic_more.parse,
    arrange=isic_more.arrange,
    columns=isic_more.COLUMNS,
)
"""Training images chosen from several collections. It is not in DATASETS, since counts of this selection say nothing
about any population."""


def dataset(id_: str) -> DataSet:
    """The data set with this id; DataError if there is none."""
    try:
        return DATASETS[id_]
    except KeyError:
        raise DataError(f"There is no data set '{id_}'; choose one of {', '.join(DATASETS)}.") from None


PARTS = {"milk10k-clinical": ("milk10k", "MILK10k close-ups")}
"""The test sets that are parts of a data set: its id, and the short name of the part."""


def whole(id_: str) -> DataSet | None:
    """The data set that a test set is, or is a part of; None if it is unknown."""
    return DATASETS.get(PARTS[id_][0] if id_ in PARTS else id_)


def title(id_: str) -> str:
    """The short name of a data set or of a part of one, or the id itself if it is unknown."""
    return PARTS[id_][1] if id_ in PARTS else DATASETS[id_].title if id_ in DATASETS else id_


def data_root() -> Path:
    """The folder of the data sets: the environment variable SKINAPP_DATA, or `data`."""
    return Path(os.environ.get("SKINAPP_DATA", "data"))


def published(id_: str, root: Path) -> pd.DataFrame:
    """A data set's metadata below the data root, one row per image, see `skinapp.datasets.metadata`. DataError if it is
    missing or not as published."""
    chosen = dataset(id_)
    return chosen.parse(root / chosen.folder)


def image_files(id_: str, root: Path) -> dict[str, Path]:
    """The image files of a data set below the data root, by image id. Empty if they are not on disk."""
    chosen = dataset(id_)
    return files_in(root / chosen.folder, chosen.images)


def files_in(folder: Path, subfolders: tuple[str, ...]) -> dict[str, Path]:
    """The image files in `subfolders` of `folder`, by id: the stem of the name, with its folder in front if there are
    several."""
    prefixed = len(subfolders) > 1
    return {
        f"{name}/{file.stem}" if prefixed else file.stem: file for name in subfolders for file in _images(folder / name)
    }


def files_below(folder: Path) -> tuple[list[Path], int]:
    """The image files in and below a folder, sorted, and the number of files there that isic-cli has only partly
    downloaded."""
    files, partial = [], 0
    for file in sorted(folder.rglob("*")):
        if file.name.startswith("."):
            partial += file.name.startswith(PARTIAL)
        elif file.suffix.lower() in imaging.EXTENSIONS:
            files.append(file)
    return files, partial


PARTIAL = ".isic-partial"
"""The prefix of files that isic-cli is still downloading."""


def _images(folder: Path) -> list[Path]:
    try:
        return [file for file in folder.iterdir() if file.suffix.lower() in imaging.EXTENSIONS]
    except OSError:
        return []
