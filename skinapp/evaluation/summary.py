"""A whole comparison as one object for JSON, and as the lines that the command line prints."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from skinapp.evaluation import bootstrap, measures, pairs
from skinapp.evaluation.bootstrap import Interval
from skinapp.evaluation.comparison import QUESTIONS, Shared
from skinapp.evaluation.measures import MEASURES
from skinapp.evaluation.pairs import UNTESTED


def summary(shared: Shared) -> dict[str, Any]:
    """A whole comparison as one object for JSON: question, images, groups, find (the target and the count of
    its images), models and pairs. NaN is None."""
    weights = shared.weights()
    draws = measures.draw(shared, weights)
    names = {name: name for name in shared.ids}
    compared = []
    for _, row in pairs.pairwise(shared).iterrows():
        first, second = row["first"], row["second"]
        compared.append(
            {name: _plain(value) for name, value in row.items()}
            | {
                "sentence": pairs.sentence(shared, weights, first, second, names),
                "differences": {
                    line["score"]: {
                        "value": _plain(line["difference"]),
                        "low": _plain(line["low"]),
                        "high": _plain(line["high"]),
                        "conclusion": line["conclusion"],
                    }
                    for line in pairs.differences(shared, draws, first, second).to_dict("records")
                },
            }
        )
    return {
        "question": shared.question,
        "images": len(shared.images),
        "groups": bootstrap.count(shared.groups),
        "find": {"id": shared.target.id, "name": shared.target.spoken, "images": int(shared.positive.sum())},
        "resamples": bootstrap.RESAMPLES,
        "models": {
            name: {
                score: {key: _plain(value) for key, value in vars(draws.interval(name, score)).items()}
                for score in by_score
            }
            for name, by_score in draws.by_model.items()
        },
        "pairs": compared,
    }


def _plain(value: Any) -> Any:
    """A NumPy number as a Python number; None for NaN, which JSON lacks."""
    plain = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(plain, float) and np.isnan(plain) else plain


def lines(summary: dict[str, Any]) -> Iterator[str]:
    """A `summary` as lines for a terminal; if a pair has an `answer`, it comes first."""
    question = QUESTIONS[summary["question"]].lower()
    yield f"{summary['images']:,} images of {summary['groups']:,} lesions or patients; question: {question}"
    for pair in summary["pairs"]:
        yield ""
        yield from pair.get("answer", ())
    yield ""
    for name, scores in summary["models"].items():
        yield name
        for score, value in scores.items():
            yield f"  {_name(score, summary):28} {_interval(value).text()}"
    for pair in summary["pairs"]:
        yield ""
        yield f"{pair['first']} minus {pair['second']}"
        for score, value in pair["differences"].items():
            conclusion = "" if value["conclusion"] == UNTESTED else f"  {value['conclusion']}"
            yield f"  {_name(score, summary):28} {_interval(value).text('+.3f')}{conclusion}"
        delong = f"DeLong's test of the ROC AUC, {summary['find']['name']}"
        for test, words in (("mcnemar", "McNemar's exact test"), ("delong", delong)):
            yield f"  {words}: {_p_value(pair, test, len(summary['pairs']))}"
        yield f"  {pair['sentence']}"


def _name(score: str, summary: dict[str, Any]) -> str:
    return MEASURES[score].name.format(target=summary["find"]["name"])


def _interval(value: dict[str, Any]) -> Interval:
    """The interval in an object of `summary`, in which NaN is None."""
    return Interval(*(np.nan if value[name] is None else value[name] for name in ("value", "low", "high")))


def _p_value(pair: dict[str, Any], test: str, pairs: int) -> str:
    if pair[f"{test}_p"] is None:
        return "not tested"
    corrected = f", {pair[f'{test}_p_holm']:.3g} with Holm's correction" if pairs > 1 else ""
    return f"p = {pair[f'{test}_p']:.3g}{corrected}"
