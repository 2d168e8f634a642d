"""Synthetic labels, probabilities and weights for property tests."""

import numpy as np
from hypothesis import strategies as st

Rows = tuple[np.ndarray, np.ndarray]


def ones(rows: int) -> np.ndarray:
    return np.ones((1, rows))


@st.composite
def predictions(draw: st.DrawFn, all_classes: bool = True) -> Rows:
    """Labels [n] and probabilities [n, classes]; sometimes rounded, so that there are ties."""
    classes = draw(st.integers(2, 5))
    rows = draw(st.integers(classes + 3, 60))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    present = classes if all_classes else draw(st.integers(1, classes))
    labels = np.concatenate([np.arange(present), generator.integers(0, present, rows - present)])
    probabilities = generator.dirichlet(np.full(classes, draw(st.sampled_from([0.3, 1.0, 5.0]))), rows)
    # no probabilities below the value to which scikit-learn's log loss clips them
    probabilities = probabilities.round(1) + 1e-3 if draw(st.booleans()) else probabilities.clip(1e-12)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return labels, probabilities


@st.composite
def two_sided(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boolean positive [n] with both sides, scores [n] that often tie, and weights [3, n] with both sides sampled."""
    rows = draw(st.integers(4, 50))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    positive = generator.random(rows) < draw(st.sampled_from([0.2, 0.5, 0.8]))
    positive[:2], positive[2:4] = True, False
    scores = generator.random(rows).round(draw(st.sampled_from([1, 6])))
    weights = generator.integers(0, 4, (3, rows)).astype(float)
    weights[:, :4] += 1
    return positive, scores, weights
