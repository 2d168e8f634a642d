"""Reads and checks predictions files: those in the model folders, and uploaded ones."""

import fnmatch
import functools
import hashlib
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from skinapp import tables
from skinapp.datasets.registry import data_root, whole
from skinapp.errors import DataError
from skinapp.images import imaging
from skinapp.inference import registry
from skinapp.inference.cores import usable_cores
from skinapp.inference.registry import Model
from skinapp.inference.training_images import OUT_OF_FOLD
from skinapp.labels.sets import LABEL_SETS, MALIGNANCY, LabelSet

MAX_ROWS = 200_000
ROUNDED_AT = 5e-7
"""Probabilities are stored with six decimals, so a 0 stands for anything below this."""

ISIC_COLUMNS = {"MEL": "mel", "NV": "nv", "BCC": "bcc", "AKIEC": "akiec", "BKL": "bkl", "DF": "df", "VASC": "vasc"}
"""The columns of the ISIC 2018 challenge's task 3 -> the classes of HAM10000."""

TEXT = ("image", "label", "group", "dataset", "sex", "site", "confirmation")
"""Columns that are text, even if all their cells look like numbers."""

FACTS = ("dataset", "age", "sex", "site", "confirmation", "fitzpatrick", "skin_tone")
"""Columns of predictions.csv that describe the image."""

IMAGE_ID = re.compile(r"[\w-]+(/[\w-]+)?")
"""Image ids that may be looked up on disk: a file name without extension, in at most one folder."""


@dataclass(frozen=True)
class Predictions:
    """One model's probabilities for held-out images, checked.

    `table` is indexed by image. It has p_<label> for every label, and label, group and FACTS if they are known.
    `digest` is the SHA-256 of the file. `model` is None for a file from elsewhere. `further` are the data sets that
    were scored besides the model's own test images, each in a file of its own.
    """

    id: str
    title: str
    labels: LabelSet
    table: pd.DataFrame
    digest: str
    model: Model | None = None
    further: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        """The columns of the probabilities, in the order of the labels."""
        return [f"p_{code}" for code in self.labels.codes]

    @property
    def probabilities(self) -> np.ndarray:
        """float64 [n, classes], in the order of the labels, none of them 0, each row summing to 1."""
        return normalised(self.table[self.columns])

    @property
    def datasets(self) -> list[str]:
        """The data sets that its images are from, largest first, and those of `further` at the end."""
        if "dataset" not in self.table:
            return []
        return sorted(self.table["dataset"].value_counts().index, key=lambda name: name in self.further)

    def rows_of(self, dataset: str | None) -> pd.DataFrame:
        """The rows of one data set; without a name, all but those of `further`."""
        from_there = self.table.get("dataset", pd.Series("", self.table.index))
        return self.table[from_there == dataset] if dataset else self.table[~from_there.isin(self.further)]


def read(content: bytes, name: str, title: str | None = None, labels: LabelSet | None = None) -> Predictions:
    """The bytes of a predictions file -> Predictions. DataError says in a sentence what is wrong with the file.

    Its columns are `image` and `p_<label>` for each label of a known set, and optionally label, group and FACTS; or the
    ISIC challenge's `image,MEL,NV,BCC,AKIEC,BKL,DF,VASC`. Without `labels`, the columns decide which label set it is.
    """
    table = tables.read(content, name, text=TEXT, max_rows=MAX_ROWS)
    if "image" not in table:
        raise DataError(f"{name} has no column 'image'; rename the column of image ids to 'image'.")
    if set(ISIC_COLUMNS) <= set(table.columns):
        table = table.rename(columns={theirs: f"p_{ours}" for theirs, ours in ISIC_COLUMNS.items()})
    labels = labels or _label_set(table, name)
    columns = [f"p_{code}" for code in labels.codes]
    if missing := [column for column in columns if column not in table]:
        raise DataError(f"{name} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}.")
    extensions = "|".join(re.escape(extension) for extension in imaging.EXTENSIONS)
    table["image"] = table["image"].str.replace(f"({extensions})$", "", case=False, regex=True)
    _check(table, columns, labels, name)
    known = [column for column in ("group", "label", *columns, *FACTS) if column in table]
    return Predictions(
        id=name,
        title=title or name,
        labels=labels,
        table=table.set_index("image")[known],
        digest=hashlib.sha256(content).hexdigest(),
    )


