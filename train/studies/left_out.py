"""python -m train left-out: how well a network does on the images of a clinic that it was not trained on.

The run of a configuration is repeated without each of its sources, leaving out the source's lesions elsewhere too. Both
are scored on the same images of the source, whose lesions neither was trained on; in the first run, other lesions of
the source were. There is no model selection: each network is that of the last epoch.
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from skinapp.errors import DataError
from skinapp.evaluation import bootstrap, metrics, studies
from skinapp.files import replacing
from skinapp.inference import model_card
from skinapp.inference.runtime import softmax
from skinapp.labels.sets import label_set
from train.options import add_runs

if TYPE_CHECKING:
    from train.config import Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        type=Path,
        default=Path("train/configs/studies/left-out.yaml"),
        metavar="FILE",
        help="the settings of the runs; the first data set is the reference (default: %(default)s)",
    )
    parser.add_argument(
        "--sources", nargs="+", metavar="NAME", help="leave out these sources, each in a run of its own (default: all)"
    )
    add_runs(parser)
    parser.add_argument(
        "--out",
        type=Path,
        default=studies.CLINICS.file,
        metavar="FILE.csv",
        help="where to write the table (default: the file in the package)",
    )


def run(options: argparse.Namespace) -> int:
    # Keras takes seconds to import, so parse the arguments first
    from train.config import load_config

    table = measure(load_config(options.config), options.runs, options.sources)
    print(model_card.table(list(table.columns), table.to_numpy().tolist()))
    with replacing(options.out) as partial:
        table.to_csv(partial, index=False)
    return 0


def measure(config: "Config", runs: Path, chosen: Sequence[str] | None = None) -> pd.DataFrame:
    """Train what is not trained yet, one run at a time; a row for each source, or each of the `chosen` ones: how many
    `images` are scored, the AUC of malignancy of the network that was `trained on it` and of the one `trained without
    it`, and the `difference`, with 95% intervals over lesions or patients.

    DataError if the configuration holds out no fold, or not of every source, or does not know a chosen source.
    """
    from train.data.datasets import encode, read, with_validation

    if config.fold is None or not config.hold_out_all:
        raise DataError(f"'{config.id}' must hold out a fold of every source; set 'fold' and 'hold_out_all: true'.")
    labels = label_set(config.labels)
    auc = metrics.malignancy_scores(tuple(label.malignant for label in labels.labels))["roc_auc_malignancy"]
    table = with_validation(read(config.dataset, config.packed), **config.division)
    names = sorted(table.loc[table["split"] == "train", "source"].unique())
    if unknown := set(chosen or ()) - set(names):
        raise DataError(f"There is no source '{min(unknown)}'; these are trained on: {', '.join(names)}.")
    rows = []
    for number, source in enumerate(chosen or names, 1):
        print(f"source {number} of {len(chosen or names)}: {source}", file=sys.stderr)
        scored = np.flatnonzero((table["split"] == "validation") & (table["source"] == source))
        groups, truth = table["group"].to_numpy()[scored], encode(table["label"].iloc[scored], labels)
        trained, without = (
            softmax(trained_logits(one, runs, scored)) for one in (config, left_out(config, source, names))
        )
        first, second = (bootstrap.intervals({"": auc}, truth, one, groups)[""] for one in (trained, without))
        difference = bootstrap.paired_differences({"": auc}, truth, without, trained, groups)[""]
        rows.append(
            {
                "source": source,
                "images": f"{len(scored):,}",
                "trained on it": first.text(),
                "trained without it": second.text(),
                "difference": difference.text("+.3f"),
            }
        )
    return pd.DataFrame(rows)


def left_out(config: "Config", source: str, names: Sequence[str]) -> "Config":
    """The run without a source. If that is the reference, another data set takes its place: this shifts all logits
    equally, which does not affect an AUC."""
    others = [name for name in config.dataset.split("+") if name in names and name != source]
    reference = others[0] if config.reference == source else config.reference
    return dataclasses.replace(config, id=f"{config.id}-{source}", without=source, reference=reference)


def trained_logits(config: "Config", runs: Path, rows: np.ndarray) -> np.ndarray:
    """Train or resume a run; the logits [n, classes] of its last network for some rows of its data."""
    import keras

    from train.data.datasets import prepare
    from train.fit.run_folder import last_file
    from train.fit.training import fit
    from train.publish.evaluate import averaged_logits, best_network

    fit(config, runs)
    keras.utils.clear_session()
    data = prepare(config.dataset, config.image_size, runs, **config.pixels)
    network = best_network(config, last_file(config, runs / config.id), data.table)
    logits = averaged_logits(network, data.images[rows], config.views)
    keras.utils.clear_session()
    return logits
