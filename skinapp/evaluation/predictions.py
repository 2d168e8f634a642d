"""Files of predicted probabilities, checked: those of the model folders, and those from elsewhere."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from skinapp import tables
from skinapp.errors import DataError
from skinapp.images import imaging
from skinapp.inference import registry
from skinapp.inference.registry import Model
from skinapp.labels.sets import LABEL_SETS, MALIGNANCY, LabelSet

MAX_ROWS = 200_000
ROUNDED_AT = 5e-7
"""Probabilities are stored with six decimals, so a 0 stands for anything below this."""

ISIC_COLUMNS = {"MEL": "mel", "NV": "nv", "BCC": "bcc", "AKIEC": "akiec", "BKL": "bkl", "DF": "df", "VASC": "vasc"}
"""The columns of the ISIC 2018 challenge's task 3, and the classes of HAM10000 that they stand for."""

TEXT = ("image", "label", "group", "dataset", "sex", "site", "confirmation")
"""Columns that are text, even where all their cells look like numbers."""

FACTS = ("dataset", "age", "sex", "site", "confirmation", "fitzpatrick")
"""What predictions.csv may tell of an image beside its label."""


@dataclass(frozen=True)
class Predictions:
    """One model's probabilities of held-out images, checked.

    `table` is indexed by image, with p_<label> for every label, and with label, group and FACTS as far as they are
    known. `digest` is the SHA-256 of the file. `model` is None for a file from elsewhere.
    """

    id: str
    title: str
    labels: LabelSet
    table: pd.DataFrame
    digest: str
    model: Model | None = None

    @property
    def columns(self) -> list[str]:
        """The columns of the probabilities, in the order of the labels."""
        return [f"p_{code}" for code in self.labels.codes]

    @property
    def probabilities(self) -> np.ndarray:
        """float64 [n, classes], in the order of the labels, none of them 0, each row summing to 1."""
        values = self.table[self.columns].to_numpy(dtype=np.float64).clip(ROUNDED_AT)
        return values / values.sum(axis=1, keepdims=True)

    @property
    def datasets(self) -> list[str]:
        """The data sets its images are from, the one with most images first."""
        return self.table["dataset"].value_counts().index.tolist() if "dataset" in self.table else []


def read(content: bytes, name: str, title: str | None = None, model: Model | None = None) -> Predictions:
    """The bytes of a predictions file -> Predictions. DataError says in a sentence what cannot be used.

    Either `image` and `p_<label>` for each label of a known set, with whatever of label, group and FACTS there is; or
    the ISIC challenge's `image,MEL,NV,BCC,AKIEC,BKL,DF,VASC`.
    """
    table = tables.read(content, name, text=TEXT, most_rows=MAX_ROWS)
    if "image" not in table:
        raise DataError(f"{name} has no column 'image'; name the column of the image ids so.")
    if set(ISIC_COLUMNS) <= set(table.columns):
        table = table.rename(columns={theirs: f"p_{ours}" for theirs, ours in ISIC_COLUMNS.items()})
    labels = model.labels if model else _label_set(table, name)
    columns = [f"p_{code}" for code in labels.codes]
    if missing := [column for column in columns if column not in table]:
        raise DataError(f"{name} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}.")
    table["image"] = table["image"].str.removesuffix(".jpg")
    _check(table, columns, labels, name)
    known = [column for column in ("group", "label", *columns, *FACTS) if column in table]
    return Predictions(
        id=model.id if model else name,
        title=title or (model.title if model else name),
        labels=labels,
        table=table.set_index("image")[known],
        digest=hashlib.sha256(content).hexdigest(),
        model=model,
    )


def _label_set(table: pd.DataFrame, name: str) -> LabelSet:
    """The known set whose classes the p_ columns name."""
    found = {column.removeprefix("p_") for column in table.columns if column.startswith("p_")}
    for labels in LABEL_SETS.values():
        if set(labels.codes) == found:
            return labels
    sets = "; ".join(f"{labels.id}: {', '.join(labels.codes)}" for labels in LABEL_SETS.values())
    raise DataError(
        f"{name} has {'probabilities of ' + ', '.join(sorted(found)) if found else 'no column p_<label>'}, which is no "
        f"label set known here; there are {sets}."
    )


