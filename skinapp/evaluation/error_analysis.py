"""Where models err: by class, by subgroup and by image; and what made them: training and protocol."""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from skinapp.errors import DataError
from skinapp.evaluation import metrics
from skinapp.evaluation.comparison import MEASURES, Shared, scores
from skinapp.evaluation.metrics import Interval
from skinapp.inference.registry import Model


def confusion(shared: Shared, model_id: str) -> pd.DataFrame:
    """One row for each label and named class: label, named, images, share (of the label's images; NaN without one)."""
    classes = len(shared.labels.codes)
    named = shared.probabilities[model_id].argmax(axis=1)
    counts = np.bincount(shared.truth * classes + named, minlength=classes**2).reshape(classes, classes)
    with np.errstate(invalid="ignore"):
        shares = counts / counts.sum(axis=1, keepdims=True)
    codes = shared.labels.codes
    return pd.DataFrame(
        {
            "label": np.repeat(codes, classes),
            "named": np.tile(codes, classes),
            "images": counts.ravel(),
            "share": shares.ravel(),
        }
    )


def wrong_by_class(shared: Shared, weights: np.ndarray) -> pd.DataFrame:
    """The share of each class's images that a model names wrongly: model, label, images, value, low, high."""
    rows: list[dict[str, Any]] = []
    for model_id, probabilities in shared.probabilities.items():
        plain = metrics.class_recalls(shared.truth, probabilities, np.ones((1, len(shared.truth))))
        drawn = np.concatenate([plain, metrics.class_recalls(shared.truth, probabilities, weights)])
        for number, code in enumerate(shared.labels.codes):
            images = int((shared.truth == number).sum())
            if images:
                found = metrics.interval(1 - drawn[:, number])
                rows.append({"model": model_id, "label": code, "images": images} | vars(found))
    return pd.DataFrame(rows)


SUBGROUPS = {
    "sex": "Sex",
    "age": "Age",
    "site": "Site",
    "confirmation": "How the diagnosis was confirmed",
    "fitzpatrick": "Fitzpatrick skin type",
    "dataset": "Data set",
}
AGE_BANDS = (0, 30, 45, 60, 75, 200)
FEW_IMAGES, FEW_ON_A_SIDE = 30, 10
"""Below these a subgroup's figure says too little to be shown: images, and images of each side that the score needs."""


def subgroup_names(shared: Shared) -> list[str]:
    """The facts of which at least two values are known among the shared images."""
    return [name for name in SUBGROUPS if name in shared.facts and _values(shared, name).nunique() >= 2]


def _values(shared: Shared, name: str) -> pd.Series:
    """Each image's value of a fact, age as a band; missing where it is not known."""
    column = shared.facts[name]
    if name == "age":
        edges = list(AGE_BANDS)
        names = [f"under {edges[1]}", *(f"{a} to {b - 1}" for a, b in itertools.pairwise(edges[1:-1]))]
        bands = pd.cut(
            pd.to_numeric(column, errors="coerce"), edges, right=False, labels=[*names, f"{edges[-2]} or over"]
        )
        return bands.astype(object)
    if name == "fitzpatrick":
        number = pd.to_numeric(column, errors="coerce")
        return number.map(lambda value: f"{value:.0f}", na_action="ignore").astype(object)
    return column.where(column.notna() & ~column.isin(["", "unknown"])).astype(object)


def subgroups(shared: Shared, weights: np.ndarray, name: str, score: str, models: list[str]) -> pd.DataFrame:
    """A score of some models in each subgroup of a fact: model, subgroup, images, malignant, value, low, high.

    Value and interval are NaN where a subgroup is too small to say (FEW_IMAGES, FEW_ON_A_SIDE).
    """
    values = _values(shared, name)
    function = scores(shared.labels)[score]
    two_sided = "roc_auc" in score or score.startswith(("balanced", "average", "macro"))
    rows: list[dict[str, Any]] = []
    for value in sorted(values.dropna().unique(), key=_by_first_number):
        chosen = (values == value).to_numpy()
        malignant = int(shared.malignant[chosen].sum())
        needed = {"sensitivity_malignancy": malignant, "specificity_malignancy": int(chosen.sum()) - malignant}
        least = min(malignant, int(chosen.sum()) - malignant) if two_sided else needed.get(score, int(chosen.sum()))
        enough = chosen.sum() >= FEW_IMAGES and least >= FEW_ON_A_SIDE
        for model_id in models:
            found = Interval(np.nan, np.nan, np.nan)
            if enough:
                drawn = np.asfortranarray(weights[:, chosen])
                drawn = drawn[drawn.sum(axis=1) > 0]
                truth, part = shared.truth[chosen], shared.probabilities[model_id][chosen]
                found = metrics.interval(metrics.draws({score: function}, truth, part, drawn)[score])
            rows.append(
                {"model": model_id, "subgroup": value, "images": int(chosen.sum()), "malignant": malignant}
                | vars(found)
            )
    return pd.DataFrame(rows)


