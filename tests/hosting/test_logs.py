"""Every line is JSON, and none holds a value that a visitor brought."""

import json
import logging
from collections.abc import Iterator

import pytest

from skinapp import events
from skinapp.hosting import logs

SECRET = "IMG_4711 of Ada Lovelace"


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Iterator[logging.Logger]:
    """A logger that writes JSON."""
    logger = logging.getLogger("tests.hosting")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logs.use_json(logger)
    yield logger
    logger.handlers = []


def written(capsys: pytest.CaptureFixture[str]) -> dict:
    [line] = capsys.readouterr().err.splitlines()
    return json.loads(line)


def test_values_filled_into_a_message_are_left_out(lines: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    lines.warning("No such file: %s", SECRET)
    line = written(capsys)
    assert (line["level"], line["logger"], line["event"]) == ("warning", "tests.hosting", "No such file: %s")
    assert SECRET not in json.dumps(line)


def test_an_exception_is_its_type_and_the_way_it_took(
    lines: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        int(SECRET)
    except ValueError as error:
        lines.exception(error)
    line = written(capsys)
    assert (line["event"], line["exception"]) == ("ValueError", "ValueError")
    assert line["at"][-1].endswith("test_an_exception_is_its_type_and_the_way_it_took")
    assert SECRET not in json.dumps(line)


def test_events_of_the_app_keep_their_fields(lines: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    lines.info(events.ANSWER, extra={"fields": {"model": "some-model", "seconds": 0.5}})
    line = written(capsys)
    assert (line["event"], line["model"], line["seconds"]) == ("answer", "some-model", 0.5)
    assert line["time"].endswith("+00:00")
