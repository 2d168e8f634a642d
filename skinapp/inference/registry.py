"""The model folders: listed, checked against the schema and their own hashes, and read into typed cards."""

import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema

from skinapp.errors import DataError, ModelError
from skinapp.inference import allowed, metadata, model_card, views
from skinapp.inference.metadata import Field
from skinapp.labels.sets import LabelSet, of_card

CARD_FILE = "model.json"
WEIGHTS_FILE = "model.tflite"
TREES_FILE = "trees.npz"
"""The weights of a model of the kind `features`."""
SCHEMA_FILE = Path(__file__).with_name("model.schema.json")
MAX_ROOT_BYTES = 200 * 1000**2
"""Maximum total size of the shipped model folders, in bytes; a link to the same network in another folder counts as
zero."""


@dataclass(frozen=True)
class Model:
    """The folder of a classifier, committee, pair or features model whose `model.json` has passed the schema; `card`
    is that file, parsed."""

    id: str
    kind: str
    title: str
    short_name: str
    task: str
    modality: str
    labels: LabelSet
    input_size: int
    temperature: float
    folder: Path
    card: dict[str, Any]
    clinical: tuple[Field, ...] = ()
    """The metadata fields that the model uses besides the image; every value may be missing."""

    @property
    def runnable(self) -> bool:
        """Whether the weights are in the folder; some baselines have only their scores."""
        return self.weights[0] in self.card["files"]

    @property
    def weights(self) -> tuple[str, ...]:
        """The LiteRT files: one for each member of a committee or each image of a pair, or the only one; for a model on
        features, its trees."""
        if not self.is_network:
            return (TREES_FILE,)
        parts = self.card.get("members") or self.card.get("pair", {}).get("pictures", ())
        return tuple(part["file"] for part in parts) or (WEIGHTS_FILE,)

    @property
    def hashes(self) -> list[str]:
        """The hashes of the `weights` of a runnable model. Figures that were measured with the model state them, so
        that they are not shown for later weights."""
        return [self.card["files"][name]["sha256"] for name in self.weights]

    @property
    def is_network(self) -> bool:
        """Whether the model is made of networks, as attention methods, similar cases and sanity checks require; a model
        of the kind `features` measures the lesion instead."""
        return self.kind != "features"

    @property
    def views(self) -> tuple[str, ...]:
        """The views of an image, by their names in `views.VIEWS`, that the logits are averaged over."""
        return tuple(self.card["input"].get("views", (views.UPRIGHT,)))

    @property
    def removes(self) -> tuple[str, ...]:
        """The kinds of artefact, keys of `removal.KINDS`, that were removed in training, and so are removed from every
        image."""
        return tuple(self.card["input"].get("remove", ()))

    @property
    def has_class_maps(self) -> bool:
        return "class_maps" in self.card["outputs"]


@dataclass(frozen=True)
class Segmentation:
    """The folder of a segmentation network whose `model.json` has passed the schema; `card` is that file, parsed."""

    id: str
    title: str
    folder: Path
    card: dict[str, Any]


def default_root() -> Path:
    """The folder of the models: the environment variable SKINAPP_MODELS, or `models` next to the package."""
    return Path(os.environ.get("SKINAPP_MODELS", Path(__file__).parents[2] / "models"))


def models(root: Path | None = None) -> dict[str, Model]:
    """Every usable classifier below `root`, by id. The folders that cannot be used, and why, are in `problems`."""
    return {name: entry for name, entry in _scan(root).items() if isinstance(entry, Model)}


def problems(root: Path | None = None) -> dict[str, str]:
    """Maps the name of every unusable folder below `root` to the reason."""
    return {name: entry for name, entry in _scan(root).items() if isinstance(entry, str)}


def model(model_id: str, root: Path | None = None) -> Model:
    """The classifier with this id. ModelError if it is unknown, incomplete or its card is not valid."""
    root = root or default_root()
    known = models(root)
    if model_id in known:
        return known[model_id]
    if problem := problems(root).get(model_id):
        raise ModelError(problem)
    raise ModelError(f"There is no model '{model_id}'; {_listed(known, root)}")


