"""Published accuracies of skin-lesion classifiers, each next to the scores of the models here, tested in the same way
as the claim and on held-out lesions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from skinapp.errors import DataError
from skinapp.evaluation import bootstrap, comparison, measures, operating_points, training_history
from skinapp.evaluation.bootstrap import Interval
from skinapp.evaluation.comparison import CLASSES, MALIGNANT
from skinapp.evaluation.operating_points import Threshold
from skinapp.evaluation.predictions import Predictions

SENSITIVITY = 0.9
"""The sensitivity of the operating point at which models that tell malignant from benign are scored; it is that of the
published claim."""


@dataclass(frozen=True)
class Claim:
    """A published score.

    `score` is accuracy, sensitivity_malignancy or roc_auc_malignancy, and `value` is the claim as published. `network`
    and `tested` name the network and the test, as far as the source does. `dataset` is the data set on which ours are
    scored. `repeated_by` is the id of the model here with the claim's network, if it names one, and `ours` the id of
    the model here that is meant for the question.
    """

    question: str
    score: str
    value: str
    network: str
    tested: str
    source: str
    dataset: str
    ours: str
    repeated_by: str = ""

    @property
    def at_threshold(self) -> bool:
        """Whether ours is scored at an operating point."""
        return self.question == TWO and self.score != AREA


AREA = "roc_auc_malignancy"
SEVEN, TWO = "Seven classes", "Malignant or benign"
_TUTORIAL = "A tutorial"
_TUTORIALS = "Tutorials in this field"
_BY_IMAGE = "On a split that does not keep the images of a lesion together"

CLAIMS = (
    Claim(
        SEVEN,
        "accuracy",
        "84.3%",
        "EfficientNetB1 with global average pooling",
        "How the images were split is not stated; assumed to be at random, regardless of lesion",
        _TUTORIALS,
        "ham10000",
        "ham10000-committee",
        "ham10000-efficientnetb1",
    ),
    Claim(
        SEVEN,
        "accuracy",
        "71% to 75%",
        "Small network from an architecture search",
        "On a random quarter of images that were drawn with replacement, about half of them copies of training images",
        _TUTORIAL,
        "ham10000",
        "ham10000-committee",
        "ham10000-cnn32",
    ),
    *(
        Claim(
            TWO,
            score,
            value,
            "Small convolutional network",
            _BY_IMAGE,
            _TUTORIAL,
            "malignant_benign",
            "malignancy-efficientnetb1",
            "malignancy-cnn64",
        )
        for score, value in (("accuracy", "91%"), ("sensitivity_malignancy", "90%"))
    ),
    *(
        Claim(
            TWO,
            score,
            value,
            "Not stated",
            "Given as a figure to expect; network, data and split are not stated. There is only one AUC, so it is "
            "assumed to be for malignant or benign",
            _TUTORIALS,
            "malignant_benign",
            "malignancy-efficientnetb1",
        )
        for score, value in (("accuracy", "85% to 90%"), (AREA, "over 0.90"))
    ),
)


@dataclass(frozen=True)
class Figure:
    """A score of the model `model` on `images`; at the `threshold`, if it depends on one."""

    model: str
    score: Interval
    images: int
    threshold: Threshold | None = None


@dataclass(frozen=True)
class Compared:
    """A claim and our scores: the same network tested in the same way (`same_test`) and on held-out lesions
    (`repeated`), and our model for this question on held-out lesions (`ours`). None if there is no such network, or no
    score."""

    claim: Claim
    same_test: Figure | None
    repeated: Figure | None
    ours: Figure | None


def compare(known: Mapping[str, Predictions], claims: Sequence[Claim] = CLAIMS) -> list[Compared]:
    """The claims next to the scores of the models in `known`."""
    wanted = {(name, claim.question, claim.dataset) for claim in claims for name in (claim.repeated_by, claim.ours)}
    held_out = {key: _held_out(known[key[0]], *key[1:]) for key in wanted if key[0] in known}

    def figure(name: str, claim: Claim) -> Figure | None:
        return held_out.get((name, claim.question, claim.dataset), {}).get(claim.score)

    return [
        Compared(
            claim,
            _same_test(known[claim.repeated_by], claim) if claim.repeated_by in known else None,
            figure(claim.repeated_by, claim),
            figure(claim.ours, claim),
        )
        for claim in claims
    ]


def _same_test(predictions: Predictions, claim: Claim) -> Figure | None:
    """The score under the protocol of the claim, from the model's card."""
    if predictions.model is None:
        return None
    table = training_history.protocols(predictions.model)
    rows = table[(table["test"] != table["test"].iloc[0]) & (table["score"] == claim.score)]
    if rows.empty:
        return None
    row = rows.iloc[0]
    return Figure(predictions.id, Interval(row["value"], row["low"], row["high"]), int(row["images"]))


def _held_out(predictions: Predictions, question: str, dataset: str) -> dict[str, Figure]:
    """Every score that a claim of this question may have, on the held-out lesions of a data set."""
    if dataset not in predictions.datasets:
        return {}
    try:
        shared = comparison.share([predictions], CLASSES if question == SEVEN else MALIGNANT, dataset)
    except DataError:
        return {}
    probabilities = shared.probabilities[predictions.id]
    name = "accuracy" if question == SEVEN else AREA
    scores = bootstrap.intervals({name: measures.scores(shared)[name]}, shared.truth, probabilities, shared.groups)
    figures = {name: Figure(predictions.id, scores[name], len(shared.images))}
    threshold = operating_points.held_out(predictions, shared, SENSITIVITY, dataset) if question == TWO else None
    if threshold:
        rates = operating_points.measure(
            shared.target.codes, threshold.value, shared.labels, shared.truth, probabilities, shared.groups
        )
        for score, rate in (("accuracy", "accuracy"), ("sensitivity_malignancy", "sensitivity")):
            figures[score] = Figure(predictions.id, rates[rate], len(shared.images), threshold)
    return figures
