"""The published tables, each read into one form; splits by lesion; the decoded image cache."""

import hashlib
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold
from tqdm import tqdm

from skinapp import hair, imaging
from skinapp.errors import DataError, ImageError
from skinapp.files import replacing
from skinapp.labels import HAM10000, MALIGNANCY, PAD_UFES_20, LabelSet
from train import splits

COLUMNS = ("dataset", "source", "image", "path", "group", "label", "split", "age", "sex", "site", "confirmation")
"""The common form: data set, collection within it, image id, file, lesion or patient, published class code, split (train, test or excluded),
demographics where they are published."""

COPIES_OF_TEST = ("ISIC_0025226",)
"""Images that show the picture of a test image (here ISIC_0030074) under another lesion number: never trained on."""


@dataclass(frozen=True)
class Source:
    """A published data set: its name, its folder below the data root, how its table is read, whom to cite, its
    licence, how it is split here, and with what its images were taken."""

    name: str
    folder: str
    read: Callable[[Path], pd.DataFrame]
    attribution: str
    licence: str
    protocol: str
    modality: str = "dermoscopy"
    held_out: bool = True
    """Whether a part of it is held out for validation; otherwise all of it is trained on in every fold."""


@dataclass(frozen=True)
class Dataset:
    """A table in the common form, and its decoded images: uint8 [rows, size, size, 3], memory-mapped, row for row."""

    table: pd.DataFrame
    images: np.ndarray


def ham10000(root: Path) -> pd.DataFrame:
    """HAM10000 (Tschandl et al. 2018, doi:10.1038/sdata.2018.161): `metadata.csv` and `images/` below `root`.

    Images that share a lesion with a test image are `excluded`: neither trained on nor tested.
    """
    columns = ("image_id", "lesion_id", "dx", "dx_type", "age", "sex", "localization", "split")
    source = read_table(root / "metadata.csv", columns)
    check_labels(source["dx"], HAM10000)
    unknown = sorted(set(source["split"].astype(str)) - {"train", "test", "test_sibling"})
    if unknown:
        raise DataError(
            f"The column split of {root / 'metadata.csv'} says {', '.join(unknown)}; it must be train, test "
            "or test_sibling."
        )
    return pd.DataFrame(
        {
            "dataset": "ham10000",
            "image": source["image_id"],
            "path": image_files(root / "images", source["image_id"]),
            "group": source["lesion_id"],
            "label": source["dx"],
            "split": source["split"].replace("test_sibling", "excluded"),
            "age": source["age"],
            "sex": source["sex"],
            "site": source["localization"],
            "confirmation": source["dx_type"],
        }
    )


def malignant_benign(root: Path) -> pd.DataFrame:
    """The training half of "Skin Cancer: Malignant vs. Benign": `benign/` and `malignant/` below `root`.

    Three of four images are HAM10000's and keep the part they have there; of the other lesions a fifth is `test`. A
    lesion is tested once: its further images are `excluded`, as are images that `splits` does not know.
    """
    files = sorted(
        file for file in root.glob("*/*") if file.suffix.lower() in imaging.EXTENSIONS and file.parent.name[0] != "."
    )
    if not files:
        raise DataError(
            f"There are no images in the folders of {root}; set SKINAPP_DATA to the folder of the data sets."
        )
    label = pd.Series([file.parent.name for file in files])
    check_labels(label, MALIGNANCY)
    image = pd.Series([f"{file.parent.name}/{file.stem}" for file in files])
    known = splits.malignant_benign_groups(image)
    return pd.DataFrame(
        {
            "dataset": "malignant_benign",
            "image": image,
            "path": files,
            "group": known["group"],
            "label": label,
            "split": known["split"],
        }
    ).reindex(columns=list(COLUMNS))


def pad_ufes_20(root: Path) -> pd.DataFrame:
    """PAD-UFES-20 (Pacheco et al. 2020, doi:10.1016/j.dib.2020.106221): `metadata.csv` and `images/` below `root`.

    All of it is `train`: it is small, and judged by cross-validation over patients. `confirmation` tells biopsies from
    the rest; it is for demographics and never an input, since all cancers and few others were biopsied.
    """
    columns = ("img_id", "patient_id", "diagnostic", "age", "gender", "region", "biopsed")
    source = read_table(root / "metadata.csv", columns)
    check_labels(source["diagnostic"], PAD_UFES_20)
    image = source["img_id"].str.rsplit(".", n=1).str[0]
    return pd.DataFrame(
        {
            "dataset": "pad_ufes_20",
            "image": image,
            "path": image_files(root / "images", image),
            "group": source["patient_id"],
            "label": source["diagnostic"],
            "split": "train",
            "age": source["age"],
            "sex": source["gender"].str.lower(),
            "site": source["region"].str.lower(),
            "confirmation": np.where(source["biopsed"], "biopsy", "clinical"),
        }
    )


