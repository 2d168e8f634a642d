"""Scores of predicted probabilities.

Every score maps labels [n] (class indices), probabilities [n, classes] and weights [r, n] to [r] values. A weight is
how often a row was drawn, so all resamples of a bootstrap are computed at once. Weights of 1 give the plain score,
which equals that of scikit-learn.
"""

import numpy as np

from skinapp.evaluation.bootstrap import Area, Proportion, Score
from skinapp.evaluation.calibration import expected_calibration_error


def _correct(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    return probabilities.argmax(axis=1) == labels


accuracy = Proportion(eligible=lambda labels: np.ones(len(labels), dtype=bool), correct=_correct)
"""The share of rows whose most probable class is the label."""


def balanced_accuracy(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean recall over the classes that have a row in the resample."""
    recalls = class_recalls(labels, probabilities, weights)
    return np.nanmean(recalls, axis=1)


def class_recalls(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Recall (sensitivity) of each class, [r, classes]; NaN if a class has no row in a resample."""
    truth = np.eye(probabilities.shape[1])[labels]
    correct = truth * _correct(labels, probabilities)[:, np.newaxis]
    with np.errstate(invalid="ignore"):
        return (weights @ correct) / (weights @ truth)


def macro_f1(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean over all classes of the harmonic mean of precision and recall; 0 for a class neither present nor
    predicted."""
    classes = probabilities.shape[1]
    truth, predicted = np.eye(classes)[labels], np.eye(classes)[probabilities.argmax(axis=1)]
    total = weights @ truth + weights @ predicted
    return np.divide(2 * (weights @ (truth * predicted)), total, out=np.zeros_like(total), where=total > 0).mean(axis=1)


def brier(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean squared distance of the probabilities from the truth, summed over classes: 0 to 2 (Brier 1950)."""
    errors = ((probabilities - np.eye(probabilities.shape[1])[labels]) ** 2).sum(axis=1)
    return weights @ errors / weights.sum(axis=1)


def log_loss(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean negative logarithm of the probability of the label, in nats."""
    losses = -np.log(np.maximum(probabilities[np.arange(len(labels)), labels], np.finfo(float).tiny))
    return weights @ losses / weights.sum(axis=1)


def balanced_log_loss(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean, over the classes that have a row in the resample, of the mean log loss of their rows, in nats."""
    truth = np.eye(probabilities.shape[1])[labels]
    losses = -np.log(np.maximum(probabilities[np.arange(len(labels)), labels], np.finfo(float).tiny))
    with np.errstate(invalid="ignore"):
        return np.nanmean((weights * losses) @ truth / (weights @ truth), axis=1)


def roc_auc(positive: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of boolean `positive` [n] and `scores` [n]; ties count half. NaN with one class only.

    Uses the ranks of the rarer side (Mann and Whitney), so that each resample needs only one running sum.
    """
    rare, ordered = (positive, scores) if positive.mean() <= 0.5 else (~positive, -scores)
    rank, total = _ranked(rare, ordered, weights)
    ranked_weights = weights.T[np.flatnonzero(rare)[np.argsort(ordered[rare], kind="stable")]]
    rare_sum = ranked_weights.sum(axis=0)
    other_sum = total - rare_sum
    below = (ranked_weights * (rank[0] + rank[1])).sum(axis=0) / 2 - rare_sum**2 / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return below / (rare_sum * other_sum)


def average_precision(positive: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area under the steps of the precision-recall curve, as scikit-learn's; rows that tie count together.

    Boolean `positive` [n] and `scores` [n]. NaN if a resample has no positive row.
    """
    (before, _), total = _ranked(positive, scores, weights)
    ordered = np.sort(scores[positive], kind="stable")
    ranked_weights = weights.T[np.flatnonzero(positive)[np.argsort(scores[positive], kind="stable")]]
    true_positives = np.cumsum(ranked_weights[::-1], axis=0)[::-1][np.searchsorted(ordered, ordered, side="left")]
    called = total - before
    precision = np.divide(true_positives, called, out=np.zeros_like(called), where=called > 0)
    with np.errstate(invalid="ignore"):
        return (ranked_weights * precision).sum(axis=0) / ranked_weights.sum(axis=0)


def _ranked(chosen: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each chosen row, lowest score first, the weight of all rows with a lower score, and with a lower or equal
    score, [2, chosen, r]; and the weight of all rows, [r]."""
    order = np.argsort(scores, kind="stable")
    running = np.empty((len(scores) + 1, len(weights)), weights.dtype)
    running[0] = 0
    np.cumsum(weights.T[order], axis=0, out=running[1:])
    ordered, own = scores[order], np.sort(scores[chosen], kind="stable")
    edges = np.stack([np.searchsorted(ordered, own, side=side) for side in ("left", "right")])
    return running[edges], running[-1]


def macro_roc_auc(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean over classes of the area under the ROC curve of that class against the rest. NaN with one class only."""
    areas = np.array([roc_auc(labels == k, probabilities[:, k], weights) for k in range(probabilities.shape[1])])
    defined = (~np.isnan(areas)).sum(axis=0)
    return np.divide(np.nansum(areas, axis=0), defined, out=np.full(len(weights), np.nan), where=defined > 0)


def rates(
    positive: np.ndarray, scores: np.ndarray, thresholds: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sensitivity and specificity [r, thresholds]: rows with `scores` [n] at or above a threshold are called positive.

    `positive` is boolean [n]. NaN if a resample has no row on that side.
    """
    result = []
    for side in (positive, ~positive):
        order = np.flatnonzero(side)[np.argsort(scores[side], kind="stable")]
        running = np.zeros((len(order) + 1, len(weights)))
        np.cumsum(weights.T[order], axis=0, out=running[1:])
        below = np.searchsorted(scores[order], thresholds, side="left")
        with np.errstate(invalid="ignore"):
            result.append((running[below] / running[-1]).T)
    return 1 - result[0], result[1]


def predictive_values(
    sensitivity: np.ndarray, specificity: np.ndarray, prevalence: float
) -> tuple[np.ndarray, np.ndarray]:
    """Positive and negative predictive value by Bayes' rule, if a share `prevalence` of people has the disease.

    NaN if nobody is called positive, or negative.
    """
    true_positives, missed = prevalence * sensitivity, prevalence * (1 - sensitivity)
    true_negatives, false_alarms = (1 - prevalence) * specificity, (1 - prevalence) * (1 - specificity)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (
            np.divide(true_positives, true_positives + false_alarms),
            np.divide(true_negatives, true_negatives + missed),
        )


def net_benefit(positive: np.ndarray, scores: np.ndarray, thresholds: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """True positives less false positives times t / (1 - t), as a share of all rows: [r, thresholds], t below 1.

    Vickers and Elkin 2006 (Med Decis Making 26:565). Treating nobody has benefit 0; for treating all, set `scores` to
    1.
    """
    sensitivity, specificity = rates(positive, scores, thresholds, weights)
    share = ((weights @ positive) / weights.sum(axis=1))[:, np.newaxis]
    # a resample without rows of one side has no true or no false positives, whatever the rate
    true_positives = np.where(share > 0, np.nan_to_num(sensitivity) * share, 0)
    false_positives = np.where(share < 1, np.nan_to_num(1 - specificity) * (1 - share), 0)
    return true_positives - false_positives * thresholds / (1 - thresholds)


def selective_risk(
    correct: np.ndarray, confidence: np.ndarray, coverage: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Error rate among the most confident share `coverage` of the rows: [r, coverage], coverage above 0.

    Geifman and El-Yaniv 2017 (arXiv:1705.08500). Rows of equal confidence count together, so that their order does not
    matter; errors among them are spread evenly.
    """
    order = np.argsort(-confidence, kind="stable")
    last = np.flatnonzero(np.r_[np.diff(confidence[order]) != 0, True])
    rows = np.cumsum(weights.T[order], axis=0)[last].T
    wrong = np.cumsum((weights * ~correct).T[order], axis=0)[last].T
    result = np.empty((len(weights), len(coverage)))
    for number, (covered, errors) in enumerate(zip(rows, wrong, strict=True)):
        wanted = coverage * covered[-1]
        result[number] = np.interp(wanted, np.r_[0, covered], np.r_[0, errors]) / wanted
    return result


def malignancy_scores(malignant: tuple[bool, ...], threshold: float = 0.5) -> dict[str, Score]:
    """Scores of the summed malignant probability; `malignant` marks the malignant classes."""
    chosen = np.asarray(malignant)

    def rate(positive: bool) -> Proportion:
        return Proportion(
            eligible=lambda labels: chosen[labels] == positive,
            correct=lambda labels, probabilities: (probabilities[:, chosen].sum(axis=1) >= threshold) == positive,
        )

    return {
        "roc_auc_malignancy": Area(tuple(malignant), roc_auc),
        "sensitivity_malignancy": rate(True),
        "specificity_malignancy": rate(False),
    }


DIAGNOSIS_SCORES: dict[str, Score] = {
    "balanced_accuracy": balanced_accuracy,
    "accuracy": accuracy,
    "macro_f1": macro_f1,
    "macro_roc_auc": macro_roc_auc,
    "log_loss": log_loss,
    "brier": brier,
    "expected_calibration_error": expected_calibration_error,
}
