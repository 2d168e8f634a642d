"""Variations of one training run, each with one change, compared on the validation lesions.

Nothing here is chosen or scored on test images. Each row is one short run with one seed, and its interval covers only
the choice of lesions. A row whose change should do nothing shows how much two runs differ by chance.
"""

import json
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import yaml

from skinapp.errors import DataError
from skinapp.evaluation import bootstrap, metrics
from skinapp.files import replacing
from skinapp.inference.runtime import softmax
from skinapp.labels.sets import label_set
from train.config import Config, from_settings, read_settings
from train.data.datasets import Dataset, encode, prepare, with_validation
from train.fit import augmentation, network
from train.fit.run_folder import best_file
from train.fit.training import fit
from train.publish.evaluate import best_network, log_shares, split_logits

BASE = "base"
RESAMPLES = 2000
SCORES: dict[str, bootstrap.Score] = {
    "balanced_accuracy": metrics.balanced_accuracy,
    "accuracy": metrics.accuracy,
    "balanced_log_loss": metrics.balanced_log_loss,
}
SAME = ("dataset", "labels", "folds", "fold", "seed")
"""The settings that decide which lesions are for validation, which a row must therefore share with the base."""


@dataclass(frozen=True)
class Row:
    """One row of the table: its name, the change as text, and the resulting configuration."""

    name: str
    change: str
    config: Config


def ablate(path: Path, overrides: tuple[str, ...], runs: Path, out: Path) -> str:
    """Train rows that are not trained yet, write the table `out` after every row, and return it as text.

    Columns: row, change, seconds (of training, 0 if it needs none), images, groups, score, value, low, high, and
    difference, difference_low, difference_high (the row minus the base, over the same resamples of lesions).
    If interrupted, it resumes where it stopped.
    """
    rows = read_rows(path, overrides)
    for row in rows:
        network.initial_file(row.config.init)
        augmentation.check(row.config.augmentation)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"The folder {out.parent} cannot be made ({error.strerror}).") from None
    parts: list[pd.DataFrame] = []
    base: np.ndarray | None = None
    for number, row in enumerate(rows, 1):
        print(f"row {number} of {len(rows)}: {row.name}", file=sys.stderr)
        try:
            seconds = 0 if number > 1 and row.config.id == rows[0].config.id else train(row.config, runs)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"Stopped after {number - 1} of {len(rows)} rows; run the same command again to continue."
            ) from None
        validation, logits = validation_logits(row.config, runs)
        probabilities = softmax(logits)
        base = probabilities if base is None else base
        labels = encode(validation["label"], label_set(row.config.labels))
        figures = compare(labels, probabilities, base, validation["group"].to_numpy())
        if number == 1:
            figures[["difference", "difference_low", "difference_high"]] = np.nan
        first = {"row": row.name, "change": row.change, "seconds": seconds}
        counts = {"images": len(validation), "groups": validation["group"].nunique()}
        parts.append(pd.DataFrame([first | counts] * len(figures)).join(figures))
        with replacing(out) as partial:
            pd.concat(parts).to_csv(partial, index=False, float_format="%.5g")
    return describe(pd.concat(parts))


