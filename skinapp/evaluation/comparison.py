"""Several models on the images that all of them have predictions for. docs/comparing.md defines what is computed."""

import hashlib
import itertools
from dataclasses import dataclass

import numpy as np
import pandas as pd

from skinapp.datasets.registry import whole
from skinapp.errors import DataError
from skinapp.evaluation import bootstrap
from skinapp.evaluation.predictions import FACTS, Predictions
from skinapp.formatting import joined
from skinapp.labels.sets import GROUPS, MALIGNANCY, Kind, LabelSet

CLASSES, MALIGNANT = "classes", "malignancy"
QUESTIONS = {CLASSES: "Which class", MALIGNANT: "Malignant or not"}
"""What models can be compared on."""

NAMED_IMAGES = 5
"""How many images an error about differing labels lists."""


CANCER, WITH_PRE_CANCER = "cancer", "cancer-or-pre-cancer"
"""The ids of the targets that are not a single class."""

_OF_KINDS: dict[str, tuple[Kind, ...]] = {CANCER: ("cancer",), WITH_PRE_CANCER: ("cancer", "pre-cancer")}
_MANY = {CANCER: "cancers", WITH_PRE_CANCER: "cancers and pre-cancers"}


@dataclass(frozen=True)
class Target:
    """What the models should detect: the images of one class, or of several classes together.

    `id` is the code of the class, or CANCER or WITH_PRE_CANCER; `codes` are the classes. `name` is its name, and `many`
    the plural for use within a sentence: "melanomas".
    """

    id: str
    name: str
    many: str
    codes: tuple[str, ...]

    @property
    def spoken(self) -> str:
        """The name within a sentence."""
        return self.name[0].lower() + self.name[1:]


def targets(labels: LabelSet, dataset: str | None = None) -> dict[str, Target]:
    """The targets that models with these classes can detect, by id: melanoma first if it is a class, then cancer, with
    pre-cancer if it is separate, then every other class.

    With two classes, benign and malignant, it is what counts as malignant in `dataset`.
    """
    if labels.id == MALIGNANCY.id:
        target = malignant_target(labels, dataset)
        return {target.id: target}
    together: dict[str, Target] = {}
    for target_id, kinds in _OF_KINDS.items():
        codes = tuple(label.code for label in labels.labels if label.kind in kinds)
        if codes not in [(), *(one.codes for one in together.values())]:
            together[target_id] = _of_kinds(target_id, codes)
    single = {
        label.code: Target(
            label.code,
            label.name,
            "melanomas" if label.name == "Melanoma" else f"images of {label.spoken}",
            (label.code,),
        )
        for label in labels.labels
    }
    melanoma = {code: target for code, target in single.items() if target.name == "Melanoma"}
    return melanoma | together | single


def target(chosen: list[Predictions], question: str, target_id: str, dataset: str | None = None) -> Target:
    """The target with this id. DataError if they have no such class."""
    wanted = targets(chosen[0].labels if question == CLASSES else MALIGNANCY, dataset)
    if target_id not in wanted:
        raise DataError(
            f"These models cannot be compared on finding '{target_id}'; choose one of: {', '.join(wanted)}."
        )
    return wanted[target_id]


def malignant_target(labels: LabelSet, dataset: str | None = None) -> Target:
    """What counts as malignant: cancer, or cancer and pre-cancer, by the diagnoses of the classes or, with two classes,
    those that `dataset` was published with."""
    codes = tuple(label.code for label in labels.labels if label.malignant)
    known = whole(dataset) if dataset and labels.id == MALIGNANCY.id else None
    published = known.labels if known else labels
    counted = any(label.malignant and label.kind == "pre-cancer" for label in published.labels)
    return _of_kinds(WITH_PRE_CANCER if counted else CANCER, codes)


def _of_kinds(target_id: str, codes: tuple[str, ...]) -> Target:
    return Target(target_id, GROUPS[_OF_KINDS[target_id]], _MANY[target_id], codes)


