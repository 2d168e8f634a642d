"""The model folders: found, checked against the schema and their own hashes, and read into typed cards."""

import functools
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema

from skinapp.errors import DataError, ModelError
from skinapp.inference import metadata
from skinapp.inference.metadata import Field
from skinapp.labels.sets import LabelSet, label_set

SCHEMA_FILE = Path(__file__).with_name("model.schema.json")
OUTLINE = "lesion-segmentation"
"""The folder of the network that outlines the lesion: no classifier, see outline.py."""


@dataclass(frozen=True)
class Model:
    """A model folder whose `model.json` has passed the schema. `card` is that file, parsed."""

    id: str
    title: str
    task: str
    modality: str
    labels: LabelSet
    input_size: int
    temperature: float
    folder: Path
    card: dict[str, Any]
    clinical: tuple[Field, ...] = ()
    """What it takes beside the image; every answer may be missing."""

    @property
    def runnable(self) -> bool:
        """Whether the weights are in the folder; of some baselines only the figures are."""
        return "model.tflite" in self.card["files"]

    @property
    def removes_hair(self) -> bool:
        """Whether it learnt from images whose hairs were taken out, and so is shown every image that way."""
        return self.card["input"].get("hair_removal", False)

    @property
    def has_class_maps(self) -> bool:
        return "class_maps" in self.card["outputs"]


def default_root() -> Path:
    """The folder of the models: the environment variable SKINAPP_MODELS, or `models` beside the package."""
    return Path(os.environ.get("SKINAPP_MODELS", Path(__file__).parents[2] / "models"))


def models(root: Path | None = None) -> dict[str, Model]:
    """Every usable model folder below `root`, by id. What was left out, and why, is in `problems`."""
    return _scan(root)[0]


def problems(root: Path | None = None) -> dict[str, str]:
    """Folder name -> a sentence, for every folder below `root` that is not a usable model."""
    return _scan(root)[1]


def model(model_id: str, root: Path | None = None) -> Model:
    """The model of that id. ModelError where it is unknown, incomplete or its card is not valid."""
    root = root or default_root()
    known, left_out = _scan(root)
    if model_id in known:
        return known[model_id]
    if model_id in left_out:
        raise ModelError(left_out[model_id])
    there_are = f"there are: {', '.join(known)}" if known else f"there are none in {root}"
    raise ModelError(f"There is no model '{model_id}'; {there_are}.")


def ranked(root: Path | None = None) -> list[Model]:
    """The models that can run: those that name a diagnosis first, of each task the ones for dermoscopy, and then by
    balanced accuracy on test, which says nothing across kinds of image."""
    usable = [model for model in models(root).values() if model.runnable]

    def place(model: Model) -> tuple[bool, bool, float]:
        score = model.card["scores"]["balanced_accuracy"]["value"]
        return model.task != "diagnosis", model.modality != "dermoscopy", -score

    return sorted(usable, key=place)


def read_model(folder: Path) -> Model:
    """A folder -> Model. ModelError names the first thing that is missing or wrong; hashes are left to `verify`."""
    try:
        card = json.loads((folder / "model.json").read_text())
    except FileNotFoundError:
        raise ModelError(f"The model folder {folder} has no model.json; fetch it again.") from None
    except ValueError as error:
        raise ModelError(f"{folder / 'model.json'} is not valid JSON ({error}); fetch the folder again.") from None
    for violation in _validator().iter_errors(card):
        raise ModelError(f"{folder / 'model.json'}, {violation.json_path}: {violation.message}.")
    if card["id"] != folder.name:
        raise ModelError(f"The model '{card['id']}' lies in a folder named '{folder.name}'; the names must be equal.")
    try:
        labels = label_set(card["labels"]["set"])
    except DataError as error:
        raise ModelError(f"The model '{card['id']}' cannot be used. {error}") from None
    if tuple(card["labels"]["codes"]) != labels.codes:
        raise ModelError(f"The classes of the model '{card['id']}' are not those of the label set '{labels.id}'.")
    for name, expected in card["files"].items():
        if not (folder / name).is_file():
            raise ModelError(f"The model '{card['id']}' lacks its file {name}; fetch the folder again.")
        if (folder / name).stat().st_size != expected["size"]:
            raise ModelError(_altered(card["id"], name))
    if ("inputs" in card) != (metadata.WEIGHTS_FILE in card["files"]):
        raise ModelError(
            f"The model '{card['id']}' must list clinical inputs and the file {metadata.WEIGHTS_FILE}, or neither; "
            "fetch the folder again."
        )
    for name in ("model.tflite", "model.keras"):
        if name not in card["files"] and (folder / name).exists():
            raise ModelError(f"The model '{card['id']}' does not list its file {name}; fetch the folder again.")
    return Model(
        id=card["id"],
        title=card["title"],
        task=card["task"],
        modality=card["modality"],
        labels=labels,
        input_size=card["input"]["size"],
        temperature=card["temperature"],
        folder=folder,
        card=card,
        clinical=metadata.fields_of(card),
    )


def verify(model: Model) -> None:
    """ModelError where a file of the model is missing or is not, byte for byte, the one its card describes."""
    for name in model.card["files"]:
        verified_bytes(model, name)


def verified_bytes(model: Model, name: str) -> bytes:
    """The content of one of the model's files, checked against its SHA-256. ModelError where it differs."""
    try:
        content = (model.folder / name).read_bytes()
    except OSError:
        raise ModelError(f"The model '{model.id}' lacks its file {name}; fetch the folder again.") from None
    if hashlib.sha256(content).hexdigest() != model.card["files"][name]["sha256"]:
        raise ModelError(_altered(model.id, name))
    return content


def _scan(root: Path | None) -> tuple[dict[str, Model], dict[str, str]]:
    root = root or default_root()
    known, left_out = {}, {}
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        if folder.is_dir() and not folder.name.startswith(".") and folder.name != OUTLINE:
            try:
                known[folder.name] = read_model(folder)
            except ModelError as error:
                left_out[folder.name] = str(error)
    return known, left_out


@functools.cache
def _validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads(SCHEMA_FILE.read_text()))


def _altered(model_id: str, name: str) -> str:
    return f"The file {name} of the model '{model_id}' was changed after it was published; fetch the folder again."