def resampled(table: pd.DataFrame, per_class: int, seed: int, test_share: float = 0.25) -> pd.DataFrame:
    """A tutorial's protocol, wrong on purpose: `per_class` images of every class drawn with replacement from a table
    in the common form, all its parts together, and then a random part of the draws made `test`, the rest `train`."""
    generator = np.random.default_rng(seed)
    drawn = table.groupby("label").sample(per_class, replace=True, random_state=generator)
    order = generator.permutation(len(drawn))
    cut = round(test_share * len(drawn))
    return drawn.iloc[order].assign(split=["test"] * cut + ["train"] * (len(drawn) - cut))


DRAWS_A_CLASS = 500


def resampled_ham10000(root: Path) -> pd.DataFrame:
    """HAM10000 as `resampled`; every draw has a name of its own and counts as a lesion of its own."""
    table = resampled(ham10000(root), DRAWS_A_CLASS, seed=0)
    name = table["image"] + "#" + table.groupby("image").cumcount().astype(str)
    return table.assign(dataset="ham10000-resampled", image=name, group=name).reset_index(drop=True)


def milk10k(root: Path) -> pd.DataFrame:
    """MILK10k's dermoscopy images of HAM10000's seven classes: `metadata.csv` and `dermoscopy/` below `root`.

    A lesion whose picture is in HAM10000's training part too has the group of the HAM10000 lesion, so that no fold
    trains on one and validates on the other.
    """
    columns = ("image_id", "lesion_id", "modality", "dx7", "split", "near_duplicate_of_ham10000_train")
    source = read_table(root / "metadata.csv", columns)
    copies = source.dropna(subset="near_duplicate_of_ham10000_train")
    ham = read_table(root.parent / "ham10000" / "metadata.csv", ("image_id", "lesion_id")).set_index("image_id")
    # the whole lesion, so also where only one of its pictures is a copy
    group_of = dict(zip(copies["lesion_id"], copies["near_duplicate_of_ham10000_train"].map(ham["lesion_id"])))
    source = source[(source["modality"] == "dermoscopy") & source["dx7"].isin(HAM10000.codes)]
    return pd.DataFrame(
        {
            "dataset": "milk10k",
            "source": "milk10k",
            "image": source["image_id"],
            "path": image_files(root / "dermoscopy", source["image_id"]),
            "group": source["lesion_id"].map(lambda lesion: group_of.get(lesion, lesion)),
            "label": source["dx7"],
            "split": source["split"],
            "age": source["age"],
            "sex": source["sex"],
            "site": source["site"],
            "confirmation": source["confirmation"],
        }
    )


ONE_CLASS_SOURCES = ("isic2019_melanoma_300", "isic2020_melanoma_300", "isic_kaggle9_180")
"""Collections of isic_more that hold hardly anything but melanomas: beside sources of several classes a network
learns from them how a clinic's pictures look, and not how a melanoma looks."""


def isic_more(root: Path) -> pd.DataFrame:
    """Further dermoscopy images of HAM10000's classes from the ISIC archive; those of one-class sources are excluded."""
    columns = ("image_id", "source", "lesion_id", "patient_id", "dx7")
    source = read_table(root / "metadata.csv", columns)
    source = source[source["dx7"].isin(HAM10000.codes)]
    return pd.DataFrame(
        {
            "dataset": "isic_more",
            "source": source["source"],
            "image": source["image_id"],
            "path": image_files(root / "images", source["image_id"]),
            "group": source["patient_id"].fillna(source["lesion_id"]).fillna(source["image_id"]),
            "label": source["dx7"],
            "split": np.where(source["source"].isin(ONE_CLASS_SOURCES), "excluded", "train"),
            "age": source["age"],
            "sex": source["sex"],
            "site": source["site"],
        }
    ).reindex(columns=list(COLUMNS))


HAM10000_ATTRIBUTION = (
    "Tschandl, Rosendahl, Kittler: The HAM10000 dataset, a large collection of multi-source dermatoscopic images of "
    "common pigmented skin lesions. Sci Data 5, 180161 (2018), doi:10.1038/sdata.2018.161. ViDIR Group, Medical "
    "University of Vienna."
)

