"""Visitors' images decoded in processes of their own, so that a decoder's bug ends one answer and not the server.

A decoder process has limits of address space and time, no environment of the server's, and nowhere to print. One that
crashes, hangs or takes too much memory is ended, and the next image gets a new one. Pixels come back in shared memory
that has no name in any file system; it is emptied after each image, and what the process frees is overwritten at once.

Where the system cannot do this (it needs Linux), images are decoded in the server itself. `score` and training, which
run over their user's own files, call `skinapp.images.imaging`.
"""

import atexit
import contextlib
import datetime
import fcntl
import gc
import json
import logging
import mmap
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from PIL import Image

from skinapp.errors import ImageError
from skinapp.images import imaging, taken
from skinapp.images.imaging import CENTRE, Crop

PROCESSES = 2
"""As many images are decoded at a time; others wait."""
START_SECONDS = 60
READY = b"ready"
SECONDS = 30.0
"""For one image, by the clock; the largest take a few."""
ADDRESS_SPACE = 2 * 1024**3
"""Bytes on top of those of an idle process; a progressive JPEG of MAX_PIXELS needs about 1.4 GB."""
SHARED = imaging.MAX_BYTES + 3 * imaging.MAX_PIXELS
"""Bytes of the memory that carries a file to a process, and its pixels back. Only what is used takes space."""
OVERWRITTEN = 16 * 1024**2
"""Bytes of it that are only overwritten after an image; what is beyond goes back to the system, which takes longer."""
ZEROS = memoryview(bytes(OVERWRITTEN))
LARGEST_MESSAGE = 4096
ENVIRONMENT = {
    # one thread, whose buffers do not count against the address space
    "OPENBLAS_NUM_THREADS": "1",
    # what is freed is overwritten, Python's own objects included; the C library's cache of small blocks would not be
    "GLIBC_TUNABLES": "glibc.malloc.perturb=165:glibc.malloc.tcache_count=0",
    "PYTHONMALLOC": "malloc",
    # memory for photos is used again instead of being fetched from the system each time, which takes milliseconds
    "MALLOC_MMAP_THRESHOLD_": str(32 * 1024**2),
    "MALLOC_TRIM_THRESHOLD_": str(64 * 1024**2),
}
INHERITED = ("PATH", "LD_LIBRARY_PATH")

logger = logging.getLogger(__name__)


def decode(data: bytes, crop: Crop = CENTRE) -> Image.Image:
    """As `imaging.decode`, bit for bit. ImageError as there, and where a limit is exceeded or the decoder crashes."""
    if not start():
        return imaging.decode(data, crop)
    return _request({"task": "decode", "crop": (crop.x, crop.y, crop.side)}, data)[1]


def reduction(data: bytes, crop: Crop = CENTRE) -> int:
    """As `imaging.reduction`. ImageError as `decode`."""
    if not start():
        return imaging.reduction(data, crop)
    return int(_request({"task": "reduction", "crop": (crop.x, crop.y, crop.side)}, data)[0]["reduction"])


def day_taken(data: bytes, today: datetime.date) -> datetime.date | None:
    """As `taken.taken`; None as well where a limit is exceeded or the decoder crashes."""
    if not start():
        return taken.taken(data, today)
    try:
        day = _request({"task": "taken", "today": today.isoformat()}, data)[0]["day"]
    except ImageError:
        return None
    return datetime.date.fromisoformat(day) if day else None


class _LostError(Exception):
    """The process ended, or sent what it should not."""


class _Decoder:
    """A process, and the memory that it shares with this one. OSError where it cannot be started."""

    def __init__(self) -> None:
        descriptor = os.memfd_create("pixels", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        self.connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            os.ftruncate(descriptor, SHARED)
            # a process that shrank it could end this one, which reads it
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
            self.shared = mmap.mmap(descriptor, SHARED)
            self.process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", __name__, *map(str, (theirs.fileno(), descriptor, SECONDS, ADDRESS_SPACE))],
                pass_fds=(theirs.fileno(), descriptor),
                env=ENVIRONMENT
                | {name: os.environ[name] for name in INHERITED if name in os.environ}
                | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            )
        finally:
            theirs.close()
            os.close(descriptor)
        self.connection.settimeout(START_SECONDS)
        try:
            ready = self.connection.recv(LARGEST_MESSAGE) == READY
        except OSError:
            ready = False
        if not ready:
            self.stop()
            raise OSError("the process did not start")
        # the process ends itself at its limit of time; this is for one that is stopped or cannot
        self.connection.settimeout(2 * SECONDS)

    def request(self, task: dict[str, Any], data: bytes) -> tuple[dict[str, Any], Image.Image]:
        """The reply, and its image, which is empty for other tasks than decoding. _LostError where there is no reply;
        ImageError where it is a refusal."""
        used = len(data)
        try:
            self.shared[:used] = data
            self.connection.send(json.dumps(task | {"bytes": used}).encode())
            reply = json.loads(self.connection.recv(LARGEST_MESSAGE))
            if "error" in reply:
                raise ImageError(str(reply["error"]))
            size = int(reply.get("width", 0)), int(reply.get("height", 0))
            if min(size) < 0 or 3 * size[0] * size[1] > SHARED:
                raise _LostError
            used = max(used, 3 * size[0] * size[1])
            with memoryview(self.shared) as shared, shared[: 3 * size[0] * size[1]] as pixels:
                return reply, Image.frombytes("RGB", size, pixels)
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise _LostError from error
        finally:
            self._empty(used)

    def _empty(self, used: int) -> None:
        self.shared[: min(used, OVERWRITTEN)] = ZEROS[: min(used, OVERWRITTEN)]
        if used > OVERWRITTEN:
            self.shared.madvise(mmap.MADV_REMOVE, OVERWRITTEN, used - OVERWRITTEN)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.connection.close()
        self.shared.close()


