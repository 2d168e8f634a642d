"""Decodes visitors' images in separate processes, so that a bug in a decoder costs one answer and not the server.

A decoder process has limits on address space and time, none of the server's environment variables, and no output. If it
crashes, hangs or takes too much memory, it is killed, and the next image gets a new process. Pixels come back in shared
memory that has no name in any file system; it is emptied after each image, and what the process frees is overwritten at
once.

Where the system cannot do this (it needs Linux), images are decoded in the server itself. `score` and training, which
run over their user's own files, call `skinapp.images.imaging`.
"""

import atexit
import contextlib
import datetime
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

START_SECONDS = 60
READY = b"ready"
SECONDS = 30.0
"""Wall-clock time limit for one image; the largest take a few seconds."""
ADDRESS_SPACE = 2 * 1024**3
"""Bytes beyond those of an idle process; a progressive JPEG of MAX_PIXELS needs about 1.4 GB."""
SHARED = imaging.MAX_BYTES + 3 * imaging.MAX_PIXELS
"""Bytes of shared memory that carries a file to a process, and its pixels back. Only the used part takes space."""
OVERWRITTEN = 16 * 1024**2
"""After an image, this many bytes are overwritten; the rest is returned to the system, which takes longer."""
ZEROS = memoryview(bytes(OVERWRITTEN))
MAX_MESSAGE_BYTES = 4096
ENVIRONMENT = {
    # a single thread, since each thread's buffers would count against the address space
    "OPENBLAS_NUM_THREADS": "1",
    # overwrite freed memory, Python's own objects included; the C library's cache of small blocks would not be
    # overwritten
    "GLIBC_TUNABLES": "glibc.malloc.perturb=165:glibc.malloc.tcache_count=0",
    "PYTHONMALLOC": "malloc",
    # reuse memory for photos instead of requesting it from the system each time, which takes milliseconds
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
    """As `taken.taken`; also None if a limit is exceeded or the decoder crashes."""
    if not start():
        return taken.taken(data, today)
    try:
        day = _request({"task": "taken", "today": today.isoformat()}, data)[0]["day"]
    except ImageError:
        return None
    return datetime.date.fromisoformat(day) if day else None


class _LostError(Exception):
    """The process ended, or sent something unexpected."""


class _Decoder:
    """A decoder process, and the memory that it shares with this one. OSError if it cannot be started."""

    def __init__(self) -> None:
        # Windows does not have it
        import fcntl

        descriptor = os.memfd_create("pixels", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        self.connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            os.ftruncate(descriptor, SHARED)
            # a process that shrank the memory could crash this one, which reads it
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
            ready = self.connection.recv(MAX_MESSAGE_BYTES) == READY
        except OSError:
            ready = False
        if not ready:
            self.stop()
            raise OSError("the process did not start")
        # the process ends itself at its time limit; this is for one that is stopped or cannot
        self.connection.settimeout(2 * SECONDS)

    def request(self, task: dict[str, Any], data: bytes) -> tuple[dict[str, Any], Image.Image]:
        """The reply and its image, which is empty unless the task is decoding. _LostError if there is no reply;
        ImageError if the decoder refused the image."""
        used = len(data)
        try:
            self.shared[:used] = data
            self.connection.send(json.dumps(task | {"bytes": used}).encode())
            reply = json.loads(self.connection.recv(MAX_MESSAGE_BYTES))
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
"""Idle decoders, and None for each that has not been started. Last in, first out: one is enough for most servers."""
_starting = threading.Lock()
_works: list[bool] = []
"""Whether decoders can be started; known after the first attempt."""


def start() -> bool:
    """Start the first decoder, unless it is running. False, with a warning in the log, if the system cannot."""
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
        # its reply may still arrive, and must not be taken for the reply to the next image
        if decoder is not None:
            decoder.stop()
        decoder = None
        if isinstance(error, (_LostError, OSError)):
            raise ImageError(imaging.TOO_MUCH) from None
        raise
    finally:
        _free.put(decoder)


def stop_spare() -> None:
    """Stop the idle decoders but one, so that a server keeps no memory from its busiest minute."""
    idle = []
    with contextlib.suppress(queue.Empty):
        while True:
            idle.append(_free.get_nowait())
    running = [decoder for decoder in idle if decoder is not None]
    for decoder in running[1:]:
        decoder.stop()
    for _ in idle[len(running[:1]) :]:
        _free.put(None)
    for decoder in running[:1]:
        _free.put(decoder)


def _stop_all() -> None:
    with contextlib.suppress(queue.Empty):
        while True:
            if decoder := _free.get_nowait():
                decoder.stop()


def _serve(connection: socket.socket, shared: mmap.mmap, seconds: float, address_space: int) -> None:
    """Answer requests until the server is gone. SIGALRM ends the process at the time limit, wherever it is."""
    import resource

    # a decoder's output may quote the file
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nowhere, stream)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # if the machine runs out of memory, this process is killed, not the server
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
    while message := connection.recv(MAX_MESSAGE_BYTES):
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            reply = _reply(json.loads(message), shared)
        except ImageError as error:
            reply = {"error": str(error)}
        except MemoryError:
            reply = {"error": imaging.TOO_MUCH}
        # frees reference cycles
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