@dataclass(frozen=True)
class Shared:
    """The predictions of several models for the same images.

    `labels` are the classes of the question, and `truth` [n] indexes them; `target` is what the models are to find.
    `groups` [n] number the lesions or patients. By model id: `probabilities` [n, classes], and `digests` of the files.
    `facts` has a row per image.
    """

    question: str
    labels: LabelSet
    target: Target
    images: np.ndarray
    truth: np.ndarray
    groups: np.ndarray
    probabilities: dict[str, np.ndarray]
    facts: pd.DataFrame
    digests: dict[str, str]

    @property
    def ids(self) -> list[str]:
        return list(self.probabilities)

    @property
    def images_digest(self) -> str:
        """The SHA-256 of the images with their groups, which decide the resamples."""
        parts = ("\n".join(map(str, self.images)).encode(), self.groups.astype(np.int64).tobytes())
        return hashlib.sha256(b"\0".join(parts)).hexdigest()

    @property
    def positive(self) -> np.ndarray:
        """Boolean [n]: whether the label is one of the target's classes."""
        return np.isin(self.truth, self._of_target())

    def probability(self, model_id: str) -> np.ndarray:
        """The probability [n] of the target: the sum over its classes."""
        return self.probabilities[model_id][:, self._of_target()].sum(axis=1)

    def _of_target(self) -> list[int]:
        return [self.labels.codes.index(code) for code in self.target.codes]

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
    """The questions on which these can be compared: malignant or not, and their classes if they share more than two."""
    sets = {predictions.labels.id for predictions in chosen}
    return [CLASSES, MALIGNANT] if len(sets) == 1 and len(chosen[0].labels.codes) > 2 else [MALIGNANT]


def share(chosen: list[Predictions], question: str, dataset: str | None = None, target: Target | None = None) -> Shared:
    """The predictions of `chosen` for the images that all of them have: of the data set that `dataset` names, or else
    of the models' own test images. Without a `target`, it is what counts as malignant.

    DataError if there is no such image, if all of them are malignant or none is, if there is no image of the target, or
    if two files disagree on a label.
    """
    if question not in questions(chosen):
        sets = sorted({predictions.labels.id for predictions in chosen})
        raise DataError(f"Models with the label sets {joined(sets)} can only be compared on malignant or not.")
    tables = [predictions.rows_of(dataset) for predictions in chosen]
    images = tables[0].index
    for table in tables[1:]:
        images = images.intersection(table.index)
    names = joined(predictions.title for predictions in chosen)
    if images.empty:
        raise DataError(f"{names} have no images in common, so they cannot be compared.")
    tables = [table.loc[images] for table in tables]
    for one, other in itertools.combinations(zip(chosen, tables, strict=True), 2):
        _check_labels(*one, *other)
    malignant = _malignant(chosen[0], tables[0])
    if malignant.all() or not malignant.any():
        side = "malignant" if malignant.all() else "benign"
        raise DataError(f"All {len(images):,} images that {names} share are {side}; scores need both kinds.")
    first = chosen[0]
    labels = first.labels if question == CLASSES else MALIGNANCY
    probabilities = {}
    for predictions in chosen:
        rows = predictions.probabilities[predictions.table.index.get_indexer(images)]
        malignant_probability = rows[:, [label.malignant for label in predictions.labels.labels]].sum(axis=1)
        two_classes = np.stack([1 - malignant_probability, malignant_probability], axis=1)
        probabilities[predictions.id] = rows if question == CLASSES else two_classes
    codes = {code: number for number, code in enumerate(labels.codes)}
    facts = pd.concat([table[[c for c in FACTS if c in table]] for table in tables], axis=1)
    shared = Shared(
        question=question,
        labels=labels,
        target=target or malignant_target(labels, dataset),
        images=images.to_numpy(),
        truth=tables[0]["label"].map(codes).to_numpy() if question == CLASSES else malignant.astype(int),
        # numbered in the order of their names, as for the published scores
        groups=pd.factorize(tables[0]["group"], sort=True)[0],
        probabilities=probabilities,
        facts=facts.loc[:, ~facts.columns.duplicated()].reset_index(drop=True),
        digests={predictions.id: predictions.digest for predictions in chosen},
    )
    if shared.positive.all() or not shared.positive.any():
        share_of = "All" if shared.positive.all() else "None"
        raise DataError(
            f"{share_of} of the {len(images):,} images that {names} share are {shared.target.many}, so nothing can be "
            "said about finding them; choose another class or other images."
        )
    return shared


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