def _label_set(table: pd.DataFrame, name: str) -> LabelSet:
    """The label set whose classes the p_ columns name."""
    codes = {column.removeprefix("p_") for column in table.columns if column.startswith("p_")}
    for labels in LABEL_SETS.values():
        if set(labels.codes) == codes:
            return labels
    sets = "; ".join(f"{labels.id}: {', '.join(labels.codes)}" for labels in LABEL_SETS.values())
    what = f"probabilities for {', '.join(sorted(codes))}, which are not" if codes else "no column p_<label> for"
    raise DataError(f"{name} has {what} a known label set. The label sets are {sets}.")


def _check(table: pd.DataFrame, columns: list[str], labels: LabelSet, name: str) -> None:
    """DataError if a row cannot be used; it names the first such image."""
    if table["image"].isna().any():
        raise DataError(f"{name} has {int(table['image'].isna().sum()):,} rows without an image id; fill them in.")
    twice = table["image"].duplicated()
    if twice.any():
        raise DataError(
            f"{name} lists {_and_more(table['image'][twice].to_numpy())} more than once; keep one row for each image."
        )
    try:
        values = table[columns].to_numpy(dtype=np.float64)
    except ValueError:
        raise DataError(f"{name} has words where probabilities should be; give numbers from 0 to 1.") from None
    table[columns] = values
    for wrong, what in (
        (~np.isfinite(values).all(axis=1), "a probability is not a number"),
        (((values < 0) | (values > 1)).any(axis=1), "a probability is below 0 or above 1"),
        (np.abs(values.sum(axis=1) - 1) > 0.01, "the probabilities do not sum to 1"),
    ):
        if wrong.any():
            images = table["image"].to_numpy()[wrong]
            raise DataError(f"In {name}, {what} for {_and_more(images)}; correct the file.")
    if "label" in table:
        unknown = ~table["label"].isin(labels.codes)
        if unknown.any():
            raise DataError(
                f"In {name}, {table['image'][unknown].iloc[0]} has the label '{table['label'][unknown].iloc[0]}'; "
                f"the classes are {', '.join(labels.codes)}."
            )


def _and_more(images: np.ndarray) -> str:
    """The first image, and how many more there are."""
    rest = len(images) - 1
    return str(images[0]) + (f" and {rest:,} more image{'s' * (rest > 1)}" if rest else "")


def shipped(root: Path | None = None) -> tuple[dict[str, Predictions], dict[str, str]]:
    """The predictions of every model folder below `root`, by id, and a sentence for each model that is left out."""
    known, left_out = {}, dict(registry.problems(root))
    with ThreadPoolExecutor(usable_cores()) as pool:
        reading = {model.id: pool.submit(of_model, model) for model in registry.models(root).values()}
    for model_id, future in reading.items():
        try:
            known[model_id] = future.result()
        except DataError as error:
            left_out[model_id] = str(error)
    return known, left_out


def of_model(model: Model) -> Predictions:
    """The model's own predictions.csv, and its predictions on further test sets. DataError if one cannot be used."""
    names = ["predictions.csv", *(name for name in model.card["files"] if fnmatch.fnmatch(name, "predictions-*.csv"))]
    try:
        states = [(model.folder / name, (model.folder / name).stat()) for name in names]
        parsed = [_parsed(file, at.st_size, at.st_mtime_ns, model.id, model.labels) for file, at in states]
    except OSError as error:
        raise DataError(f"The predictions of '{model.id}' cannot be read ({error.strerror}).") from None
    first, *others = (replace(one, title=model.title, model=model) for one in parsed)
    return _together(first, others) if others else first


def out_of_fold(model: Model) -> Predictions | None:
    """A committee's training images, each predicted by the member that was not trained on its lesion or patient; None
    for a model without them. DataError if the file cannot be used."""
    if OUT_OF_FOLD not in model.card["files"]:
        return None
    file = model.folder / OUT_OF_FOLD
    try:
        at = file.stat()
        return _parsed(file, at.st_size, at.st_mtime_ns, model.id, model.labels)
    except OSError as error:
        raise DataError(f"The {OUT_OF_FOLD} of '{model.id}' cannot be read ({error.strerror}).") from None


