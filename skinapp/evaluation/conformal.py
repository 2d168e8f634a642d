"""Prediction sets: calibrated on held-out lesions or patients, and measured on test images.

Conformal prediction (Vovk et al. 2005, doi:10.1007/b106715) with one calibration for each class (Mondrian), so that the
coverage holds for rare classes too. A class's p-value for an image is the share of the class's calibration images, this
image counted among them, that were given a probability no higher than this one's; the class is in the set if its
p-value is at least one minus the coverage.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from skinapp.evaluation import bootstrap, subgroups
from skinapp.evaluation.bootstrap import Interval
from skinapp.evaluation.predictions import Predictions
from skinapp.formatting import joined
from skinapp.inference import conformal, model_card
from skinapp.inference.conformal import COVERAGES, Conformal
from skinapp.labels.sets import LabelSet

DECIMALS = 6
"""Decimals of the probabilities in predictions files, and of the thresholds, which are rounded down."""


def calibrate(
    labels: LabelSet, truth: np.ndarray, probabilities: np.ndarray, groups: np.ndarray, images: str
) -> dict[str, Any]:
    """The `conformal` of a card, from class indices [n], probabilities [n, classes] and groups [n] of held-out images
    with the name `images`.

    Of the images of one class in a group (lesion or patient) the first is used, as they are not independent.
    """
    # only models are made with it
    from crepes import ConformalClassifier

    first = ~pd.DataFrame({"class": truth, "group": groups}).duplicated().to_numpy()
    truth, own = truth[first], probabilities[first, truth[first]]
    fitted = ConformalClassifier().fit(1 - own, bins=truth)
    classes = {}
    for index, code in enumerate(labels.codes):
        # the p-value rises at the probabilities of calibration images only, so each threshold is 0 or one of these
        steps = np.unique(np.r_[0.0, own[truth == index]])
        thresholds = [0.0] * len(COVERAGES)
        if (truth == index).any():
            p_values = fitted.predict_p(1 - steps, bins=np.full(len(steps), index), smoothing=False)
            thresholds = [float(_down(steps[p_values >= 1 - coverage - 1e-9].min())) for coverage in COVERAGES]
        classes[code] = {"groups": int((truth == index).sum()), "thresholds": thresholds}
    return {"images": images, "coverages": list(COVERAGES), "classes": classes}


def _down(threshold: float) -> float:
    # 0.3 * 10**6 is just below 300000
    return np.floor(threshold * 10**DECIMALS + 1e-6) / 10**DECIMALS


@dataclass(frozen=True)
class Measured:
    """The sets of one model for a coverage, measured on one test set, whose images are from `datasets`.

    `table` has a row for all images, each class and each subgroup: `by` ("all", "class" or a key of
    `subgroups.SUBGROUPS`), `value`, `images`, `groups`, `coverage` (the share of sets that hold the label) and `size`
    (the mean number of classes in a set), each also `_low` and `_high`, which are NaN if there is no interval, and
    `everything`, the share of sets that hold every class. With `calibrated_here`, the same images calibrated the sets,
    as after a cross-validation: their coverage is the target, and only other images can show whether it is reached.
    """

    model: str
    datasets: tuple[str, ...]
    nominal: float
    table: pd.DataFrame
    calibrated_here: bool


def on_every_test_set(predictions: Predictions, coverage: float) -> list[Measured]:
    """A model's sets on its own test images and on each further data set; empty for a model without prediction sets.
    DataError for a coverage that is not stored."""
    thresholds = conformal.of_model(predictions.model) if predictions.model else None
    if predictions.model is None or thresholds is None:
        return []
    crossed = model_card.cross_validated(predictions.model.card)
    own = [name for name in predictions.datasets if name not in predictions.further]
    tests: list[tuple[tuple[str, ...], str | None]] = [(tuple(own), None)]
    tests += [((name,), name) for name in predictions.further]
    return [
        Measured(
            predictions.id,
            datasets,
            coverage,
            measured(thresholds, predictions.rows_of(dataset), predictions.labels, coverage),
            crossed and dataset is None,
        )
        for datasets, dataset in tests
    ]


def measured(thresholds: Conformal, rows: pd.DataFrame, labels: LabelSet, coverage: float) -> pd.DataFrame:
    """The table of a `Measured` for rows of a predictions file with `label`, `group`, `p_<label>` and any facts.
    DataError for a coverage that is not stored."""
    codes = labels.codes
    chosen = thresholds.sets(rows[[f"p_{code}" for code in codes]].to_numpy(np.float64), coverage)
    truth = rows["label"].map(codes.index).to_numpy()
    right, size = chosen[np.arange(len(rows)), truth], chosen.sum(axis=1)
    groups = pd.factorize(rows["group"])[0]
    weights = bootstrap.weights(groups)

    parts = [("all", "All", np.ones(len(rows), dtype=bool))]
    parts += [("class", code, truth == index) for index, code in enumerate(codes)]
    for name in subgroups.SUBGROUPS:
        if name in rows:
            values = subgroups.values(rows, name).cat.remove_unused_categories()
            if len(values.cat.categories) > 1:
                parts += [(name, str(value), (values == value).to_numpy()) for value in values.cat.categories]
    return pd.DataFrame(
        {
            "by": by,
            "value": value,
            "images": int(part.sum()),
            "groups": bootstrap.count(groups, part),
            **_limits("coverage", bootstrap.mean(right, part, groups, weights, proportion=True)),
            **_limits("size", bootstrap.mean(size, part, groups, weights, proportion=False)),
            "everything": float((size[part] == len(codes)).mean()),
        }
        for by, value, part in parts
        if part.any()
    )


def lines(result: Measured) -> Iterator[str]:
    """The measurements as lines for a terminal, without subgroups with few images."""
    yield ""
    yield (
        f"{result.model}: prediction sets for {result.nominal:.0%} coverage on {joined(result.datasets)}; "
        "coverage, mean number of classes per set, images"
    )
    if result.calibrated_here:
        yield "  (The sets were calibrated on these same images, so their coverage is the target by construction.)"
    for row in result.table.to_dict("records"):
        if row["by"] not in ("all", "class") and row["images"] < subgroups.FEW_IMAGES:
            continue
        name = row["value"] if row["by"] in ("all", "class") else f"{row['by']}: {row['value']}"
        share, size = (
            Interval(*(row[f"{what}{end}"] for end in ("", "_low", "_high"))) for what in ("coverage", "size")
        )
        yield f"  {name:28} {share.text()}  {size.text('.2f')}  {row['images']:,}"


def in_json(result: Measured) -> dict[str, Any]:
    """The measurements for JSON, which has no NaN."""
    rows = result.table.astype(object).where(result.table.notna(), None).to_dict("records")
    return {
        "model": result.model,
        "dataset": " and ".join(result.datasets),
        "nominal": result.nominal,
        "calibrated_here": result.calibrated_here,
        "parts": rows,
    }


def _limits(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
