"""The data sets in the form that training reads, splits by lesion, and the cache of decoded images."""

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold
from tqdm import tqdm

from skinapp import tables
from skinapp.datasets import isic_more as isic_more_metadata
from skinapp.datasets import registry
from skinapp.datasets.metadata import FILE
from skinapp.datasets.registry import ISIC_MORE, DataSet, files_in
from skinapp.datasets.registry import data_root as data_root
from skinapp.errors import DataError, ImageError
from skinapp.files import replacing
from skinapp.images import artefacts, imaging
from skinapp.labels.sets import HAM10000, MALIGNANCY, MILK10K, PAD_UFES_20, LabelSet
from train.data import packed, splits
from train.data.colour_constancy import shades_of_grey

COLUMNS = (
    "dataset",
    "source",
    "image",
    "path",
    "group",
    "label",
    "split",
    "copy_of",
    "age",
    "sex",
    "site",
    "confirmation",
)
"""The common form: data set, collection within it, image id, file, lesion or patient, published class code, split
(train, test or excluded), the image of another data set that shows the same picture, and demographics if they are
published."""

COPIES_OF_TEST = ("ISIC_0025226",)
"""Images that are copies of a test image (here ISIC_0030074) under another lesion number: never trained on."""


@dataclass(frozen=True)
class Dataset:
    """A table in the common form, and the decoded image of each row: uint8 [rows, size, size, 3], memory-mapped."""

    table: pd.DataFrame
    images: np.ndarray


def ham10000(root: Path) -> pd.DataFrame:
    """HAM10000 in the common form: `metadata.csv`, as `train download` writes it, and `images/` below `root`.

    Images that share a lesion with a test image are `excluded`: neither trained on nor tested.
    """
    table = registry.DATASETS["ham10000"].parse(root)
    tables.require(table, ("split",), str(root / FILE))
    unknown = sorted(set(table["split"].astype(str)) - {"train", "test", "excluded"})
    if unknown:
        raise DataError(
            f"The column split of {root / FILE} has {', '.join(unknown)}; it must be train, test or test_sibling."
        )
    return common_form(registry.DATASETS["ham10000"], root, table, table["split"])


def pad_ufes_20(root: Path) -> pd.DataFrame:
    """PAD-UFES-20 in the common form: `metadata.csv` and `images/` below `root`.

    All of it is `train`: it is small, and evaluated by cross-validation over patients.
    """
    return common_form(registry.DATASETS["pad_ufes_20"], root, registry.DATASETS["pad_ufes_20"].parse(root), "train")


def malignant_benign(root: Path) -> pd.DataFrame:
    """The training half of "Skin Cancer: Malignant vs. Benign": `benign/` and `malignant/` below `root`.

    Three in four images are also in HAM10000 and keep their part there; a fifth of the other lesions is `test`. Each
    test lesion is tested with one image; its other images are `excluded`, and so are images that `splits` does not
    list.
    """
    table = registry.DATASETS["malignant_benign"].parse(root)
    known = splits.malignant_benign_groups(table["image"])
    return common_form(registry.DATASETS["malignant_benign"], root, table.assign(lesion=known["group"]), known["split"])


def milk10k(root: Path) -> pd.DataFrame:
    """MILK10k's dermoscopy images of HAM10000's seven classes, in the common form: `metadata.csv` and `dermoscopy/`
    below `root`."""
    return _milk10k(root, MILK10K_DERMOSCOPY, "dermoscopy", "dx7")


def milk10k_clinical(root: Path) -> pd.DataFrame:
    """MILK10k's close-ups of PAD-UFES-20's six classes, in the common form: `metadata.csv` and `clinical/` below
    `root`."""
    return _milk10k(root, MILK10K_CLINICAL, "clinical", "dx6")


def milk10k_pairs(root: Path) -> pd.DataFrame:
    """The dermoscopy images of those lesions of MILK10k that also have a close-up, with MILK10k's own classes, in the
    common form: `metadata.csv` and `dermoscopy/` below `root`.

    The rows are in the order of the lesions, as in `milk10k_pairs_clinical`, so that both hold out the same lesions.
    """
    return _milk10k(root, MILK10K_PAIRS, "dermoscopy", "diagnosis", pairs=True)


