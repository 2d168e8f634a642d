"""Logs as one JSON object per line, without personal data.

Of the app's own events every field is written, and none holds anything of a visitor. Of other messages only the text
that stands in the code is written and not the values filled into it, which may be an address or a file name; of an
exception its type and the lines it passed through, and not its message.
"""

import datetime
import json
import logging
import traceback
from typing import Any

from skinapp import events

CONNECTIONS = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi", "websockets")
"""Loggers that at the level of information name the address of every visitor, and the page they open."""


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
    """Write the records of one logger as JSON to standard error, in place of what it did."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logger.handlers = [handler]