def _together(first: Predictions, others: list[Predictions]) -> Predictions:
    """Join one model's predictions on several test sets. DataError if an image is in two of them."""
    table = pd.concat([first.table, *(other.table for other in others)])
    if table.index.has_duplicates:
        image = table.index[table.index.duplicated()][0]
        raise DataError(f"The predictions of '{first.id}' list {image} twice; evaluate the model again.")
    digest = hashlib.sha256("".join([first.digest, *(other.digest for other in others)]).encode()).hexdigest()
    further = tuple(dict.fromkeys(name for other in others for name in other.datasets))
    return replace(first, table=table, digest=digest, further=further)


@functools.lru_cache(maxsize=32)
def _parsed(file: Path, size: int, modified: int, model_id: str, labels: LabelSet) -> Predictions:
    """A published file, read again only if its size or time has changed. The cache holds no visitor's file, and its
    tables must not be changed."""
    predictions = read(file.read_bytes(), f"The {file.name} of '{model_id}'", labels=labels)
    for column in ("label", "group"):
        if column not in predictions.table or predictions.table[column].isna().any():
            raise DataError(
                f"The {file.name} of '{model_id}' lacks a {column} for some images; evaluate the model again."
            )
    return replace(predictions, id=model_id)


def own(content: bytes, own_id: str, title: str, others: list[Predictions]) -> Predictions:
    """The bytes of a file from elsewhere, read and completed. DataError says in a sentence what is wrong with it."""
    return replace(complete(read(content, "The file", title), others), id=own_id)


def normalised(stored: pd.DataFrame) -> np.ndarray:
    """Columns of stored probabilities -> float64 [n, classes], none of them 0, each row summing to 1."""
    values = stored.to_numpy(dtype=np.float64).clip(ROUNDED_AT)
    return values / values.sum(axis=1, keepdims=True)


def complete(own: Predictions, others: list[Predictions]) -> Predictions:
    """`own` completed with the labels, groups and facts that `others` have for its images.

    Its own labels, groups and facts take precedence if they are not empty, except for the data set. Images that none of
    `others` has are dropped. DataError if no image is left.
    """
    if not others:
        raise registry.no_models()
    known = pd.concat([other.table.drop(columns=other.columns).assign(_set=other.labels.id) for other in others])
    known = known[known.index.isin(own.table.index)]
    if known.empty:
        raise DataError(
            f"{own.title} and the models here have no images in common; the ids must be those of the test images, such "
            f"as {others[0].table.index[0]}."
        )
    # prefer labels of the same set: seven classes imply malignant or benign, but not the other way round
    known = known.iloc[np.argsort(known["_set"] != own.labels.id, kind="stable")]
    known = known[~known.index.duplicated()]
    table = own.table.loc[own.table.index.intersection(known.index)]
    for column in ("group", *FACTS):
        if column in known:
            theirs = known.loc[table.index, column]
            own_column = column in table and column != "dataset"
            table = table.assign(**{column: table[column].fillna(theirs) if own_column else theirs})
    if "label" not in table:
        labelled = known.loc[table.index]
        sets = {other.labels.id: other.labels for other in others}
        labels = [
            _label_for(own, sets[id_], label) for id_, label in zip(labelled["_set"], labelled["label"], strict=True)
        ]
        table = table.assign(label=pd.Series(labels, index=table.index))
        if table["label"].isna().any():
            raise DataError(
                f"{own.title} has no column 'label', and the models here only know whether its images are malignant; "
                "add the labels."
            )
    return replace(own, table=table)


def _label_for(own: Predictions, labels: LabelSet, label: str) -> str | None:
    if labels.id == own.labels.id:
        return label
    if own.labels is MALIGNANCY:
        return "malignant" if labels[label].malignant else "benign"
    return None


def image_file(dataset: str, image: str) -> Path | None:
    """The file of a known data set's image, if the data set is on disk.

    A CSV from elsewhere may name any path, so only known data sets are searched, and only for ids like IMAGE_ID.
    """
    known = whole(dataset)
    if known is None or not IMAGE_ID.fullmatch(image):
        return None
    root = data_root() / known.folder
    for folder in (*(root / name for name in known.images), root):
        for extension in imaging.EXTENSIONS:
            if (file := folder / f"{image}{extension}").is_file():
                return file
    return None
