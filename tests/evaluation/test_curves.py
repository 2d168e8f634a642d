"""Curves with their bands."""

import dataclasses

import numpy as np
import pytest
from sklearn import metrics as reference

from skinapp.evaluation import comparison, curves
from skinapp.evaluation.comparison import Shared
from skinapp.labels.sets import HAM10000
from skinapp.report.operating_point_views import CURVES


def test_curves_pass_through_scikit_learns_points(shared: Shared, weights: np.ndarray) -> None:
    chance = shared.probability("one")
    false, true, _ = reference.roc_curve(shared.positive, chance, drop_intermediate=False)
    roc = curves.curve(shared, weights, "one", "roc")
    assert roc["y"].to_numpy() == pytest.approx(np.interp(roc["x"], false, true), abs=1e-9)
    precision, recall, _ = reference.precision_recall_curve(shared.positive, chance)
    curve = curves.curve(shared, weights, "one", "precision")
    for x, y in zip(curve["x"][1:], curve["y"][1:], strict=True):
        reached = recall[:-1] >= x - 1e-9
        # the last point of scikit-learn's that reaches this recall has the highest threshold
        assert y == pytest.approx(precision[:-1][reached][-1])


def test_a_curve_follows_the_target(shared: Shared, weights: np.ndarray) -> None:
    melanoma = dataclasses.replace(shared, target=comparison.targets(HAM10000)["mel"])
    number = HAM10000.codes.index("mel")
    false, true, _ = reference.roc_curve(
        shared.truth == number, shared.probabilities["one"][:, number], drop_intermediate=False
    )
    roc = curves.curve(melanoma, weights, "one", "roc")
    assert roc["y"].to_numpy() == pytest.approx(np.interp(roc["x"], false, true), abs=1e-9)


@pytest.mark.parametrize("kind", CURVES)
def test_a_curve_lies_in_its_band(shared: Shared, weights: np.ndarray, kind: str) -> None:
    curve = curves.curve(shared, weights, "two", kind)
    assert (curve["low"] <= curve["high"] + 1e-12).all(), curve
    assert ((curve["low"] <= curve["y"] + 1e-9) & (curve["y"] <= curve["high"] + 1e-9)).mean() > 0.9


@pytest.mark.parametrize("kind", CURVES)
def test_few_lesions_have_a_curve_without_a_band(shared: Shared, kind: str) -> None:
    few = dataclasses.replace(shared, groups=np.arange(len(shared.images)) % 5)
    curve = curves.curve(few, few.weights(20), "one", kind)
    assert curve["y"].notna().all()
    assert curve[["low", "high"]].isna().all(axis=None)
