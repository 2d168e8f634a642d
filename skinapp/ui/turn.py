"""Turns at computing: a visitor who has to wait is told for how long, and slow work can be cancelled.

Answers and slow work, such as maps by occlusion, have separate queues, so that no answer waits for a map.
"""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import ParamSpec

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.scriptrunner_utils.script_requests import ScriptRequestType

from skinapp.errors import SkinappError
from skinapp.inference import events
from skinapp.inference.cores import usable_cores
from skinapp.ui.admission import Admission, BusyError, Wait

P = ParamSpec("P")

VISITORS = 50
"""The maximum number of visitors computing or waiting for answers; others are asked to come back."""


def turns_at_answers(cores: int) -> Admission:
    """As many turns at once as cores. However many there are, a visitor can wait."""
    return Admission(cores, max(1, VISITORS - cores), seconds=1.0)


FOR_ANSWER = turns_at_answers(usable_cores())
FOR_SLOW_WORK = Admission(1, VISITORS - 1, seconds=5.0)

_thread = threading.local()
"""`answer`: the turn held by this thread, which runs one visitor's page."""


class CancelledError(SkinappError):
    """The visitor has cancelled slow work."""

    def __init__(self) -> None:
        super().__init__("Cancelled.")


@contextlib.contextmanager
def at_answer(say: Callable[[str], object] | None = None) -> Iterator[None]:
    """A turn at computing an answer; nested calls share the outer turn. While waiting, `say` is called with a message,
    which by default is shown here. BusyError if too many visitors are waiting."""
    # always present, so that nothing below moves when a message appears and disappears, or when a fragment that first
    # ran within the page's turn reruns on its own
    place = None if say else st.empty()
    if getattr(_thread, "answer", None):
        yield
        return

    def show_wait(wait: Wait) -> None:
        if place:
            place.info(wait.sentence, icon=":material/hourglass:")
        elif say:
            say(wait.sentence)

    with FOR_ANSWER.turn(_visitor(), show_wait) as held:
        if place:
            place.empty()
        _thread.answer = held
        try:
            yield
        finally:
            _thread.answer = None


def needed(show: Callable[P, None]) -> Callable[P, None]:
    """Decorator for a function that computes and shows answers: it holds a turn while it runs, or says that the server
    is busy."""

    @functools.wraps(show)
    def in_turn(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            with at_answer():
                show(*args, **kwargs)
        except BusyError as error:
            show_busy(error, show.__qualname__)

    return in_turn


def show_busy(error: BusyError, key: str) -> None:
    """Say that the server is busy, with a button to try again. The key distinguishes places on a page."""
    events.refused(events.BUSY)
    st.warning(str(error), icon=":material/hourglass:")
    st.button("Try again", icon=":material/refresh:", key=f"try_again_{key}")


@contextlib.contextmanager
def at_slow_work(
    words: str, key: str, on_cancel: Callable[[], None] | None = None
) -> Iterator[Callable[[float], None]]:
    """A turn at slow work with a progress bar, and a button that cancels the work and calls `on_cancel`.

    Yields a function to call often with the share done, 0-1: it stops the work if the visitor has cancelled it or left,
    and lets others go first. A turn at an answer is given back first. CancelledError if the work was cancelled,
    BusyError if too many visitors are waiting.
    """
    if answer := getattr(_thread, "answer", None):
        answer.end()
        _thread.answer = None
    place = st.empty()
    with place.container(horizontal=True, vertical_alignment="center"):
        bar = st.progress(0.0, words)
        st.button("Cancel", icon=":material/close:", key=f"cancel_{key}", on_click=on_cancel)
    done = 0.0

    def show_wait(wait: Wait) -> None:
        _stop_if_cancelled(f"cancel_{key}")
        bar.progress(done, wait.sentence)

    try:
        with FOR_SLOW_WORK.turn(_visitor(), show_wait) as held:

            def progress(share: float) -> None:
                nonlocal done
                done = min(max(share, done), 1.0)
                _stop_if_cancelled(f"cancel_{key}")
                bar.progress(done, words)
                held.give_way()

            yield progress
    finally:
        place.empty()


def off(switch: str) -> Callable[[], None]:
    """A callback that turns off the switch with this key when work is cancelled."""
    return functools.partial(st.session_state.__setitem__, switch, False)


def _stop_if_cancelled(key: str) -> None:
    """CancelledError if a click on the button with this key is pending: Streamlit interrupts the run of a page for a
    click, but not that of a fragment."""
    context = get_script_run_ctx()
    requests = context.script_requests if context else None
    if requests is None or requests._state != ScriptRequestType.RERUN:
        return
    states = requests._rerun_data.widget_states
    if states and any(widget.trigger_value and widget.id.endswith(f"-{key}") for widget in states.widgets):
        raise CancelledError


def _visitor() -> str:
    context = get_script_run_ctx()
    return context.session_id if context else ""
