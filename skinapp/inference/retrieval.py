"""Similar cases: the training images whose embeddings are nearest to that of an image, with their diagnoses.

`python -m train retrieval-index` builds a model's index and measures how informative its neighbours are.
"""

import functools
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from skinapp.errors import ModelError
from skinapp.inference import registry
from skinapp.inference.registry import Model

INDEX_FILE = "similar.npz"
CARD_FILE = "similar.json"
NEIGHBOURS = 5
"""The number of cases retrieved for an image, each of a different lesion."""
STORED_AS = {"projection": "directions", "vectors": "places"}
"""Fields of Index that have a different name in the published files."""


@dataclass(frozen=True)
class Case:
    """A training image: its ISIC id, its diagnosis's code, and the cosine similarity of its embedding, -1 to 1."""

    image: str
    label: str
    similarity: float


@dataclass(frozen=True)
class Index:
    """Training images in embedding space: an embedding less `centre` [D], times `projection` [D, d], is compared with
    `vectors` int8 [n, d], unit vectors times about 127, of the `images`, `lesions` and `labels` [n]."""

    centre: np.ndarray
    projection: np.ndarray
    vectors: np.ndarray
    images: np.ndarray
    lesions: np.ndarray
    labels: np.ndarray

    def project(self, embeddings: np.ndarray) -> np.ndarray:
        """Embeddings [m, D] -> unit vectors float32 [m, d]."""
        return unit((embeddings - self.centre) @ self.projection)

    def nearest(self, embedding: np.ndarray, count: int = NEIGHBOURS) -> list[Case]:
        """The training images nearest to an embedding [D], nearest first, one per lesion."""
        vectors = self.vectors.astype(np.float32)
        similarity = vectors @ self.project(embedding[np.newaxis])[0] / np.linalg.norm(vectors, axis=1)
        order = np.argsort(-similarity, kind="stable")
        _, first = np.unique(self.lesions[order], return_index=True)
        rows = order[np.sort(first)[:count]]
        return [Case(str(self.images[row]), str(self.labels[row]), float(similarity[row])) for row in rows]


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors [m, d] divided by their lengths, float32; zeros stay zeros."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def with_index(model: Model) -> Model | None:
    """The model whose index this one uses: itself, or another with the same network; None if there is none."""
    network = _first_network(model)
    others = [other for other in registry.models(model.folder.parent).values() if other.id != model.id]
    for other in [model, *others]:
        if INDEX_FILE in other.card["files"] and _first_network(other) == network:
            return other
    return None


def _first_network(model: Model) -> dict[str, str | int] | None:
    """Hash and size of the file that gives the model's embeddings."""
    return model.card["files"].get(model.weights[0])


def index(model: Model) -> Index:
    """The index in a model's own folder, read once per process. ModelError if it is not as published."""
    if INDEX_FILE not in model.card["files"]:
        raise ModelError(f"The model '{model.id}' has no index of similar cases; run python -m train retrieval-index.")
    return _loaded(model.id, str(model.folder), model.card["files"][INDEX_FILE]["sha256"])


def card(model: Model) -> dict[str, Any]:
    """The index's card: how many images and lesions it contains, and how informative its neighbours were on test
    images."""
    return json.loads(registry.verified_bytes(model, CARD_FILE))


def save(index: Index, file: Path) -> None:
    """Write an index as plain arrays."""
    stream = io.BytesIO()
    np.savez_compressed(stream, **{STORED_AS.get(name, name): np.asarray(value) for name, value in vars(index).items()})  # type: ignore[arg-type]
    file.write_bytes(stream.getvalue())


@functools.lru_cache(maxsize=4)
def _loaded(model_id: str, folder: str, sha256: str) -> Index:
    content = registry.verified_bytes(registry.read_model(Path(folder)), INDEX_FILE)
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return Index(**{name: arrays[STORED_AS.get(name, name)] for name in Index.__dataclass_fields__})
