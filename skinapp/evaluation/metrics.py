"""Scores of predicted probabilities, with confidence intervals from a bootstrap over lesions or patients.

Every score takes labels [n] (class indices), probabilities [n, classes] and weights [r, n], and gives [r] values. A
weight counts how often a row was drawn, so all resamples of a bootstrap are computed at once; weights of 1 give the
plain score, which equals scikit-learn's.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

Score = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Interval:
    """A value with its 95% percentile interval."""

    value: float
    low: float
    high: float


def accuracy(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The share of rows whose most probable class is the label."""
    correct = probabilities.argmax(axis=1) == labels
    return weights @ correct / weights.sum(axis=1)


def balanced_accuracy(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean recall over the classes that have a row in the resample."""
    recalls = class_recalls(labels, probabilities, weights)
    return np.nanmean(recalls, axis=1)


def class_recalls(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Recall (sensitivity) of each class, [r, classes]; NaN where a class has no row in a resample."""
    truth = np.eye(probabilities.shape[1])[labels]
    found = truth * (probabilities.argmax(axis=1) == labels)[:, np.newaxis]
    with np.errstate(invalid="ignore"):
        return (weights @ found) / (weights @ truth)


def macro_f1(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean over all classes of the harmonic mean of precision and recall; 0 for a class neither present nor named."""
    classes = probabilities.shape[1]
    truth, named = np.eye(classes)[labels], np.eye(classes)[probabilities.argmax(axis=1)]
    total = weights @ truth + weights @ named
    return np.divide(2 * (weights @ (truth * named)), total, out=np.zeros_like(total), where=total > 0).mean(axis=1)


def expected_calibration_error(
    labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray, bins: int = 15
) -> np.ndarray:
    """Mean gap between confidence and accuracy over equal-width bins of confidence, weighted by the bins' share.

    Guo et al. 2017 (arXiv:1706.04599), eq. 3, of the most probable class.
    """
    confidence = probabilities.max(axis=1)
    gap = (probabilities.argmax(axis=1) == labels) - confidence
    in_bin = np.eye(bins)[np.minimum((confidence * bins).astype(int), bins - 1)]
    return np.abs(weights @ (in_bin * gap[:, np.newaxis])).sum(axis=1) / weights.sum(axis=1)


def reliability(labels: np.ndarray, probabilities: np.ndarray, bins: int = 10) -> list[dict[str, float]]:
    """The reliability diagram's rows, of the most probable class: one for each equal-width bin that is not empty.

    `low` and `high` bound the bin; `images` counts, `confidence` and `accuracy` are means over it (0 to 1).
    """
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    return [
        {
            "low": number / bins,
            "high": (number + 1) / bins,
            "images": int((bin_of == number).sum()),
            "confidence": float(confidence[bin_of == number].mean()),
            "accuracy": float(correct[bin_of == number].mean()),
        }
        for number in np.unique(bin_of).tolist()
    ]


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

    By the ranks of the rarer side (Mann and Whitney), of which each resample needs only one running sum.
    """
    rare, ordered = (positive, scores) if positive.mean() <= 0.5 else (~positive, -scores)
    rank, total = _ranked(rare, ordered, weights)
    drawn = weights.T[np.flatnonzero(rare)[np.argsort(ordered[rare], kind="stable")]]
    rare_sum = drawn.sum(axis=0)
    other_sum = total - rare_sum
    below = (drawn * (rank[0] + rank[1])).sum(axis=0) / 2 - rare_sum**2 / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return below / (rare_sum * other_sum)


def average_precision(positive: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area under the steps of the precision-recall curve, as scikit-learn's; rows that tie are found together.

    Boolean `positive` [n] and `scores` [n]. NaN where a resample has no positive row.
    """
    (before, _), total = _ranked(positive, scores, weights)
    ordered = np.sort(scores[positive], kind="stable")
    drawn = weights.T[np.flatnonzero(positive)[np.argsort(scores[positive], kind="stable")]]
    found = np.cumsum(drawn[::-1], axis=0)[::-1][np.searchsorted(ordered, ordered, side="left")]
    named = total - before
    precision = np.divide(found, named, out=np.zeros_like(named), where=named > 0)
    with np.errstate(invalid="ignore"):
        return (drawn * precision).sum(axis=0) / drawn.sum(axis=0)


def _ranked(chosen: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each chosen row, lowest score first: the weight of all rows that score less, and of those that score no more,
    together [2, chosen, r]; and the weight of all rows, [r]."""
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
    """Sensitivity and specificity [r, thresholds]: `scores` [n] at or above a threshold call a row positive.

    `positive` is boolean [n]. NaN where a resample has no row of that side.
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
    """Positive and negative predictive value by Bayes' rule, where a share `prevalence` of the people has the disease.

    NaN where nobody is called positive, or negative.
    """
    found, missed = prevalence * sensitivity, prevalence * (1 - sensitivity)
    cleared, alarmed = (1 - prevalence) * specificity, (1 - prevalence) * (1 - specificity)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.divide(found, found + alarmed), np.divide(cleared, cleared + missed)


def net_benefit(positive: np.ndarray, scores: np.ndarray, thresholds: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """True positives less false positives times t / (1 - t), as a share of all rows: [r, thresholds], t below 1.

    Vickers and Elkin 2006 (Med Decis Making 26:565). Treating nobody has 0; treating all is `scores` of 1 throughout.
    """
    sensitivity, specificity = rates(positive, scores, thresholds, weights)
    share = ((weights @ positive) / weights.sum(axis=1))[:, np.newaxis]
    # a resample without a row of one side has no true or no false positives, whatever the rate
    true_positives = np.where(share > 0, np.nan_to_num(sensitivity) * share, 0)
    false_positives = np.where(share < 1, np.nan_to_num(1 - specificity) * (1 - share), 0)
    return true_positives - false_positives * thresholds / (1 - thresholds)


def selective_risk(
    correct: np.ndarray, confidence: np.ndarray, coverage: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Share of wrong answers among the most confident share `coverage` of the rows: [r, coverage], coverage above 0.

    Geifman and El-Yaniv 2017 (arXiv:1705.08500). Rows of equal confidence are taken together, so that their order does
    not matter: within them the risk runs straight.
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
    """Scores of the summed malignant probability, for classes of which `malignant` tells the malignant ones."""
    chosen = np.asarray(malignant)

    def area(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return roc_auc(chosen[labels], probabilities[:, chosen].sum(axis=1), weights)

    def rate(of: bool) -> Score:
        def score(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
            rows = chosen[labels] == of
            right = rows & ((probabilities[:, chosen].sum(axis=1) >= threshold) == of)
            with np.errstate(invalid="ignore"):
                return (weights @ right) / (weights @ rows)

        return score

    return {
        "roc_auc_malignancy": area,
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


def bootstrap_weights(groups: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """How often each row is drawn when whole groups are resampled with replacement: float64 [resamples, n].

    Laid out so that all resamples of a row lie together, which is how the ranks above read them.
    """
    codes = np.unique(groups, return_inverse=True)[1]
    count = codes.max() + 1
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(count, np.full(count, 1 / count), size=resamples)
    return drawn.T.astype(np.float64)[codes].T


def draws(
    scores: dict[str, Score], labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Each score [1 + r]: first its plain value, then that of every resample of `bootstrap_weights`."""
    plain = np.ones((1, len(labels)))
    return {
        name: np.concatenate([score(labels, probabilities, plain), score(labels, probabilities, weights)])
        for name, score in scores.items()
    }


def interval(values: np.ndarray) -> Interval:
    """The first of `values` [1 + r] with the 95% percentile interval of the others; NaN where none is defined."""
    defined = values[1:][~np.isnan(values[1:])]
    low, high = np.percentile(defined, (2.5, 97.5)) if len(defined) else (np.nan, np.nan)
    return Interval(float(values[0]), float(low), float(high))


def intervals(
    scores: dict[str, Score],
    labels: np.ndarray,
    probabilities: np.ndarray,
    groups: np.ndarray,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Each score with its 95% interval from a bootstrap over groups (lesions or patients), percentile method."""
    drawn = draws(scores, labels, probabilities, bootstrap_weights(groups, resamples, seed))
    return {name: interval(values) for name, values in drawn.items()}


def paired_differences(
    scores: dict[str, Score],
    labels: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    groups: np.ndarray,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Each score of `first` minus that of `second`, both probabilities [n, classes] of the same rows.

    The interval is from the same resamples of groups for both, so what makes images hard for both cancels out.
    """
    weights = bootstrap_weights(groups, resamples, seed)
    one, other = (draws(scores, labels, probabilities, weights) for probabilities in (first, second))
    return {name: interval(one[name] - other[name]) for name in scores}


def mcnemar(first_correct: np.ndarray, second_correct: np.ndarray) -> float:
    """The exact two-sided p-value of McNemar's test (1947) that both are right equally often, of boolean [n] each.

    Binomial over the rows on which only one of the two is right; 1 where there is no such row.
    """
    only_first = int((first_correct & ~second_correct).sum())
    only_second = int((~first_correct & second_correct).sum())
    discordant = only_first + only_second
    return float(stats.binomtest(only_first, discordant).pvalue) if discordant else 1.0


@dataclass(frozen=True)
class AreaTest:
    """DeLong's test: one area under a ROC curve minus another, and the p-value of no difference."""

    difference: Interval
    first: float
    second: float
    standard_error: float
    p_value: float


def delong(positive: np.ndarray, first: np.ndarray, second: np.ndarray) -> AreaTest:
    """Two-sided test of two ROC areas on the same rows: boolean `positive` [n], scores `first` and `second` [n].

    DeLong, DeLong and Clarke-Pearson 1988 (Biometrics 44:837), by ranks (Sun and Xu 2014, IEEE SPL 21:1389). It takes
    rows as independent. NaN where a side has fewer than two rows; p is 1 where the two rank all rows alike.
    """
    ups, downs = int(positive.sum()), int((~positive).sum())
    if min(ups, downs) < 2:
        return AreaTest(Interval(np.nan, np.nan, np.nan), np.nan, np.nan, np.nan, np.nan)
    shares_below, shares_above = [], []
    for scores in (first, second):
        ranks = stats.rankdata(scores)
        shares_below.append((ranks[positive] - stats.rankdata(scores[positive])) / downs)
        shares_above.append(1 - (ranks[~positive] - stats.rankdata(scores[~positive])) / ups)
    one, other = (float(shares.mean()) for shares in shares_below)
    variance = sum(
        np.var(shares[0] - shares[1], ddof=1) / count for shares, count in ((shares_below, ups), (shares_above, downs))
    )
    error = float(np.sqrt(variance))
    difference = one - other
    p_value = float(2 * stats.norm.sf(abs(difference) / error)) if error > 0 else float(difference == 0)
    margin = float(stats.norm.isf(0.025)) * error
    return AreaTest(Interval(difference, difference - margin, difference + margin), one, other, error, p_value)


def holm(p_values: np.ndarray) -> np.ndarray:
    """P-values [n] of n tests, raised so that together they err at the level of one (Holm 1979, step-down)."""
    order = np.argsort(p_values)
    raised = np.maximum.accumulate(np.asarray(p_values)[order] * np.arange(len(p_values), 0, -1)).clip(max=1)
    result = np.empty(len(p_values))
    result[order] = raised
    return result
