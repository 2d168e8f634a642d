"""Slow work on a real server: cancelled by the visitor, stopped when they leave, and in turns for several."""

import time

import pytest

from benchmarks.visitor import Visitor, texts
from skinapp.inference import registry
from skinapp.ui import map_grid
from tests.browser.conftest import served
from tests.pictures import encode, lesion

TIMEOUT_SECONDS = 60


def attention(address: str, seed: int) -> Visitor:
    """A visitor with a photo on the attention page, with a model of a single network."""
    visitor = Visitor(address, "attention")
    visitor.upload({"photo.jpg": encode(lesion(400, 300, seed=seed))})
    single = next(one for one in registry.ranked() if not one.clinical and one.kind == "classifier")
    visitor.set("attention_models", string_array_value=[single.short_name])
    return visitor


def begin_rise(visitor: Visitor) -> None:
    """Request a map by RISE, and wait until it is being computed."""
    visitor.request(visitor.state("attention_methods", string_array_value=["RISE"]))
    can_cancel(visitor)


def can_cancel(visitor: Visitor) -> None:
    """Wait until cancellable work has begun."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while True:
        message = visitor.receive(deadline - time.monotonic())
        if message.WhichOneof("type") == "delta" and "Cancel" in texts(message.delta):
            return


@pytest.mark.slow
def test_slow_work_is_cancelled_by_its_visitor_and_ends_when_they_leave() -> None:
    with served() as address, attention(address, 1) as visitor, attention(address, 2) as other:
        begin_rise(visitor)
        visitor.press("cancel_maps")
        assert map_grid.CANCELLED in visitor.words()
        # start again, then leave
        visitor.request(visitor.state("make_cancelled", trigger_value=True))
        can_cancel(visitor)
        visitor.leave()
        # the turn is free for another visitor, whose work in a fragment can also be cancelled
        switch = other.widget("measure_map")
        other.request(other.state("measure_map", bool_value=True), fragment=switch.fragment_id)
        can_cancel(other)
        other.press("cancel_measure")
        # the click turns the switch off, in a run of its own after the cancelled one, whose end may not be reported
        while not (switch := other.widget("measure_map").new_element.checkbox).set_value:
            other.wait()
        assert "Insertion" not in other.words()
        assert not switch.value
