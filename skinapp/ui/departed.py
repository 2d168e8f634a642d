"""What a visitor leaves behind: freed soon after they have left.

Streamlit keeps the session of a closed tab for two minutes, for a visitor whose connection broke. After that it does
not free it until another session ends, and what is freed stays in the process for its next use. Here the session is
ended in time, and its memory goes back to the system.
"""

import asyncio
import ctypes
import gc
import threading

from streamlit.runtime.memory_session_storage import MemorySessionStorage
from streamlit.runtime.session_manager import SessionInfo

MARGIN_SECONDS = 1.0
"""After the time for which Streamlit keeps a session."""

_due = threading.Event()
"""Whether a collection is about to begin."""


def free_in_time() -> None:
    """From now on, end the sessions of visitors who do not come back."""
    if getattr(MemorySessionStorage.save, "in_time", False):
        return
    save = MemorySessionStorage.save

    def save_for_a_time(self: MemorySessionStorage, session_info: SessionInfo) -> None:
        save(self, session_info)
        asyncio.get_running_loop().call_later(self._cache.ttl + MARGIN_SECONDS, _end_expired, self)  # type: ignore[attr-defined]

    save_for_a_time.in_time = True  # type: ignore[attr-defined]
    MemorySessionStorage.save = save_for_a_time  # type: ignore[method-assign]


def _end_expired(storage: MemorySessionStorage) -> None:
    """In the server's event loop: end the sessions that nobody can come back to."""
    for _, session_info in storage._cache.expire():  # type: ignore[attr-defined]
        session_info.session.shutdown()
    # one collection for all who left together
    if not _due.is_set():
        _due.set()
        threading.Timer(MARGIN_SECONDS, _collect).start()


def _collect() -> None:
    """Free what only refers to itself, and give free memory back to the system."""
    _due.clear()
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
