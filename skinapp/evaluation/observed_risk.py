"""The observed risk behind a cancer probability: how many of the test images with a similar probability were cancers.

Counted on the model's own test images, which it has never seen, in bins of the summed probability of its most serious
group of classes: cancer, or cancer and pre-cancer for a model that does not tell them apart.
"""

import functools
import itertools
from dataclasses import dataclass

import numpy as np

from skinapp.demographics.statistics import wilson
from skinapp.errors import DataError
from skinapp.evaluation import bootstrap, predictions
from skinapp.evaluation.bootstrap import Interval
from skinapp.formatting import percent
from skinapp.inference import analysis
from skinapp.inference.registry import Model
from skinapp.inference.runtime import Prediction
from skinapp.labels.sets import GROUPS

EDGES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""The possible limits of a bin."""
WIDEST = 0.2
"""Neighbouring bins are joined until the 95% interval of the share of cancers in them is no wider than this."""
FEW = 10
"""With fewer lesions or patients of either kind in a bin, the bootstrap is too narrow."""


@dataclass(frozen=True)
class ObservedRisk:
    """The test images with a probability similar to an answer's.

    `probability` is the answer's probability of `target` ("cancer" or "cancer or pre-cancer"); it is in the bin from
    `low` to `high` (0-1). `images` of the test images, of `groups` lesions or patients, are in that bin too, and
    `positive` of them were the target: the share is `risk`, with its 95% interval over lesions or patients.
    `test_positive` of all `test_images` were. For a model of two images, each pair counts as one image, and `counted`
    is "lesions".
    """

    target: str
    probability: float
    low: float
    high: float
    images: int
    groups: int
    positive: int
    risk: Interval
    test_images: int
    test_positive: int
    counted: str = "images"

    @property
    def test_share(self) -> float:
        """The share of the target among all test images."""
        return self.test_positive / self.test_images


def observed_risk(prediction: Prediction) -> ObservedRisk:
    """How often answers like this one were cancers. DataError if the model's test predictions cannot be used."""
    model = prediction.model
    name, codes = next(iter(analysis.groups(model).items()))
    target = " or ".join(next(kinds for kinds, title in GROUPS.items() if title == name))
    # the sum of nearly all classes may round to just above 1
    probability = min(float(sum(prediction.probabilities[model.labels.codes.index(code)] for code in codes)), 1.0)
    bins = _bins(*_test(model, codes))
    matching = next((one for one in bins if probability < one.high), bins[-1])
    counted = "lesions" if model.kind == "pair" else "images"
    return ObservedRisk(target, probability, **vars(matching), counted=counted)


def sentence(observed: ObservedRisk) -> str:
    """The observed risk as a sentence."""
    if not observed.images:
        return f"None of the test {observed.counted} got an answer like this."
    like_this = f"a probability of {observed.target} from {observed.low:.0%} to {observed.high:.0%}"
    everywhere = f"Among all test {observed.counted}, {_share(observed.test_share)} of 100 were."
    if not observed.risk.exists:
        were = "was" if observed.positive == 1 else "were"
        return (
            f"Of the {observed.images:,} test {observed.counted} that got an answer like this ({like_this}), "
            f"{observed.positive:,} {were} {observed.target}: too few lesions or patients for an interval. {everywhere}"
        )
    interval = f"{100 * observed.risk.low:.0f} to {100 * observed.risk.high:.0f}"
    return (
        f"Of 100 test {observed.counted} that got an answer like this, {_of_hundred(observed.risk.value)} "
        f"{observed.target} (95% interval {interval}; based on {observed.images:,} {observed.counted} with "
        f"{like_this}). {everywhere}"
    )


def _share(share: float) -> str:
    return percent(share).removesuffix("%") if share else "none"


def _of_hundred(share: float) -> str:
    number = _share(share)
    return f"{number} was" if number == "1" else f"{number} were"


def at_prevalence(observed: ObservedRisk, prevalence: float) -> Interval:
    """The share of the target among lesions with an answer like this one, if the share `prevalence` (0-1, both
    excluded) of all lesions is the target.

    By Bayes' rule: the odds of the observed share change by the ratio of the odds of the two prevalences, the other
    being that of the test images (Saerens et al. 2002, doi:10.1162/089976602753284446). DataError for an impossible
    prevalence, or where all of the test images, or none, are the target. NaN if no test image got such an answer.
    """
    if not 0 < prevalence < 1:
        raise DataError(f"The prevalence must be above 0 and below 1, such as 0.02 for 2%, not {prevalence:g}.")
    if not 0 < observed.test_share < 1:
        raise DataError("The test images are all of one kind, so the share at another prevalence is unknown.")
    ratio = prevalence / (1 - prevalence) / (observed.test_share / (1 - observed.test_share))

    def moved(share: float) -> float:
        return share * ratio / (share * ratio + 1 - share)

    return Interval(moved(observed.risk.value), moved(observed.risk.low), moved(observed.risk.high))


