"""An abandoned session is ended without activity of another visitor. `tests/test_privacy.py` tests, on a real server,
that nothing of it stays in memory."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from streamlit.runtime.memory_session_storage import MemorySessionStorage

from skinapp.ui import session_cleanup

TIMEOUT_SECONDS = 30


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set when memory is freed; permanently patched methods are restored after the test."""
    collected = threading.Event()
    monkeypatch.setattr(session_cleanup, "MARGIN_SECONDS", 0.01)
    monkeypatch.setattr(session_cleanup, "get_instance", MagicMock())
    monkeypatch.setattr(session_cleanup, "_collect", lambda loop: (session_cleanup._due.clear(), collected.set()))
    monkeypatch.setattr(session_cleanup, "_c_library", lambda *_: None)
    monkeypatch.setattr(
        MemorySessionStorage, "save", getattr(MemorySessionStorage.save, "__wrapped__", MemorySessionStorage.save)
    )
    session_cleanup.install()
    return collected


def closed_session(name: str) -> Any:
    session = MagicMock()
    session.id = name
    return SimpleNamespace(session=session)


def test_a_session_ends_in_time_and_one_that_is_resumed_does_not(collected: threading.Event) -> None:
    abandoned, resumed = closed_session("abandoned"), closed_session("resumed")
    state = abandoned.session._session_state

    async def serve() -> None:
        storage = MemorySessionStorage(ttl_seconds=0.05)
        storage.save(abandoned)
        storage.save(resumed)
        storage.delete("resumed")
        while not collected.is_set():
            await asyncio.sleep(0.01)

    # in a separate thread, as browser tests leave a running loop in this one
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, asyncio.wait_for(serve(), TIMEOUT_SECONDS)).result()
    abandoned.session.shutdown.assert_called_once()
    resumed.session.shutdown.assert_not_called()
    # including the arguments of callbacks, which may hold photos
    assert abandoned.session._session_state is not state


def test_memory_is_overwritten_and_given_back_without_an_error() -> None:
    session_cleanup._due.set()
    loop = MagicMock()
    # in a thread, an error would go unnoticed
    session_cleanup._collect(loop)
    assert not session_cleanup._due.is_set()
    [scheduled] = loop.call_soon_threadsafe.call_args.args
    scheduled()
