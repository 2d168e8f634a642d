"""Patient metadata added to a network's logits for the image: fitted and tested by patient.

A multinomial logistic regression with an L2 penalty, fitted on the logits of held-out images, learns a scale for the
logits and the contribution of the coded metadata. See `skinapp.inference.metadata` for the coding, and docs/phone.md
for why a missing value adds nothing.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from sklearn.model_selection import StratifiedGroupKFold
from threadpoolctl import threadpool_limits

from skinapp.datasets.metadata import DIAMETERS
from skinapp.datasets.registry import DATASETS, data_root
from skinapp.errors import DataError
from skinapp.inference import metadata
from skinapp.inference.metadata import Field, Fusion, Metadata
from skinapp.inference.runtime import softmax

PENALTIES = (0.3, 1.0, 3.0, 10.0, 30.0)
"""Strengths of the L2 penalty on the weights, in rows; chosen by cross-validation within the training part."""
LOGARITHMIC = DIAMETERS
KNOTS = {"age": (40.0, 60.0)}


@dataclass(frozen=True)
class Fitted:
    """The result of `fit`: the fields with their coding, the fusion of all rows, the `probabilities` [n, K] of each row
    from a fusion that has not seen its group, and the `penalty` of the final fusion."""

    fields: tuple[Field, ...]
    fusion: Fusion
    probabilities: np.ndarray
    penalty: float


def pad_ufes_20(root: Path) -> pd.DataFrame:
    """PAD-UFES-20's published metadata: one row per image id, one column per question of
    `skinapp.inference.metadata`."""
    return _metadata_by_image(DATASETS["pad_ufes_20"].parse(root))


def ham10000(root: Path) -> pd.DataFrame:
    """HAM10000's published age, sex and site: one row per image id."""
    return _metadata_by_image(DATASETS["ham10000"].parse(root))


METADATA = {"ham10000": ham10000, "pad_ufes_20": pad_ufes_20}
"""The data sets that publish metadata, and the functions that read them."""


def published(dataset: str) -> pd.DataFrame:
    """The patient metadata that a data set publishes, one row per image id. DataError if there are none."""
    if dataset not in METADATA:
        raise DataError(f"'{dataset}' publishes no patient metadata; {' and '.join(METADATA)} do.")
    return METADATA[dataset](data_root() / DATASETS[dataset].folder)


def questions(table: pd.DataFrame) -> tuple[Field, ...]:
    """The fields for which the table has a column; the sites are those in the table."""
    sites = sorted({str(site).lower() for site in table["site"].dropna()} - metadata.MISSING) if "site" in table else []
    return tuple(
        dataclasses.replace(question, categories={site: site.capitalize() for site in sites})
        if question.name == "site"
        else question
        for question in metadata.QUESTIONS
        if question.name in table
    )


def parse(fields: Sequence[Field], table: pd.DataFrame) -> list[Metadata]:
    """The metadata of each row of a table with the fields' columns. DataError for an impossible value."""
    return [metadata.parse(fields, {str(name): cell for name, cell in row.items()}) for row in table.to_dict("records")]


def with_coding(fields: Sequence[Field], metadata_rows: Sequence[Metadata]) -> tuple[Field, ...]:
    """The fields with a coding in which every column has mean zero over the rows with a value."""
    result = []
    for one in fields:
        values = [row[one.name] for row in metadata_rows if one.name in row]
        coding: dict[str, object] = {}
        if one.kind == "number":
            numbers = np.array(values, dtype=np.float64)
            coding = {
                "seen": [float(numbers.min()), float(numbers.max())],
                "log": one.name in LOGARITHMIC,
                "knots": list(KNOTS.get(one.name, ())),
            }
        one = dataclasses.replace(one, coding=coding)
        raw = np.array([metadata.raw_columns(one, value) for value in values])
        spread = raw.std(axis=0) if one.kind == "number" else np.ones(raw.shape[1])
        spread[spread == 0] = 1
        coding |= {"centre": raw.mean(axis=0).round(6).tolist(), "spread": spread.round(6).tolist()}
        result.append(dataclasses.replace(one, coding=coding))
    return tuple(result)