def milk10k_pairs_clinical(root: Path) -> pd.DataFrame:
    """The close-ups of the lesions of `milk10k_pairs`: `metadata.csv` and `clinical/` below `root`."""
    return _milk10k(root, MILK10K_PAIRS_CLINICAL, "clinical", "diagnosis", pairs=True)


def _milk10k(root: Path, dataset: DataSet, modality: str, label: str, pairs: bool = False) -> pd.DataFrame:
    table = registry.DATASETS["milk10k"].parse(root)
    if pairs:
        both = table.groupby("lesion")["modality"].nunique() == 2
        table = table[table["lesion"].map(both)].sort_values("lesion", kind="stable")
    table = table[(table["modality"] == modality) & table[label].isin(dataset.labels.codes)]
    image = table["image"].str.removeprefix(f"{modality}/")
    return common_form(dataset, root, table.assign(image=image, diagnosis=table[label]), table["split"])


ONE_CLASS_SOURCES = ("isic2019_melanoma_300", "isic2020_melanoma_300", "isic_kaggle9_180")
"""Collections of `isic_more` with hardly anything but melanomas. Together with collections of several classes, they
would teach a network what a clinic's images look like rather than what a melanoma looks like."""


def isic_more(root: Path) -> pd.DataFrame:
    """Further dermoscopy images of HAM10000's classes from the ISIC archive, in the common form: `metadata.csv` and
    `images/` below `root`.

    All of it is `train`, except for ONE_CLASS_SOURCES, which are `excluded`.
    """
    table = isic_more_metadata.parse(root)
    table = table[table["diagnosis"].isin(ISIC_MORE.labels.codes)]
    split = pd.Series(np.where(table["source"].isin(ONE_CLASS_SOURCES), "excluded", "train"), table.index)
    return common_form(ISIC_MORE, root, table, split)


def common_form(dataset: DataSet, root: Path, table: pd.DataFrame, split: pd.Series | str) -> pd.DataFrame:
    """A data set's parsed metadata and the part of each image -> the form of COLUMNS, row for row.

    DataError if a label is not one of the data set's, a class has no image, or an image has no file below `root`.
    """
    check_labels(table["diagnosis"], dataset.labels)
    lower = {name: table[name].str.lower() for name in ("sex", "site") if name in table}
    return (
        table.assign(
            dataset=dataset.id,
            source=table.get("source", dataset.id),
            path=pd.Series(_files(root, dataset.images, table["image"]), table.index, dtype=object),
            group=table[dataset.group],
            label=table["diagnosis"],
            split=split,
            **lower,
        )
        .reindex(columns=list(COLUMNS))
        .reset_index(drop=True)
    )


def resampled(table: pd.DataFrame, per_class: int, seed: int, test_share: float = 0.25) -> pd.DataFrame:
    """A tutorial's protocol, wrong on purpose: sample `per_class` images of every class with replacement from a table
    in the common form, ignoring its split, then make a random part of the samples `test` and the rest `train`."""
    generator = np.random.default_rng(seed)
    rows = table.groupby("label").sample(per_class, replace=True, random_state=generator)
    order = generator.permutation(len(rows))
    test_count = round(test_share * len(rows))
    return rows.iloc[order].assign(split=["test"] * test_count + ["train"] * (len(rows) - test_count))


DRAWS_PER_CLASS = 500


def resampled_ham10000(root: Path) -> pd.DataFrame:
    """HAM10000 under the `resampled` protocol; every sample has its own name and counts as a separate lesion."""
    table = resampled(ham10000(root), DRAWS_PER_CLASS, seed=0)
    name = table["image"] + "#" + table.groupby("image").cumcount().astype(str)
    return table.assign(dataset=RESAMPLED.id, source=RESAMPLED.id, image=name, group=name).reset_index(drop=True)


def malignant_benign_by_image(root: Path) -> pd.DataFrame:
    """The malignant/benign set, `split_by_image`."""
    return split_by_image(malignant_benign(root), MALIGNANT_BENIGN_BY_IMAGE)


def ham10000_by_image(root: Path) -> pd.DataFrame:
    """HAM10000, `split_by_image`."""
    return split_by_image(ham10000(root), HAM10000_BY_IMAGE)


