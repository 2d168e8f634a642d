"""The observed risk behind a cancer probability on test images, counted independently."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skinapp.errors import DataError
from skinapp.evaluation import observed_risk
from skinapp.evaluation.bootstrap import Interval
from skinapp.evaluation.observed_risk import ObservedRisk, at_prevalence, prevalence_sentence, sentence
from skinapp.inference import registry
from skinapp.inference.registry import Model
from skinapp.inference.runtime import Prediction

CANCER = ["bcc", "mel"]


def prediction(model: Model, cancer: float) -> Prediction:
    """An answer with this probability of cancer, all for melanoma."""
    probabilities = np.full(len(model.labels.codes), 0.0)
    probabilities[model.labels.codes.index("mel")] = cancer
    probabilities[model.labels.codes.index("nv")] = 1 - cancer
    empty = np.zeros(1, np.float32)
    return Prediction(model, empty, probabilities, None, empty, empty)


@pytest.mark.parametrize("cancer", [0.0, 0.004, 0.03, 0.3, 0.77, 1.0])
def test_the_bin_of_an_answer_is_counted_from_the_predictions_file(model: Model, cancer: float) -> None:
    observed = observed_risk.observed_risk(prediction(model, cancer))
    table = pd.read_csv(model.folder / "predictions.csv")
    summed = table[[f"p_{code}" for code in CANCER]].sum(axis=1)
    inside = table[(summed >= observed.low) & ((summed < observed.high) | (observed.high == 1))]
    positive = int(inside["label"].isin(CANCER).sum())
    assert observed.low <= cancer <= observed.high
    assert (observed.images, observed.positive) == (len(inside), positive)
    assert observed.groups == inside["group"].nunique()
    assert observed.risk.value == pytest.approx(positive / len(inside))
    assert observed.risk.low <= observed.risk.value <= observed.risk.high <= observed.risk.low + observed_risk.WIDEST
    assert (observed.test_images, observed.test_positive) == (len(table), int(table["label"].isin(CANCER).sum()))
    assert f"based on {len(inside):,} images" in sentence(observed)


@pytest.mark.parametrize("name", [name for name in registry.models() if name != "lesion-segmentation"])
def test_the_bins_of_every_model_hold_each_test_image_once(name: str) -> None:
    model = registry.model(name)
    codes = next(iter(observed_risk.analysis.groups(model).values()))
    bins = observed_risk._bins(*observed_risk._test(model, codes))
    assert [one.low for one in bins[1:]] == [one.high for one in bins[:-1]]
    assert (bins[0].low, bins[-1].high) == (0, 1)
    assert sum(one.images for one in bins) == bins[0].test_images
    assert sum(one.positive for one in bins) == bins[0].test_positive
    assert len(bins) >= 4


def test_too_few_images_are_one_bin_without_an_interval() -> None:
    values = np.array([0.1, 0.5, 0.9]), np.array([False, True, True]), np.arange(3)
    (only,) = observed_risk._bins(*(value.tobytes() for value in values))
    assert (only.low, only.high, only.images, only.positive) == (0, 1, 3, 2)
    assert not only.risk.exists


def observed(probability: float, positive: int = 200) -> ObservedRisk:
    return ObservedRisk("cancer", probability, 0.2, 0.4, 50, 40, 15, Interval(0.3, 0.2, 0.4), 1000, positive)


def test_the_observed_risk_as_a_sentence() -> None:
    assert sentence(observed(0.3)) == (
        "Of 100 test images that got an answer like this, 30 were cancer (95% interval 20 to 40; based on 50 images "
        "with a probability of cancer from 20% to 40%). Among all test images, 20 of 100 were."
    )


def test_counts_without_an_interval_are_not_made_into_a_share() -> None:
    few = replace(observed(0.3), images=5, groups=4, positive=1, risk=Interval(0.2, np.nan, np.nan))
    assert sentence(few).startswith("Of the 5 test images that got an answer like this")
    assert "1 was cancer: too few lesions or patients for an interval" in sentence(few)
    assert "Of 100" not in sentence(few)
    none = replace(observed(0.3), images=0, groups=0, positive=0, risk=Interval(np.nan, np.nan, np.nan))
    assert sentence(none) == "None of the test images got an answer like this."


def test_the_share_at_another_prevalence_follows_bayes() -> None:
    # 1,000 people, 200 with cancer; 40 of them and 60 of the others get this answer, whatever its probability
    like_this = replace(observed(0.7), risk=Interval(0.4, 0.0, 1.0))
    assert at_prevalence(like_this, 0.2).value == pytest.approx(0.4)
    # with 20 of 1,000, 4 of them and 73.5 of the others get it
    assert at_prevalence(like_this, 0.02).value == pytest.approx(4 / (4 + 980 * 60 / 800))
    assert [at_prevalence(like_this, 0.02).low, at_prevalence(like_this, 0.02).high] == pytest.approx([0, 1])
    assert prevalence_sentence(like_this, 0.2) == (
        "Where 20% of such lesions are cancer, 40% (95% interval under 1% to over 99%) of those with an answer like "
        "this are."
    )
    alone = replace(like_this, risk=Interval(0.4, np.nan, np.nan))
    assert "40% of those" in prevalence_sentence(alone, 0.2)
    unknown = replace(like_this, images=0, risk=Interval(np.nan, np.nan, np.nan))
    assert "not known" in prevalence_sentence(unknown, 0.2)


@pytest.mark.parametrize("prevalence", [-0.1, 0.0, 1.0, 20.0, float("nan")])
def test_an_impossible_prevalence(prevalence: float) -> None:
    with pytest.raises(DataError, match="above 0 and below 1"):
        at_prevalence(observed(0.4), prevalence)


def test_no_prevalence_without_cancers_in_the_test_images() -> None:
    with pytest.raises(DataError, match="all of one kind"):
        at_prevalence(observed(0.4, positive=0), 0.02)


def test_a_model_whose_predictions_are_gone_says_so(own_models: Path, model: Model) -> None:
    copy = registry.model(model.id, own_models)
    (copy.folder / "predictions.csv").unlink()
    with pytest.raises(DataError, match="cannot be read"):
        observed_risk.observed_risk(prediction(copy, 0.3))
