import numpy as np
import pytest
from keras import losses as keras_losses

from train.fit import losses

COUNTS = np.array([1000, 10, 100])
SHARES = np.array([0.5, 0.125, 0.375])
LOGITS = np.array([[2.0, 0.5, -1.0], [0.0, 0.0, 0.0], [-1.0, 3.0, 1.0]], dtype=np.float32)
TARGETS = np.eye(3, dtype=np.float32)[[0, 1, 2]]


def loss_values(name: str, label_smoothing: float = 0.0, targets: np.ndarray = TARGETS) -> np.ndarray:
    return np.asarray(losses.build(name, COUNTS, SHARES, label_smoothing)(targets, LOGITS))


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_cross_entropy_is_keras_own(label_smoothing: float) -> None:
    expected = keras_losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=label_smoothing, reduction="none"
    )(TARGETS, LOGITS)
    assert loss_values("cross-entropy", label_smoothing) == pytest.approx(np.asarray(expected), rel=1e-5)


def test_focal_by_hand() -> None:
    probability = 1 / 3
    assert loss_values("focal")[1] == pytest.approx(-((1 - probability) ** 2) * np.log(probability), rel=1e-5)


def test_class_balanced_by_hand() -> None:
    # effective numbers (1 - 0.999 ** n) / (1 - 0.999): 632.3, 9.955 and 95.21; weights 1 / these, scaled to mean 1
    effective = np.array([632.3, 9.955, 95.21])
    weights = 3 / effective / (1 / effective).sum()
    assert loss_values("class-balanced") == pytest.approx(weights * loss_values("cross-entropy"), rel=1e-3)


def test_logit_adjusted_by_hand() -> None:
    # logits [0, 0, 0] and label 1: the softmax of log shares is the shares, so the loss is -log 0.125
    assert loss_values("logit-adjusted")[1] == pytest.approx(np.log(8), rel=1e-5)
    # logits [2, 0.5, -1] and label 0: shares times exp(logits) are 3.6945, 0.2061 and 0.1380, of 4.0386 in all
    assert loss_values("logit-adjusted")[0] == pytest.approx(-np.log(3.6945 / 4.0386), abs=1e-4)


def test_logit_adjustment_of_equal_shares_changes_nothing() -> None:
    even = losses.build("logit-adjusted", COUNTS, np.full(3, 1 / 3))(TARGETS, LOGITS)
    assert np.asarray(even) == pytest.approx(loss_values("cross-entropy"), rel=1e-5)


def test_mixed_targets_weigh_by_share() -> None:
    half = np.full((3, 3), (0.5, 0.5, 0.0), dtype=np.float32)
    parts = [loss_values("cross-entropy", targets=np.eye(3, dtype=np.float32)[[k, k, k]]) for k in (0, 1)]
    assert loss_values("cross-entropy", targets=half) == pytest.approx(np.mean(parts, axis=0), rel=1e-5)