def _by_first_number(value: str) -> tuple[int, str]:
    digits = "".join(itertools.takewhile(str.isdigit, value.removeprefix("under ")))
    return (-1 if value.startswith("under ") else int(digits or 0), value)


@dataclass(frozen=True)
class Gap:
    """The largest difference between two subgroups of one model, best minus worst."""

    model: str
    best: str
    worst: str
    difference: float
    overlap: bool


def largest_gap(table: pd.DataFrame, higher: bool = True) -> Gap | None:
    """The largest gap of a `subgroups` table, and whether the two intervals overlap; None with fewer than two shown."""
    gaps = []
    for model_id, rows in table.dropna(subset=["value"]).groupby("model", sort=False):
        if len(rows) > 1:
            ordered = rows.sort_values("value", ascending=not higher)
            best, worst = ordered.iloc[0], ordered.iloc[-1]
            overlap = bool(best["low"] <= worst["high"] and worst["low"] <= best["high"])
            gap = abs(float(best["value"] - worst["value"]))
            gaps.append(Gap(str(model_id), best["subgroup"], worst["subgroup"], gap, overlap))
    return max(gaps, key=lambda gap: gap.difference, default=None)


def disagreements(shared: Shared, first: str, second: str) -> pd.DataFrame:
    """The images of which only one of two models names the class rightly, those of the surest mistake first.

    image, label, right (the model that is), first and second (the class each names), confidence (of the wrong one).
    """
    one, other = shared.correct(first), shared.correct(second)
    table = pd.DataFrame(
        {
            "image": shared.images,
            "label": [shared.labels.codes[number] for number in shared.truth],
            "right": np.where(one, first, second),
            "first": [shared.labels.codes[number] for number in shared.probabilities[first].argmax(axis=1)],
            "second": [shared.labels.codes[number] for number in shared.probabilities[second].argmax(axis=1)],
            "confidence": np.where(
                one, shared.probabilities[second].max(axis=1), shared.probabilities[first].max(axis=1)
            ),
        }
    )
    return table[one != other].sort_values("confidence", ascending=False, kind="stable", ignore_index=True)


def mistakes(shared: Shared, model_id: str) -> pd.DataFrame:
    """The images a model names wrongly, the surest first: image, label, named, confidence."""
    probabilities = shared.probabilities[model_id]
    table = pd.DataFrame(
        {
            "image": shared.images,
            "label": [shared.labels.codes[number] for number in shared.truth],
            "named": [shared.labels.codes[number] for number in probabilities.argmax(axis=1)],
            "confidence": probabilities.max(axis=1),
        }
    )
    wrong = table[~shared.correct(model_id)]
    return wrong.sort_values("confidence", ascending=False, kind="stable", ignore_index=True)


def history(model: Model) -> pd.DataFrame:
    """The model's history.csv in long form: epoch, series, value, chosen. Series are the columns of losses and
    accuracies. DataError where it cannot be read."""
    try:
        table = pd.read_csv(model.folder / "history.csv")
    except (OSError, ValueError) as error:
        raise DataError(f"The history.csv of '{model.id}' cannot be read ({error}).") from None
    wanted = [name for name in table.columns if "loss" in name or "accuracy" in name]
    if "epoch" not in table or not wanted:
        raise DataError(f"The history.csv of '{model.id}' lacks the columns epoch and loss; export the model again.")
    chosen = table.get("chosen", pd.Series(False, index=table.index)).astype(str).str.lower() == "true"
    fold = {"fold": table["fold"]} if "fold" in table else {}
    table = table[["epoch", *wanted]].assign(chosen=chosen, **fold)
    long = table.melt(["epoch", "chosen", *fold], var_name="series", value_name="value")
    # Keras names a metric after the output too where there are several losses; it is the same metric
    long["series"] = long["series"].str.replace("logits_", "")
    return long.dropna(subset=["value"]).reset_index(drop=True)


def protocols(model: Model) -> pd.DataFrame:
    """A model's figures under its own protocol and others: test, protocol, images, score, value, low, high.

    A test that bears the name of a set that was trained on is that set's held-out part, by the same protocol: left out.
    """
    tests = [{"name": "Whole lesions or patients held out", "protocol": model.card["training"]["protocol"]}]
    tests[0] |= model.card["test"] | {"scores": model.card["scores"]}
    learnt = model.card["training"]["dataset"]
    others = [test for test in model.card.get("other_tests", []) if test["name"] not in learnt]
    rows = [
        {"test": test["name"], "protocol": test["protocol"], "images": test["images"], "score": name} | figures
        for test in [*tests, *others]
        for name, figures in test["scores"].items()
        if name in MEASURES
    ]
    return pd.DataFrame(rows)
