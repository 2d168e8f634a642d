"""python -m train missing-metadata: the effect of missing patient metadata."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from skinapp.evaluation import bootstrap, metrics
from skinapp.inference import metadata, model_card, registry
from skinapp.inference.runtime import softmax
from train.fit import metadata as fitting

SCORES: dict[str, bootstrap.Score] = {"balanced accuracy": metrics.balanced_accuracy, "log loss": metrics.log_loss}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="the settings of an evaluated run")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), metavar="DIR", help="the folder of runs (default: %(default)s)"
    )
    parser.add_argument("--adjustment", type=float, default=0.0, metavar="X", help="as in fuse (default: %(default)s)")


def run(options: argparse.Namespace) -> int:
    # Keras takes seconds to import, so parse the arguments first
    from train.config import load_config
    from train.publish import fuse

    config = load_config(options.config)
    published = fitting.published(config.dataset)
    rows, _ = fuse.held_out(config, options.runs, registry.default_root())
    groups = rows.table["group"].to_numpy()
    scored = measure(rows.logits, published.loc[rows.table["image"]], rows.labels, groups, options.adjustment)
    print(model_card.table(list(scored.columns), scored.to_numpy().tolist()))
    return 0


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

    names = [one.name for one in fields]
    subsets = {"all": names, "none": []}
    subsets |= {f"all but {name}": [other for other in names if other != name] for name in names}
    subsets |= {f"{name} alone": [name] for name in names}
    everything, result = probabilities(names), []
    for title, some in subsets.items():
        part = probabilities(some)
        row: dict[str, object] = {"metadata": title}
        differences = bootstrap.paired_differences(SCORES, labels, part, everything, groups)
        for score, scored in bootstrap.intervals(SCORES, labels, part, groups).items():
            row[score] = scored.text()
            row[f"{score}, difference"] = differences[score].text("+.3f")
        result.append(row)
    return pd.DataFrame(result)