DATASETS = {
    "ham10000": Source(
        name="HAM10000",
        folder="ham10000",
        read=ham10000,
        attribution=HAM10000_ATTRIBUTION,
        licence="CC BY-NC 4.0",
        protocol=(
            "HAM10000 is split by lesion. Test: the 1,503 images on which published foundation-model results are "
            "reported. Images that share a lesion with a test image are left out altogether, and so is ISIC_0025226, "
            "which shows the picture of the test image ISIC_0030074 under another lesion number."
        ),
    ),
    "malignant_benign": Source(
        name="Skin Cancer: Malignant vs. Benign",
        folder="malignant_benign",
        read=malignant_benign,
        attribution=(
            "Skin Cancer: Malignant vs. Benign, compiled by Claudio Fanconi on Kaggle from images of the ISIC archive, "
            "https://www.isic-archive.com. Three of four of the training images are HAM10000's."
        ),
        licence="ISIC archive terms of use, non-commercial",
        protocol=(
            "The malignant/benign set is split by lesion: images that are HAM10000's keep the part they have there, "
            "and of the other lesions, which are all malignant, a random fifth is test. One image of each test lesion "
            "is tested."
        ),
    ),
    "pad_ufes_20": Source(
        name="PAD-UFES-20",
        folder="pad_ufes_20",
        read=pad_ufes_20,
        attribution=(
            "Pacheco et al.: PAD-UFES-20, a skin lesion dataset composed of patient data and clinical images collected "
            "from smartphones. Data in Brief 32, 106221 (2020), doi:10.1016/j.dib.2020.106221. Federal University of "
            "Espirito Santo."
        ),
        licence="CC BY 4.0",
        protocol=(
            "PAD-UFES-20 is divided by patient into five parts: each image is scored by a network that was trained on "
            "the other four parts and has seen no image of its patient."
        ),
        modality="smartphone",
    ),
    "milk10k": Source(
        name="MILK10k",
        folder="milk10k",
        read=milk10k,
        attribution="MILK study team: MILK10k. ISIC Archive (2025), doi:10.34970/648456.",
        licence="CC BY-NC 4.0",
        protocol="MILK10k is split by lesion.",
    ),
    "isic_more": Source(
        name="Further images of the ISIC archive",
        folder="isic_more",
        read=isic_more,
        attribution="ISIC archive, https://www.isic-archive.com.",
        licence="CC BY-NC 4.0, CC BY 4.0 or CC0",
        protocol="All for training.",
        held_out=False,
    ),
    "ham10000-resampled": Source(
        name="HAM10000, resampled before it was split",
        folder="ham10000",
        read=resampled_ham10000,
        attribution=HAM10000_ATTRIBUTION,
        licence="CC BY-NC 4.0",
        protocol=(
            "A tutorial's protocol, for comparison only: 500 images a class drawn with replacement, then a random "
            "quarter of the draws as test. Copies of one image are in training and test."
        ),
    ),
}


def sources(name: str) -> list[Source]:
    """The data sets that a setting like "ham10000+malignant_benign" names. DataError where there is none of a name."""
    parts = name.split("+")
    for part in parts:
        if part not in DATASETS:
            raise DataError(f"There is no data set '{part}'; there are {', '.join(DATASETS)}, or several joined by +.")
    return [DATASETS[part] for part in parts]


def read(name: str) -> pd.DataFrame:
    """The table of a data set, or of several joined by +, in the common form."""
    table = pd.concat([source.read(data_root() / source.folder) for source in sources(name)], ignore_index=True)
    return table.assign(source=table["source"].fillna(table["dataset"]) if "source" in table else table["dataset"])


def encode(labels: pd.Series, label_set: LabelSet) -> np.ndarray:
    """Published class codes as indices into a label set [n]; for `malignancy`, diagnoses are grouped.

    DataError names the codes that belong to neither.
    """
    codes = {code: index for index, code in enumerate(label_set.codes)}
    if label_set is MALIGNANCY:
        codes |= {label.code: int(label.malignant) for label in (*HAM10000.labels, *PAD_UFES_20.labels)}
    unknown = sorted(set(labels) - set(codes))
    if unknown:
        raise DataError(f"The label set '{label_set.id}' has no place for {', '.join(map(str, unknown))}.")
    return labels.map(codes).to_numpy()


def data_root() -> Path:
    """Where the data sets lie: the environment variable SKINAPP_DATA, or the folder `data`."""
    return Path(os.environ.get("SKINAPP_DATA", "data"))


def read_table(path: Path, required: tuple[str, ...]) -> pd.DataFrame:
    """A CSV with at least the `required` columns and unique images; DataError says what is missing."""
    try:
        table = pd.read_csv(path)
    except FileNotFoundError:
        raise DataError(f"There is no table {path}; set SKINAPP_DATA to the folder of the data sets.") from None
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(f"{path} is not a CSV file that can be read ({error}).") from None
    missing = [column for column in required if column not in table.columns]
    if missing:
        raise DataError(f"{path.name} lacks the columns {', '.join(missing)}; it has {', '.join(table.columns)}.")
    images = table[required[0]]
    if images.duplicated().any():
        raise DataError(f"{path.name} lists an image twice: {images[images.duplicated()].iloc[0]}.")
    return table


