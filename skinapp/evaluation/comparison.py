"""Several models on the images that all of them have predictions for. docs/comparing.md defines what is computed."""

import hashlib
import itertools
from dataclasses import dataclass

import numpy as np
import pandas as pd

from skinapp.errors import DataError
from skinapp.evaluation import bootstrap
from skinapp.evaluation.predictions import FACTS, Predictions
from skinapp.labels.sets import MALIGNANCY, LabelSet

CLASSES, MALIGNANT = "classes", "malignancy"
QUESTIONS = {CLASSES: "Which class", MALIGNANT: "Malignant or not"}
"""What models can be compared on."""

NAMED_IMAGES = 5
"""How many images an error about differing labels lists."""


@dataclass(frozen=True)
class Shared:
    """The predictions of several models for the same images.

    `labels` are the classes of the question, and `truth` [n] indexes them. `malignant` is boolean [n]; `groups` [n]
    number the lesions or patients. By model id: `probabilities` [n, classes] and `malignancy` [n]. `facts` has a row
    per image.
    """

    question: str
    labels: LabelSet
    images: np.ndarray
    truth: np.ndarray
    malignant: np.ndarray
    groups: np.ndarray
    probabilities: dict[str, np.ndarray]
    malignancy: dict[str, np.ndarray]
    facts: pd.DataFrame
    digest: str

    @property
    def ids(self) -> list[str]:
        return list(self.probabilities)

    def correct(self, model_id: str) -> np.ndarray:
        """Boolean [n]: whether the most probable class is the label."""
        return self.probabilities[model_id].argmax(axis=1) == self.truth

    def identical(self, first: str, second: str) -> bool:
        """Whether two models have the same probabilities for every image."""
        return np.array_equal(self.probabilities[first], self.probabilities[second])

    def weights(self, resamples: int = bootstrap.RESAMPLES) -> np.ndarray:
        """The bootstrap weights [resamples, n], over whole groups, behind every interval of this comparison."""
        return bootstrap.weights(self.groups, resamples)


def questions(chosen: list[Predictions]) -> list[str]:
    """What these can be compared on: malignant or not, and their classes if they share more than two."""
    sets = {predictions.labels.id for predictions in chosen}
    return [CLASSES, MALIGNANT] if len(sets) == 1 and len(chosen[0].labels.codes) > 2 else [MALIGNANT]


def share(chosen: list[Predictions], question: str, dataset: str | None = None) -> Shared:
    """The predictions of `chosen` for the images that all of them have: of the data set that `dataset` names, or else
    of the models' own test images.

    DataError if there is no such image, if all of them are malignant or none is, or if two files disagree on a label.
    """
    if question not in questions(chosen):
        sets = sorted({predictions.labels.id for predictions in chosen})
        raise DataError(f"Models of the label sets {' and '.join(sets)} can only be compared on malignant or not.")
    tables = [predictions.rows_of(dataset) for predictions in chosen]
    images = tables[0].index
    for table in tables[1:]:
        images = images.intersection(table.index)
    names = " and ".join(predictions.title for predictions in chosen)
    if images.empty:
        raise DataError(f"{names} have no image in common, so they cannot be compared.")
    tables = [table.loc[images] for table in tables]
    for one, other in itertools.combinations(zip(chosen, tables, strict=True), 2):
        _check_labels(*one, *other)
    malignant = _malignant(chosen[0], tables[0])
    if malignant.all() or not malignant.any():
        side = "malignant" if malignant.all() else "benign"
        raise DataError(f"All {len(images):,} images that {names} share are {side}; scores need both kinds.")
    first = chosen[0]
    labels = first.labels if question == CLASSES else MALIGNANCY
    probabilities, malignancy = {}, {}
    for predictions in chosen:
        rows = predictions.probabilities[predictions.table.index.get_indexer(images)]
        malignant_probability = rows[:, [label.malignant for label in predictions.labels.labels]].sum(axis=1)
        malignancy[predictions.id] = malignant_probability
        two_classes = np.stack([1 - malignant_probability, malignant_probability], axis=1)
        probabilities[predictions.id] = rows if question == CLASSES else two_classes
    codes = {code: number for number, code in enumerate(labels.codes)}
    facts = pd.concat([table[[c for c in FACTS if c in table]] for table in tables], axis=1)
    digest = hashlib.sha256("".join([question, dataset or "", *(p.id + p.digest for p in chosen)]).encode()).hexdigest()
    return Shared(
        question=question,
        labels=labels,
        images=images.to_numpy(),
        truth=tables[0]["label"].map(codes).to_numpy() if question == CLASSES else malignant.astype(int),
        malignant=malignant,
        # numbered in the order of their names, as for the published scores
        groups=pd.factorize(tables[0]["group"], sort=True)[0],
        probabilities=probabilities,
        malignancy=malignancy,
        facts=facts.loc[:, ~facts.columns.duplicated()].reset_index(drop=True),
        digest=digest,
    )


def _malignant(predictions: Predictions, table: pd.DataFrame) -> np.ndarray:
    """Boolean [n]: whether the label of each row is malignant."""
    return np.array([predictions.labels[code].malignant for code in table["label"]], dtype=bool)


def _check_labels(
    first: Predictions, first_table: pd.DataFrame, second: Predictions, second_table: pd.DataFrame
) -> None:
    """DataError if two tables of the same images, in the same order, disagree on a label.

    Files of the same label set must agree on the class, any others on whether it is malignant.
    """
    if first.labels == second.labels:
        differing = (first_table["label"] != second_table["label"]).to_numpy()
        what = "the class"
    else:
        differing = _malignant(first, first_table) != _malignant(second, second_table)
        what = "whether a lesion is malignant"
    if differing.any():
        images = first_table.index[differing]
        more = f" and {len(images) - NAMED_IMAGES:,} more" if len(images) > NAMED_IMAGES else ""
        raise DataError(
            f"{first.title} and {second.title} disagree on {what} in {len(images):,} of {len(first_table):,} images: "
            f"{', '.join(images[:NAMED_IMAGES])}{more}. Correct the labels."
        )
