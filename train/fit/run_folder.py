"""The folder of a run: its settings, its progress, and its networks."""

import dataclasses
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from skinapp.errors import DataError
from skinapp.files import replacing
from train.config import RUN, Config, Stage
from train.data.datasets import read, with_validation
from train.fit import hosts
from train.fit.validation import MONITOR

SPLIT_SETTINGS = ("dataset", "packed", "folds", "fold", "seed", "hold_out_all", "without")
"""The settings that decide which images a run holds out."""


LOGITS_FILE = "logits.npz"
"""The file that `evaluate` writes for a cross-validation: `images` [n], their `logits` [n, K] from networks that were
not trained on them, and the `folds` [n] that those networks held out. A committee adds the images that no fold holds
out, with the fold -1; their logits are from one of its networks, which was trained on them. A committee's logits are
before adjustment, since a network that learns from them has its own."""


def write_logits(run: Path, images: pd.Series, logits: np.ndarray, folds: np.ndarray) -> None:
    """Write LOGITS_FILE."""
    with replacing(run / LOGITS_FILE) as partial, partial.open("wb") as stream:
        np.savez(stream, images=images.to_numpy(str), logits=logits, folds=folds)


def open_run(config: Config, runs: Path, name: str = "") -> Path:
    """The folder of this run, called `name` or by default the run's id. DataError if it belongs to another
    configuration."""
    run = runs / (name or config.id)
    settings_file = run / "config.json"
    settings = {"fingerprint": config.fingerprint} | dataclasses.asdict(config)
    if settings_file.exists():
        if json.loads(settings_file.read_text())["fingerprint"] != config.fingerprint:
            raise DataError(f"{run} was started with other settings; move it away, or pass another --runs folder.")
    else:
        run.mkdir(parents=True, exist_ok=True)
        with replacing(settings_file) as partial:
            partial.write_text(json.dumps(settings, indent=2))
    return run


def write_run_file(config: Config, run: Path, devices: int) -> None:
    """Write `run.json`: settings, versions, commit, hardware, finished epochs and their time."""
    tables = [pd.read_csv(file) for file in run.glob("stage-*/history.csv")]
    seconds = float(sum(table["seconds"].sum() for table in tables))
    images = sum(len(table) for table in tables) * (config.samples_per_epoch // config.batch_size) * config.batch_size
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"],  # noqa: S607
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    content = {
        "config": dataclasses.asdict(config),
        "versions": {name: importlib.metadata.version(name) for name in ("keras", "numpy", keras.backend.backend())},
        "commit": commit.stdout.strip() or None,
        "hardware": {
            "system": platform.platform(),
            "cores": os.cpu_count(),
            "backend": keras.backend.backend(),
            "devices": devices,
            "hosts": hosts.count(),
        },
        "epochs": epochs(config, run),
        "wall_seconds": round(seconds),
        "images_per_second": round(images / seconds, 2) if seconds else None,
    }
    with replacing(run / "run.json") as partial:
        partial.write_text(json.dumps(content, indent=2))


def epochs(config: Config, run: Path) -> dict[str, int]:
    """The epochs of a run, `done` and `planned`; they are equal for a finished run, even if a stage stopped early."""
    stages = [(stage, stage_scores(run / f"stage-{number}")) for number, stage in enumerate(config.stages, 1)]
    return {
        "done": sum(len(scores) for _, scores in stages),
        "planned": sum(stage_epochs(stage, scores, config.patience) for stage, scores in stages),
    }


def stage_scores(folder: Path) -> list[float]:
    """The score of each finished epoch of a stage, lower is better; NaN without validation images."""
    file = folder / "history.csv"
    return pd.read_csv(file).reindex(columns=[MONITOR])[MONITOR].tolist() if file.exists() else []


def stage_epochs(stage: Stage, scores: Sequence[float], patience: int) -> int:
    """The epochs of a stage: all of them, or those done if the last `patience` epochs brought no better score."""
    if scores and np.isfinite(scores).all() and len(scores) - 1 - int(np.argmin(scores)) >= patience:
        return len(scores)
    return stage.epochs


def best_file(config: Config, run: Path) -> Path:
    """The best network so far, from the last stage with a finished epoch; without validation images, the network of the
    last epoch. DataError if there is none."""
    if config.fold is None:
        return last_file(config, run)
    for number in range(len(config.stages), 0, -1):
        if stage_scores(run / f"stage-{number}"):
            return run / f"stage-{number}" / "best.keras"
    raise DataError(f"There is no trained network in {run}; run fit first.")


def last_file(config: Config, run: Path) -> Path:
    """The network of the last epoch. DataError if the run is not finished."""
    folder = run / f"stage-{len(config.stages)}"
    if not (folder / "done").exists():
        raise DataError(f"The run in {run} is not finished; run fit first, or again.")
    return folder / "last.keras"


def stopped(config: Config, run: Path) -> str:
    """A sentence on a stopped run: its progress, its results so far, and how to resume."""
    done, planned = epochs(config, run).values()
    if not done:
        return "Stopped before the first epoch was finished; run fit again to start over."
    if config.fold is None:
        return f"Stopped after {done} of {planned} epochs; run fit again to resume."
    return (
        f"Stopped after {done} of {planned} epochs; the best network so far, for evaluate and export, is "
        f"{best_file(config, run)}. Run fit again to resume."
    )


def part_id(run: str, fold: int) -> str:
    """The id of the run that holds out part `fold` in the cross-validation `run`."""
    return f"{run}-fold-{fold}"


def initial(config: Config, runs: Path) -> str:
    """`init` in the form for `network.build`; if it names another run, the network of its last epoch. If that is a
    cross-validation, a part starts from the network of the same part.

    DataError if that run is not finished, or was trained on lesions or patients that this one holds out.
    """
    if not config.init.startswith(RUN):
        return config.init
    run = runs / config.init.removeprefix(RUN)
    if config.fold is not None and (part := runs / part_id(run.name, config.fold)).exists():
        run = part
    try:
        settings = json.loads((run / "config.json").read_text())
    except FileNotFoundError:
        raise DataError(f"There is no run in {run}, which 'init: {config.init}' names; run fit for it first.") from None
    # runs from before a setting was added used its default
    defaults = {field.name: field.default for field in dataclasses.fields(Config)}
    earlier = {name: settings.get(name, defaults[name]) for name in SPLIT_SETTINGS}
    ours = {name: getattr(config, name) for name in SPLIT_SETTINGS}
    if earlier != ours:
        table, trained = _divided(**ours), _divided(**earlier)
        held_out = set(table["group"][table["split"].isin(("validation", "test"))])
        if shared := held_out & set(trained["group"][trained["split"] == "train"]):
            raise DataError(
                f"The run in {run} learnt from {len(shared)} lesions or patients that this one holds out; use another "
                "'init'."
            )
    file = run / f"stage-{len(settings['stages'])}" / "last.keras"
    if not file.with_name("done").exists():
        raise DataError(f"The run in {run}, which 'init: {config.init}' names, is not finished; run fit for it first.")
    return str(file)


def _divided(dataset: str, packed: str, **division: Any) -> pd.DataFrame:
    return with_validation(read(dataset, packed), **division)
