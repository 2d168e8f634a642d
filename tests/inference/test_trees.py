"""Trees as plain arrays: exactly scikit-learn's numbers, and contributions that are Shapley values."""

import dataclasses
import io
import itertools
import math

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from skinapp.inference import trees
from skinapp.inference.trees import Trees
from train.publish.features import to_trees


def trained(classes: int, features: int = 6, leaves: int = 8) -> tuple[HistGradientBoostingClassifier, np.ndarray]:
    """Trees, and the features [n, F] that they were trained on, a tenth of them missing."""
    generator = np.random.default_rng(classes)
    values = generator.normal(size=(400, features))
    score = values[:, 0] + values[:, 1] * values[:, 2]
    labels = np.digitize(score, np.quantile(score, np.linspace(0, 1, classes + 1)[1:-1]))
    values[generator.random(values.shape) < 0.1] = np.nan
    fitted = HistGradientBoostingClassifier(max_iter=12, max_leaf_nodes=leaves, early_stopping=False)
    return fitted.fit(values, labels), values


def made(fitted: HistGradientBoostingClassifier, classes: int) -> Trees:
    names = tuple(f"feature {number}" for number in range(fitted.n_features_in_))
    return trees.load(trees.save(to_trees(fitted, names, np.linspace(-0.5, 0.5, classes))))


@pytest.mark.parametrize("classes", [2, 4])
def test_the_scores_are_those_of_scikit_learn_to_the_last_bit(classes: int) -> None:
    fitted, values = trained(classes)
    values = np.concatenate([values[:60], np.full((1, values.shape[1]), np.nan)])
    loaded = made(fitted, classes)
    expected = fitted.decision_function(values).reshape(len(values), -1)
    assert np.array_equal([loaded.raw(row) for row in values], expected)
    logits = np.array([loaded.logits(row) for row in values]) - np.linspace(-0.5, 0.5, classes)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert shares == pytest.approx(fitted.predict_proba(values))


@pytest.mark.parametrize("classes", [2, 4])
def test_contributions_and_base_add_up_to_the_logits(classes: int) -> None:
    fitted, values = trained(classes)
    loaded = made(fitted, classes)
    for row in values[:30]:
        added, base = loaded.contributions(row)
        assert added.sum(axis=0) + base == pytest.approx(loaded.logits(row), abs=1e-12)


def test_contributions_are_the_shapley_values_of_all_coalitions() -> None:
    fitted, values = trained(2, features=4, leaves=10)
    loaded = made(fitted, 2)
    for row in values[:5]:
        added, base = loaded.contributions(row)
        assert base[1] == pytest.approx(expected_logit(loaded, row, frozenset()))
        assert added[:, 1] == pytest.approx(shapley(loaded, row), abs=1e-12)


def shapley(loaded: Trees, row: np.ndarray) -> np.ndarray:
    """The Shapley values of the second logit, from their definition."""
    features = range(len(row))
    values = {
        chosen: expected_logit(loaded, row, frozenset(chosen))
        for size in range(len(row) + 1)
        for chosen in itertools.combinations(features, size)
    }
    result = np.zeros(len(row))
    for feature in features:
        for chosen in values:
            if feature not in chosen:
                weight = math.factorial(len(chosen)) * math.factorial(len(row) - len(chosen) - 1)
                gain = values[tuple(sorted((*chosen, feature)))] - values[chosen]
                result[feature] += weight / math.factorial(len(row)) * gain
    return result


def expected_logit(loaded: Trees, row: np.ndarray, known: frozenset[int]) -> float:
    """The second logit if only some features are known: for the others, both branches are weighted by their images."""

    def mean(node: int) -> float:
        feature = loaded.feature[node]
        if feature < 0:
            return float(loaded.value[node])
        left, right = loaded.left[node], loaded.right[node]
        if feature in known:
            missing = np.isnan(row[feature])
            goes_left = loaded.missing_left[node] if missing else row[feature] <= loaded.threshold[node]
            return mean(left if goes_left else right)
        counts = loaded.count[[left, right]] / loaded.count[node]
        return float(counts @ [mean(left), mean(right)])

    raw = loaded.baseline[0] + sum(mean(root) for root in loaded.roots)
    return float(raw * loaded.mix[0, 1] + loaded.offset[1])


def changed(**arrays: np.ndarray) -> bytes:
    return trees.save(dataclasses.replace(made(trained(2)[0], 2), **arrays))


def test_a_file_that_is_not_trees_is_refused() -> None:
    good = made(trained(2)[0], 2)
    earlier = good.left.copy()
    earlier[np.flatnonzero(good.feature >= 0)[3]] = 0
    buffer = io.BytesIO()
    np.savez(buffer, names=np.array([{"an": "object"}]))
    for content in (
        b"",
        b"not an archive",
        buffer.getvalue(),
        changed(left=earlier),
        changed(right=good.right + len(good.right)),
        changed(feature=good.feature + 100),
        changed(roots=good.roots - 1),
        changed(value=good.value[:-1]),
        changed(mix=np.eye(3)),
    ):
        with pytest.raises(ValueError, match="contains no decision trees"):
            trees.load(content)