def _check(table: pd.DataFrame, columns: list[str], labels: LabelSet, name: str) -> None:
    """DataError where a row cannot be used, naming the first such image."""
    if table["image"].isna().any():
        raise DataError(f"{name} has {int(table['image'].isna().sum()):,} rows without an image id; fill them in.")
    twice = table["image"].duplicated()
    if twice.any():
        raise DataError(
            f"{name} has {table['image'][twice].iloc[0]} and {int(twice.sum()) - 1:,} more images twice; "
            "keep one row for each image."
        )
    try:
        values = table[columns].to_numpy(dtype=np.float64)
    except ValueError:
        raise DataError(f"{name} has words where probabilities should be; give numbers from 0 to 1.") from None
    table[columns] = values
    for wrong, what in (
        (~np.isfinite(values).all(axis=1), "has a probability that is no number"),
        (((values < 0) | (values > 1)).any(axis=1), "has a probability below 0 or above 1"),
        (np.abs(values.sum(axis=1) - 1) > 0.01, "has probabilities that do not sum to 1"),
    ):
        if wrong.any():
            images = table["image"].to_numpy()[wrong]
            more = f", as have {len(images) - 1:,} more images" if len(images) > 1 else ""
            raise DataError(f"In {name}, {images[0]} {what}{more}; correct the file.")
    if "label" in table:
        unknown = ~table["label"].isin(labels.codes)
        if unknown.any():
            raise DataError(
                f"In {name}, {table['image'][unknown].iloc[0]} has the label '{table['label'][unknown].iloc[0]}'; "
                f"the classes are {', '.join(labels.codes)}."
            )


def shipped(root: Path | None = None) -> tuple[dict[str, Predictions], dict[str, str]]:
    """The predictions of every model folder below `root` by id, and a sentence for each model that is left out."""
    found, left_out = {}, dict(registry.problems(root))
    for model in registry.models(root).values():
        try:
            found[model.id] = of_model(model)
        except DataError as error:
            left_out[model.id] = str(error)
    return found, left_out


def of_model(model: Model) -> Predictions:
    """The model's own predictions.csv. DataError where it cannot be used."""
    try:
        content = (model.folder / "predictions.csv").read_bytes()
    except OSError as error:
        raise DataError(f"The predictions of '{model.id}' cannot be read ({error.strerror}).") from None
    predictions = read(content, f"The predictions.csv of '{model.id}'", model.title, model)
    if missing := [column for column in ("label", "group") if column not in predictions.table]:
        raise DataError(f"The predictions.csv of '{model.id}' lacks the column {missing[0]}; evaluate the model again.")
    return predictions


def own(content: bytes, own_id: str, title: str, others: list[Predictions]) -> Predictions:
    """The bytes of a file from elsewhere, read and completed. DataError says in a sentence what cannot be used."""
    found = complete(read(content, "The file", title), others)
    return Predictions(own_id, title, found.labels, found.table, found.digest)


def complete(own: Predictions, others: list[Predictions]) -> Predictions:
    """`own` with the label, group and facts of the images that `others` have, its own label kept where it has one.

    Its images that nobody else has are dropped. DataError where none is left.
    """
    known = pd.concat([other.table.drop(columns=other.columns).assign(_set=other.labels.id) for other in others])
    known = known[known.index.isin(own.table.index)]
    if known.empty:
        raise DataError(
            f"{own.title} and the models here have no image in common; the ids must be those of the test images, such "
            f"as {others[0].table.index[0]}."
        )
    # labels of the same set before others': seven classes tell malignant from benign, not the other way round
    known = known.iloc[np.argsort(known["_set"] != own.labels.id, kind="stable")]
    known = known[~known.index.duplicated()]
    table = own.table.loc[own.table.index.intersection(known.index)]
    for column in ("group", *FACTS):
        if column in known and column not in table:
            table = table.assign(**{column: known.loc[table.index, column]})
    if "label" not in table:
        theirs = known.loc[table.index]
        labels = [_label_for(own, *pair) for pair in zip(theirs["_set"], theirs["label"], strict=True)]
        table = table.assign(label=pd.Series(labels, index=table.index))
        if table["label"].isna().any():
            raise DataError(
                f"{own.title} has no column 'label', and the models here know its images only as malignant or benign."
            )
    return Predictions(own.id, own.title, own.labels, table, own.digest, own.model)


def _label_for(own: Predictions, set_id: str, label: str) -> str | None:
    if set_id == own.labels.id:
        return label
    if own.labels is MALIGNANCY:
        return "malignant" if LABEL_SETS[set_id][label].malignant else "benign"
    return None


def image_file(dataset: str, image: str) -> Path | None:
    """The file of a data set's image, where the data sets are on disk: below SKINAPP_DATA, or the folder `data`."""
    root = Path(os.environ.get("SKINAPP_DATA", "data")) / dataset
    for folder in (root / "images", root):
        for extension in imaging.EXTENSIONS:
            if (file := folder / f"{image}{extension}").is_file():
                return file
    return None
