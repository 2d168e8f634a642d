"""The output row of a scored image, or the reason why there is none: the same wherever images are scored.

A row is a dict of plain values and float32 arrays; `parts` says how Parquet stores it, `csv_file` how a CSV does.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skinapp.errors import ImageError, ModelError
from skinapp.images import imaging
from skinapp.inference import conformal, metadata, runtime
from skinapp.inference.metadata import Metadata
from skinapp.inference.registry import Model
from skinapp.inference.runtime import Classifier, Prediction

Row = dict[str, Any]
"""By column: `image`, its name, and either what `columns` lists or `reason`, why the image has no prediction."""

FAILURE_COLUMNS = ("image", "reason")
AGREEMENT_COLUMNS = ("networks_agreeing", "malignancy_low", "malignancy_high")


@dataclass(frozen=True)
class Case:
    """An image to score, and its row in the input table, by column: empty for an image from a folder."""

    path: Path
    row: Mapping[str, object]


@dataclass(frozen=True)
class Extras:
    """The optional contents of a row: the prediction set for each of the `coverages`, the embedding, and the class map
    of the predicted class."""

    coverages: tuple[float, ...] = ()
    embedding: bool = False
    class_map: bool = False


NO_EXTRAS = Extras()


@dataclass(frozen=True)
class Content:
    """The content of a case: the bytes of its file, their SHA-256 in hexadecimal, and its patient metadata."""

    data: bytes
    sha256: str
    values: Metadata


def check(model: Model, extras: Extras) -> None:
    """ModelError if the model cannot provide one of the extras; DataError for a coverage that is not stored."""
    for coverage in extras.coverages:
        conformal.check(model, coverage)
    if extras.embedding and "embedding" not in model.card["outputs"]:
        raise ModelError(f"The model '{model.id}' has no embedding; leave out --embeddings.")
    if extras.class_map and not model.has_class_maps:
        raise ModelError(f"The model '{model.id}' has no class maps; leave out --cam.")


def columns(model: Model, extras: Extras) -> list[str]:
    """The columns of a row, in order: image, sha256 of its file, model, predicted, malignancy, `p_<label>` in the
    model's order; for a model of several networks or views, AGREEMENT_COLUMNS, as in `runtime.Agreement`;
    `set_<coverage>`, the codes of the prediction set; embedding; class_map."""
    several = len(model.weights) * len(model.views) > 1
    return [
        "image",
        "sha256",
        "model",
        "predicted",
        "malignancy",
        *(f"p_{code}" for code in model.labels.codes),
        *(AGREEMENT_COLUMNS if several else ()),
        *(f"set_{coverage:g}" for coverage in extras.coverages),
        *(["embedding"] if extras.embedding else []),
        *(["class_map"] if extras.class_map else []),
    ]


def fingerprint(model: Model, extras: Extras) -> str:
    """SHA-256, in hexadecimal, of everything in the model's folder that its rows depend on: weights, input, labels and
    calibration, but not the texts and scores of the card."""
    card = model.card
    files = {
        name: card["files"][name]["sha256"] for name in (*model.weights, metadata.WEIGHTS_FILE) if name in card["files"]
    }
    malignant = [[label.code, label.malignant] for label in model.labels.labels]
    sets = [conformal.check(model, coverage).at(coverage) for coverage in extras.coverages]
    depends_on = [files, card["input"], card.get("inputs"), card["outputs"], malignant, model.temperature, sets]
    if base := runtime.base(model):
        # it answers for an image without metadata
        depends_on.append(fingerprint(base, extras))
    return hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()


def read(name: str, case: Case, model: Model) -> Content:
    """The file of a case. ImageError if the file or its name cannot be used, or it changes while being read; DataError
    for an impossible value in the patient metadata."""
    check_name(name)
    values = metadata.parse(model.clinical, case.row)
    before = _state(case.path)
    data = imaging.read(case.path)
    if _state(case.path) != before:
        raise ImageError("The file changed while it was read; run the same command again when it is complete.")
    return Content(data, hashlib.sha256(data).hexdigest(), values)


def predict(content: Content, classifier: Classifier, extras: Extras) -> Row:
    """The row of a file's content, without `image`: two files with the same content and metadata have the same row.

    ImageError if it cannot be decoded.
    """
    model = classifier.model
    prediction = classifier.predict(imaging.load(content.data, model.input_size), content.values)
    return {"sha256": content.sha256, **_predicted(prediction, extras)}


def failure(name: str, error: Exception) -> Row:
    """The row of an image without a prediction: its name and the reason, as text that any file can store."""
    return {"image": printable(name), "reason": printable(str(error))}


def check_name(name: str) -> None:
    """ImageError for a name that is not a valid file name, or that no table can store."""
    if "\0" in name:
        raise ImageError("The file name contains a NUL character; correct it in the list.")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ImageError("The file name is not valid UTF-8; rename the file.") from None


def printable(text: str) -> str:
    """Text that any table can store: invalid UTF-8 and NUL are escaped."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", r"\x00")


def _predicted(prediction: Prediction, extras: Extras) -> Row:
    model = prediction.model
    row: Row = {"model": model.id, "predicted": prediction.predicted, "malignancy": prediction.malignancy}
    row |= {f"p_{code}": float(p) for code, p in zip(model.labels.codes, prediction.probabilities, strict=True)}
    if agreed := runtime.agreement(prediction):
        row |= zip(AGREEMENT_COLUMNS, (agreed.agreeing, agreed.low, agreed.high), strict=True)
    row |= {f"set_{coverage:g}": list(conformal.prediction_set(prediction, coverage)) for coverage in extras.coverages}
    if extras.embedding:
        row["embedding"] = prediction.embedding
    if extras.class_map and prediction.class_maps is not None:
        index = int(prediction.probabilities.argmax())
        row["class_map"] = prediction.class_maps[..., index].ravel()
    return row


def _state(path: Path) -> tuple[int, int] | None:
    """Size and modification time (ns) of a file; None if it cannot be read, which `imaging.read` will report."""
    try:
        state = path.stat()
    except (OSError, ValueError):
        return None
    return state.st_size, state.st_mtime_ns
