"""Variations of a short cross-validation, each with one change, compared on the lesions that the folds hold out.

Nothing here is chosen or scored on test images. Each row is one run per fold, and its difference from the base is the
mean over the folds, with a t-interval over the folds: it covers both random variation between runs and the choice of
lesions for scoring. The folds share training images, so it is slightly too narrow (Nadeau and Bengio 2003,
doi:10.1023/A:1024068626366).
"""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import yaml
from scipy import stats

from skinapp.errors import DataError
from skinapp.evaluation import bootstrap, metrics
from skinapp.evaluation.bootstrap import RESAMPLES, Interval
from skinapp.files import replacing
from skinapp.inference import model_card
from skinapp.inference.runtime import softmax
from skinapp.labels.sets import label_set
from train.config import Config, from_settings, read_settings
from train.data.datasets import encode, prepare, sources, with_validation
from train.fit import augmentation, metadata, network
from train.fit.cross_validation import fold_config
from train.fit.run_folder import last_file
from train.fit.training import fit
from train.publish import fuse
from train.publish.evaluate import averaged_logits, best_network, log_shares
from train.publish.fuse import HeldOut

BASE = "base"
STATED = ", stated"
"""Suffix of the name of a row with `metadata` that is scored with the metadata rather than on the image alone."""
NOTE = (
    "Each value is the mean over the folds, and each difference has the t-interval of one difference per fold, "
    "not corrected for the number of rows. Networks that are scored together are compared with each of them alone, on "
    "other images of the tested lesions, which are neither trained on nor tested; their intervals are over lesions."
)
Scores = dict[str, bootstrap.Score]
SAME = ("labels", "folds", "seed")
"""The settings that, with the first data set, decide which lesions a fold holds out, which a row must share with the
base."""


@dataclass(frozen=True)
class Row:
    """One row of the table: its name, the change as text, and the resulting configuration."""

    name: str
    change: str
    config: Config


def ablate(path: Path, overrides: tuple[str, ...], runs: Path, out: Path) -> str:
    """Train what is not trained yet, one run at a time, write the table `out` after every row, and return it as text.

    Columns: row, change, seconds (of training, 0 if it needs none), dataset, images, groups, score, value (the mean
    over the folds), and difference, low, high (the row minus the base). If interrupted, it resumes where it stopped.
    """
    rows = read_rows(path, overrides)
    for row in rows:
        network.initial_file(row.config.init)
        augmentation.check(row.config.augmentation)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"The folder {out.parent} cannot be made ({error.strerror}).") from None
    base, chosen = rows[0].config, scores(rows[0].config)
    parts: list[pd.DataFrame] = []
    base_images: dict[str, HeldOut] = {}
    for number, row in enumerate(rows, 1):
        print(f"row {number} of {len(rows)}: {row.name}", file=sys.stderr)
        try:
            seconds = 0 if number > 1 and row.config.id == base.id else train(row.config, runs)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"Stopped after {number - 1} of {len(rows)} rows; run the same command again to continue."
            ) from None
        for name, tables in compared(row, base, base_images, chosen, runs):
            for dataset, table in tables.items():
                first = {"row": name, "change": row.change, "seconds": seconds, "dataset": dataset}
                parts.append(pd.DataFrame([first] * len(table)).join(table))
        with replacing(out) as partial:
            pd.concat(parts).to_csv(partial, index=False, float_format="%.5g")
    return describe(pd.concat(parts))


def compared(
    row: Row, base: Config, base_images: dict[str, HeldOut], chosen: Scores, runs: Path
) -> Iterator[tuple[str, dict[str, pd.DataFrame]]]:
    """The lines of a row: a name, and by data set a table of scores. The first row, the base, fills `base_images`."""
    first = sources(base.dataset)[0].id
    if row.config.is_committee:
        yield row.name, {first: committee_scores(*unseen(base, runs), chosen)}
        return
    images = held_out(row.config, base, runs)
    if not base_images:
        base_images |= images
    yield row.name, {name: compare(each, base_images[name], chosen) for name, each in images.items()}
    if row.config.metadata:
        totals = fuse.trained_logits(row.config, metadata.published(first), runs, images[first])
        stated = replace(images[first], logits=totals)
        yield row.name + STATED, {first: compare(stated, base_images[first], chosen)}