def fit(
    logits: np.ndarray,
    table: pd.DataFrame,
    fields: Sequence[Field],
    labels: np.ndarray,
    groups: np.ndarray,
    *,
    adjustment: float = 0.0,
    dropout: bool = True,
    parts: np.ndarray | None = None,
    folds: int = 5,
    seed: int = 0,
) -> Fitted:
    """Learn the contribution of metadata to the logits [n, K] of images that the networks were not trained on.

    `table` has one row per image and one column per field; `labels` [n] are class indices, `groups` [n] patients or
    lesions. Everything, coding and penalty included, is chosen without the part that a row of `probabilities` belongs
    to: one of `parts` [n], as left by `train.fit.cross_validation`, or of as many new parts as `folds`. `adjustment`
    times the log share of each class is subtracted from its logit at the end, as in `train.config`. With `dropout`,
    rows are also used with some or all of their metadata removed, so that the fusion stays calibrated no matter how
    much of the form is filled in.
    """
    probabilities = np.empty(logits.shape)
    metadata_rows = parse(fields, table)
    for test, coded, fusion in cross_fitted(
        logits,
        metadata_rows,
        fields,
        labels,
        groups,
        adjustment=adjustment,
        dropout=dropout,
        parts=parts,
        folds=folds,
        seed=seed,
    ):
        x = np.array([metadata.code(coded, metadata_rows[row]) for row in test])
        probabilities[test] = softmax(fusion.add(logits[test], x))
    coded = with_coding(fields, metadata_rows)
    x = np.array([metadata.code(coded, row) for row in metadata_rows])
    column_fields = field_indices(coded)
    penalty = best_penalty(logits, x, labels, groups, column_fields, dropout, folds, seed)
    fusion = adjusted(regress(logits, x, labels, column_fields, penalty, dropout, seed), labels, adjustment)
    return Fitted(coded, fusion, probabilities, penalty)


def cross_fitted(
    logits: np.ndarray,
    metadata_rows: Sequence[Metadata],
    fields: Sequence[Field],
    labels: np.ndarray,
    groups: np.ndarray,
    *,
    adjustment: float = 0.0,
    dropout: bool = True,
    parts: np.ndarray | None = None,
    folds: int = 5,
    seed: int = 0,
) -> Iterator[tuple[np.ndarray, tuple[Field, ...], Fusion]]:
    """For each part: its row numbers, and the coded fields and the fusion fitted without it. The arguments are those of
    `fit`."""
    held_out = _folds(labels, groups, folds, seed) if parts is None else _fixed_folds(parts, groups)
    for train, test in held_out:
        coded = with_coding(fields, [metadata_rows[row] for row in train])
        x = np.array([metadata.code(coded, metadata_rows[row]) for row in train])
        column_fields = field_indices(coded)
        penalty = best_penalty(logits[train], x, labels[train], groups[train], column_fields, dropout, folds, seed)
        fusion = regress(logits[train], x, labels[train], column_fields, penalty, dropout, seed)
        yield test, coded, adjusted(fusion, labels[train], adjustment)


def field_indices(fields: Sequence[Field]) -> np.ndarray:
    """For each coded column, the number of its field, [D]."""
    return np.repeat(np.arange(len(fields)), [metadata.columns(field) for field in fields])


