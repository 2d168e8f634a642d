"""The answer to an image, as text and as JSON."""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skinapp.errors import DataError
from skinapp.images import removal
from skinapp.inference import metadata
from skinapp.inference.conformal import COVERAGES
from skinapp.inference.registry import Model

if TYPE_CHECKING:
    from skinapp.evaluation.bootstrap import Interval
    from skinapp.evaluation.observed_risk import ObservedRisk
    from skinapp.inference.analysis import Analysis
    from skinapp.inference.runtime import Prediction

CAUTION = "A research tool, not a diagnostic device: ask a doctor about any lesion that worries you."
COVERAGE_HELP = (
    f"also give the set of classes that contains the true one with this certainty: {', '.join(map(str, COVERAGES))}"
)


@dataclasses.dataclass(frozen=True)
class Meaning:
    """What an answer means, for images of the kind that the model was trained on: the prediction set, if a coverage was
    given; how often answers like it were cancers, if that was counted; and the prevalence asked about, if any."""

    set: tuple[str, ...] | None = None
    coverage: float | None = None
    observed: "ObservedRisk | None" = None
    prevalence: float | None = None


def meaning(prediction: "Prediction", options: argparse.Namespace) -> Meaning:
    """With --coverage and --prevalence. If like answers cannot be counted: a message on standard error, or DataError if
    they are needed for the probability at another prevalence."""
    from skinapp.evaluation import observed_risk
    from skinapp.inference import conformal

    codes, observed = None, None
    if options.coverage is not None:
        codes = conformal.prediction_set(prediction, options.coverage)
    try:
        observed = observed_risk.observed_risk(prediction)
    except DataError as error:
        if options.prevalence is not None:
            raise
        print(error, file=sys.stderr)
    return Meaning(codes, options.coverage, observed, options.prevalence)


def lines(analysis: "Analysis", why: str, meant: Meaning) -> list[str]:
    """The answer in lines: every class, warnings, what it means. `why` is a sentence on the choice of the model."""
    from skinapp.evaluation import observed_risk
    from skinapp.inference import conformal
    from skinapp.inference.analysis import agreement

    prediction = analysis.prediction
    names = prediction.model.labels.labels
    said = [why] if why else []
    said += [
        f"{prediction.probabilities[index]:6.1%}  {names[index].name}"
        for index in (-prediction.probabilities).argsort()
    ]
    if sentence := agreement(prediction):
        said.append(sentence)
    if analysis.removed and analysis.removed.any_detected:
        said.append(removal.sentence(analysis.removed))
    if not prediction.model.is_network:
        from skinapp.report import feature_views

        said.append(feature_views.sentence(prediction, prediction.predicted))
    said += [f"Warning: {sentence}" for sentence in warnings_of(analysis).values()]
    if meant.observed:
        said.append(observed_risk.sentence(meant.observed))
        if meant.prevalence is not None:
            said.append(observed_risk.prevalence_sentence(meant.observed, meant.prevalence))
    if prediction.model.card.get("operating_points"):
        from skinapp.report import operating_point_views

        said += operating_point_views.published(prediction.model, by_class(prediction))
    if meant.set is not None and meant.coverage is not None:
        said.append(conformal.in_words(prediction, meant.coverage))
    return said


def show(path: Path, analysis: "Analysis", said: Sequence[str]) -> None:
    """Print the name of an image with the shares of cancer, pre-cancer and harmless, and its `lines`."""
    from skinapp.inference.analysis import shares

    groups = "; ".join(
        f"{name[0].lower()}{name[1:]} {share:.1%}" for name, share in shares(analysis.prediction).items()
    )
    print("\n  ".join([f"{path}  ({groups})", *said]))


def in_json(prediction: "Prediction", meant: Meaning) -> dict[str, Any]:
    """The answer for JSON: the probabilities, what only some models give (how far their networks and views agree, what
    they measured, which operating points the image reaches), and what it means."""
    from skinapp.evaluation import observed_risk
    from skinapp.inference import runtime

    result: dict[str, Any] = {
        "probabilities": by_class(prediction),
        "malignancy": prediction.malignancy,
        "predicted": prediction.predicted,
    }
    if meant.set is not None:
        result["set"] = list(meant.set)
    if agreed := runtime.agreement(prediction):
        result["agreement"] = dataclasses.asdict(agreed)
    if not prediction.model.is_network:
        from skinapp.report import feature_views

        result["features"] = feature_views.in_json(prediction)
    if prediction.model.card.get("operating_points"):
        from skinapp.evaluation import operating_points

        points = operating_points.of_card(prediction.model.card)
        result["operating_points"] = {point.id: point.reached(by_class(prediction)) for point in points}
    if meant.observed:
        result["observed"] = dataclasses.asdict(meant.observed) | {"risk": _without_nan(meant.observed.risk)}
        if meant.prevalence is not None:
            result["at_prevalence"] = _without_nan(observed_risk.at_prevalence(meant.observed, meant.prevalence))
    return result


def warnings_of(analysis: "Analysis") -> dict[str, str]:
    """Why this answer may be wrong: maps the name of each warning that predicts errors to a sentence."""
    from skinapp.inference import warnings

    return warnings.of_quality(analysis.quality, analysis.model.modality) | warnings.cautions(analysis)


def given_metadata(options: argparse.Namespace) -> dict[str, str]:
    """The patient metadata among the options, by name."""
    given = {question.name: getattr(options, question.name) for question in metadata.QUESTIONS}
    return {name: text for name, text in given.items() if text is not None}


def warn_unused(model: Model, given: dict[str, str]) -> None:
    """Print which of the given metadata the model does not use."""
    used = {one.name for one in model.clinical}
    unused = [question.flag for question in metadata.QUESTIONS if question.name in given and question.name not in used]
    if unused:
        print(f"The model '{model.id}' does not use {', '.join(unused)}.", file=sys.stderr)


def _without_nan(interval: "Interval") -> dict[str, float | None]:
    """JSON has no NaN."""
    return {name: None if value != value else value for name, value in vars(interval).items()}


def by_class(prediction: "Prediction") -> dict[str, float]:
    return dict(zip(prediction.model.labels.codes, prediction.probabilities.tolist(), strict=True))
