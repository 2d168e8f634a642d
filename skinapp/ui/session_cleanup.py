"""What a visitor leaves behind: freed and overwritten soon after they have left.

Streamlit keeps the session of a closed tab for two minutes, for a visitor whose connection broke. After that it does
not free it until another session ends, and what is freed stays readable in the process until it is used again. Here
the session is ended in time, and nothing of it stays: tests/test_privacy.py searches the process for it.
"""

import asyncio
import contextlib
import ctypes
import functools
import gc
import sys
import threading
from pathlib import Path

import numpy as np
import pyarrow
from PIL import Image
from streamlit.runtime import get_instance
from streamlit.runtime.memory_session_storage import MemorySessionStorage
from streamlit.runtime.session_manager import SessionInfo
from streamlit.runtime.state import SessionState

from skinapp.errors import SkinappError
from skinapp.images import imaging
from skinapp.inference import modality, runtime
from skinapp.lesion import segmentation

MARGIN_SECONDS = 1.0
"""After the time for which Streamlit keeps a session."""
OBJECT_SIZES = range(48, 513, 16)
"""Bytes of the blocks in which Python keeps small objects, from the smallest text on."""
CACHED_SIZES = range(24, 1033, 16)
CACHED_BLOCKS = 16
"""Blocks of each of these sizes that glibc may keep for a thread."""
AREA = 2**20
"""Bytes that Python gets from the system when there is no free block left."""
MAX_OBJECTS = 2_000_000
"""Of one size."""
WIPE_ON_FREE, PATTERN = -6, 0x55
"""M_PERTURB of glibc's mallopt, and the byte from which it makes those that it writes."""

_due = threading.Event()
"""Whether a collection is about to begin."""


def install() -> None:
    """From now on, end the sessions of visitors who do not come back, and overwrite what they leave in memory."""
    save = MemorySessionStorage.save
    if hasattr(save, "__wrapped__"):
        return

    @functools.wraps(save)
    def save_for_a_time(self: MemorySessionStorage, session_info: SessionInfo) -> None:
        # before others are dropped to make room, without being ended
        _end_expired(self)
        save(self, session_info)
        asyncio.get_running_loop().call_later(self._cache.ttl + MARGIN_SECONDS, _end_expired, self)  # type: ignore[attr-defined]

    MemorySessionStorage.save = save_for_a_time  # type: ignore[method-assign]
    _c_library("mallopt", WIPE_ON_FREE, PATTERN)
    # tables get their memory from the C library too, so that it is wiped
    pyarrow.set_memory_pool(pyarrow.system_memory_pool())


def _end_expired(storage: MemorySessionStorage) -> None:
    """In the server's event loop: end the sessions that nobody can come back to."""
    expired = storage._cache.expire()  # type: ignore[attr-defined]
    for _, session_info in expired:
        session = session_info.session
        session.shutdown()
        # the server's loop refers to the session that it served last until there is another one
        session._session_state = SessionState()
        session._fragment_storage.clear()
        session._client_state.Clear()
        session._scriptrunner = None
        # the first time, in `shutdown`, downloads are only marked
        get_instance().media_file_mgr.remove_orphaned_files()
    # one collection for all who left together
    if expired and not _due.is_set():
        _due.set()
        timer = threading.Timer(MARGIN_SECONDS, _collect, [asyncio.get_running_loop()])
        timer.daemon = True
        timer.start()


def _collect(loop: asyncio.AbstractEventLoop) -> None:
    """Free what only refers to itself, overwrite what is free, and give it back to the system."""
    _due.clear()
    gc.collect()
    with contextlib.suppress(SkinappError):
        runtime.forget_images()
        blank = Image.new("RGB", (imaging.MIN_SIDE, imaging.MIN_SIDE))
        modality.features(blank)
        segmentation.probabilities(np.asarray(blank))
    _overwrite_free_blocks()
    _c_library("malloc_trim", 0)
    # each thread has a cache of its own; the other threads end with the run of a page
    loop.call_soon_threadsafe(_overwrite_thread_cache)


def _overwrite_thread_cache() -> None:
    """Overwrite what this thread has freed last and the C library keeps for it, which is not wiped on free."""
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None)
    library.malloc.restype, library.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    for size in CACHED_SIZES:
        blocks = [library.malloc(ctypes.c_size_t(size)) for _ in range(CACHED_BLOCKS)]
        for block in filter(None, blocks):
            ctypes.memset(block, 0, size)
            library.free(block)


def _overwrite_free_blocks() -> None:
    """Overwrite what Python's small objects leave when they are freed, such as the name of a file: with zeros of every
    size, until one needs a new area of memory."""
    for size in OBJECT_SIZES:
        held: list[bytes | None] = [None] * MAX_OBJECTS
        length, before = size - sys.getsizeof(b""), _address_space()
        for number in range(MAX_OBJECTS):
            held[number] = bytes(length)
            if number % 1024 == 0 and _address_space() >= before + AREA:
                break


def _address_space() -> int:
    """Bytes that the process has got from the system; 0 where that is not known."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * 4096
    except OSError:
        return 0


def _c_library(name: str, *values: int) -> None:
    """Call a function of the C library, where it has it."""
    if sys.platform == "linux" and (function := getattr(ctypes.CDLL(None), name, None)):
        function(*values)