def regress(
    logits: np.ndarray,
    coded: np.ndarray,
    labels: np.ndarray,
    column_fields: np.ndarray,
    penalty: float,
    dropout: bool = True,
    seed: int = 0,
) -> Fusion:
    """The fusion that minimises the log loss plus `penalty` / 2 times the squared weights, for logits [n, K] and coded
    [n, D].

    With `dropout`, every row becomes four with a quarter of the weight: unchanged, twice with each field left out with
    probability 1/2, and without any field.
    """
    n, classes = logits.shape
    copies = [coded]
    if dropout:
        generator = np.random.default_rng(seed)
        present = generator.random((2, n, column_fields.max() + 1)) < 0.5
        copies += [coded * present[number][:, column_fields] for number in range(2)] + [np.zeros_like(coded)]
    x, offset = np.concatenate(copies), np.tile(logits.astype(np.float64), (len(copies), 1))
    truth = np.tile(np.eye(classes)[labels], (len(copies), 1))
    dimensions = coded.shape[1]

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        scale, bias = parameters[0], parameters[1 : 1 + classes]
        weights = parameters[1 + classes :].reshape(dimensions, classes)
        total = scale * offset + x @ weights + bias
        probabilities = softmax(total)
        log_likelihood = np.log(np.maximum((probabilities * truth).sum(axis=1), np.finfo(float).tiny)).sum()
        error = (probabilities - truth) / len(copies)
        gradient = np.concatenate(
            [[(error * offset).sum()], error.sum(axis=0) + 1e-3 * bias, (x.T @ error + penalty * weights).ravel()]
        )
        squares = penalty / 2 * (weights**2).sum() + 1e-3 / 2 * (bias**2).sum()
        return -log_likelihood / len(copies) + squares, gradient

    start = np.zeros(1 + classes + dimensions * classes)
    start[0] = 1.0
    # the matrices are small, so on a busy machine threads would mostly wait for each other
    with threadpool_limits(1):
        optimum = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 500}).x
    return Fusion(float(optimum[0]), optimum[1 : 1 + classes], optimum[1 + classes :].reshape(dimensions, classes))


def best_penalty(
    logits: np.ndarray,
    coded: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    column_fields: np.ndarray,
    dropout: bool,
    folds: int,
    seed: int,
) -> float:
    """The penalty in PENALTIES with the lowest log loss on held-out groups."""
    losses = np.zeros(len(PENALTIES))
    for train, test in _folds(labels, groups, folds, seed + 1):
        for number, penalty in enumerate(PENALTIES):
            fusion = regress(logits[train], coded[train], labels[train], column_fields, penalty, dropout, seed)
            likely = softmax(fusion.add(logits[test], coded[test]))[np.arange(len(test)), labels[test]]
            losses[number] -= np.log(np.maximum(likely, 1e-12)).sum()
    return PENALTIES[int(losses.argmin())]


def adjusted(fusion: Fusion, labels: np.ndarray, adjustment: float) -> Fusion:
    """The fusion with `adjustment` times each class's log share of the labels subtracted from its bias."""
    return dataclasses.replace(fusion, bias=fusion.bias - adjustment * log_shares(labels, len(fusion.bias)))


def log_shares(labels: np.ndarray, classes: int) -> np.ndarray:
    """The logarithm of each class's share of some labels [n], [classes]."""
    # a class that is missing from a small part counts as one image
    counts = np.maximum(np.bincount(labels, minlength=classes), 1)
    return np.log(counts / counts.sum())


def _folds(labels: np.ndarray, groups: np.ndarray, folds: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    return list(splitter.split(labels, labels, groups))


def _fixed_folds(parts: np.ndarray, groups: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    for part in np.unique(parts):
        shared = set(groups[parts == part]) & set(groups[parts != part])
        if shared:
            raise DataError(f"The parts share a lesion or patient: {min(shared)} is in several.")
    return [(np.flatnonzero(parts != part), np.flatnonzero(parts == part)) for part in np.unique(parts)]


def _metadata_by_image(table: pd.DataFrame) -> pd.DataFrame:
    """The columns of a parsed table that are metadata fields, as lower-case text by image id."""
    columns = [question.name for question in metadata.QUESTIONS if question.name in table]
    return table.set_index("image")[columns].astype("string").apply(lambda column: column.str.lower())