def split_by_image(table: pd.DataFrame, dataset: DataSet) -> pd.DataFrame:
    """A table in the common form split as in tutorials: a random fifth of the images is `test`, whatever their lesions.
    Every image counts as a separate lesion of `dataset`."""
    test = np.random.default_rng(0).permutation(len(table)) < round(TEST_SHARE * len(table))
    split = np.where(test, "test", "train")
    return table.assign(dataset=dataset.id, source=dataset.id, group=table["image"], split=split, copy_of=np.nan)


TEST_SHARE = 0.2
_BY_IMAGE = (
    "A tutorial's protocol, for comparison only: a random fifth of the images is held out for testing. Images of the "
    "same lesion are in training and test."
)

MALIGNANT_BENIGN_BY_IMAGE = dataclasses.replace(
    registry.DATASETS["malignant_benign"],
    id="malignant_benign-by-image",
    name="Malignant/benign, split by image",
    protocol=_BY_IMAGE,
)
HAM10000_BY_IMAGE = dataclasses.replace(
    registry.DATASETS["ham10000"],
    id="ham10000-by-image",
    name="HAM10000, split by image",
    protocol=_BY_IMAGE,
)
RESAMPLED = dataclasses.replace(
    registry.DATASETS["ham10000"],
    id="ham10000-resampled",
    name="HAM10000, resampled before it was split",
    protocol=(
        "A tutorial's protocol, for comparison only: 500 images per class are drawn with replacement, and a random "
        "quarter of the draws is held out for testing. Copies of the same image are in training and test."
    ),
)

MILK10K_DERMOSCOPY = dataclasses.replace(
    registry.DATASETS["milk10k"],
    labels=HAM10000,
    images=("dermoscopy",),
    protocol=registry.DATASETS["milk10k"].protocol + " Only dermoscopy images of HAM10000's seven classes are used.",
)
MILK10K_CLINICAL = dataclasses.replace(
    registry.DATASETS["milk10k"],
    id="milk10k-clinical",
    name="MILK10k close-ups",
    labels=PAD_UFES_20,
    modality="smartphone",
    images=("clinical",),
    protocol=registry.DATASETS["milk10k"].protocol + " Only close-ups of PAD-UFES-20's six classes are used.",
)
MILK10K_PAIRS = dataclasses.replace(
    registry.DATASETS["milk10k"],
    id="milk10k-pairs",
    name="MILK10k, dermoscopy images of pairs",
    images=("dermoscopy",),
    protocol="MILK10k is split by lesion, with both images of a lesion in the same part. Only lesions with both images "
    "are used.",
)
MILK10K_PAIRS_CLINICAL = dataclasses.replace(
    MILK10K_PAIRS,
    id="milk10k-pairs-clinical",
    name="MILK10k close-ups of pairs",
    modality="smartphone",
    images=("clinical",),
)

TRAINABLE = registry.DATASETS | {
    each.id: each
    for each in (
        MILK10K_DERMOSCOPY,
        MILK10K_CLINICAL,
        MILK10K_PAIRS,
        MILK10K_PAIRS_CLINICAL,
        ISIC_MORE,
        RESAMPLED,
        HAM10000_BY_IMAGE,
        MALIGNANT_BENIGN_BY_IMAGE,
    )
}
"""The data sets that a run can be trained on, by their name in a configuration."""

READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    "ham10000": ham10000,
    "pad_ufes_20": pad_ufes_20,
    "malignant_benign": malignant_benign,
    MILK10K_DERMOSCOPY.id: milk10k,
    MILK10K_CLINICAL.id: milk10k_clinical,
    MILK10K_PAIRS.id: milk10k_pairs,
    MILK10K_PAIRS_CLINICAL.id: milk10k_pairs_clinical,
    ISIC_MORE.id: isic_more,
    RESAMPLED.id: resampled_ham10000,
    HAM10000_BY_IMAGE.id: ham10000_by_image,
    MALIGNANT_BENIGN_BY_IMAGE.id: malignant_benign_by_image,
}
"""Functions that read each from its folder into the common form."""

NEVER_HELD_OUT = (ISIC_MORE.id, MILK10K_CLINICAL.id)
"""Data sets that are not held out for validation when combined with another one, except for images of lesions that the
other one holds out."""


def sources(name: str) -> list[DataSet]:
    """The data sets named by a setting like "ham10000+malignant_benign". DataError for an unknown name."""
    parts = name.split("+")
    for part in parts:
        if part not in TRAINABLE:
            raise DataError(
                f"There is no data set '{part}'; use one of {', '.join(TRAINABLE)}, or several joined by +."
            )
    return [TRAINABLE[part] for part in parts]


