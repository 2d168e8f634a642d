"""Frees and overwrites a visitor's data soon after they have left.

Streamlit keeps the session of a closed tab for two minutes, in case the connection was only interrupted. After that it
does not free the session until another one ends, and freed memory stays readable in the process until it is reused.
This module ends the session in time and leaves nothing of it in memory: tests/test_privacy.py searches the process for
it.
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
from skinapp.images import imaging, isolated
from skinapp.inference import modality, runtime
from skinapp.lesion import segmentation

MARGIN_SECONDS = 1.0
"""Delay after the time for which Streamlit keeps a session."""
OBJECT_SIZES = range(48, 513, 16)
"""Block sizes of Python's small-object allocator, in bytes, from that of the smallest string."""
CACHED_SIZES = range(24, 1033, 16)
CACHED_BLOCKS = 16
"""The number of blocks of each size that glibc may cache per thread."""
AREA = 2**20
"""Bytes that Python requests from the system when no free block is left."""
MAX_OBJECTS = 2_000_000
"""Limit for one size."""
WIPE_ON_FREE, PATTERN = -6, 0x55
"""M_PERTURB of glibc's mallopt, and the byte from which its fill pattern is derived."""
ARENA_LIMIT, MAX_ARENAS = -8, 2
"""M_ARENA_MAX of glibc's mallopt. Each visitor has a thread, each arena keeps memory, and by default there are eight
arenas per core."""
MMAP_THRESHOLD, LARGE = -3, 32 * 2**20
"""M_MMAP_THRESHOLD of glibc's mallopt, in bytes: larger blocks go back to the system as soon as they are freed. With a
lower threshold, the resamples of the Compare page took twice as long, since fresh pages must be cleared first."""
TRIM_THRESHOLD, KEPT = -1, 64 * 2**20
"""M_TRIM_THRESHOLD of glibc's mallopt, in bytes: up to this much free memory is kept for the next allocation, until a
visitor leaves."""

_due = threading.Event()
"""Whether a collection is about to begin."""


def install() -> None:
    """From now on, end the sessions of visitors who do not come back, and overwrite their data in memory."""
    save = MemorySessionStorage.save
    if hasattr(save, "__wrapped__"):
        return

    @functools.wraps(save)
    def save_for_a_time(self: MemorySessionStorage, session_info: SessionInfo) -> None:
        # before Streamlit drops sessions to make room without ending them
        _end_expired(self)
        save(self, session_info)
        asyncio.get_running_loop().call_later(self._cache.ttl + MARGIN_SECONDS, _end_expired, self)  # type: ignore[attr-defined]

    MemorySessionStorage.save = save_for_a_time  # type: ignore[method-assign]
    for option in (
        (WIPE_ON_FREE, PATTERN),
        (ARENA_LIMIT, MAX_ARENAS),
        (MMAP_THRESHOLD, LARGE),
        (TRIM_THRESHOLD, KEPT),
    ):
        _c_library("mallopt", *option)
    # have tables allocated by the C library too, so that their memory is wiped
    pyarrow.set_memory_pool(pyarrow.system_memory_pool())


def _end_expired(storage: MemorySessionStorage) -> None:
    """In the server's event loop: end the sessions that can no longer be resumed."""
    expired = storage._cache.expire()  # type: ignore[attr-defined]
    for _, session_info in expired:
        session = session_info.session
        session.shutdown()
        # the server's loop keeps a reference to the last session that it served
        session._session_state = SessionState()
        session._fragment_storage.clear()
        session._client_state.Clear()
        session._scriptrunner = None
        # the first pass, in `shutdown`, only marks downloads
        get_instance().media_file_mgr.remove_orphaned_files()
    # a single collection for all sessions that ended together
    if expired and not _due.is_set():
        _due.set()
        timer = threading.Timer(MARGIN_SECONDS, _collect, [asyncio.get_running_loop()])
        timer.daemon = True
        timer.start()


def _collect(loop: asyncio.AbstractEventLoop) -> None:
    """Free reference cycles, overwrite free memory, and return it to the system."""
    _due.clear()
    gc.collect()
    with contextlib.suppress(SkinappError):
        runtime.forget_images()
        blank = Image.new("RGB", (imaging.MIN_SIDE, imaging.MIN_SIDE))
        modality.features(blank)
        segmentation.probabilities(np.asarray(blank))
    _overwrite_free_blocks()
    isolated.stop_spare()
    _c_library("malloc_trim", 0)
    # each thread has its own cache; the other threads end with the run of a page
    loop.call_soon_threadsafe(_overwrite_thread_cache)


def _overwrite_thread_cache() -> None:
    """Overwrite the blocks in this thread's glibc cache, which are not wiped when they are freed."""
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
    """Overwrite the remains of Python's freed small objects, such as file names: allocate zeros of every size until a
    new memory area is needed. On Linux only, where the address space is known."""
    if sys.platform != "linux":
        return
    for size in OBJECT_SIZES:
        held: list[bytes | None] = [None] * MAX_OBJECTS
        length, before = size - sys.getsizeof(b""), _address_space()
        for number in range(MAX_OBJECTS):
            held[number] = bytes(length)
            if number % 1024 == 0 and _address_space() >= before + AREA:
                break


def _address_space() -> int:
    """Bytes of address space of the process; 0 if that is not known."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * 4096
    except OSError:
        return 0


def _c_library(name: str, *values: int) -> None:
    """Call a function of the C library, if it exists."""
    if sys.platform == "linux" and (function := getattr(ctypes.CDLL(None), name, None)):
        function(*values)
