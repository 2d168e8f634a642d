"""python -m train sanity-check: how often the sanity check of a map is wrong, for shipped and for randomised networks.

The limits of skinapp/attention/sanity_check.py are chosen on validation images. Test images then show how often a
shipped network's map fails, and how often a randomised copy's map passes. In a copy, either the head or all weights are
random (the first and last step of Adebayo et al. 2018, arXiv:1810.03292).
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from skinapp.attention import heatmap, sanity_check
from skinapp.attention.sanity_check import MAX_SIMILARITY, MIN_LOG_ODDS_CHANGE, Evidence
from skinapp.files import replacing
from skinapp.images import imaging
from skinapp.inference import registry
from skinapp.inference.registry import Model
from skinapp.inference.runtime import Classifier
from train.data import datasets, masks
from train.publish.retrieval_index import share
from train.studies.randomised import PARTS, untrained

MODELS = ("ham10000-efficientnetb1", "ham10000-efficientnetv2b0", "malignancy-efficientnetb1")
COPIES = ("shipped", *PARTS)
"""Which part of a network is untrained: none, the last layer, or everything."""
MASK_SIDE = 120


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--models", nargs="+", default=list(MODELS), metavar="ID", help="models to check (default: %(default)s)"
    )
    parser.add_argument(
        "--copies", nargs="+", choices=COPIES, default=list(COPIES), help="networks to check (default: %(default)s)"
    )
    parser.add_argument("--images", type=int, default=60, metavar="N", help="images per split (default: %(default)s)")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), metavar="DIR", help="the folder of runs (default: %(default)s)"
    )


def run(options: argparse.Namespace) -> int:
    table = masks.table(datasets.data_root() / "ham10000").drop_duplicates("group")
    chosen = pd.concat(
        [table[table["split"] == split].sample(options.images, random_state=0) for split in ("validation", "test")]
    )
    options.runs.mkdir(parents=True, exist_ok=True)
    file = options.runs / "sanity-check.csv"
    rows: list[dict[Any, Any]] = pd.read_csv(file).to_dict("records") if file.exists() else []
    for model in map(registry.model, options.models):
        for copy in options.copies:
            done = {row["image"] for row in rows if (row["model"], row["copy"]) == (model.id, copy)}
            left = chosen[~chosen["image"].isin(done)]
            if left.empty:
                continue
            classifier = copied(model, copy, options.runs / "untrained")
            for record in tqdm(left.to_dict("records"), desc=f"{model.id}, {copy}", unit="image", mininterval=5):
                pixels = imaging.load(record["path"], model.input_size)
                result = evidence(classifier, pixels, masks.square_mask(record["mask"], MASK_SIDE))
                rows.append(
                    {"model": model.id, "copy": copy, **{name: record[name] for name in ("image", "group", "split")}}
                    | {"log_odds_change": round(result.log_odds_change, 4), "similarity": round(result.similarity, 4)}
                )
            with replacing(file) as partial:
                pd.DataFrame(rows).to_csv(partial, index=False)
    table = pd.DataFrame(rows)
    table = table[table["model"].isin(options.models) & table["copy"].isin(options.copies)]
    table = table[table["image"].isin(chosen["image"])]
    print(
        f"On validation images the best limit is {best_limit(table)} (log odds); "
        f"skinapp/attention/sanity_check.py uses {MIN_LOG_ODDS_CHANGE}."
    )
    table["passed"] = (table["log_odds_change"] >= MIN_LOG_ODDS_CHANGE) & (table["similarity"] <= MAX_SIMILARITY)
    print(json.dumps(rates(table), indent=2))
    return 0


def copied(model: Model, copy: str, folder: Path) -> Classifier:
    """The model, or a copy of it made below `folder`. On one thread, since several slow each other down on a busy
    machine."""
    return Classifier(model if copy == "shipped" else untrained(model, copy, folder), threads=1)


def best_limit(table: pd.DataFrame) -> float:
    """The limit of `log_odds_change` with the best balanced accuracy at separating shipped networks from copies, on the
    validation images; the middle one if several are equally good."""
    known = table[table["split"] == "validation"]
    shipped = known["copy"] == "shipped"

    def right(limit: float) -> float:
        passed = (known["log_odds_change"] >= limit) & (known["similarity"] <= MAX_SIMILARITY)
        return float((passed[shipped].mean() + 1 - passed[~shipped].mean()) / 2)

    scores = {round(float(limit), 2): right(limit) for limit in np.arange(0.5, 3.01, 0.05)}
    best = [limit for limit, score in scores.items() if score == max(scores.values())]
    return best[len(best) // 2]


def evidence(classifier: Classifier, pixels: np.ndarray, mask: np.ndarray) -> Evidence:
    """The evidence for the sanity check of a model's map for its most likely class."""
    predict = classifier.predict
    prediction = predict(pixels)
    index = int(prediction.probabilities.argmax())

    def explain(square: np.ndarray) -> np.ndarray:
        class_maps = predict(square).class_maps
        assert class_maps is not None
        return heatmap.grad_cam(class_maps, index)

    return sanity_check.gather(
        lambda square: predict(square).probabilities, explain, pixels, index, explain(pixels), mask
    )


def rates(table: pd.DataFrame) -> dict[str, Any]:
    """For each model, copy and split: images, and the share that passes, with its 95% interval over lesions."""
    return {
        f"{model}, {copy}, {split}": {
            "images": len(part),
            "passed": share(part["passed"].to_numpy(dtype=float), part["group"].to_numpy()),
        }
        for (model, copy, split), part in table.groupby(["model", "copy", "split"], sort=False)
    }
