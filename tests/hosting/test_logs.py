"""Every line is JSON, and none contains a visitor's data."""

import json
import logging
import sys
from typing import Any

from skinapp.hosting import logs
from skinapp.inference import events

SECRET = "IMG_4711 of Ada Lovelace"


def written(msg: object, *args: object, **more: Any) -> dict:
    record = {"name": "some.library", "levelname": "WARNING", "msg": msg, "args": args} | more
    line = logs.JsonFormatter().format(logging.makeLogRecord(record))
    assert SECRET not in line
    assert "\n" not in line
    return json.loads(line)


def test_values_filled_into_a_message_are_left_out() -> None:
    line = written("No such file: %s", SECRET)
    assert (line["level"], line["logger"], line["event"]) == ("warning", "some.library", "No such file: %s")
    assert line["time"].endswith("+00:00")


def test_an_exception_is_its_type_and_the_way_it_took() -> None:
    try:
        int(SECRET)
    except ValueError as error:
        line = written(error, exc_info=sys.exc_info())
    assert (line["event"], line["exception"]) == ("ValueError", "ValueError")
    [frame] = line["at"]
    assert frame.startswith(__file__)
    assert frame.endswith("test_an_exception_is_its_type_and_the_way_it_took")


def test_events_of_the_app_keep_their_fields() -> None:
    line = written(events.ANSWER, fields={"model": "some-model", "seconds": 0.5})
    assert (line["event"], line["model"], line["seconds"]) == ("answer", "some-model", 0.5)
