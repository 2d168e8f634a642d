"""python -m train missing-answers: what it costs when answers about the patient are left out."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from skinapp.evaluation import bootstrap, metrics
from skinapp.inference import metadata, registry
from skinapp.inference.runtime import softmax
from train.fit import metadata as fitting

SCORES: dict[str, bootstrap.Score] = {"balanced accuracy": metrics.balanced_accuracy, "log loss": metrics.log_loss}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="that of an evaluated run")
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--adjustment", type=float, default=0.0, metavar="X", help="as in fuse (default: %(default)s)")


def run(options: argparse.Namespace) -> int:
    # Keras takes seconds to import, so only after the arguments are known to be good
    from train.config import load_config
    from train.publish import export, fuse

    config = load_config(options.config)
    answers = fuse.published_answers(config)
    rows, _ = fuse.held_out(config, options.runs, registry.default_root())
    groups = rows.table["group"].to_numpy()
    found = measure(rows.logits, answers.loc[rows.table["image"]], rows.labels, groups, options.adjustment)
    print(export.table(list(found.columns), found.to_numpy().tolist()))
    return 0


def measure(
    logits: np.ndarray, table: pd.DataFrame, labels: np.ndarray, groups: np.ndarray, adjustment: float = 0.0
) -> pd.DataFrame:
    """One row for all answers, for none, for all but one, and for one alone: each of SCORES, and what it differs from
    that of all answers by, with 95% intervals over groups. Every row is judged by a fusion that has not seen its group.
    """
    fields = fitting.questions(table)
    answers = fitting.parse(fields, table)
    parts = list(fitting.cross_fitted(logits, answers, fields, labels, groups, adjustment=adjustment))

    def probabilities(kept: Sequence[str]) -> np.ndarray:
        found = np.empty(logits.shape)
        for test, coded, fusion in parts:
            left = [{name: value for name, value in answers[row].items() if name in kept} for row in test]
            found[test] = softmax(fusion.add(logits[test], np.array([metadata.code(coded, row) for row in left])))
        return found

    names = [one.name for one in fields]
    kept = {"all": names, "none": []}
    kept |= {f"all but {name}": [other for other in names if other != name] for name in names}
    kept |= {f"{name} alone": [name] for name in names}
    everything, result = probabilities(names), []
    for title, some in kept.items():
        part = probabilities(some)
        row: dict[str, object] = {"answers": title}
        differences = bootstrap.paired_differences(SCORES, labels, part, everything, groups)
        for score, found in bootstrap.intervals(SCORES, labels, part, groups).items():
            row[score] = found.text()
            row[f"{score}, difference"] = differences[score].text("+.3f")
        result.append(row)
    return pd.DataFrame(result)