def read(name: str, pack: str = "") -> pd.DataFrame:
    """The table of a data set, or of several joined by +, in the common form; from the file `pack`, if given."""
    if pack:
        opened = packed.read(Path(pack))
        parts = [packed.table(opened, one.id, COLUMNS) for one in sources(name)]
    else:
        parts = [READERS[one.id](data_root() / one.folder) for one in sources(name)]
    return with_copies(pd.concat(parts, ignore_index=True))


def with_copies(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the group of the original for images that are a `copy_of` another image, so that no fold separates
    them. Unless both are `train`, the copy is `excluded`."""
    originals = table.drop_duplicates("image").set_index("image")
    is_copy = table["copy_of"].isin(originals.index)
    of = originals.loc[table.loc[is_copy, "copy_of"]]
    both = (table.loc[is_copy, "split"].to_numpy() == "train") & (of["split"].to_numpy() == "train")
    table = table.copy()
    table.loc[is_copy, "group"] = of["group"].to_numpy()
    table.loc[is_copy, "split"] = np.where(both, "train", "excluded")
    return table


def encode(labels: pd.Series, label_set: LabelSet) -> np.ndarray:
    """Published class codes as indices into a label set [n]; for `malignancy`, diagnoses are grouped.

    DataError names the codes without a class.
    """
    codes = {code: index for index, code in enumerate(label_set.codes)}
    if label_set is MALIGNANCY:
        diagnoses = (HAM10000, PAD_UFES_20, MILK10K)
        codes |= {label.code: int(label.malignant) for known in diagnoses for label in known.labels}
    unknown = sorted(set(labels) - set(codes))
    if unknown:
        raise DataError(f"The label set '{label_set.id}' has no class for {', '.join(map(str, unknown))}.")
    return labels.map(codes).to_numpy()


def melanomas(labels: pd.Series) -> np.ndarray:
    """Whether a published class code is melanoma [n]; images that are only known to be malignant are not."""
    sets = (HAM10000, PAD_UFES_20, MILK10K)
    return labels.isin([label.code for known in sets for label in known.labels if label.name == "Melanoma"]).to_numpy()


def image_files(folder: Path, images: pd.Series) -> list[Path]:
    """The file of each image id in a folder, in any format. DataError names ids without a file."""
    return _files(folder.parent, (folder.name,), images)


def check_labels(labels: pd.Series, allowed: LabelSet) -> None:
    """DataError if a label is not in the set, or a class of the set has no image."""
    unknown = sorted(set(labels.dropna()) - set(allowed.codes)) + ["an empty one"] * bool(labels.isna().any())
    if unknown:
        raise DataError(f"Labels outside {', '.join(allowed.codes)}: {', '.join(map(str, unknown))}.")
    empty = [code for code in allowed.codes if code not in set(labels)]
    if empty:
        raise DataError(f"No image of the classes {', '.join(empty)}.")


def with_validation(
    table: pd.DataFrame, folds: int, fold: int | None, seed: int, hold_out_all: bool = False, without: str = ""
) -> pd.DataFrame:
    """A copy in which one of `folds` parts of the training split, made of whole groups, has become `validation`;
    without a `fold`, there is no validation.

    Data sets are divided in order, each without the groups of earlier ones, so HAM10000's validation lesions are the
    same regardless of the other training data. Those in NEVER_HELD_OUT are not divided, unless they come first or
    `hold_out_all` is set. Training images of the source `without`, and of its groups elsewhere, become `excluded`;
    held-out images of the source stay held out. DataError if there is no such source, or if a group (lesion or patient)
    is in more than one split.
    """
    if without and without not in set(table["source"]):
        raise DataError(f"There is no source '{without}'; these are trained on: {', '.join(table['source'].unique())}.")
    table = table.copy()
    first = table["dataset"].iloc[0]
    seen: set[str] = set()
    held_back: set[str] = set()
    for name, part in table[table["split"] == "train"].groupby("dataset", sort=False):
        if name in NEVER_HELD_OUT and name != first and not hold_out_all:
            continue
        new = part[~part["group"].isin(seen)]
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        try:
            parts = list(splitter.split(new, new["label"], new["group"]))
        except ValueError as error:
            raise DataError(f"The training images cannot be divided into {folds} folds; use fewer. {error}") from None
        if fold is not None:
            held_back |= set(new["group"].iloc[parts[fold][1]])
        seen |= set(part["group"])
    table.loc[(table["split"] == "train") & table["group"].isin(held_back), "split"] = "validation"
    # done last, so that the folds do not depend on it
    of_test = table["image"].isin(COPIES_OF_TEST) | table["copy_of"].isin(splits.malignant_benign_test())
    left_out = (table["split"] == "train") & table["group"].isin(table.loc[table["source"] == without, "group"])
    table.loc[of_test | left_out, "split"] = "excluded"
    splits_per_group = table[table["split"] != "excluded"].groupby("group")["split"].nunique()
    if (splits_per_group > 1).any():
        raise DataError(f"The split shares a lesion or patient: {splits_per_group.idxmax()} is in several parts.")
    return table


def validation_rows(table: pd.DataFrame) -> np.ndarray:
    """The positions of the first data set's validation images; only these are used for model selection."""
    return np.flatnonzero((table["split"] == "validation") & (table["dataset"] == table["dataset"].iloc[0]))


def prepare(
    name: str,
    size: int,
    runs: Path,
    remove: Sequence[str] = (),
    colour_constancy: bool = False,
    pack: str = "",
) -> Dataset:
    """Decode a data set into a memory-mapped uint8 cache below `runs`, or open the cache if it exists.

    The kinds of artefact in `remove` are removed from every image, see `skinapp.images.artefacts`; with
    `colour_constancy`, the colour of the light is. The images of a `pack`, see `train.data.packed`, have a cache of
    their own. If images cannot be read, one DataError lists them all, and no cache is left.
    """
    table = read(name, pack)
    opened = packed.read(Path(pack)) if pack else None
    changes = f"-without-{'-'.join(sorted(remove))}" if remove else ""
    changes += "-grey" * colour_constancy
    changes += f"-packed-{opened.digest[:12]}" if opened else ""
    folder = runs / "cache" / f"{name}-{size}{changes}"
    images_file, stamp_file = folder / "images.npy", folder / "stamp.json"
    stamp = {"size": size, "table": hashlib.sha256(table.to_csv().encode()).hexdigest()}
    if stamp_file.exists() and json.loads(stamp_file.read_text()) == stamp:
        return Dataset(table, np.load(images_file, mmap_mode="r"))

    folder.mkdir(parents=True, exist_ok=True)
    stamp_file.unlink(missing_ok=True)
    shape = (len(table), size, size, 3)
    failures: list[str] = []
    files: Iterable[Path | bytes] = table["path"]
    if opened:
        files = itertools.chain.from_iterable(packed.images(opened, one.id) for one in sources(name))

    def decode(image: str, file: Path | bytes) -> np.ndarray:
        try:
            pixels = imaging.load(file, size)
            pixels = artefacts.remove(pixels, remove).pixels if remove else pixels
            return shades_of_grey(pixels) if colour_constancy else pixels
        except ImageError as error:
            failures.append(f"{image}: {error}")
            return np.zeros(shape[1:], dtype=np.uint8)

    with replacing(images_file) as partial, partial.open("wb") as stream, ThreadPoolExecutor() as pool:
        # written sequentially, not through a memory map, where a full disk would kill the process without a message
        np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
        try:
            images = pool.map(decode, table["image"], files)
            for image in tqdm(images, total=len(table), desc=f"decoding {name}", unit="image"):
                stream.write(image.tobytes())
        finally:
            pool.shutdown(cancel_futures=True)
        if failures:
            raise packed.unreadable(failures, len(table))
    with replacing(stamp_file) as partial:
        partial.write_text(json.dumps(stamp))
    return Dataset(table, np.load(images_file, mmap_mode="r"))


def _files(root: Path, folders: tuple[str, ...], images: pd.Series) -> list[Path]:
    files = files_in(root, folders)
    missing = [str(image) for image in images if image not in files]
    if missing:
        where = " and ".join(str(root / folder) for folder in folders)
        raise DataError(f"{len(missing):,} of {len(images):,} images are not in {where}: {', '.join(missing[:5])}.")
    return [files[image] for image in images]
