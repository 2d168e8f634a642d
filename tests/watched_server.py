"""A server whose files, output and memory can be searched for visitors' data."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.browser.conftest import ROOT, START_SECONDS, free_port

WRITES = (
    "write,pwrite64,writev,pwritev,pwritev2,open,openat,openat2,creat,truncate,rename,renameat,renameat2,link,linkat,"
    "symlink,symlinkat,mkdir,mkdirat,unlink,unlinkat,memfd_create,sendfile,copy_file_range,splice,setxattr"
)
"""System calls that write bytes or names to a disk. Sockets use other calls."""
LONGEST = 4 * 2**20
"""The number of bytes per call in the trace."""
SESSION_SECONDS = 3
"""How long the server keeps the session of a visitor who has left; Streamlit's default is two minutes."""
CRASHES_AT = 13.0
"""With this length in millimetres, the measurement of a lesion raises an unexpected error."""
CHUNK = 2**20

START = f"""
import os, sys
log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT

def note(event, values):
    if event == "open" and isinstance(values[2], int) and values[2] & writing and values[0] != os.devnull or event in (
        "os.rename", "os.link", "os.symlink", "os.mkdir", "shutil.copyfile", "tempfile.mkstemp", "tempfile.mkdtemp"
    ):
        os.write(log, f"{{event}} {{values}}\\n".encode(errors="replace"))

sys.addaudithook(note)
from skinapp.lesion import shape
measure = shape.measure

def measure_or_crash(square, mask, millimetres):
    if millimetres == {CRASHES_AT}:
        raise RuntimeError("a crash on purpose")
    return measure(square, mask, millimetres)

shape.measure = measure_or_crash
from streamlit.web.cli import main
sys.argv = ["streamlit", "run", "app.py", *sys.argv[2:]]
main()
"""


@dataclass(frozen=True)
class Watched:
    """A running server: its `address`, its process, and the files with its output, the audit of files that Python
    opened for writing, and the trace of system calls, which requires strace."""

    address: str
    process: psutil.Process
    output: Path
    audit: Path
    trace: Path

    def in_files(self, needles: Mapping[str, bytes]) -> list[str]:
        """The names of the needles that were written to any file, or are part of a path."""
        audit, output = self.audit.read_bytes(), self.output.read_bytes()
        # in the trace, every byte is in hexadecimal
        trace = self.trace.read_bytes() if self.trace.exists() else b""
        return [
            name
            for name, needle in needles.items()
            if needle in audit or needle in output or "".join(f"\\x{one:02x}" for one in needle).encode() in trace
        ]

    def in_memory(self, needles: Mapping[str, bytes]) -> list[str]:
        """The names of the needles in the memory of the server and its children."""
        matches: set[str] = set()
        for process in (self.process, *self.process.children(recursive=True)):
            for chunk in memory(process.pid):
                matches |= {name for name, needle in needles.items() if name not in matches and needle in chunk}
        return [name for name in needles if name in matches]


def memory(pid: int) -> Iterator[bytes]:
    """The writable memory of a process, in chunks that overlap by a kilobyte."""
    with Path(f"/proc/{pid}/maps").open() as maps, Path(f"/proc/{pid}/mem").open("rb", buffering=0) as file:
        for line in maps.readlines():
            place, rights = line.split()[:2]
            if not rights.startswith("rw"):
                continue
            start, end = (int(edge, 16) for edge in place.split("-"))
            for offset in range(start, end, CHUNK):
                with contextlib.suppress(OSError, ValueError):
                    file.seek(offset)
                    chunk = file.read(min(CHUNK + 1024, end - offset))
                    if chunk.count(0) < len(chunk):
                        yield chunk


@contextlib.contextmanager
def watched(folder: Path) -> Iterator[Watched]:
    """Start a server, under strace if installed; its writes are recorded in the folder."""
    port = free_port()
    output, audit, trace = (folder / name for name in ("output.log", "audit.log", "trace.log"))
    command = [sys.executable, "-B", "-c", START, str(audit), "--server.headless=true"]
    command += [f"--server.port={port}", f"--server.disconnectedSessionTTL={SESSION_SECONDS}"]
    strace = shutil.which("strace")
    if strace:
        options = ["-f", "--seccomp-bpf", "-qq", "-xx", "-s", str(LONGEST), "-e", f"trace={WRITES}"]
        command = [strace, *options, "-o", str(trace), *command]
    address = f"http://127.0.0.1:{port}"
    environment = os.environ | {"SKINAPP_ISIC_URL": "http://127.0.0.1:9", "XDG_CACHE_HOME": os.devnull}
    with (
        output.open("wb") as log,
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log) as started,
    ):
        try:
            deadline = time.monotonic() + START_SECONDS
            while True:
                try:
                    with urllib.request.urlopen(f"{address}/_stcore/health", timeout=5):
                        break
                except OSError:
                    assert started.poll() is None, output.read_text()
                    assert time.monotonic() < deadline, "the server did not start"
                    time.sleep(0.1)
            process = psutil.Process(started.pid)
            yield Watched(address, process.children()[0] if strace else process, output, audit, trace)
        finally:
            for process in psutil.Process(started.pid).children(recursive=True):
                process.terminate()
            started.terminate()