_free: "queue.LifoQueue[_Decoder | None]" = queue.LifoQueue()
"""Idle decoders, and None for each that is not started yet. Last in, first out: one is enough for most servers."""
_starting = threading.Lock()
_works: list[bool] = []
"""Whether decoders can be started, once that was tried."""


def start() -> bool:
    """Start the first decoder, unless it was. False, with a warning in the log, where the system cannot."""
    with _starting:
        if not _works:
            try:
                if sys.platform != "linux":
                    raise OSError("that needs Linux")
                _free.put(None)
                _free.put(_Decoder())
                atexit.register(_stop_all)
                _works.append(True)
            except OSError as error:
                logger.warning("Images are decoded in the server itself, not in separate processes: %s.", error)
                _works.append(False)
        return _works[0]


def _request(task: dict[str, Any], data: bytes) -> tuple[dict[str, Any], Image.Image]:
    imaging.check_bytes(data)
    decoder = _free.get()
    try:
        if decoder is not None and decoder.process.poll() is not None:
            decoder.stop()
            decoder = None
        decoder = decoder or _Decoder()
        return decoder.request(task, data)
    except ImageError:
        raise
    except BaseException as error:
        # its reply may still come, and must not be taken for the reply to the next image
        if decoder is not None:
            decoder.stop()
        decoder = None
        if isinstance(error, (_LostError, OSError)):
            raise ImageError(imaging.TOO_MUCH) from None
        raise
    finally:
        _free.put(decoder)


def _stop_all() -> None:
    with contextlib.suppress(queue.Empty):
        while True:
            if decoder := _free.get_nowait():
                decoder.stop()


def _serve(connection: socket.socket, shared: mmap.mmap, seconds: float, address_space: int) -> None:
    """Answer requests until the server is gone. SIGALRM ends the process at the limit of time, wherever it is."""
    import resource

    # what a decoder prints may quote the file
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nowhere, stream)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # where the machine has no memory left, this process ends, not the server
    Path("/proc/self/oom_score_adj").write_text("1000")
    idle = int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE
    for kind, limit in (
        (resource.RLIMIT_AS, idle + address_space),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        resource.setrlimit(kind, (limit, limit))
    gc.collect()
    gc.freeze()
    connection.send(READY)
    while message := connection.recv(LARGEST_MESSAGE):
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            reply = _reply(json.loads(message), shared)
        except ImageError as error:
            reply = {"error": str(error)}
        except MemoryError:
            reply = {"error": imaging.TOO_MUCH}
        # what refers to itself is freed only by this
        gc.collect()
        signal.setitimer(signal.ITIMER_REAL, 0)
        connection.send(json.dumps(reply).encode())


def _reply(request: dict[str, Any], shared: mmap.mmap) -> dict[str, Any]:
    data = shared[: request["bytes"]]
    if request["task"] == "taken":
        day = taken.taken(data, datetime.date.fromisoformat(request["today"]))
        return {"day": day and day.isoformat()}
    crop = Crop(*request["crop"])
    if request["task"] == "reduction":
        return {"reduction": imaging.reduction(data, crop)}
    image = imaging.decode(data, crop)
    shared[: 3 * image.width * image.height] = image.tobytes()
    return {"width": image.width, "height": image.height}


if __name__ == "__main__":
    _serve(
        socket.socket(fileno=int(sys.argv[1])),
        mmap.mmap(int(sys.argv[2]), SHARED),
        float(sys.argv[3]),
        int(sys.argv[4]),
    )
