"""Prediction sets: calibration by hand and by crepes, coverage on exchangeable data, and measurements."""

import numpy as np
import pandas as pd
import pytest
from crepes import ConformalClassifier

from skinapp.errors import DataError
from skinapp.evaluation import conformal
from skinapp.inference import registry
from skinapp.inference.conformal import COVERAGES, Conformal
from skinapp.labels.sets import HAM10000, MALIGNANCY
from tests.evaluation.conftest import made


def made_up(images: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Class indices and probabilities of a model that is often wrong; half of the images are of one class."""
    generator = np.random.default_rng(seed)
    truth = generator.choice(7, images, p=[0.05, 0.05, 0.1, 0.05, 0.2, 0.5, 0.05])
    logits = generator.normal(size=(images, 7)) + 2 * np.eye(7)[truth]
    return truth, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def of(stored: dict) -> Conformal:
    classes = list(stored["classes"].values())
    return Conformal(
        stored["images"],
        tuple(one["groups"] for one in classes),
        {
            coverage: tuple(one["thresholds"][index] for one in classes)
            for index, coverage in enumerate(stored["coverages"])
        },
    )


def test_thresholds_by_hand() -> None:
    # 19 benign images with 0.01 to 0.19: at 95% one in 20 may be left out, which is the image itself
    own = np.arange(1, 20) / 100
    stored = conformal.calibrate(
        MALIGNANCY, np.zeros(19, int), np.stack([own, 1 - own], axis=1), np.arange(19), "nineteen"
    )
    assert stored["classes"]["benign"] == {"groups": 19, "thresholds": [0.03, 0.01, 0.0, 0.0]}
    assert stored["classes"]["malignant"] == {"groups": 0, "thresholds": [0.0] * 4}


def test_one_image_of_a_lesion_counts() -> None:
    truth, probabilities = made_up(400, seed=1)
    alone = conformal.calibrate(HAM10000, truth, probabilities, np.arange(400), "")
    again = np.repeat(np.arange(400), 3)
    worse = probabilities[again].copy()
    worse[np.arange(1200) % 3 > 0] = 1 / 7
    assert conformal.calibrate(HAM10000, truth[again], worse, again, "") == alone


@pytest.mark.parametrize("coverage", COVERAGES)
def test_sets_are_those_of_crepes_and_the_most_probable_class(coverage: float) -> None:
    truth, probabilities = made_up(700, seed=2)
    _, new = made_up(300, seed=3)
    sets = of(conformal.calibrate(HAM10000, truth, probabilities, np.arange(700), "")).sets(new, coverage)
    fitted = ConformalClassifier().fit(1 - probabilities[np.arange(700), truth], bins=truth)
    expected = np.zeros_like(sets)
    for index in range(7):
        bins = np.full(len(new), index)
        p_values = fitted.predict_p(1 - new[:, index], bins=bins, smoothing=False)
        expected[:, index] = p_values >= 1 - coverage
    expected[np.arange(len(new)), new.argmax(axis=1)] = True
    # thresholds are rounded down to six decimals
    assert (sets != expected).mean() < 0.002
    assert sets[expected].all()


@pytest.mark.parametrize("coverage", COVERAGES)
def test_every_class_keeps_its_promise(coverage: float) -> None:
    truth, probabilities = made_up(4000, seed=4)
    sets = of(conformal.calibrate(HAM10000, truth, probabilities, np.arange(4000), ""))
    truth, probabilities = made_up(20000, seed=5)
    held = sets.sets(probabilities, coverage)[np.arange(20000), truth]
    for index in range(7):
        assert held[truth == index].mean() > coverage - 0.035


def test_measured_by_counting() -> None:
    predictions = made("one", HAM10000)
    sets = Conformal("", (9,) * 7, {0.9: (0.1,) * 7})
    table = conformal.measured(sets, predictions.table, HAM10000, 0.9).set_index(["by", "value"])
    probabilities = predictions.table[predictions.columns].to_numpy()
    inside = probabilities >= 0.1
    truth = predictions.table["label"].map(HAM10000.codes.index).to_numpy()
    held = inside[np.arange(90), truth] | (probabilities.argmax(axis=1) == truth)
    assert table.loc[("all", "All"), "coverage"] == pytest.approx(held.mean())
    assert table.loc[("all", "All"), "size"] == pytest.approx(inside.sum(axis=1).mean())
    male = (predictions.table["sex"] == "male").to_numpy()
    assert table.loc[("sex", "male"), "coverage"] == pytest.approx(held[male].mean())
    assert table.loc[("sex", "male"), "images"] == male.sum()
    assert set(table.loc["class"].index) <= set(HAM10000.codes)
    assert {"45 to 59"} <= set(table.loc["age"].index)
    shown = table.loc[("all", "All")]
    assert shown["coverage_low"] <= shown["coverage"] <= shown["coverage_high"]
    rare = table.loc["class"].query("groups < 20")
    assert rare["coverage_low"].isna().all()


def test_a_coverage_that_is_not_stored() -> None:
    with pytest.raises(DataError, match=r"0\.8, 0\.9, not 0\.5"):
        Conformal("", (9, 9), {0.8: (0.1, 0.1), 0.9: (0.0, 0.0)}).sets(np.array([[0.5, 0.5]]), 0.5)


def test_json_has_no_nan() -> None:
    table = pd.DataFrame({"by": ["all"], "value": ["All"], "coverage": [0.9], "coverage_low": [np.nan]})
    (part,) = conformal.in_json(conformal.Measured("one", ("made",), 0.9, table, False))["parts"]
    assert part["coverage_low"] is None


@pytest.mark.parametrize("name", [name for name, one in registry.models().items() if "conformal" in one.card])
def test_the_sets_of_every_model_have_fewer_classes_than_the_model(name: str) -> None:
    from skinapp.evaluation import predictions

    for one in conformal.on_every_test_set(predictions.of_model(registry.model(name)), 0.8):
        overall = one.table.iloc[0]
        assert 1 <= overall["size"] < len(registry.model(name).labels.codes)
        # a wide margin: few lesions calibrate a rare class, and further test sets are from elsewhere
        assert overall["coverage"] > 0.5
