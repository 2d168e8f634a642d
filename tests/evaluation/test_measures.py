"""Scores with their intervals, reproduced independently."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as reference

from skinapp.evaluation import comparison, measures, predictions
from skinapp.evaluation.comparison import CLASSES, MALIGNANT, Shared
from skinapp.inference import registry
from skinapp.labels.sets import HAM10000
from tests.evaluation.conftest import repeats


def by_scikit_learn(score: str, truth: np.ndarray, rows: np.ndarray, malignant: np.ndarray) -> float:
    named, chance = rows.argmax(axis=1), rows[:, malignant].sum(axis=1)
    positive, classes = malignant[truth], range(rows.shape[1])
    match score:
        case "balanced_accuracy":
            return reference.recall_score(truth, named, labels=np.unique(truth), average="macro")
        case "accuracy":
            return reference.accuracy_score(truth, named)
        case "macro_f1":
            return reference.f1_score(truth, named, labels=classes, average="macro", zero_division=0)
        case "macro_roc_auc":
            return float(np.mean([reference.roc_auc_score(truth == k, rows[:, k]) for k in np.unique(truth)]))
        case "roc_auc_malignancy":
            return reference.roc_auc_score(positive, chance)
        case "average_precision_malignancy":
            return reference.average_precision_score(positive, chance)
        case "sensitivity_malignancy":
            return reference.recall_score(positive, chance >= 0.5)
        case "specificity_malignancy":
            return reference.recall_score(~positive, chance < 0.5)
        case "brier":
            return reference.brier_score_loss(truth, rows, labels=classes, scale_by_half=False)
        case "expected_calibration_error":
            sure, right = rows.max(axis=1), named == truth
            bins = np.minimum(np.floor(sure * 15), 14)
            return sum(abs((right - sure)[bins == b].sum()) for b in np.unique(bins)) / len(truth)
    raise AssertionError(score)


@pytest.mark.parametrize("score", [name for name in measures.MEASURES if not name.endswith("_target")])
def test_scores_and_differences_equal_a_loop_over_scikit_learn(shared: Shared, weights: np.ndarray, score: str) -> None:
    draws = measures.draw(shared, weights)
    malignant = np.array([label.malignant for label in shared.labels.labels])
    values = {
        name: np.array(
            [
                by_scikit_learn(score, shared.truth[take], rows[take], malignant)
                for take in [np.arange(len(shared.truth)), *repeats(weights)]
            ]
        )
        for name, rows in shared.probabilities.items()
    }
    for name, expected in values.items():
        assert draws.by_model[name][score] == pytest.approx(expected)
        interval = draws.interval(name, score)
        assert (interval.low, interval.high) == pytest.approx(tuple(np.percentile(expected[1:], (2.5, 97.5))))
    apart = values["one"] - values["two"]
    interval = draws.difference("one", "two", score)
    assert (interval.value, interval.low, interval.high) == pytest.approx(
        (apart[0], *np.percentile(apart[1:], (2.5, 97.5)))
    )


def test_the_intervals_are_those_of_the_cards(model: registry.Model) -> None:
    shared = comparison.share([predictions.of_model(model)], CLASSES)
    draws = measures.draw(shared)
    for score, figures in model.card["scores"].items():
        if score in draws.by_model[model.id]:
            interval = draws.interval(model.id, score)
            assert (interval.value, interval.low, interval.high) == pytest.approx(
                (figures["value"], figures["low"], figures["high"]), abs=6e-5
            )


def test_published_figures_belong_to_their_data_set(tmp_path: Path) -> None:
    table = measures.published(CLASSES, "ham10000")
    assert {"model", "score", "value", "low", "high", "images", "protocol"} <= set(table)
    assert {"PanDerm", "MONET"} <= set(table["model"])
    assert set(measures.published(MALIGNANT, "ham10000")["score"].str.split("_").str[-1]) == {"malignancy"}
    assert measures.published(CLASSES, "elsewhere").empty
    assert measures.published(CLASSES, "ham10000", tmp_path).empty


def test_scores_of_the_target_equal_scikit_learns_and_carry_its_name(shared: Shared, weights: np.ndarray) -> None:
    melanoma = dataclasses.replace(shared, target=comparison.targets(HAM10000)["mel"])
    draws = measures.draw(melanoma, weights).by_model["one"]
    number = HAM10000.codes.index("mel")
    positive, chance = shared.truth == number, shared.probabilities["one"][:, number]
    assert draws["roc_auc_target"][0] == pytest.approx(reference.roc_auc_score(positive, chance))
    assert draws["average_precision_target"][0] == pytest.approx(reference.average_precision_score(positive, chance))
    assert measures.named(melanoma.target)["roc_auc_target"].name == "ROC AUC, melanoma"
    # the malignancy scores are always present
    assert not any(name.endswith("_target") for name in measures.scores(shared))