def segmentation(root: Path | None = None) -> Segmentation:
    """The segmentation network below `root`. ModelError if there is none."""
    root = root or default_root()
    for entry in _scan(root).values():
        if isinstance(entry, Segmentation):
            return entry
    reasons = " ".join(problems(root).values())
    raise ModelError(
        f"There is no lesion segmentation network in {root}; fetch its folder again, or use an ellipse. "
        f"{reasons}".strip()
    )


def no_models(root: Path | None = None) -> ModelError:
    """The error for a root without usable models: where models should be, why none is usable, and what to set."""
    root = root or default_root()
    words = f"There is no usable model in {root}; set SKINAPP_MODELS to the folder of the models."
    return ModelError(" ".join([words, *problems(root).values()]))


def ranked(root: Path | None = None) -> list[Model]:
    """The models that can run on one image, the default first: those trained here before adopted ones, diagnosis before
    malignancy, dermoscopy before smartphone, committees before single networks, then by `held_out_score`; those without
    it come last, and features models after all networks, so that none of them is a default.

    Committees come first because their held-out scores are those of single networks, and the mean of the networks does
    better.
    """

    def rank(model: Model) -> tuple[bool, bool, bool, bool, bool, float]:
        return (
            not model.is_network,
            "adopted" in model.card,
            model.task != "diagnosis",
            model.modality != "dermoscopy",
            model.kind != "committee",
            _worst_last(model),
        )

    return sorted((model for model in models(root).values() if model.runnable and model.kind != "pair"), key=rank)


def pairs(root: Path | None = None) -> list[Model]:
    """The models that can run on two images of a lesion, dermoscopy and close-up, by `held_out_score`."""
    runnable = (model for model in models(root).values() if model.runnable and model.kind == "pair")
    return sorted(runnable, key=_worst_last)


def listed(root: Path | None = None) -> list[Model]:
    """Every usable model: the runnable ones as `ranked`, then the others by id."""
    first = ranked(root)
    return [*first, *(model for model in models(root).values() if model not in first)]


def held_out_score(card: Mapping[str, Any]) -> float | None:
    """The balanced accuracy for model selection, from the card of a classifier: on validation images, out of fold, or
    by cross-validation, never on test images. None if the card states none."""
    if "validation" in card:
        return float(card["validation"]["balanced_accuracy"]["value"])
    if "fusion" in card and model_card.cross_validated(card):
        return float(card["scores"]["balanced_accuracy"]["value"])
    adjustment = card.get("logit_adjustment", {"tried": ()})
    tried = (row for row in adjustment["tried"] if row["logit_adjustment"] == adjustment["applied"])
    return next((float(row["balanced_accuracy"]) for row in tried), None)


def pictures(model: Model) -> tuple[Model, ...]:
    """A model for each image that the model takes: for a pair, the networks for the dermoscopy image and the close-up,
    in this order; for any other, the model itself.

    The logits of a network of a pair are unweighted.
    """
    if model.kind != "pair":
        return (model,)
    card = {name: value for name, value in model.card.items() if name != "pair"}
    return tuple(
        dataclasses.replace(
            model,
            kind="classifier",
            modality=picture["modality"],
            card=card | {"kind": "classifier", "modality": picture["modality"], "members": [{"file": picture["file"]}]},
        )
        for picture in model.card["pair"]["pictures"]
    )


def read_again(model: Model) -> Model:
    """The model, or the network of a pair, as its folder describes it now. ModelError as for `read_model`."""
    now = read_model(model.folder)
    return now if model.kind == now.kind else next(one for one in pictures(now) if one.weights == model.weights)


def read_model(folder: Path) -> Model:
    """A folder -> Model. ModelError names the first thing that is missing or wrong; hashes are left to `verify`."""
    entry = read(folder)
    if isinstance(entry, Segmentation):
        raise ModelError(f"'{entry.id}' is a segmentation network, not a classifier; name a classifier.")
    return entry


