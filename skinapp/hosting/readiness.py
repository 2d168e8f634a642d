"""Whether the server is ready: the model folders are as published, and the best model classifies an image."""

import functools
import logging
import threading
import time
from dataclasses import dataclass

import numpy as np

from skinapp.errors import SkinappError
from skinapp.inference import events, registry, runtime

VALID_SECONDS = 10
"""How long a result is valid, so that frequent checks cost nothing."""


@dataclass(frozen=True)
class Readiness:
    """Whether a model answers; its id and the seconds it took, or the reason if none does. `left_out` are the ids of
    the model folders that cannot be used."""

    ready: bool
    model: str = ""
    seconds: float = 0.0
    reason: str = ""
    left_out: tuple[str, ...] = ()


_checking = threading.Lock()


def check() -> Readiness:
    """Classify a grey image with the first model in the list; a recent result is reused while valid."""
    with _checking:
        return _check(int(time.monotonic() / VALID_SECONDS))


@functools.lru_cache(maxsize=1)
def _check(period: int) -> Readiness:
    registry.check_hashes()
    result = _measured(tuple(registry.problems()))
    _report(result.ready, result.model, result.reason, tuple(registry.problems().values()))
    return result


@functools.lru_cache(maxsize=1)
def _report(ready: bool, model: str, reason: str, problems: tuple[str, ...]) -> None:
    """Log a result, and why each folder is left out; repeated results are not logged again."""
    for problem in problems:
        events.report(events.LEFT_OUT, logging.WARNING, reason=problem)
    events.report(events.READINESS, ready=ready, model=model, reason=reason)


def _measured(left_out: tuple[str, ...]) -> Readiness:
    started = time.perf_counter()
    try:
        model = next(iter(registry.ranked()), None)
        if model is None:
            raise registry.no_models()
        probabilities = runtime.classifier(model).predict(_grey(model.input_size)).probabilities
    except SkinappError as error:
        return Readiness(False, reason=str(error), left_out=left_out)
    seconds = round(time.perf_counter() - started, 4)
    if not np.isclose(probabilities.sum(), 1):
        return Readiness(False, model.id, seconds, "The model's probabilities do not add up to 1.", left_out)
    return Readiness(True, model.id, seconds, left_out=left_out)


def _grey(size: int) -> np.ndarray:
    return np.full((size, size, 3), 128, np.uint8)
