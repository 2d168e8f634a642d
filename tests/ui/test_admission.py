"""Turns are limited, rotate among visitors, and are refused with a message if too many are waiting."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from skinapp.ui import admission
from skinapp.ui.admission import Admission, BusyError, Wait

TIMEOUT_SECONDS = 30


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@contextlib.contextmanager
def taken(turns: Admission, visitor: str = "first") -> Iterator[None]:
    """A turn of this visitor, held in another thread."""
    begun, end = threading.Event(), threading.Event()

    def hold() -> None:
        with turns.turn(visitor):
            begun.set()
            assert end.wait(TIMEOUT_SECONDS)

    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(hold)
        assert begun.wait(TIMEOUT_SECONDS)
        try:
            yield
        finally:
            end.set()
            held.result()


def test_concurrent_work_is_limited_and_every_visitor_is_served() -> None:
    turns, lock = Admission(2, 50, 1.0), threading.Lock()
    at_work, most, served = 0, 0, []

    def work(visitor: str) -> None:
        nonlocal at_work, most
        with turns.turn(visitor):
            with lock:
                at_work += 1
                most = max(most, at_work)
            time.sleep(0.001)
            with lock:
                at_work -= 1
                served.append(visitor)

    visitors = [f"visitor {number}" for number in range(20)]
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(work, visitors))
    assert most == 2
    assert sorted(served) == sorted(visitors)


def test_one_visitors_many_files_do_not_delay_the_others() -> None:
    turns, order = Admission(1, 50, 1.0), []

    def work(visitor: str) -> None:
        with turns.turn(visitor):
            order.append(visitor)

    with ThreadPoolExecutor(8) as pool, taken(turns):
        for number, visitor in enumerate(["many", "many", "many", "many", "one", "other"], 1):
            pool.submit(work, visitor)
            until(lambda number=number: turns.waiting == number)
    assert order == ["many", "one", "other", "many", "many", "many"]


def test_a_visitor_has_one_turn_at_a_time_and_others_get_the_rest() -> None:
    turns = Admission(2, 50, 1.0)
    with ThreadPoolExecutor(1) as pool:
        with taken(turns, "many"):
            again = pool.submit(enter, turns, "many")
            until(lambda: turns.waiting == 1)
            # comes later, and is not delayed
            enter(turns, "one")
            assert not again.done()
        again.result(TIMEOUT_SECONDS)


def enter(turns: Admission, visitor: str) -> None:
    with turns.turn(visitor):
        pass


def test_the_fifty_first_visitor_is_told_when_to_come_back() -> None:
    turns = Admission(2, 48, 1.0)
    with ThreadPoolExecutor(48) as pool, taken(turns, "a"), taken(turns, "b"):
        waiting = [pool.submit(enter, turns, f"visitor {number}") for number in range(48)]
        until(lambda: turns.waiting == 48)
        with pytest.raises(BusyError) as busy:
            enter(turns, "the fifty-first")
        assert str(busy.value) == "The server is busy: 48 visitors are waiting for an answer. Try again in 25 seconds."
        assert turns.waiting == 48
    assert all(one.done() for one in waiting)
    enter(turns, "the fifty-first")


def test_the_expected_wait_follows_the_place_and_the_time_that_turns_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "SHOW_SECONDS", 0.01)
    turns, shown = Admission(1, 50, 10.0), threading.Event()
    waits: list[Wait] = []

    def show(wait: Wait) -> None:
        waits.append(wait)
        shown.set()

    def work() -> None:
        with turns.turn("last", show):
            pass

    with ThreadPoolExecutor(2) as pool:
        with taken(turns):
            pool.submit(enter, turns, "before")
            until(lambda: turns.waiting == 1)
            last = pool.submit(work)
            assert shown.wait(TIMEOUT_SECONDS)
        last.result(TIMEOUT_SECONDS)
    assert waits[0] == Wait(2, 20.0)
    assert waits[0].sentence == "Waiting for your turn. 2 visitors are ahead of you; it should take about 20 seconds."
    # the turns took no time, so the next is expected to take less
    with ThreadPoolExecutor(1) as pool:
        shown.clear()
        with taken(turns):
            again = pool.submit(work)
            assert shown.wait(TIMEOUT_SECONDS)
        again.result(TIMEOUT_SECONDS)
    assert waits[-1].seconds < 10


def test_a_visitor_who_leaves_gives_up_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "SHOW_SECONDS", 0.01)
    turns = Admission(1, 50, 1.0)

    def leave(wait: Wait) -> None:
        raise KeyboardInterrupt

    with taken(turns):
        with pytest.raises(KeyboardInterrupt):
            turns.turn("gone", leave).__enter__()
        assert turns.waiting == 0
    enter(turns, "next")


def test_long_work_lets_others_go_first_and_then_continues(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "SLICE_SECONDS", 0.0)
    turns, order = Admission(1, 50, 1.0), []

    def other() -> None:
        with turns.turn("other"):
            order.append("other")

    with ThreadPoolExecutor(1) as pool:
        with turns.turn("long") as held:
            held.give_way()
            order.append("long")
            short: Future[None] = pool.submit(other)
            until(lambda: turns.waiting == 1)
            held.give_way()
            order.append("long again")
        short.result(TIMEOUT_SECONDS)
    assert order == ["long", "other", "long again"]


def test_a_turn_can_end_before_its_block() -> None:
    turns = Admission(1, 0, 1.0)
    with turns.turn("one") as held:
        held.end()
        with turns.turn("other"):
            # the end of the first block does not end this turn
            held.end()
            with pytest.raises(BusyError):
                enter(turns, "third")


def test_an_error_ends_the_turn() -> None:
    turns = Admission(1, 0, 1.0)
    with pytest.raises(ValueError, match="wrong"), turns.turn("one"):
        raise ValueError("wrong")
    enter(turns, "next")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 second"), (1.2, "2 seconds"), (11, "15 seconds"), (90, "90 seconds"), (91, "2 minutes")],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert admission.duration(seconds) == words