def read_rows(path: Path, overrides: tuple[str, ...] = ()) -> list[Row]:
    """The base and its variations, from a configuration with one more key, `rows`: name -> the settings it changes.

    A mapping under `stages` changes every stage; a list replaces them. A row that only changes settings that do not
    affect training, such as `logit_adjustment`, uses the run of the base. DataError if a row is not valid.
    """
    settings = read_settings(path, overrides)
    changes = settings.pop("rows", None)
    if not isinstance(changes, dict) or not all(isinstance(change, dict) for change in changes.values()):
        raise DataError(f"{path} has no 'rows' of the form 'name: {{setting: value}}'.")
    base = from_settings(settings)
    rows = [Row(BASE, "", base)]
    for name, change in changes.items():
        if not re.fullmatch("[a-z0-9.-]+", str(name)) or name == BASE:
            raise DataError(f"The row '{name}' needs another name, made of small letters, digits, dots and hyphens.")
        try:
            config = from_settings(changed(settings, change))
        except DataError as error:
            raise DataError(f"Row '{name}': {error}") from None
        other = [setting for setting in SAME if getattr(config, setting) != getattr(base, setting)]
        if other:
            raise DataError(f"The row '{name}' changes {', '.join(other)}, and so the lesions that it is scored on.")
        if config.fingerprint != base.fingerprint:
            config = replace(config, id=f"{base.id}-{name}")
        text = yaml.safe_dump(change, default_flow_style=True, sort_keys=False, width=float("inf"))
        rows.append(Row(name, text.strip()[1:-1], config))
    return rows


def changed(settings: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """The settings with a row's change."""
    stages = change.get("stages", {})
    if isinstance(stages, dict):
        stages = [stage | stages for stage in settings["stages"]]
    return settings | change | {"stages": stages}


def train(config: Config, runs: Path) -> int:
    """Train or resume a run; return its total seconds."""
    fit(config, runs)
    # one process trains many networks, whose graphs would accumulate
    keras.utils.clear_session()
    return json.loads((runs / config.id / "run.json").read_text())["wall_seconds"]


def validation_logits(config: Config, runs: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """The validation rows and the best network's logits for them [n, classes], adjusted as the configuration says.

    The logits before adjustment are saved in the run's folder, so that they are computed once.
    """
    data = prepare(config.dataset, config.image_size, runs, config.hair_removal)
    table = with_validation(data.table, config.folds, config.fold, config.seed)
    file = runs / config.id / f"validation-{config.image_size}.npy"
    if not file.exists():
        best = best_network(replace(config, logit_adjustment=0.0), best_file(config, runs / config.id), table)
        logits = split_logits(best, Dataset(table, data.images), "validation")[1]
        with replacing(file) as partial, partial.open("wb") as stream:
            np.save(stream, logits)
    adjustment = config.logit_adjustment * log_shares(config, table)
    return table[table["split"] == "validation"], np.load(file).astype(np.float64) - adjustment


def compare(labels: np.ndarray, probabilities: np.ndarray, base: np.ndarray, groups: np.ndarray) -> pd.DataFrame:
    """A row for each score: its value, and its difference to that of `base`, both with 95% intervals."""
    values = bootstrap.intervals(SCORES, labels, probabilities, groups, RESAMPLES)
    differences = bootstrap.paired_differences(SCORES, labels, probabilities, base, groups, RESAMPLES)
    return pd.DataFrame(
        {
            "score": name,
            "value": value.value,
            "low": value.low,
            "high": value.high,
            "difference": differences[name].value,
            "difference_low": differences[name].low,
            "difference_high": differences[name].high,
        }
        for name, value in values.items()
    )


def describe(table: pd.DataFrame) -> str:
    """The table as text: a block for each score, and a note on what the intervals do not cover."""
    lines = []
    for score, rows in table.groupby("score", sort=False):
        lines.append(f"{score:20} value  95% interval      minus base  95% interval       seconds")
        for row in rows.to_dict("records"):
            line = f"  {row['row']:18} {row['value']:.3f}  {row['low']:.3f} to {row['high']:.3f}"
            if row["row"] != BASE:
                line += f"      {row['difference']:+.3f}"
                line += f"  {row['difference_low']:+.3f} to {row['difference_high']:+.3f}"
            lines.append(f"{line:72} {row['seconds']:6,}")
        lines.append("")
    first = table.iloc[0]
    lines.append(
        f"Each row is one short run with one seed, scored on {first['images']:,} validation images of "
        f"{first['groups']:,} lesions or patients, which chose its epoch too. The intervals cover the choice of "
        "lesions, not that of the seed, and are not corrected for the number of rows."
    )
    return "\n".join(lines)