def image_files(folder: Path, images: pd.Series) -> list[Path]:
    """The file of each image id in the folder, whatever its format. DataError names ids without one."""
    files = {file.stem: file for file in folder.glob("*") if file.suffix.lower() in imaging.EXTENSIONS}
    missing = [str(image) for image in images if image not in files]
    if missing:
        raise DataError(f"{len(missing):,} of {len(images):,} images are not in {folder}: {', '.join(missing[:5])}.")
    return [files[image] for image in images]


def check_labels(labels: pd.Series, allowed: LabelSet) -> None:
    """DataError where a label is not in the set, or a class of the set has no image."""
    unknown = sorted(set(labels.dropna()) - set(allowed.codes)) + ["an empty one"] * bool(labels.isna().any())
    if unknown:
        raise DataError(f"Labels outside {', '.join(allowed.codes)}: {', '.join(map(str, unknown))}.")
    empty = [code for code in allowed.codes if code not in set(labels)]
    if empty:
        raise DataError(f"No image of the classes {', '.join(empty)}.")


def with_validation(table: pd.DataFrame, folds: int, fold: int | None, seed: int) -> pd.DataFrame:
    """A copy in which one of `folds` parts of the training split, whole groups only, has become `validation`;
    with no `fold`, none has.

    Data sets are divided in their order, each without the groups of those before it, so the lesions that HAM10000 holds
    back are the same whatever else is trained on. Raises DataError where a group (lesion or patient) lies in more than
    one split.
    """
    table = table.copy()
    seen: set[str] = set()
    held_back: set[str] = set()
    for name, part in table[table["split"] == "train"].groupby("dataset", sort=False):
        if not DATASETS[name].held_out:
            continue
        new = part[~part["group"].isin(seen)]
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        try:
            parts = list(splitter.split(new, new["label"], new["group"]))
        except ValueError as error:
            raise DataError(f"The training images cannot be divided into {folds} folds; take fewer. {error}") from None
        if fold is not None:
            held_back |= set(new["group"].iloc[parts[fold][1]])
        seen |= set(part["group"])
    table.loc[(table["split"] == "train") & table["group"].isin(held_back), "split"] = "validation"
    # only now, so that the folds do not depend on it
    table.loc[table["image"].isin(COPIES_OF_TEST), "split"] = "excluded"
    splits_per_group = table[table["split"] != "excluded"].groupby("group")["split"].nunique()
    if (splits_per_group > 1).any():
        raise DataError(f"The split shares a lesion or patient: {splits_per_group.idxmax()} is in several parts.")
    return table


def prepare(name: str, size: int, runs: Path, hair_removal: bool = False) -> Dataset:
    """Decode a data set once into a memory-mapped uint8 cache below `runs`; open it where it is already there.

    With `hair_removal`, dark hairs are taken out of every image, see `skinapp.hair`.

    Every unreadable image is reported in one DataError, after all have been tried, and no cache is left.
    """
    table = read(name)
    folder = runs / "cache" / f"{name}-{size}{'-hairless' if hair_removal else ''}"
    images_file, stamp_file = folder / "images.npy", folder / "stamp.json"
    stamp = {"size": size, "table": hashlib.sha256(table.to_csv().encode()).hexdigest()}
    if stamp_file.exists() and json.loads(stamp_file.read_text()) == stamp:
        return Dataset(table, np.load(images_file, mmap_mode="r"))

    folder.mkdir(parents=True, exist_ok=True)
    stamp_file.unlink(missing_ok=True)
    shape = (len(table), size, size, 3)
    failures = []

    def decode(row: int) -> np.ndarray:
        try:
            pixels = imaging.load(table["path"].iloc[row], size)
            return hair.remove(pixels) if hair_removal else pixels
        except ImageError as error:
            failures.append(f"{table['image'].iloc[row]}: {error}")
            return np.zeros(shape[1:], dtype=np.uint8)

    with replacing(images_file) as partial, partial.open("wb") as stream, ThreadPoolExecutor() as pool:
        # in order and not through a memory map, by which a full disk would end the process without a word
        np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
        try:
            images = pool.map(decode, range(len(table)))
            for image in tqdm(images, total=len(table), desc=f"decoding {name}", unit="image"):
                stream.write(image.tobytes())
        finally:
            pool.shutdown(cancel_futures=True)
        if failures:
            shown = "\n".join(sorted(failures)[:20])
            raise DataError(f"{len(failures)} of {len(table)} images cannot be read:\n{shown}")
    with replacing(stamp_file) as partial:
        partial.write_text(json.dumps(stamp))
    return Dataset(table, np.load(images_file, mmap_mode="r"))
