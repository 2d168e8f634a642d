"""Counters for Prometheus, on a separate port: answers and the time they take, refusals, and memory in use."""

import logging
import os

from skinapp.errors import DataError
from skinapp.inference import events

PORT = "SKINAPP_METRICS_PORT"
BUCKETS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
"""Histogram buckets for the seconds that an answer takes."""


class Counters(logging.Handler):
    """Counts the app's events."""

    def __init__(self) -> None:
        from prometheus_client import Counter, Histogram

        super().__init__()
        self.answer_seconds = Histogram(
            "skinapp_answer_seconds", "Seconds to classify an image, by model", ["model"], buckets=BUCKETS
        )
        self.refusals = Counter("skinapp_refusals", "Images without an answer, by reason", ["reason"])

    def emit(self, record: logging.LogRecord) -> None:
        fields = getattr(record, "fields", {})
        if record.msg == events.ANSWER:
            self.answer_seconds.labels(fields["model"]).observe(fields["seconds"])
        elif record.msg == events.REFUSAL:
            self.refusals.labels(fields["reason"]).inc()


def serve(address: str) -> None:
    """Offer the counters at http://`address`:SKINAPP_METRICS_PORT/metrics; nothing if that variable is not set.

    DataError if the port is not free, or prometheus-client is not installed.
    """
    port = os.environ.get(PORT, "")
    if not port:
        return
    try:
        from prometheus_client import start_http_server
    except ImportError:
        raise DataError(
            f"{PORT} is set, but prometheus-client is not installed. Install requirements-serve.txt, or unset {PORT}."
        ) from None
    try:
        start_http_server(int(port), address)
    except (ValueError, OverflowError, OSError) as error:
        raise DataError(f"{PORT} is '{port}', which is not a free port on {address} ({error}).") from None
    events.LOGGER.addHandler(Counters())
