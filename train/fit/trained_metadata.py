"""Patient metadata whose contribution to the logits is trained together with the network.

Like the metadata that `train.fit.metadata` fits afterwards, they are coded by `skinapp.inference.metadata`, and a
missing value adds nothing. As each field is often left out in training, the network learns to cope with missing values.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from skinapp.files import replacing
from skinapp.inference import metadata
from skinapp.inference.metadata import Field, Fusion
from train.config import Config
from train.data.datasets import sources
from train.fit import metadata as fitting

FILES = {"best": "best-metadata.json", "last": "last-metadata.json"}
"""Beside `best.keras` and `last.keras`: the coded fields as `model.json` lists them, and `weights`, the content of
`clinical.json`."""

PACE = 10
"""How much faster the metadata weights change than the network's: they start from zero, and a few hundred steps at the
network's learning rate would leave them close to it."""


@dataclass(frozen=True)
class CodedMetadata:
    """Coded metadata of every image, float32 [n, D], zero if not stated; the `fields`, coded on the training images;
    and for each column the index of its field, [D]."""

    coded: np.ndarray
    fields: tuple[Field, ...]
    column_fields: np.ndarray

    def with_dropout(self, rows: np.ndarray, probability: float, generator: np.random.Generator) -> np.ndarray:
        """The coded metadata [b, D] of some rows, each field set to zero with this probability."""
        stated = generator.random((len(rows), len(self.fields))) >= probability
        return self.coded[rows] * stated[:, self.column_fields]


def coded_metadata(config: Config, table: pd.DataFrame) -> CodedMetadata:
    """The metadata of a table in the common form, after splitting; only the first data set's metadata is used.

    DataError if the first data set publishes none.
    """
    first = sources(config.dataset)[0].id
    published = fitting.published(first)
    rows = np.flatnonzero(table["dataset"] == first)
    parsed = fitting.parse(fitting.questions(published), published.loc[table["image"].iloc[rows]])
    training = (table["split"].iloc[rows] == "train").to_numpy()
    fields = fitting.with_coding(fitting.questions(published), [parsed[row] for row in np.flatnonzero(training)])
    column_fields = fitting.field_indices(fields)
    coded = np.zeros((len(table), len(column_fields)), np.float32)
    coded[rows] = [metadata.code(fields, values) for values in parsed]
    return CodedMetadata(coded, fields, column_fields)


def layer(classes: int, known: CodedMetadata, folder: Path) -> keras.layers.Dense:
    """The layer from PACE times coded metadata to their contribution to the logits: initialised with zeros, or with the
    weights of the previous stage."""
    added = keras.layers.Dense(classes, use_bias=False, kernel_initializer="zeros", dtype="float32", name="added")
    added.build((None, len(known.column_fields)))
    number = int(folder.name.removeprefix("stage-"))
    earlier = folder.with_name(f"stage-{number - 1}") / FILES["last"]
    if earlier.exists():
        added.kernel.assign(read(earlier)[1].weights / PACE)
    return added


def save(added: keras.layers.Dense, known: CodedMetadata, file: Path) -> None:
    """Write the fields and the layer's weights next to a network."""
    weights = PACE * keras.ops.convert_to_numpy(added.kernel).astype(np.float64)
    fusion = Fusion(1.0, np.zeros(weights.shape[1]), weights)
    content = {
        "clinical": metadata.described(known.fields),
        "weights": json.loads(metadata.to_json(fusion, known.fields)),
    }
    with replacing(file) as partial:
        partial.write_text(json.dumps(content, indent=1))


def read(file: Path) -> tuple[tuple[Field, ...], Fusion]:
    """Read the file written by `save`."""
    content = json.loads(file.read_text())
    fields = metadata.fields_of({"inputs": {"clinical": content["clinical"]}})
    weights = content["weights"]
    return fields, metadata.from_json(json.dumps(weights), fields, len(weights["bias"]))
