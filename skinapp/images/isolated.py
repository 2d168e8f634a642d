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
from typing import Any

from PIL import Image

from skinapp.errors import ImageError
from skinapp.images import imaging, taken
from skinapp.images.imaging import CENTRE, Crop

PROCESSES = 2
"""As many images are decoded at a time; others wait."""
SECONDS = 30.0
"""For one image, by the clock; the largest take a few."""
ADDRESS_SPACE = 2 * 1024**3
"""Bytes on top of those of an idle process; a progressive JPEG of MAX_PIXELS needs about 1.4 GB."""
SHARED = imaging.MAX_BYTES + 3 * imaging.MAX_PIXELS
"""Bytes of the memory that carries a file to a process, and its pixels back. Only what is used takes space."""
KEPT = 16 * 1024**2
"""Bytes of it that are only overwritten after an image; what is beyond goes back to the system, which takes longer."""
LARGEST_MESSAGE = 4096
ENVIRONMENT = {
    # one thread, whose buffers do not count against the address space
    "OPENBLAS_NUM_THREADS": "1",
    # what is freed is overwritten, Python's own objects included
    "MALLOC_PERTURB_": "165",
    "PYTHONMALLOC": "malloc",
}
INHERITED = ("PATH", "LD_LIBRARY_PATH")

logger = logging.getLogger(__name__)


def decode(data: bytes, crop: Crop = CENTRE) -> Image.Image:
    """As `imaging.decode`, bit for bit. ImageError as there, and where a limit is exceeded or the decoder crashes."""
    if not start():
        return imaging.decode(data, crop)
    reply, pixels = _ask({"task": "decode", "crop": (crop.x, crop.y, crop.side)}, data)
    return Image.frombytes("RGB", (reply["width"], reply["height"]), pixels)


def reduction(data: bytes, crop: Crop = CENTRE) -> int:
    """As `imaging.reduction`. ImageError as `decode`."""
    if not start():
        return imaging.reduction(data, crop)
    return int(_ask({"task": "reduction", "crop": (crop.x, crop.y, crop.side)}, data)[0]["reduction"])


def day_taken(data: bytes, today: datetime.date) -> datetime.date | None:
    """As `taken.taken`; None as well where a limit is exceeded or the decoder crashes."""
    if not start():
        return taken.taken(data, today)
    try:
        day = _ask({"task": "taken", "today": today.isoformat()}, data)[0]["day"]
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
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        finally:
            theirs.close()
            os.close(descriptor)
        # the process ends itself at its limit of time; this is for one that is stopped or cannot
        self.connection.settimeout(2 * SECONDS)
        if self.connection.recv(LARGEST_MESSAGE) != b"ready":
            self.stop()
            raise OSError("the process does not start")

    def ask(self, request: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        """The reply, and the pixels if it has any. _LostError where there is none; ImageError where it is a refusal."""
        used = len(data)
        try:
            self.shared[:used] = data
            self.connection.send(json.dumps(request | {"bytes": used}).encode())
            reply = json.loads(self.connection.recv(LARGEST_MESSAGE))
            if "error" in reply:
                raise ImageError(str(reply["error"]))
            size = 3 * int(reply.get("width", 0)) * int(reply.get("height", 0))
            if not 0 <= size <= SHARED:
                raise _LostError
            used = max(used, size)
            return reply, self.shared[:size]
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise _LostError from error
        finally:
            self._empty(used)

    def _empty(self, used: int) -> None:
        self.shared[: min(used, KEPT)] = bytes(min(used, KEPT))
        if used > KEPT:
            self.shared.madvise(mmap.MADV_REMOVE, KEPT, used - KEPT)

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
                    raise OSError("it needs Linux")
                _free.put(None)
                _free.put(_Decoder())
                atexit.register(_stop_all)
                _works.append(True)
            except OSError as error:
                logger.warning("Images are decoded in the server itself, not in processes of their own: %s.", error)
                _works.append(False)
        return _works[0]


def _ask(request: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
    imaging.check_bytes(data)
    decoder = _free.get()
    try:
        if decoder is None or decoder.process.poll() is not None:
            decoder = _Decoder()
        return decoder.ask(request, data)
    except (_LostError, OSError):
        if decoder is not None:
            decoder.stop()
        decoder = None
        raise ImageError(imaging.TOO_MUCH) from None
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

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with open("/proc/self/statm") as statistics:  # noqa: PTH123
        idle = int(statistics.read().split()[0]) * mmap.PAGESIZE
    for kind, limit in (
        (resource.RLIMIT_AS, idle + address_space),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        resource.setrlimit(kind, (limit, limit))
    connection.send(b"ready")
    while message := connection.recv(LARGEST_MESSAGE):
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            reply = _reply(json.loads(message), shared)
        except ImageError as error:
            reply = {"error": str(error)}
        except MemoryError:
            reply = {"error": imaging.TOO_MUCH}
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
