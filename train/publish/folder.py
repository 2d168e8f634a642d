"""Putting a model folder in place: complete, checked, and in one step, so that the app never sees half of one."""

import contextlib
import ctypes
import datetime
import importlib.metadata
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from skinapp.inference import metadata, model_card, registry

LICENCE = "CC BY-NC 4.0"
"""Of all that is published here, as the training images require."""
EXPORTED = {"README.md", "history.csv", "predictions.csv", "dice.csv", "model.tflite", "model.keras"} | {
    metadata.WEIGHTS_FILE
}
"""What export, fuse and segment write. Other files were added later, such as the retrieval index, and describe the
network that they were made from."""
IDENTITY = ("predictions.csv", "dice.csv")
"""Results on the test images, one of them in every folder: two networks that agree in every digit are the same one."""
EXCHANGE = 2
"""RENAME_EXCHANGE of renameat2(2)."""


@contextlib.contextmanager
def draft(models: Path, model_id: str) -> Iterator[Path]:
    """An empty folder below `models` to fill and `publish`; whatever is left of it at the end is removed."""
    models.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=models) as partial:
        folder = Path(partial) / model_id
        folder.mkdir()
        yield folder


def publish(folder: Path, card: dict[str, Any], models: Path, changes: str = "") -> Path:
    """Complete a `draft` with its version, README.md and model.json, check it, and put it into `models`.

    Of a folder that it replaces it takes over the changelog and, where the network is the same, the files that later
    commands added. `changes` is the changelog's sentence. ModelError, and the older folder left alone, if the new
    one is not valid.
    """
    target = models / card["id"]
    same = _same_network(folder, target)
    if same:
        for file in target.iterdir():
            if file.name not in EXPORTED | {registry.CARD_FILE} and not (folder / file.name).exists():
                shutil.copy2(file, folder)
    card = card | release(_older_card(target), same, changes)
    (folder / "README.md").write_text(model_card.markdown(card))
    card["files"] = registry.fingerprint(folder)
    (folder / registry.CARD_FILE).write_text(json.dumps(card, indent=2) + "\n")
    registry.verify(registry.read(folder))
    swap(folder, target)
    return target


def versions() -> dict[str, str]:
    """The versions of what made the files."""
    return {name: importlib.metadata.version(name) for name in ("keras", "tensorflow", "ai-edge-litert")}


def release(older: dict[str, Any] | None, same: bool, changes: str) -> dict[str, Any]:
    """`version` and `changelog` of a model that follows `older`: 1.0.0, 1.1.0 for another network, 1.0.1 for the same
    one with `changes`, and as before for the same one without."""
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
    """Put the folder `new` in the place of `target`, in one step where the system can exchange two folders.

    Elsewhere the older folder is moved aside first, and back where `new` cannot be moved.
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


def _same_network(folder: Path, target: Path) -> bool:
    return any(
        (folder / name).exists()
        and (target / name).exists()
        and (folder / name).read_bytes() == (target / name).read_bytes()
        for name in IDENTITY
    )


def _older_card(target: Path) -> dict[str, Any] | None:
    """The card of the folder that is replaced; None where there is none, or none with a changelog."""
    try:
        card = json.loads((target / registry.CARD_FILE).read_text())
    except (OSError, ValueError):
        return None
    return card if isinstance(card, dict) and card.get("changelog") else None