def scores(config: Config) -> Scores:
    """The scores of the table."""
    malignant = tuple(label.malignant for label in label_set(config.labels).labels)
    return {
        "balanced_accuracy": metrics.balanced_accuracy,
        "accuracy": metrics.accuracy,
        "balanced_log_loss": metrics.balanced_log_loss,
        "roc_auc_malignancy": metrics.malignancy_scores(malignant)["roc_auc_malignancy"],
    }


def read_rows(path: Path, overrides: tuple[str, ...] = ()) -> list[Row]:
    """The base and its variations, from a configuration with one more key, `rows`: name -> the settings it changes.

    A mapping under `stages` changes every stage; a list replaces them. A row that only changes settings that do not
    affect training, such as `logit_adjustment` or `views`, uses the runs of the base; with `committee: true` its
    networks are scored as a committee, and compared with single networks. DataError if a row is not valid.
    """
    settings = read_settings(path, overrides)
    changes = settings.pop("rows", None)
    if not isinstance(changes, dict) or not all(isinstance(change, dict) for change in changes.values()):
        raise DataError(f"{path} has no 'rows' of the form 'name: {{setting: value}}'.")
    base = from_settings(settings)
    if base.fold is not None:
        raise DataError(f"{path} names a fold; with 'fold: null' each row is run on all of them.")
    rows = [Row(BASE, "", base)]
    for name, change in changes.items():
        if not re.fullmatch("[a-z0-9.-]+", str(name)) or name == BASE:
            raise DataError(
                f"The row '{name}' needs another name, made of lowercase letters, digits, dots and hyphens."
            )
        try:
            config = from_settings(changed(settings, change))
        except DataError as error:
            raise DataError(f"Row '{name}': {error}") from None
        other = [setting for setting in SAME if getattr(config, setting) != getattr(base, setting)]
        if sources(config.dataset)[0] != sources(base.dataset)[0]:
            other.append("the first data set")
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


def parts(config: Config) -> list[Config]:
    """The run of each fold."""
    return [fold_config(config, fold) for fold in range(config.folds)]


def train(config: Config, runs: Path) -> int:
    """Train or resume the run of each fold; return their seconds together."""
    seconds = 0
    for part in parts(config):
        fit(part, runs)
        # one process trains many networks, whose graphs would accumulate
        keras.utils.clear_session()
        seconds += json.loads((runs / part.id / "run.json").read_text())["wall_seconds"]
    return seconds


def held_out(config: Config, base: Config, runs: Path) -> dict[str, HeldOut]:
    """The images of each of the base's data sets that the folds hold out, with logits by the row's last network of that
    fold, which need not have been trained on all these data sets."""
    tables, logits, folds = [], [], []
    for part, of_base in zip(parts(config), parts(base), strict=True):
        table, of_fold = fold_logits(part, of_base, runs)
        tables.append(table)
        logits.append(of_fold)
        folds.append(np.full(len(table), part.fold))
    rows = pd.concat(tables)
    every = HeldOut(rows, np.concatenate(logits), encode(rows["label"], label_set(base.labels)), np.concatenate(folds))
    return {name: every.part((rows["dataset"] == name).to_numpy()) for name in dict.fromkeys(rows["dataset"])}