def read(folder: Path) -> Model | Segmentation:
    """A folder of any kind. ModelError names the first thing that is missing or wrong; hashes are left to `verify`."""
    card = _card(folder)
    if card["kind"] == "segmentation":
        return Segmentation(card["id"], card["title"], folder, card)
    try:
        labels = of_card(card["labels"])
    except DataError as error:
        raise ModelError(f"The model '{card['id']}' cannot be used. {error}") from None
    if tuple(card["labels"]["codes"]) != labels.codes:
        raise ModelError(f"The classes of the model '{card['id']}' are not those of the label set '{labels.id}'.")
    if ("inputs" in card) != (metadata.WEIGHTS_FILE in card["files"]):
        raise ModelError(
            f"The model '{card['id']}' must list clinical inputs and the file {metadata.WEIGHTS_FILE}, or neither; "
            "fetch the folder again."
        )
    _check_members(card)
    _check_pair(card)
    _check_conformal(card)
    if views.UPRIGHT not in card["input"].get("views", (views.UPRIGHT,)):
        raise ModelError(f"The model '{card['id']}' does not list the upright view; fetch the folder again.")
    return described(card, labels, folder)


def described(card: dict[str, Any], labels: LabelSet, folder: Path) -> Model:
    """The model that a card describes."""
    return Model(
        id=card["id"],
        kind=card["kind"],
        title=card["title"],
        short_name=card["short_name"],
        task=card["task"],
        modality=card["modality"],
        labels=labels,
        input_size=card["input"]["size"],
        temperature=card["temperature"],
        folder=folder,
        card=card,
        clinical=metadata.fields_of(card),
    )


