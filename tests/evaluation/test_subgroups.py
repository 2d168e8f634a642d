"""A model's scores in cells of the demographics."""

import numpy as np
import pandas as pd
import pytest

from skinapp.demographics import records, statistics
from skinapp.demographics.records import Filters
from skinapp.evaluation import subgroups
from skinapp.inference import registry
from skinapp.labels.sets import HAM10000


@pytest.fixture
def tested() -> pd.DataFrame:
    """Eight images of eight lesions: three of four malignant ones found, all others left alone."""
    raw = pd.DataFrame(
        {
            "lesion": list("abcdefgh"),
            "diagnosis": ["mel"] * 4 + ["nv"] * 4,
            "sex": ["male"] * 6 + ["female"] * 2,
            "age": [20, 30, 45, 60, 75, 80, 50, np.nan],
            "probability": [0.9, 0.8, 0.6, 0.4, 0.1, 0.2, 0.3, 0.1],
            "truth": [True] * 4 + [False] * 4,
            "named": ["mel", "mel", "bcc", "nv", "nv", "nv", "nv", "mel"],
        }
    )
    return records.tidy(raw, HAM10000)


def test_sensitivity_specificity_and_calibration_by_hand(tested: pd.DataFrame) -> None:
    found = subgroups.cells(tested, "sex", 1.0).set_index("cell")
    assert found.loc["All", "sensitivity"] == 0.75
    assert found.loc["All", "specificity"] == 1
    assert found.loc["All", "calibration"] == pytest.approx((2.7 + 0.7) / 8 - 0.5)
    assert (found.loc["All", "sensitivity_low"], found.loc["All", "sensitivity_high"]) == statistics.wilson(3, 4)
    assert found["images"].to_dict() == {"All": 8, "male": 6, "female": 2}
    assert np.isnan(found.loc["female", "sensitivity"])


def test_what_is_too_wide_is_not_told(tested: pd.DataFrame) -> None:
    found = subgroups.cells(tested, "sex", 0.3).set_index("cell")
    assert not found["sensitivity_told"].any()
    assert not subgroups.cells(tested, "sex", 0.3)["specificity_told"].any()
    assert subgroups.cells(tested, "sex", 0.66)["sensitivity_told"].tolist() == [True, True, False]


def test_several_images_of_a_lesion_do_not_narrow_the_interval(tested: pd.DataFrame) -> None:
    twice = pd.concat([tested, tested], ignore_index=True)
    one, two = (subgroups.cells(frame, "sex", 1.0).iloc[0] for frame in (tested, twice))
    assert two["images"] == 2 * one["images"]
    assert two["sensitivity_low"] == pytest.approx(one["sensitivity_low"])


def test_ages_fall_into_wide_bands(tested: pd.DataFrame) -> None:
    found = subgroups.cells(tested, "age", 1.0).set_index("cell")["images"].to_dict()
    assert found == {
        "All": 8,
        "0 to 29": 1,
        "30 to 44": 1,
        "45 to 59": 2,
        "60 to 74": 1,
        "75 and over": 2,
        records.NOT_STATED: 1,
    }


def test_the_cells_agree_with_the_models_card(model: registry.Model) -> None:
    frame = subgroups.predictions(model, "ham10000").frame
    whole = subgroups.cells(frame, "sex", 1.0).iloc[0]
    for name in ("sensitivity", "specificity"):
        assert whole[name] == pytest.approx(model.card["scores"][f"{name}_malignancy"]["value"], abs=1e-3)
    assert whole["images"] == 1503


def test_how_often_a_class_is_named(tested: pd.DataFrame) -> None:
    found = subgroups.found(tested, "mel")
    assert found
    assert (found.images, found.lesions, found.share) == (4, 4, 0.5)
    assert subgroups.found(tested, "vasc") is None


def test_images_of_the_malignant_benign_set_get_what_ham10000_says_of_them() -> None:
    models = registry.models()
    name = next(key for key, each in models.items() if "malignant_benign" in subgroups.tested_on(each))
    table = subgroups.predictions(models[name], "malignant_benign")
    assert table.frame["age"].notna().any()
    women = records.select(table, Filters(sex=("female",)))
    assert 0 < len(women) < len(table.frame)


def test_a_model_has_no_rows_of_a_data_set_that_it_was_not_tested_on(model: registry.Model) -> None:
    assert "pad_ufes_20" not in subgroups.tested_on(model)
    assert subgroups.predictions(model, "malignant_benign").frame.empty
