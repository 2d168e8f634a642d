"""Which networks may run here: those that came with the app, those that were made here, and those that the user allows.

A network from a stranger can be crafted to harm the computer that loads it, and the hashes in its own card do not
prevent that. So a model folder is used only if the hashes of its networks are listed: in LISTED, which comes with the
app, or in the user's own list. Publishing or adopting a model on this machine, and `python -m skinapp allow`, add them.
"""

import contextlib
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from skinapp.files import locked, replacing

LISTED = Path(__file__).with_name("allowed.txt")
"""One line for each network shipped with the app: its SHA-256, the model and the file."""
SHIPPED = Path(__file__).parents[2] / "models"
"""The folder of the shipped models. Models published there are added to LISTED, so that the list can be committed with
the model."""
ALL = "SKINAPP_ALLOW_MODELS"
"""The environment variable that, set to 1, allows every model folder, for servers where the operator provides them."""
NETWORKS = (".tflite", ".keras", "trees.npz")


def refusal(card: Mapping[str, Any], among: Collection[str] | None = None) -> str | None:
    """The reason why the networks that a card lists are not used; None if they are `among` the hashes of both lists,
    which are read unless they are given."""
    if os.environ.get(ALL) == "1" or set(_networks(card)) <= set(listed() if among is None else among):
        return None
    return (
        f"The model '{card['id']}' did not come with this app and was not made here. A network from an unknown source "
        f"can harm your computer. If you know where it comes from, run: python -m skinapp allow {card['id']}"
    )


def add(card: Mapping[str, Any], root: Path) -> Path | None:
    """Allow the networks of a card, in a folder below `root`, replacing older ones of the same model; return the list
    that was changed, if any. DataError if it cannot be written."""
    shipped = root.resolve() == SHIPPED.resolve()
    if not shipped and refusal(card) is None:
        return None
    file = LISTED if shipped else own_list()
    names = {f"{card['id']}/{name}": digest for digest, name in _networks(card).items()}
    with locked(file):
        known = file.read_text().splitlines() if file.exists() else []
        listed = {name: digest for digest, _, name in (line.partition("  ") for line in known)}
        lines = [f"{digest}  {name}" for name, digest in sorted((listed | names).items())]
        if lines == known:
            return None
        with replacing(file) as partial:
            partial.write_text("\n".join(lines) + "\n")
    return file


def own_list() -> Path:
    """The user's list; the environment variable XDG_CONFIG_HOME replaces ~/.config."""
    folder = os.environ.get("XDG_CONFIG_HOME")
    # a user without a home directory, as in a container, has none
    home = Path(os.environ.get("HOME", os.devnull))
    return (Path(folder) if folder else home / ".config") / "skinapp" / "allowed-models.txt"


def _networks(card: Mapping[str, Any]) -> dict[str, str]:
    """Maps the SHA-256 of each network to its file name."""
    return {str(file["sha256"]): name for name, file in card["files"].items() if name.endswith(NETWORKS)}


def listed() -> set[str]:
    """The hashes in both lists."""
    lines: list[str] = []
    for file in (LISTED, own_list()):
        # missing, or not readable for this user
        with contextlib.suppress(OSError):
            lines += file.read_text().splitlines()
    return {line.partition(" ")[0] for line in lines}
