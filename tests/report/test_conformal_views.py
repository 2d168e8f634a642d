"""Measured prediction sets in sentences and charts: insufficient coverage is stated, never averaged away."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from skinapp.evaluation.conformal import Measured
from skinapp.labels.sets import MALIGNANCY
from skinapp.report import conformal_views

ROWS = pd.DataFrame(
    [
        ("all", "All", 200, 0.95, 0.92, 0.97, 1.4, 1.3, 1.5, 0.4),
        ("class", "benign", 180, 0.97, 0.94, 0.99, 1.4, 1.3, 1.5, 0.4),
        ("class", "malignant", 20, 0.8, 0.6, 0.93, 1.6, 1.5, 1.7, 0.6),
        ("sex", "female", 90, 0.94, 0.9, 0.97, 1.4, 1.3, 1.5, 0.4),
        ("sex", "male", 110, 0.96, 0.92, 0.98, 1.4, 1.3, 1.5, 0.4),
    ],
    columns=[
        *("by", "value", "images", "coverage", "coverage_low", "coverage_high"),
        *("size", "size_low", "size_high", "everything"),
    ],
)
OWN = Measured("one", ("ham10000",), 0.95, ROWS, False)


def other(**overall: float) -> Measured:
    """Measured on another test set, with these figures for all images."""
    table = ROWS[ROWS["by"] != "sex"].copy()
    for name, value in overall.items():
        table.loc[0, name] = value
    return Measured("one", ("milk10k",), 0.95, table, False)


def test_a_kept_promise_with_its_worst_class() -> None:
    [sentence] = conformal_views.sentences([OWN], MALIGNANCY)
    assert sentence == (
        "HAM10000: 95% of the sets contain the true label (92% to 97%); they contain 1.4 of 2 classes on average, and "
        "40% of them contain every class. That agrees with the target of 95%. Lowest by class: malignant, 80% (60% to "
        "93%)."
    )


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.6, 0.7, "That is less than the target of 95%: do not rely on these sets for images like these."),
        (0.96, 0.98, "That is more than the target of 95%."),
        (np.nan, np.nan, "There are too few lesions or patients to compare with the target of 95%."),
    ],
)
def test_a_shift_is_reported_next_to_the_models_own_images(low: float, high: float, words: str) -> None:
    own, shifted = conformal_views.sentences([OWN, other(coverage_low=low, coverage_high=high)], MALIGNANCY)
    assert "That agrees" in own
    assert shifted.startswith("MILK10k: ")
    assert words in shifted


def test_images_that_calibrated_the_sets_prove_nothing() -> None:
    [sentence] = conformal_views.sentences([replace(OWN, calibrated_here=True)], MALIGNANCY)
    assert "only others can show whether the target is reached" in sentence
    assert "agrees" not in sentence


def test_the_chart_has_every_test_set_and_the_promise() -> None:
    chart = conformal_views.chart([OWN, other()], "class", "coverage", MALIGNANCY, {"one": "One"})
    assert set(chart.table["test"]) == {"HAM10000", "MILK10k"}
    assert len(chart.table) == 6
    assert "Benign, MILK10k 97% (94% to 99%)" in chart.words
    # 20 images are too few
    assert "Malignant, HAM10000 too few images" in chart.words
    [line] = chart.figure.layout.shapes
    assert (line.x0, line.x1) == (0.95, 0.95)


def test_sizes_have_no_target_line_and_only_existing_subgroups_are_shown() -> None:
    assert conformal_views.parts([OWN]) == {"class": "Class", "sex": "Sex"}
    assert conformal_views.parts([other()]) == {"class": "Class"}
    chart = conformal_views.chart([OWN], "sex", "size", MALIGNANCY, {"one": "One"})
    assert "male, HAM10000 1.4 (1.3 to 1.5)" in chart.words
    assert not chart.figure.layout.shapes