def fold_logits(part: Config, base: Config, runs: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """The rows of the base's data sets that a fold holds out, and logits [n, classes], with the row's adjustment.

    The logits before adjustment are saved in the run's folder, so that they are computed once.
    """
    data = prepare(base.dataset, part.image_size, runs, **part.pixels)
    table = with_validation(data.table, **base.division)
    rows = np.flatnonzero(table["split"] == "validation")
    file = runs / part.id / f"held-out-{part.image_size}-{len(part.views)}.npy"
    if not file.exists():
        last = best_network(replace(part, logit_adjustment=0.0), last_file(part, runs / part.id), table)
        with replacing(file) as partial, partial.open("wb") as stream:
            np.save(stream, averaged_logits(last, data.images[rows], part.views))
        keras.utils.clear_session()
    own = table[table["dataset"].isin([source.id for source in sources(part.dataset)])]
    adjustment = part.logit_adjustment * log_shares(part, own)
    return table.iloc[rows], np.load(file).astype(np.float64) - adjustment


def compare(images: HeldOut, base: HeldOut, chosen: Scores) -> pd.DataFrame:
    """A row for each score: its mean over the folds, and that of its differences from `base`, with a 95% t-interval."""
    result = []
    for name, score in chosen.items():
        values, differences = [], []
        for fold in np.unique(images.folds):
            one, other = (
                float(score(rows.labels, softmax(rows.logits), np.ones((1, len(rows.labels))))[0])
                for rows in (images.part(images.folds == fold), base.part(base.folds == fold))
            )
            values.append(one)
            differences.append(one - other)
        # the base has no difference from itself
        difference = Interval(np.nan, np.nan, np.nan) if images is base else t_interval(np.array(differences))
        result.append(_line(name, float(np.mean(values)), difference, images))
    return pd.DataFrame(result)


def t_interval(differences: np.ndarray) -> Interval:
    """The mean of a few differences with its 95% interval, from Student's t-distribution."""
    mean, n = float(differences.mean()), len(differences)
    half = float(stats.t.ppf(0.975, n - 1) * differences.std(ddof=1) / np.sqrt(n))
    return Interval(mean, mean - half, mean + half)


def unseen(base: Config, runs: Path) -> tuple[HeldOut, np.ndarray]:
    """The first data set's images that no network was trained on and that are not tested, with the mean logits of the
    base's networks, and each network's own [folds, n, classes]."""
    data = prepare(base.dataset, base.image_size, runs, **base.pixels)
    table = with_validation(data.table, **base.division)
    excluded = data.table["split"] == "excluded"
    rows = np.flatnonzero(excluded & (table["dataset"] == table["dataset"].iloc[0]))
    each = []
    for part in parts(base):
        divided = with_validation(data.table, **part.division)
        last = best_network(part, last_file(part, runs / part.id), divided)
        each.append(averaged_logits(last, data.images[rows], part.views))
        keras.utils.clear_session()
    logits, chosen = np.array(each), table.iloc[rows]
    labels = encode(chosen["label"], label_set(base.labels))
    return HeldOut(chosen, logits.mean(axis=0), labels, np.full(len(rows), -1)), logits


def committee_scores(images: HeldOut, each: np.ndarray, chosen: Scores) -> pd.DataFrame:
    """A row for each score: that of the networks combined, and by how much it exceeds the mean of the single networks'
    scores, with a 95% interval from a bootstrap over lesions."""
    groups = images.table["group"].to_numpy()
    weights = bootstrap.weights(groups, RESAMPLES)
    together = bootstrap.draws(chosen, images.labels, softmax(images.logits), weights)
    alone = [bootstrap.draws(chosen, images.labels, softmax(logits), weights) for logits in each]
    result = []
    for name in chosen:
        apart = together[name] - np.mean([one[name] for one in alone], axis=0)
        difference = bootstrap.interval(apart, bootstrap.count(groups))
        result.append(_line(name, float(together[name][0]), difference, images))
    return pd.DataFrame(result)


def _line(score: str, value: float, difference: Interval, images: HeldOut) -> dict[str, Any]:
    counts = {"images": len(images.labels), "groups": images.table["group"].nunique()}
    limits = {"difference": difference.value, "low": difference.low, "high": difference.high}
    return counts | {"score": score, "value": value} | limits


def describe(table: pd.DataFrame) -> str:
    """The table as Markdown: for each data set a line per row with the differences from the base, and a note on what
    the intervals cover."""
    texts = []
    for dataset, rows in table.groupby("dataset", sort=False):
        lines = []
        for name, row in rows.groupby("row", sort=False):
            line = [str(name)]
            for one in row.to_dict("records"):
                difference = Interval(one["difference"], one["low"], one["high"])
                line += [f"{one['value']:.3f}", "" if name == BASE else difference.text("+.3f")]
            lines.append([*line, f"{row['images'].iloc[0]:,}"])
        header = ["row"]
        for score in dict.fromkeys(rows["score"]):
            header += [str(score).replace("_", " "), "difference from base (95%)"]
        texts.append(f"{dataset}\n\n" + model_card.table([*header, "images"], lines))
    texts.append(NOTE)
    return "\n\n".join(texts)
