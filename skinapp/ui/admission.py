"""Limits how much a server computes at once, with fair turns for its visitors. Does not use Streamlit.

Code that wants to compute requests a turn. Turns rotate among the visitors, one at a time for each, so that a visitor
with fifty files delays the others no more than a visitor with a single file. If too many are already waiting, a request
is refused at once, with a message, rather than left unanswered.
"""

import contextlib
import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from skinapp.errors import SkinappError

SHOW_SECONDS = 1.0
"""How often a waiting visitor is shown the expected wait; the first time after half of this."""
SLICE_SECONDS = 1.0
"""How long a turn lasts before it is interrupted if others are waiting."""
LEARNING_RATE = 0.2
"""The weight of the latest turn in the mean of their durations."""


class BusyError(SkinappError):
    """More visitors are waiting than the server accepts; `seconds` is the wait that the latest of them can expect."""

    def __init__(self, waiting: int, seconds: float):
        super().__init__(
            f"The server is busy: {waiting} {'visitor is' if waiting == 1 else 'visitors are'} waiting for an answer. "
            f"Try again in {duration(seconds)}."
        )
        self.seconds = seconds


@dataclass(frozen=True)
class Wait:
    """`ahead`: the number of turns running or earlier in the queue; `seconds`: the expected wait."""

    ahead: int
    seconds: float

    @property
    def sentence(self) -> str:
        others = "1 visitor is" if self.ahead == 1 else f"{self.ahead} visitors are"
        return f"Waiting for your turn. {others} ahead of you; it should take about {duration(self.seconds)}."


def duration(seconds: float) -> str:
    """A duration as text, rounded up: "5 seconds", "2 minutes"."""
    if seconds > 90:
        return f"{math.ceil(seconds / 60)} minutes"
    rounded = max(1, math.ceil(seconds)) if seconds < 10 else 5 * math.ceil(seconds / 5)
    return "1 second" if rounded == 1 else f"{rounded} seconds"


OnWait = Callable[[Wait], None]


class Admission:
    """At most `at_once` turns run at the same time, and at most `max_waiting` visitors wait for one.

    `seconds` is the expected duration of a turn until some have been timed. Thread-safe.
    """

    def __init__(self, at_once: int, max_waiting: int, seconds: float):
        self._at_once, self._max_waiting = at_once, max_waiting
        self._mean = seconds
        self._changed = threading.Condition()
        self._at_work: dict[str, tuple[Turn, float]] = {}
        """The running turn of each visitor, and its start."""
        self._waiting: OrderedDict[str, deque[Turn]] = OrderedDict()
        """The turns that each visitor is waiting for; the next one in line is first."""

    @contextlib.contextmanager
    def turn(self, visitor: str, on_wait: OnWait = lambda wait: None) -> Iterator["Turn"]:
        """Wait for a turn and hold it. `on_wait` is called repeatedly while waiting; if it raises, the place in the
        queue is given up. BusyError if too many are waiting."""
        turn = Turn(self, visitor, on_wait)
        self._wait(turn)
        try:
            yield turn
        finally:
            turn.end()

    @property
    def waiting(self) -> int:
        """The number of requests waiting for a turn."""
        with self._changed:
            return sum(map(len, self._waiting.values()))

    def _wait(self, turn: "Turn", again: bool = False) -> None:
        visitor = turn.visitor
        with self._changed:
            full = len(self._waiting) >= self._max_waiting and visitor not in self._waiting
            if full and not again and len(self._at_work) >= self._at_once:
                raise BusyError(len(self._waiting), self._expected(len(self._waiting)))
            self._waiting.setdefault(visitor, deque()).append(turn)
        last_shown = time.monotonic() - SHOW_SECONDS / 2
        try:
            while not self._take(turn):
                if time.monotonic() - last_shown >= SHOW_SECONDS:
                    turn.on_wait(self._place(visitor))
                    last_shown = time.monotonic()
        except BaseException:
            # the visitor has left, or requested something else
            with self._changed:
                self._remove(turn)
                self._changed.notify_all()
            raise

    def _take(self, turn: "Turn") -> bool:
        """Wait a moment for this turn; return whether it has come."""
        with self._changed:
            if not self._is_next(turn):
                self._changed.wait(SHOW_SECONDS / 2)
            if not self._is_next(turn):
                return False
            self._remove(turn)
            if turn.visitor in self._waiting:
                self._waiting.move_to_end(turn.visitor)
            self._at_work[turn.visitor] = turn, time.monotonic()
            self._changed.notify_all()
            return True

    def _is_next(self, turn: "Turn") -> bool:
        following = next((one for one in self._waiting if one not in self._at_work), None)
        free = len(self._at_work) < self._at_once
        return free and turn.visitor == following and self._waiting[turn.visitor][0] is turn

    def _end(self, turn: "Turn") -> None:
        with self._changed:
            at_work, since = self._at_work.get(turn.visitor, (None, 0.0))
            if at_work is turn:
                del self._at_work[turn.visitor]
                self._mean += LEARNING_RATE * (time.monotonic() - since - self._mean)
                self._changed.notify_all()

    def _give_way(self, turn: "Turn") -> None:
        with self._changed:
            others = any(other != turn.visitor for other in self._waiting)
            if not others or time.monotonic() - self._at_work[turn.visitor][1] < SLICE_SECONDS:
                return
        self._end(turn)
        self._wait(turn, again=True)

    def _remove(self, turn: "Turn") -> None:
        self._waiting[turn.visitor].remove(turn)
        if not self._waiting[turn.visitor]:
            del self._waiting[turn.visitor]

    def _place(self, visitor: str) -> Wait:
        with self._changed:
            before = list(self._waiting).index(visitor)
            return Wait(before + len(self._at_work), self._expected(before))

    def _expected(self, before: int) -> float:
        """Expected seconds until a turn with this many visitors ahead."""
        return self._mean * (before + 1) / self._at_once


@dataclass(frozen=True, eq=False)
class Turn:
    """A visitor's turn, waiting or running."""

    admission: Admission
    visitor: str
    on_wait: OnWait

    def give_way(self) -> None:
        """Let waiting visitors go first if this turn has lasted long; slow work should call this often."""
        self.admission._give_way(self)

    def end(self) -> None:
        """Give the turn back, at the end of the block or before."""
        self.admission._end(self)
