"""Reported events: each classification, and each image without an answer, once."""

from typing import Any

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from skinapp.hosting import metrics
from skinapp.images import quality
from skinapp.inference import events, registry
from skinapp.ui import layout
from tests.pictures import encode, lesion


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    reported: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(events, "report", lambda event, **fields: reported.append((event, fields)))
    return reported


def classify(data: bytes) -> AppTest:
    at = AppTest.from_file(layout.PAGES.parent / "app.py", default_timeout=60).switch_page("pages/classify.py").run()
    at.file_uploader[0].upload("IMG_4711.jpg", data).run()
    assert not at.exception
    return at


def test_an_answer_is_reported_with_its_model_and_nothing_else(
    seen: list[tuple[str, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quality, "problems", lambda *_: [])
    classify(encode(lesion(400, 300, seed=1)))
    assert seen
    for event, fields in seen:
        assert event == events.ANSWER
        assert fields.keys() == {"model", "seconds"}
        assert fields["model"] in registry.models()
        assert 0 < fields["seconds"] < 60


def test_a_file_that_is_not_an_image_is_refused_once(seen: list[tuple[str, dict[str, Any]]]) -> None:
    at = classify(b"not an image")
    at.run()
    assert seen == [(events.REFUSAL, {"reason": events.UNREADABLE})]


def test_an_image_that_fails_a_check_is_refused_once(seen: list[tuple[str, dict[str, Any]]]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    at = classify(encode(Image.fromarray(noise)))
    at.run()
    assert seen == [(events.REFUSAL, {"reason": events.CHECK_FAILED})]


def test_reports_are_counted() -> None:
    from prometheus_client import REGISTRY

    counters = metrics.Counters()
    events.LOGGER.addHandler(counters)
    level = events.LOGGER.level
    events.LOGGER.setLevel("INFO")
    try:
        events.answered("some-model", 0.25)
        events.answered("some-model", 0.5)
        events.refused(events.BUSY)
    finally:
        events.LOGGER.removeHandler(counters)
        events.LOGGER.setLevel(level)
        REGISTRY.unregister(counters.answer_seconds)
        REGISTRY.unregister(counters.refusals)
    [histogram] = counters.answer_seconds.collect()
    values = {sample.name: sample.value for sample in histogram.samples if not sample.labels.get("le")}
    assert values["skinapp_answer_seconds_count"] == 2
    assert values["skinapp_answer_seconds_sum"] == 0.75
    [refusals] = counters.refusals.collect()
    assert [(sample.labels, sample.value) for sample in refusals.samples if sample.name.endswith("_total")] == [
        ({"reason": "busy"}, 1)
    ]
