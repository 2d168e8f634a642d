"""Two models side by side: the difference of every score, the tests, and a sentence on what they detect."""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from skinapp.evaluation import bootstrap, significance
from skinapp.evaluation.bootstrap import MIN_GROUPS, Interval
from skinapp.evaluation.comparison import Shared
from skinapp.evaluation.measures import MEASURES, Draws

FIRST, SECOND, UNDECIDED, UNTESTED = "first better", "second better", "undecided", "no interval"
"""The possible conclusions from the interval of a difference."""


def pairwise(shared: Shared) -> pd.DataFrame:
    """One row for each pair: first, second, only_first, only_second, mcnemar_p, delong_p, and both with Holm's
    correction.

    `only_first` counts the images that only the first classifies correctly. auc_difference, auc_low and auc_high are
    the difference of the ROC areas of the target with DeLong's interval. With fewer than MIN_GROUPS lesions or
    patients, nothing is tested: p-values and limits are NaN.
    """
    enough = bootstrap.count(shared.groups) >= MIN_GROUPS
    rows: list[dict[str, Any]] = []
    for first, second in itertools.combinations(shared.ids, 2):
        one, other = shared.correct(first), shared.correct(second)
        area = significance.delong(shared.positive, shared.probability(first), shared.probability(second))
        rows.append(
            {
                "first": first,
                "second": second,
                "only_first": int((one & ~other).sum()),
                "only_second": int((other & ~one).sum()),
                "mcnemar_p": significance.mcnemar(one, other) if enough else np.nan,
                "auc_difference": area.difference.value,
                "auc_low": area.difference.low if enough else np.nan,
                "auc_high": area.difference.high if enough else np.nan,
                "delong_p": area.p_value if enough else np.nan,
            }
        )
    table = pd.DataFrame(rows)
    for test in ("mcnemar", "delong"):
        defined = table[f"{test}_p"].notna()
        table[f"{test}_p_holm"] = np.nan
        table.loc[defined, f"{test}_p_holm"] = significance.holm(table.loc[defined, f"{test}_p"].to_numpy())
    return table


def differences(shared: Shared, draws: Draws, first: str, second: str) -> pd.DataFrame:
    """One row for each score: score, first, second, difference (first minus second), low, high, conclusion."""
    rows = []
    for score in draws.by_model[first]:
        difference = draws.difference(first, second, score)
        rows.append(
            {
                "score": score,
                "first": draws.by_model[first][score][0],
                "second": draws.by_model[second][score][0],
                "difference": difference.value,
                "low": difference.low,
                "high": difference.high,
                "conclusion": conclusion(difference, MEASURES[score].higher),
            }
        )
    return pd.DataFrame(rows)


def conclusion(difference: Interval, higher: bool) -> str:
    """FIRST or SECOND, UNDECIDED where the interval includes zero, or UNTESTED where there is no interval.

    `higher` says whether a higher score is better.
    """
    if not difference.exists:
        return UNTESTED
    if difference.low <= 0 <= difference.high:
        return UNDECIDED
    return FIRST if (difference.low > 0) == higher else SECOND


@dataclass(frozen=True)
class Detection:
    """How many of the images of one class each of two models classifies correctly, and the difference, in images."""

    code: str
    images: int
    groups: int
    first: int
    second: int
    difference: Interval


def detection(shared: Shared, weights: np.ndarray, first: str, second: str, code: str) -> Detection:
    """The images of class `code` that each model classifies correctly. Counts in a resample are scaled to `images`."""
    rows = shared.truth == shared.labels.codes.index(code)
    one, other = shared.correct(first) & rows, shared.correct(second) & rows
    total, groups = int(rows.sum()), bootstrap.count(shared.groups, rows)
    value = int(one.sum()) - int(other.sum())
    if shared.identical(first, second):
        difference = Interval(0.0, 0.0, 0.0)
    else:
        with np.errstate(invalid="ignore"):
            resampled = (weights @ (one.astype(float) - other)) / (weights @ rows) * total
        difference = bootstrap.interval(np.r_[value, resampled], groups)
    return Detection(code, total, groups, int(one.sum()), int(other.sum()), difference)


def sentence(shared: Shared, weights: np.ndarray, first: str, second: str, names: dict[str, str]) -> str:
    """One plain sentence on which of two models detects more melanomas or, if there are none, malignant lesions.

    `names` maps model ids to their names in the sentence.
    """
    code = next((label.code for label in shared.labels.labels if label.name == "Melanoma"), None)
    if code is None or not (shared.truth == shared.labels.codes.index(code)).any():
        code = next(label.code for label in shared.labels.labels if label.malignant)
    both = detection(shared, weights, first, second, code)
    kind = {"Melanoma": "melanomas", "Malignant": "malignant lesions"}.get(
        shared.labels[code].name, f"images of {shared.labels[code].name.lower()}"
    )
    start = f"In these {len(shared.images):,} images, {names[first]} detects "
    difference = both.difference
    if difference.value == 0:
        middle = f"as many of the {both.images:,} {kind} as {names[second]} ({both.first:,})"
    else:
        word = "more" if difference.value > 0 else "fewer"
        middle = (
            f"{abs(difference.value):,.0f} {word} of the {both.images:,} {kind} than {names[second]} "
            f"({both.first:,} compared with {both.second:,})"
        )
    if difference.exists:
        zero = "includes" if difference.low <= 0 <= difference.high else "does not include"
        return (
            f"{start}{middle}; the 95% interval of the difference, {difference.low:+,.0f} to {difference.high:+,.0f}, "
            f"{zero} zero."
        )
    if both.groups < MIN_GROUPS:
        return f"{start}{middle}. Fewer than {MIN_GROUPS} lesions or patients are too few to compare the two."
    return f"{start}{middle}. The difference is the same in every resample, so it has no interval."
