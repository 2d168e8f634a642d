"""The manifest of a scoring run: which model scored how many images, with which libraries."""

import dataclasses
import importlib.metadata
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skinapp.errors import DataError
from skinapp.files import replacing
from skinapp.inference import rows
from skinapp.inference.cases import Shard
from skinapp.inference.registry import Model
from skinapp.inference.rows import Extras

LIBRARIES = ("ai-edge-litert", "numpy", "pillow", "pillow-heif", "pyarrow", "pydicom")
"""The libraries that affect a row."""
ANOTHER = "name another file or folder with --out"


def write(file: Path, model: Model, extras: Extras, shard: Shard, images: Mapping[str, int] | None = None) -> None:
    """Write the manifest of a run that has just begun, or, with the counts of its `images`, of a complete one."""
    content = {
        "model": {"id": model.id, "version": model.card["version"], "sha256": rows.fingerprint(model, extras)},
        "extras": _extras(extras),
        "shard": f"{shard.number}/{shard.of}",
        "complete": images is not None,
        "images": images,
        "libraries": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in LIBRARIES},
    }
    with replacing(file) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def check(file: Path, model: Model, extras: Extras) -> None:
    """DataError if the file exists and is not a manifest of the same model and the same columns."""
    content = read(file)
    if content is None:
        return
    if content["extras"] != _extras(extras):
        raise DataError(f"{file} describes predictions with other columns; use the same options, or {ANOTHER}.")
    scored_by = content["model"]
    if scored_by["sha256"] != rows.fingerprint(model, extras):
        raise DataError(
            f"{file} describes predictions of '{scored_by['id']}', version {scored_by['version']}, which is not the "
            f"'{model.id}' that is here now; {ANOTHER}."
        )


def read(file: Path) -> dict[str, Any] | None:
    """Read a manifest; None if there is no such file. DataError if the file is something else."""
    try:
        content = json.loads(file.read_bytes())
        if content["extras"].keys() and content["model"].keys() >= {"id", "version", "sha256"}:
            return content
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    raise DataError(f"{file} is not the manifest of scored images; move it, or {ANOTHER}.")


def _extras(extras: Extras) -> dict[str, Any]:
    return dataclasses.asdict(extras) | {"coverages": list(extras.coverages)}
