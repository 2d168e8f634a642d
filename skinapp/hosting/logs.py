"""Logs as one JSON object per line, without personal data.

The app's own events are written with all their fields, none of which concerns a visitor. Of other messages, only the
format string in the code is written, not its arguments, which may include an address or a file name; of exceptions,
only the type and the traceback lines, not the message.
"""

import datetime
import json
import logging
import traceback
from typing import Any

from skinapp.inference import events

CONNECTIONS = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi", "websockets")
"""Loggers that at level INFO record every visitor's address and the page they open."""


class JsonFormatter(logging.Formatter):
    """One record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        line: dict[str, Any] = {
            "time": when.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.msg if isinstance(record.msg, str) else type(record.msg).__name__,
        }
        line |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[0]:
            frames = traceback.extract_tb(record.exc_info[2])
            line["exception"] = record.exc_info[0].__name__
            line["at"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        return json.dumps(line)


def write_json() -> None:
    """Write the records of every existing logger, and the app's events, as JSON to standard error."""
    logging.captureWarnings(True)
    for name in ("", *logging.root.manager.loggerDict):
        logger = logging.getLogger(name)
        if logger.handlers or not name:
            use_json(logger)
    events.LOGGER.setLevel(logging.INFO)
    for name in CONNECTIONS:
        logging.getLogger(name).setLevel(logging.WARNING)


def use_json(logger: logging.Logger) -> None:
    """Write the records of one logger as JSON to standard error, replacing its handlers."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logger.handlers = [handler]
