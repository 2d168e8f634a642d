"""A bound on what a server computes at once, and fair turns for its visitors. No Streamlit here.

Whoever wants to compute asks for a turn. Turns go round the visitors, one at a time for each, so that a visitor with
fifty files holds up the others no more than one with a single file. Where too many wait already, a request is refused
at once, with a sentence, rather than left without an answer.
"""

import contextlib
import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from skinapp.errors import SkinappError

TELL_SECONDS = 1.0
"""How often somebody who waits is told how long it will take; at first after half of this."""
SLICE_SECONDS = 1.0
"""How long a turn lasts, if others wait, before it is interrupted."""
LEARNING_RATE = 0.2
"""The weight of the latest turn in the mean of their durations."""


class BusyError(SkinappError):
    """More visitors wait than the server takes; `seconds` is the wait that the latest of them can expect."""

    def __init__(self, waiting: int, seconds: float):
        super().__init__(
            f"The server is busy: {waiting} {'visitor waits' if waiting == 1 else 'visitors wait'} for an answer. Try "
            f"again in {duration(seconds)}."
        )
        self.seconds = seconds


@dataclass(frozen=True)
class Wait:
    """`ahead`: the turns at work and those that come first; `seconds`: the wait to expect."""

    ahead: int
    seconds: float

    @property
    def sentence(self) -> str:
        others = "1 other is" if self.ahead == 1 else f"{self.ahead} others are"
        return f"Waiting for a turn: {others} before you, about {duration(self.seconds)}."


def duration(seconds: float) -> str:
    """Seconds in words, rounded up: "5 seconds", "2 minutes"."""
    if seconds > 90:
        return f"{math.ceil(seconds / 60)} minutes"
    rounded = max(1, math.ceil(seconds)) if seconds < 10 else 5 * math.ceil(seconds / 5)
    return "1 second" if rounded == 1 else f"{rounded} seconds"


OnWait = Callable[[Wait], None]


class Admission:
    """`at_once` turns at work at most, and `most_waiting` visitors that wait for one.

    `seconds` is what a turn is expected to take until some were timed. May be used from several threads.
    """

    def __init__(self, at_once: int, most_waiting: int, seconds: float):
        self._at_once, self._most_waiting = at_once, most_waiting
        self._mean = seconds
        self._changed = threading.Condition()
        self._at_work: dict[str, tuple[object, float]] = {}
        """The ticket of each visitor at work, and since when."""
        self._waiting: OrderedDict[str, deque[object]] = OrderedDict()
        """The tickets of each visitor who waits; the one whose turn comes next is first."""

    @contextlib.contextmanager
    def turn(self, visitor: str, on_wait: OnWait = lambda wait: None) -> Iterator[Callable[[], None]]:
        """Wait for a turn and hold it. Yields a function that lets others go first, for long work to call often.

        `on_wait` is called again and again while waiting; if it raises, the place in the queue is given up. BusyError
        where too many wait.
        """
        ticket = object()
        self._wait(visitor, ticket, on_wait)

        def give_way() -> None:
            with self._changed:
                others = any(other != visitor for other in self._waiting)
                if not others or time.monotonic() - self._at_work[visitor][1] < SLICE_SECONDS:
                    return
            self._end(visitor, ticket)
            self._wait(visitor, ticket, on_wait, again=True)

        try:
            yield give_way
        finally:
            self._end(visitor, ticket)

    @property
    def waiting(self) -> int:
        """How many requests wait for a turn."""
        with self._changed:
            return sum(map(len, self._waiting.values()))

    def _wait(self, visitor: str, ticket: object, on_wait: OnWait, again: bool = False) -> None:
        with self._changed:
            full = len(self._waiting) >= self._most_waiting and visitor not in self._waiting
            if full and not again and len(self._at_work) >= self._at_once:
                raise BusyError(len(self._waiting), self._expected(len(self._waiting)))
            self._waiting.setdefault(visitor, deque()).append(ticket)
        told = time.monotonic() - TELL_SECONDS / 2
        try:
            while not self._take(visitor, ticket):
                if time.monotonic() - told >= TELL_SECONDS:
                    on_wait(self._place(visitor))
                    told = time.monotonic()
        except BaseException:
            # the visitor has left, or asked for something else
            with self._changed:
                self._remove(visitor, ticket)
                self._changed.notify_all()
            raise

    def _take(self, visitor: str, ticket: object) -> bool:
        """Whether this ticket has its turn now; waits a moment for it."""
        with self._changed:
            if not self._is_next(visitor, ticket):
                self._changed.wait(TELL_SECONDS / 2)
            if not self._is_next(visitor, ticket):
                return False
            self._remove(visitor, ticket)
            if visitor in self._waiting:
                self._waiting.move_to_end(visitor)
            self._at_work[visitor] = ticket, time.monotonic()
            self._changed.notify_all()
            return True

    def _is_next(self, visitor: str, ticket: object) -> bool:
        following = next((one for one in self._waiting if one not in self._at_work), None)
        return len(self._at_work) < self._at_once and visitor == following and self._waiting[visitor][0] is ticket

    def _end(self, visitor: str, ticket: object) -> None:
        with self._changed:
            holder, since = self._at_work.get(visitor, (None, 0.0))
            if holder is ticket:
                del self._at_work[visitor]
                self._mean += LEARNING_RATE * (time.monotonic() - since - self._mean)
                self._changed.notify_all()

    def _remove(self, visitor: str, ticket: object) -> None:
        self._waiting[visitor].remove(ticket)
        if not self._waiting[visitor]:
            del self._waiting[visitor]

    def _place(self, visitor: str) -> Wait:
        with self._changed:
            before = list(self._waiting).index(visitor)
            return Wait(before + len(self._at_work), self._expected(before))

    def _expected(self, before: int) -> float:
        """Seconds until a turn, with this many visitors before."""
        return self._mean * (before + 1) / self._at_once