def fingerprint(folder: Path) -> dict[str, dict[str, str | int]]:
    """`files` of a card: the SHA-256 and size in bytes of every file in the folder but `model.json`."""
    return {
        file.name: {"sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "size": file.stat().st_size}
        for file in sorted(folder.iterdir())
        if file.name != CARD_FILE
    }


def size(model: Model) -> int:
    """The size in bytes of the weights of a model that can be run."""
    return sum(model.card["files"][name]["size"] for name in model.weights)


def verify(model: Model | Segmentation) -> None:
    """ModelError if a file of the model is missing or is not, byte for byte, the one its card describes."""
    for name in model.card["files"]:
        verified_bytes(model, name)


def verified_bytes(model: Model | Segmentation, name: str) -> bytes:
    """The content of one of the model's files, checked against its SHA-256. ModelError if it differs."""
    try:
        content = (model.folder / name).read_bytes()
    except OSError:
        raise ModelError(f"The model '{model.id}' lacks its file {name}; fetch the folder again.") from None
    if hashlib.sha256(content).hexdigest() != model.card["files"][name]["sha256"]:
        raise ModelError(_altered(model.id, name))
    return content


_hashed: set[Path] = set()
"""The roots whose folders are checked against the hashes in their cards before they are listed."""


def check_hashes(root: Path | None = None) -> None:
    """From now on, exclude folders below `root` with a changed file from `models`, and name them in `problems`; checked
    again whenever a file changes. Every file is read once; until then, the folders are listed without the check."""
    root = root or default_root()
    _read_all(root, hashed=True)
    _hashed.add(root)


def _scan(root: Path | None) -> dict[str, Model | Segmentation | str]:
    """Maps each folder name to its content, or to the reason why it cannot be used."""
    root = root or default_root()
    entries, listed = _read_all(root, hashed=root in _hashed), allowed.listed()
    return {
        name: entry if isinstance(entry, str) else allowed.refusal(entry.card, listed) or entry
        for name, entry in entries.items()
    }


def _read_all(root: Path, hashed: bool) -> dict[str, Model | Segmentation | str]:
    try:
        folders = sorted(folder for folder in root.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    except OSError:
        # `no_models` names the root
        return {}
    return {folder.name: _entry(folder, hashed) for folder in folders}


def _entry(folder: Path, hashed: bool) -> Model | Segmentation | str:
    try:
        return _cached(folder, _state(folder), hashed)
    except OSError as error:
        return f"The model folder {folder} cannot be read: {error.strerror or error}."


def _state(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Name, size and modification time (ns) of every file: a folder is read again if any of them changes."""
    with os.scandir(folder) as entries:
        states = [(entry.name, entry.stat().st_size, entry.stat().st_mtime_ns) for entry in entries if entry.is_file()]
    return tuple(sorted(states))


@functools.lru_cache(maxsize=256)
def _cached(folder: Path, state: tuple[tuple[str, int, int], ...], hashed: bool) -> Model | Segmentation | str:
    try:
        entry = read(folder)
        if hashed:
            verify(entry)
        return entry
    except ModelError as error:
        return str(error)


def _card(folder: Path) -> dict[str, Any]:
    """A folder's `model.json`, checked against the schema and the sizes of the files next to it. ModelError."""
    file = folder / CARD_FILE
    try:
        card = json.loads(file.read_text())
    except FileNotFoundError:
        raise ModelError(f"The model folder {folder} has no {CARD_FILE}; fetch it again.") from None
    except ValueError as error:
        raise ModelError(f"{file} is not valid JSON ({error}); fetch the folder again.") from None
    for violation in _validator().iter_errors(card):
        raise ModelError(f"{file}, {violation.json_path}: {violation.message}.")
    if card["id"] != folder.name:
        raise ModelError(f"The model '{card['id']}' is in a folder named '{folder.name}'; the names must match.")
    if card["changelog"][-1]["version"] != card["version"]:
        raise ModelError(f"The changelog of the model '{card['id']}' does not end with its version {card['version']}.")
    for name, expected in card["files"].items():
        if not (folder / name).is_file():
            raise ModelError(f"The model '{card['id']}' lacks its file {name}; fetch the folder again.")
        if (folder / name).stat().st_size != expected["size"]:
            raise ModelError(_altered(card["id"], name))
    for name in ("model.keras", *sorted(file.name for file in folder.glob("*.tflite"))):
        if name not in card["files"] and (folder / name).exists():
            raise ModelError(f"The model '{card['id']}' does not list its file {name}; fetch the folder again.")
    return card


def _check_members(card: dict[str, Any]) -> None:
    """ModelError if a committee has no members, lacks one of them or names one twice, or where a single network
    lists members."""
    members = card.get("members", [])
    if card["kind"] == "committee" and not members:
        raise ModelError(f"The committee '{card['id']}' has no members; fetch the folder again.")
    if card["kind"] != "committee" and members:
        raise ModelError(f"The model '{card['id']}' lists members but is not a committee; fetch the folder again.")
    files = [member["file"] for member in members]
    if len(set(files)) < len(files) or len({member["fold"] for member in members}) < len(members):
        raise ModelError(f"The committee '{card['id']}' lists a member or a fold twice; fetch the folder again.")
    missing = [file for file in files if file not in card["files"]]
    if missing and len(missing) < len(files):
        raise ModelError(f"The committee '{card['id']}' lacks its member {missing[0]}; fetch the folder again.")


def _check_pair(card: dict[str, Any]) -> None:
    """ModelError if a pair lacks one of its two networks, or its constants are not those of its classes, or if a model
    that is not a pair has these settings."""
    if "pair" not in card:
        return
    if card["kind"] != "pair":
        raise ModelError(f"The model '{card['id']}' combines two images but is not a pair; fetch the folder again.")
    files = [picture["file"] for picture in card["pair"]["pictures"]]
    missing = [file for file in files if file not in card["files"]]
    if len(missing) == 1:
        raise ModelError(f"The pair '{card['id']}' lacks its network {missing[0]}; fetch the folder again.")
    constants = [card["pair"]["bias"], *(picture["alone"]["bias"] for picture in card["pair"]["pictures"])]
    if any(len(bias) != len(card["labels"]["codes"]) for bias in constants):
        raise ModelError(
            f"The pair '{card['id']}' does not have one constant for each of its {len(card['labels']['codes'])} "
            "classes; fetch the folder again."
        )


def _worst_last(model: Model) -> float:
    """A key to sort models by, the best first and those without a held-out score last."""
    score = held_out_score(model.card)
    return 0.0 if score is None else -score


def _check_conformal(card: dict[str, Any]) -> None:
    """ModelError if the prediction sets have other classes than the model, or a class lacks a threshold."""
    stored = card.get("conformal")
    if stored is None:
        return
    counts = {len(one["thresholds"]) for one in stored["classes"].values()}
    if set(stored["classes"]) != set(card["labels"]["codes"]) or counts != {len(stored["coverages"])}:
        raise ModelError(
            f"The prediction sets of the model '{card['id']}' do not fit its classes; fetch the folder again."
        )


def _listed(known: dict[str, Model], root: Path) -> str:
    if known:
        return f"choose one of: {', '.join(known)}."
    return f"there are none in {root}; set SKINAPP_MODELS to the folder of the models."


@functools.cache
def _validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads(SCHEMA_FILE.read_text()))


def _altered(model_id: str, name: str) -> str:
    return f"The file {name} of the model '{model_id}' was changed after it was published; fetch the folder again."
