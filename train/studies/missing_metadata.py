"""python -m train missing-metadata: the effect of missing patient metadata, and of the way they are combined with an
image.

Everything is measured on images that the network was not trained on and that are not test images: those of validation,
or of every part of a cross-validation.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from skinapp.evaluation import bootstrap, metrics
from skinapp.inference import metadata, model_card, registry
from skinapp.inference.runtime import softmax
from train.fit import metadata as fitting
from train.options import add_runs

SCORES: dict[str, bootstrap.Score] = {"balanced accuracy": metrics.balanced_accuracy, "log loss": metrics.log_loss}

WITH, WITHOUT = "with metadata", "without"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="the settings of an evaluated run")
    add_runs(parser)
    parser.add_argument("--adjustment", type=float, default=0.0, metavar="X", help="as in fuse (default: %(default)s)")


def run(options: argparse.Namespace) -> int:
    # Keras takes seconds to import, so parse the arguments first
    from train.config import load_config
    from train.data.datasets import sources
    from train.publish import fuse

    config = load_config(options.config)
    published = fitting.published(sources(config.dataset)[0].id)
    rows, _ = fuse.held_out(config, options.runs, registry.default_root())
    groups = rows.table["group"].to_numpy()
    table = published.loc[rows.table["image"]]
    trained = fuse.trained_logits(config, published, options.runs, rows) if config.metadata else None
    compared = compare(rows.logits, trained, table, rows.labels, groups, options.adjustment)
    scored = measure(rows.logits, table, rows.labels, groups, options.adjustment)
    for one in (compared, scored):
        print(model_card.table(list(one.columns), one.to_numpy().tolist()) + "\n")
    return 0


def compare(
    logits: np.ndarray,
    trained: np.ndarray | None,
    table: pd.DataFrame,
    labels: np.ndarray,
    groups: np.ndarray,
    adjustment: float = 0.0,
) -> pd.DataFrame:
    """One row each for the image alone, metadata fused afterwards, with and without them at test, and, with the logits
    [n, K] of image and metadata as `trained`, metadata trained in: each of SCORES, and its difference from the image
    alone, with 95% intervals over groups.

    All have a scale and a bias that are fitted on other groups than they are scored on, so that they differ in neither
    calibration nor class shares. For trained-in metadata, they apply to the combined logits of image and metadata.
    """

    def calibrated(totals: np.ndarray, others: np.ndarray) -> metadata.Fusion:
        nothing = np.zeros((len(others), 1))
        fusion = fitting.regress(totals[others], nothing, labels[others], np.zeros(1, int), penalty=1.0, dropout=False)
        return fitting.adjusted(fusion, labels[others], adjustment)

    fields = fitting.questions(table)
    rows_metadata = fitting.parse(fields, table)
    parts = list(fitting.cross_fitted(logits, rows_metadata, fields, labels, groups, adjustment=adjustment))
    ways = {"image alone": np.empty(logits.shape)}
    ways |= {f"fused afterwards, {stated}": np.empty(logits.shape) for stated in (WITH, WITHOUT)}
    if trained is not None:
        ways |= {f"trained in, {stated}": np.empty(logits.shape) for stated in (WITH, WITHOUT)}
    for test, coded, fusion in parts:
        others = np.setdiff1d(np.arange(len(labels)), test)
        nothing = np.zeros((len(test), 1))
        ways["image alone"][test] = softmax(calibrated(logits, others).add(logits[test], nothing))
        x = np.array([metadata.code(coded, rows_metadata[row]) for row in test])
        ways[f"fused afterwards, {WITH}"][test] = softmax(fusion.add(logits[test], x))
        ways[f"fused afterwards, {WITHOUT}"][test] = softmax(fusion.add(logits[test], np.zeros_like(x)))
        if trained is not None:
            together = calibrated(trained, others)
            ways[f"trained in, {WITH}"][test] = softmax(together.add(trained[test], nothing))
            ways[f"trained in, {WITHOUT}"][test] = softmax(together.add(logits[test], nothing))
    return pd.DataFrame(_row("model", name, one, ways["image alone"], labels, groups) for name, one in ways.items())


def measure(
    logits: np.ndarray, table: pd.DataFrame, labels: np.ndarray, groups: np.ndarray, adjustment: float = 0.0
) -> pd.DataFrame:
    """One row with all metadata, without any, with all but one field, and with one alone: each of SCORES, and its
    difference from the row with all, with 95% intervals over groups. Each image is scored by a fusion that was
    not fitted on its group.
    """
    fields = fitting.questions(table)
    rows_metadata = fitting.parse(fields, table)
    parts = list(fitting.cross_fitted(logits, rows_metadata, fields, labels, groups, adjustment=adjustment))

    def probabilities(used: Sequence[str]) -> np.ndarray:
        scored = np.empty(logits.shape)
        for test, coded, fusion in parts:
            left = [{name: value for name, value in rows_metadata[row].items() if name in used} for row in test]
            scored[test] = softmax(fusion.add(logits[test], np.array([metadata.code(coded, row) for row in left])))
        return scored

    names = [field.name for field in fields]
    subsets = {"all": names, "none": []}
    subsets |= {f"all but {name}": [other for other in names if other != name] for name in names}
    subsets |= {f"{name} alone": [name] for name in names}
    everything, result = probabilities(names), list[dict[str, str]]()
    for title, some in subsets.items():
        result.append(_row("metadata", title, probabilities(some), everything, labels, groups))
    return pd.DataFrame(result)


def _row(
    column: str, title: str, one: np.ndarray, other: np.ndarray, labels: np.ndarray, groups: np.ndarray
) -> dict[str, str]:
    """Each of SCORES of probabilities [n, K], and its difference from those of others."""
    row = {column: title}
    differences = bootstrap.paired_differences(SCORES, labels, one, other, groups)
    for score, scored in bootstrap.intervals(SCORES, labels, one, groups).items():
        row[score] = scored.text()
        row[f"{score}, difference"] = differences[score].text("+.3f")
    return row