def prevalence_sentence(observed: ObservedRisk, prevalence: float) -> str:
    """What the answer means at another prevalence, as a sentence. DataError as `at_prevalence`."""
    risk = at_prevalence(observed, prevalence)
    setting = f"Where {100 * prevalence:g}% of such lesions are {observed.target}"
    if np.isnan(risk.value):
        return f"{setting}, what this answer means is not known."
    interval = f" (95% interval {percent(risk.low)} to {percent(risk.high)})" if risk.exists else ""
    return f"{setting}, {percent(risk.value)}{interval} of those with an answer like this are."


@dataclass(frozen=True)
class _Bin:
    """One bin, and the test images as a whole; see ObservedRisk."""

    low: float
    high: float
    images: int
    groups: int
    positive: int
    risk: Interval
    test_images: int
    test_positive: int


def _test(model: Model, codes: tuple[str, ...]) -> tuple[bytes, bytes, bytes]:
    """Of the model's own test images, as bytes that a cache can compare: the summed probability of the classes, whether
    the label is one of them, and the group."""
    known = predictions.of_model(model)
    rows = known.rows_of(None)
    probability = rows[[f"p_{code}" for code in codes]].to_numpy(np.float64).sum(axis=1)
    positive = rows["label"].isin(codes).to_numpy()
    groups = np.unique(rows["group"].to_numpy(dtype=str), return_inverse=True)[1]
    return probability.tobytes(), positive.tobytes(), groups.astype(np.int64).tobytes()


@functools.lru_cache(maxsize=32)
def _bins(probability_bytes: bytes, positive_bytes: bytes, group_bytes: bytes) -> tuple[_Bin, ...]:
    """The bins from 0 to 1, each with an interval no wider than WIDEST if the images allow it. The cache holds
    published files, never a visitor's."""
    probability, positive = np.frombuffer(probability_bytes), np.frombuffer(positive_bytes, bool)
    groups = np.frombuffer(group_bytes, np.int64)
    narrow = np.clip(np.searchsorted(EDGES, probability, side="right") - 1, 0, len(EDGES) - 2)
    in_narrow = np.eye(len(EDGES) - 1)[narrow]
    # for each resample, the number of images in each narrow bin, and how many of them are positive
    weights = bootstrap.weights(groups)
    drawn, drawn_positive = weights @ in_narrow, weights @ (in_narrow * positive[:, np.newaxis])

    def made(first: int, end: int) -> _Bin:
        inside = (narrow >= first) & (narrow < end)
        count, risk = bootstrap.count(groups, inside), Interval(np.nan, np.nan, np.nan)
        if count:
            with np.errstate(invalid="ignore"):
                resampled = drawn_positive[:, first:end].sum(axis=1) / drawn[:, first:end].sum(axis=1)
            risk = bootstrap.interval(np.r_[positive[inside].mean(), resampled], count, proportion=True)
            rarer = min(bootstrap.count(groups, inside & positive), bootstrap.count(groups, inside & ~positive))
            if risk.exists and rarer < FEW:
                low, high = wilson(risk.value * count, count)
                risk = Interval(risk.value, min(risk.low, low), max(risk.high, high))
        return _Bin(
            EDGES[first],
            EDGES[end],
            int(inside.sum()),
            count,
            int(positive[inside].sum()),
            risk,
            len(positive),
            int(positive.sum()),
        )

    starts = [0]
    for end in range(1, len(EDGES)):
        risk = made(starts[-1], end).risk
        if risk.high - risk.low <= WIDEST:
            starts.append(end)
    # too few images after the last start for a separate bin, so it moves down; without any images, it becomes the end
    last = len(EDGES) - 1
    while starts[-1] < last and len(starts) > 1:
        risk = made(starts[-1], last).risk
        if risk.high - risk.low <= WIDEST:
            break
        starts.pop()
    edges = starts if starts[-1] == last else [*starts, last]
    return tuple(made(first, end) for first, end in itertools.pairwise(edges))
