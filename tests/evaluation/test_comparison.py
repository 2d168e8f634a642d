"""Shared images, intervals, tests and breakdowns, each reproduced by an independent route."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn import metrics as reference

from skinapp.errors import DataError
from skinapp.evaluation import comparison, error_analysis, operating_points, predictions
from skinapp.evaluation.comparison import CLASSES, MALIGNANT, Shared
from skinapp.evaluation.predictions import Predictions
from skinapp.inference import registry
from skinapp.labels.sets import HAM10000, MALIGNANCY, LabelSet
from skinapp.report import comparison_views

RESAMPLES = 60


def made(
    name: str, labels: LabelSet, images: int = 90, seed: int = 0, skill: float = 2.0, start: int = 0
) -> Predictions:
    """Predictions of images `start` and on; the truth of an image does not depend on the model."""
    codes = np.array(labels.codes)
    numbers = np.arange(start, start + images)
    truth = np.random.default_rng(99).integers(0, 7, 1000)[numbers]
    if labels is MALIGNANCY:
        truth = np.array([HAM10000.labels[k].malignant for k in truth]).astype(int)
    logits = np.random.default_rng(seed).normal(size=(images, len(codes)))
    logits[np.arange(images), truth] += skill
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    table = pd.DataFrame(probabilities, columns=[f"p_{code}" for code in codes], index=[f"i{n}" for n in numbers])
    table["label"] = codes[truth]
    table["group"] = [f"g{n // 2}" for n in numbers]
    table["dataset"] = "made"
    table["sex"] = np.where(numbers % 3 == 0, "male", "female")
    table["age"] = np.where(numbers % 10 == 0, np.nan, numbers % 90)
    return Predictions(name, name, labels, table, f"{name}{seed}")


@pytest.fixture(scope="module")
def shared() -> Shared:
    chosen = [made("one", HAM10000, seed=1), made("two", HAM10000, 80, seed=2, skill=1.0, start=10)]
    return comparison.share(chosen, CLASSES)


@pytest.fixture(scope="module")
def weights(shared: Shared) -> np.ndarray:
    return shared.weights(RESAMPLES)


def repeats(weights: np.ndarray) -> list[np.ndarray]:
    return [np.repeat(np.arange(len(row)), row.astype(int)) for row in weights]


def test_only_images_that_all_have_are_compared(shared: Shared) -> None:
    assert shared.images.tolist() == [f"i{n}" for n in range(10, 90)]
    assert shared.ids == ["one", "two"]
    one = made("one", HAM10000, seed=1)
    assert shared.probabilities["one"] == pytest.approx(one.probabilities[10:])
    assert [shared.labels.codes[k] for k in shared.truth] == one.table["label"].tolist()[10:]


def test_different_classes_are_compared_on_malignancy() -> None:
    chosen = [made("seven", HAM10000), made("both", MALIGNANCY)]
    assert comparison.questions(chosen) == [MALIGNANT]
    with pytest.raises(DataError, match="only be compared on malignant or not"):
        comparison.share(chosen, CLASSES)
    shared = comparison.share(chosen, MALIGNANT)
    malignant = chosen[0].table[["p_akiec", "p_bcc", "p_mel"]].sum(axis=1)
    assert shared.malignancy["seven"] == pytest.approx(malignant.to_numpy())
    assert shared.probabilities["both"] == pytest.approx(chosen[1].probabilities)
    assert (shared.truth == shared.malignant).all()


def test_what_cannot_be_shared_is_a_sentence() -> None:
    one = made("one", HAM10000)
    with pytest.raises(DataError, match="no image in common"):
        comparison.share([one, made("two", HAM10000, start=500)], CLASSES)
    table = one.table.assign(label=one.table["label"].where(one.table.index != "i3", "nv"))
    table.loc["i4", "label"] = "mel" if not HAM10000[one.table.loc["i4", "label"]].malignant else "nv"
    with pytest.raises(DataError, match="disagree on whether"):
        comparison.share([one, Predictions("two", "two", HAM10000, table, "x")], CLASSES)
    benign = one.table[one.table["label"] == "nv"]
    with pytest.raises(DataError, match="are benign; scores need both sides"):
        comparison.share([Predictions("two", "two", HAM10000, benign, "x")], CLASSES)


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


@pytest.mark.parametrize("score", comparison.MEASURES)
def test_scores_and_differences_equal_a_loop_over_scikit_learn(shared: Shared, weights: np.ndarray, score: str) -> None:
    drawn = comparison.draw(shared, weights)
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
        assert drawn.by_model[name][score] == pytest.approx(expected)
        found = drawn.interval(name, score)
        assert (found.low, found.high) == pytest.approx(tuple(np.percentile(expected[1:], (2.5, 97.5))))
    apart = values["one"] - values["two"]
    found = drawn.difference("one", "two", score)
    assert (found.value, found.low, found.high) == pytest.approx((apart[0], *np.percentile(apart[1:], (2.5, 97.5))))


def test_the_intervals_are_those_of_the_cards(model: registry.Model) -> None:
    shared = comparison.share([predictions.of_model(model)], CLASSES)
    drawn = comparison.draw(shared)
    for score, figures in model.card["scores"].items():
        if score in drawn.by_model[model.id]:
            found = drawn.interval(model.id, score)
            assert (found.value, found.low, found.high) == pytest.approx(
                (figures["value"], figures["low"], figures["high"]), abs=6e-5
            )


def test_tests_of_pairs_and_their_correction() -> None:
    chosen = [
        made(name, HAM10000, seed=seed, skill=skill) for name, seed, skill in (("a", 1, 2), ("b", 2, 1), ("c", 3, 0))
    ]
    shared = comparison.share(chosen, CLASSES)
    table = comparison.pairwise(shared)
    assert table[["first", "second"]].to_numpy().tolist() == [["a", "b"], ["a", "c"], ["b", "c"]]
    row = table.iloc[1]
    one, other = (shared.probabilities[name].argmax(axis=1) == shared.truth for name in ("a", "c"))
    assert (row["only_first"], row["only_second"]) == ((one & ~other).sum(), (other & ~one).sum())
    assert row["mcnemar_p"] == pytest.approx(
        stats.binomtest(int((one & ~other).sum()), int((one != other).sum())).pvalue
    )
    for test in ("mcnemar", "delong"):
        smallest = table[f"{test}_p"].idxmin()
        assert table.loc[smallest, f"{test}_p_holm"] == pytest.approx(min(1, 3 * table.loc[smallest, f"{test}_p"]))
        assert (table[f"{test}_p_holm"] >= table[f"{test}_p"]).all()


def test_verdicts() -> None:
    apart = comparison.Interval(0.1, 0.05, 0.2)
    assert comparison.verdict(apart, higher=True) == "first better"
    assert comparison.verdict(apart, higher=False) == "second better"
    assert comparison.verdict(comparison.Interval(0.1, -0.05, 0.2), higher=True) == "undecided"


def test_the_sentence_counts_melanomas(shared: Shared, weights: np.ndarray) -> None:
    names = {"one": "A", "two": "B"}
    melanomas = shared.truth == HAM10000.codes.index("mel")
    counts = [int((shared.correct(name) & melanomas).sum()) for name in shared.ids]
    words = comparison.sentence(shared, weights, "one", "two", names)
    word = "more" if counts[0] > counts[1] else "fewer"
    assert words.startswith(
        f"On these 80 images A finds {abs(counts[0] - counts[1])} {word} of the {melanomas.sum()} melanomas"
    )
    assert f"({counts[0]} against {counts[1]})" in words
    assert ("includes zero" in words) != ("does not include zero" in words)
    same = comparison.sentence(shared, weights, "one", "one", names)
    assert "as many of the" in same
    assert "includes zero" in same


def test_an_operating_point_equals_counting(shared: Shared, weights: np.ndarray) -> None:
    point = operating_points.operating_point(shared, weights, "one", 0.3, 0.02)
    called = shared.malignancy["one"] >= 0.3
    (cleared, alarmed), (missed, found) = reference.confusion_matrix(shared.malignant, called)
    counts = (point.true_positives, point.false_negatives, point.false_positives, point.true_negatives)
    assert counts == (found, missed, alarmed, cleared)
    sensitivity, specificity = found / (found + missed), cleared / (cleared + alarmed)
    assert point.missed.value == pytest.approx(1000 * 0.02 * (1 - sensitivity))
    assert point.needless.value == pytest.approx(1000 * 0.98 * (1 - specificity))
    assert point.positive_predictive_value.value == pytest.approx(
        0.02 * sensitivity / (0.02 * sensitivity + 0.98 * (1 - specificity))
    )
    assert point.net_benefit == pytest.approx((found - alarmed * 0.3 / 0.7) / len(called))
    drawn = [reference.recall_score(shared.malignant[take], called[take]) for take in repeats(weights)]
    assert (point.sensitivity.low, point.sensitivity.high) == pytest.approx(tuple(np.percentile(drawn, (2.5, 97.5))))


@pytest.mark.parametrize("wanted", [0.5, 0.9, 1.0])
def test_a_threshold_for_a_sensitivity_is_the_highest_that_reaches_it(shared: Shared, wanted: float) -> None:
    threshold = operating_points.threshold_for(shared, "one", wanted)
    positive = shared.malignancy["one"][shared.malignant]
    assert (positive >= threshold).mean() >= wanted
    assert (positive > threshold).mean() < wanted


def test_curves_pass_through_scikit_learns_points(shared: Shared, weights: np.ndarray) -> None:
    chance = shared.malignancy["one"]
    false, true, _ = reference.roc_curve(shared.malignant, chance, drop_intermediate=False)
    roc = operating_points.curve(shared, weights, "one", "roc")
    assert roc["y"].to_numpy() == pytest.approx(np.interp(roc["x"], false, true), abs=1e-9)
    precision, recall, _ = reference.precision_recall_curve(shared.malignant, chance)
    found = operating_points.curve(shared, weights, "one", "precision")
    for x, y in zip(found["x"][1:], found["y"][1:], strict=True):
        reached = recall[:-1] >= x - 1e-9
        # the last point of scikit-learn's that reaches this recall has the highest threshold
        assert y == pytest.approx(precision[:-1][reached][-1])
    mel = operating_points.curve(shared, weights, "one", "roc", "mel")
    assert not np.allclose(mel["y"], roc["y"])


@pytest.mark.parametrize("kind", comparison_views.CURVES)
def test_a_curve_lies_in_its_band(shared: Shared, weights: np.ndarray, kind: str) -> None:
    found = operating_points.curve(shared, weights, "two", kind)
    assert (found["low"] <= found["high"] + 1e-12).all()
    assert ((found["low"] <= found["y"] + 1e-9) & (found["y"] <= found["high"] + 1e-9)).mean() > 0.9


def test_probabilities_before_the_temperature() -> None:
    logits = np.random.default_rng(0).normal(size=(20, 5))
    calibrated = np.exp(logits / 0.7) / np.exp(logits / 0.7).sum(axis=1, keepdims=True)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert operating_points.raw(calibrated, 0.7) == pytest.approx(expected)


def test_reliability_counts_every_image(shared: Shared, weights: np.ndarray) -> None:
    table = operating_points.reliability(shared, weights, shared.probabilities["one"])
    assert table["images"].sum() == len(shared.images)
    assert (table["images"] @ table["accuracy"]) == pytest.approx(shared.correct("one").sum())
    assert (table["accuracy_low"] <= table["accuracy_high"]).all()


def test_confusion_equals_scikit_learns(shared: Shared, weights: np.ndarray) -> None:
    named = shared.probabilities["one"].argmax(axis=1)
    expected = reference.confusion_matrix(shared.truth, named, labels=range(7))
    table = error_analysis.confusion(shared, "one")
    assert table["images"].to_numpy().reshape(7, 7).tolist() == expected.tolist()
    wrong = error_analysis.wrong_by_class(shared, weights)
    mel = wrong[(wrong["model"] == "one") & (wrong["label"] == "mel")].iloc[0]
    rows = shared.truth == HAM10000.codes.index("mel")
    assert mel["value"] == pytest.approx((named[rows] != shared.truth[rows]).mean())
    assert mel["images"] == rows.sum()


def test_subgroups_equal_the_score_of_their_rows(shared: Shared, weights: np.ndarray) -> None:
    table = error_analysis.subgroups(shared, weights, "sex", "accuracy", shared.ids)
    for _, row in table.iterrows():
        rows = (shared.facts["sex"] == row["subgroup"]).to_numpy()
        assert row["images"] == rows.sum()
        if rows.sum() >= error_analysis.FEW_IMAGES:
            assert row["value"] == pytest.approx(shared.correct(row["model"])[rows].mean())
            assert row["low"] <= row["value"] <= row["high"]
        else:
            assert np.isnan(row["value"])
    assert error_analysis.subgroup_names(shared) == ["sex", "age"]
    ages = error_analysis.subgroups(shared, weights, "age", "accuracy", ["one"])
    assert ages["subgroup"].tolist() == ["under 30", "30 to 44", "45 to 59", "60 to 74", "75 or over"]
    assert ages["images"].sum() == shared.facts["age"].notna().sum()


def test_the_largest_gap_is_named() -> None:
    rows = [
        ("m", "male", 0.9, 0.85, 0.95),
        ("m", "female", 0.6, 0.5, 0.7),
        ("n", "male", 0.8, 0.7, 0.9),
        ("n", "female", 0.7, 0.6, 0.8),
        ("n", "other", np.nan, np.nan, np.nan),
    ]
    table = pd.DataFrame(rows, columns=["model", "subgroup", "value", "low", "high"])
    gap = error_analysis.largest_gap(table)
    assert gap
    assert (gap.model, gap.best, gap.worst, gap.overlap) == ("m", "male", "female", False)
    assert gap.difference == pytest.approx(0.3)
    lower = error_analysis.largest_gap(table, higher=False)
    assert lower
    assert (lower.best, lower.worst) == ("female", "male")
    assert error_analysis.largest_gap(table.iloc[4:]) is None


def test_errors_are_listed_with_the_surest_first(shared: Shared) -> None:
    table = error_analysis.mistakes(shared, "two")
    assert len(table) == (~shared.correct("two")).sum()
    assert (table["label"] != table["named"]).all()
    assert table["confidence"].is_monotonic_decreasing
    both = error_analysis.disagreements(shared, "one", "two")
    assert len(both) == (shared.correct("one") != shared.correct("two")).sum()
    for _, row in both.iterrows():
        named = row["first"] if row["right"] == "one" else row["second"]
        assert named == row["label"]


@pytest.mark.parametrize("chosen", registry.models().values(), ids=lambda chosen: chosen.id)
def test_every_models_training_is_shown_with_its_chosen_epoch(chosen: registry.Model) -> None:
    table = error_analysis.history(chosen)
    source = pd.read_csv(chosen.folder / "history.csv")
    assert table.loc[table["chosen"], "epoch"].unique().tolist() == source.loc[source["chosen"], "epoch"].tolist()
    loss = table[table["series"] == "loss"]
    assert loss["value"].to_numpy() == pytest.approx(source["loss"].dropna().to_numpy())
    assert comparison_views.training(table, chosen.id).figure.data


def test_a_broken_history_is_a_sentence(own_models: Path, model: registry.Model) -> None:
    broken = registry.read_model(own_models / model.id)
    (broken.folder / "history.csv").write_text("stage\n1\n")
    with pytest.raises(DataError, match="lacks the columns epoch and loss"):
        error_analysis.history(broken)


def test_the_leaky_and_the_honest_figure_stand_side_by_side() -> None:
    tables = {name: error_analysis.protocols(model) for name, model in registry.models().items()}
    assert set(tables["ham10000-cnn32"]["test"]) > {"HAM10000, resampled before it was split"}
    for name, table in tables.items():
        card = registry.model(name).card
        # held-out images of another set that was trained on are no other protocol
        assert not any(test in card["training"]["dataset"] for test in table["test"])
        honest = table[table["score"] == "accuracy"].iloc[0]
        assert honest["value"] == card["scores"]["accuracy"]["value"]


def test_published_figures_belong_to_their_data_set(tmp_path: Path) -> None:
    found = comparison.published(CLASSES, "ham10000")
    assert {"model", "score", "value", "low", "high", "images", "protocol"} <= set(found)
    assert {"panderm", "monet"} <= set(found["model"])
    assert set(comparison.published(MALIGNANT, "ham10000")["score"].str.split("_").str[-1]) == {"malignancy"}
    assert comparison.published(CLASSES, "elsewhere").empty
    assert comparison.published(CLASSES, "ham10000", tmp_path).empty


def test_the_summary_is_json(shared: Shared) -> None:
    summary = json.loads(json.dumps(comparison.summary(shared), allow_nan=False))
    assert summary["images"] == 80
    assert list(summary["models"]) == ["one", "two"]
    [pair] = summary["pairs"]
    assert pair["differences"]["accuracy"]["value"] == pytest.approx(
        summary["models"]["one"]["accuracy"]["value"] - summary["models"]["two"]["accuracy"]["value"]
    )
