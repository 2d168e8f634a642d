"""Puts a complete, checked model folder in place in one step, so that the app never sees a partial one."""

import contextlib
import ctypes
import datetime
import fnmatch
import hashlib
import importlib.metadata
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from skinapp.errors import DataError
from skinapp.files import replacing
from skinapp.inference import allowed, metadata, model_card, registry
from skinapp.inference.registry import Model

LICENCE = "CC BY-NC 4.0"
"""The licence of everything published here, as the training images require."""
RESIZE = "the centre square, or the square that was chosen, resized bicubically with antialiasing"
"""`resize` in a card: how the app, and the training here, make a network's square input of an image."""
EXPORTED = (
    "README.md",
    "history.csv",
    "predictions.csv",
    "predictions-*.csv",
    "out_of_fold.csv",
    "dice.csv",
    "model.tflite",
    "member-*.tflite",
    "dermoscopy.tflite",
    "close-up.tflite",
    registry.TREES_FILE,
    "model.keras",
    metadata.WEIGHTS_FILE,
)
"""Patterns of the files that export, fuse and segment write. Other files, such as the retrieval index, are added later
and belong to the network from which they were made."""
IDENTITY = ("predictions.csv", "dice.csv")
"""Results on the test images. Every folder has one of them; networks with identical results count as the same."""
EXCHANGE = 2
"""RENAME_EXCHANGE of renameat2(2)."""


@contextlib.contextmanager
def draft(models: Path, model_id: str) -> Iterator[Path]:
    """An empty folder below `models` to fill and `publish`; leftovers are removed at the end."""
    models.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=models) as partial:
        folder = Path(partial) / model_id
        folder.mkdir()
        yield folder


def publish(folder: Path, card: dict[str, Any], models: Path, changes: str = "") -> Path:
    """Complete a `draft` with its version, README.md and model.json, check it, and put it into `models`.

    If it replaces a folder, it keeps the changelog and, if the network is the same, the files and external results that
    later commands added. `changes` is the sentence for the changelog. If the new folder is not valid, ModelError is
    raised and the older one stays.
    """
    target = models / card["id"]
    same, older = _same_network(folder, target), _older_card(target)
    if same:
        for file in target.iterdir():
            exported = any(fnmatch.fnmatch(file.name, pattern) for pattern in (*EXPORTED, registry.CARD_FILE))
            if not exported and not (folder / file.name).exists():
                shutil.copy2(file, folder)
        card = card | _external(folder, card, target, older or {})
    card = card | release(older, same, changes)
    (folder / "README.md").write_text(model_card.markdown(card))
    card["files"] = registry.fingerprint(folder)
    (folder / registry.CARD_FILE).write_text(json.dumps(card, indent=2) + "\n")
    registry.verify(registry.read(folder))
    allowed.add(card, models)
    swap(folder, target)
    if "fusion" in card:
        share_network(target, models / card["fusion"]["base"])
    return target


def share_network(folder: Path, base: Path) -> None:
    """Replace every network in `folder` that is also in the folder `base` next to it by a link, so that it is stored
    once."""
    for file in folder.glob("*.tflite"):
        original = base / file.name
        if original.is_file() and not original.is_symlink() and original.read_bytes() == file.read_bytes():
            link = file.with_name(f".{file.name}")
            link.symlink_to(Path("..") / base.name / file.name)
            link.replace(file)


def current(model: Model) -> Model:
    """The model as its folder is now, after work that took long. DataError if its networks are not those that were
    read before."""
    now = registry.read_model(model.folder)
    if now.hashes != model.hashes:
        raise DataError(f"The networks of '{model.id}' were replaced in the meantime; run the same command again.")
    return now


def write_card(model: Model, changed: Iterable[str]) -> None:
    """Write the model's `model.json` with new hashes for the files that were added or changed, and without those that
    are gone."""
    files = {name: entry for name, entry in model.card["files"].items() if (model.folder / name).exists()}
    for name in changed:
        content = (model.folder / name).read_bytes()
        files[name] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    with replacing(model.folder / registry.CARD_FILE) as partial:
        partial.write_text(json.dumps(model.card | {"files": dict(sorted(files.items()))}, indent=2) + "\n")


def versions() -> dict[str, str]:
    """The versions of the libraries used to make the files."""
    return {name: importlib.metadata.version(name) for name in ("keras", "tensorflow", "ai-edge-litert")}


def release(older: dict[str, Any] | None, same: bool, changes: str) -> dict[str, Any]:
    """`version` and `changelog` of a model after `older`: 1.0.0 for the first, 1.1.0 for another network, 1.0.1 for the
    same network with `changes`, and unchanged for the same network without."""
    if older is None:
        version, log = "1.0.0", []
    else:
        log = list(older["changelog"])
        if same and not changes:
            return {"version": older["version"], "changelog": log}
        major, minor, patch = map(int, older["version"].split("."))
        version = f"{major}.{minor}.{patch + 1}" if same else f"{major}.{minor + 1}.0"
    words = changes or ("Trained again." if log else "First release.")
    entry = {"version": version, "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(), "changes": words}
    return {"version": version, "changelog": [*log, entry]}


def swap(new: Path, target: Path) -> None:
    """Replace the folder `target` with `new`, in one step if the system can exchange two folders.

    Otherwise the older folder is moved away first, and back if `new` cannot be moved.
    """
    if not target.exists():
        new.rename(target)
    elif _exchange(new, target):
        shutil.rmtree(new)
    else:
        aside = new.with_name(f"{new.name}.older")
        target.rename(aside)
        try:
            new.rename(target)
        except OSError:
            aside.rename(target)
            raise
        shutil.rmtree(aside)


def _exchange(first: Path, second: Path) -> bool:
    try:
        renameat2 = ctypes.CDLL(None).renameat2
    except (OSError, AttributeError, TypeError):
        return False
    here = -100  # AT_FDCWD: paths are relative to the working directory
    return renameat2(here, os.fsencode(first), here, os.fsencode(second), EXCHANGE) == 0


def _external(folder: Path, card: dict[str, Any], target: Path, older: dict[str, Any]) -> dict[str, Any]:
    """The `other_tests` of a card and the external results of the older one, whose files are copied into `folder`."""
    added = [
        test
        for test in older.get("other_tests", ())
        if test.get("external") and not (folder / test["predictions"]).exists()
    ]
    for test in added:
        shutil.copy2(target / test["predictions"], folder)
    return {"other_tests": [*card.get("other_tests", ()), *added]} if added else {}


def _same_network(folder: Path, target: Path) -> bool:
    return any(
        (folder / name).exists()
        and (target / name).exists()
        and (folder / name).read_bytes() == (target / name).read_bytes()
        for name in IDENTITY
    )


def _older_card(target: Path) -> dict[str, Any] | None:
    """The card of the folder to be replaced; None if it does not exist or has no changelog."""
    try:
        card = json.loads((target / registry.CARD_FILE).read_text())
    except (OSError, ValueError):
        return None
    return card if isinstance(card, dict) and card.get("changelog") else None
