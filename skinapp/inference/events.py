"""Events that an operator may count: answers and refusals, with no data about the visitor or the image.

They go to Python's logging at level INFO: nothing is written unless a program configures it, as `skinapp.hosting` does.
"""

import logging
from typing import Any

LOGGER = logging.getLogger("skinapp")

ANSWER, REFUSAL, READINESS, LEFT_OUT, SIGN_IN = "answer", "refusal", "readiness", "model left out", "sign-in"
"""The events."""

UNREADABLE, CHECK_FAILED, NO_MODEL, BUSY = "unreadable image", "check failed", "no model", "busy"
"""Why there was no answer."""


def answered(model_id: str, seconds: float) -> None:
    """A model classified an image in this many seconds."""
    report(ANSWER, model=model_id, seconds=round(seconds, 4))


def refused(reason: str) -> None:
    """An image got no answer, for one of the reasons above."""
    report(REFUSAL, reason=reason)


def report(event: str, level: int = logging.INFO, **fields: Any) -> None:
    """Report an event with its fields, which must be serialisable as JSON."""
    LOGGER.log(level, event, extra={"fields": fields})
