"""A running app: the time from starting it to the first prediction in a browser, its memory then, and the time to the
first view of a page."""

import contextlib
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from playwright.sync_api import BrowserContext

from benchmarks.visitor import Visitor
from benchmarks.worker import QUIET, ROOT

RESULT_TEXT = "Most likely"
TIMEOUT_SECONDS = 120
SERVER = """
import sys
{first}
from streamlit.web.cli import main
sys.argv = ["streamlit", "run", "app.py", "--server.headless=true", "--server.port={port}"]
main()
"""


@dataclass(frozen=True)
class Start:
    """Seconds to the first prediction, and the server's resident memory then, in MB."""

    seconds: float
    megabytes: float


def chromium() -> str | None:
    """The path of an installed Chromium, if there is one."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def server(*options: str) -> Iterator[tuple[str, int]]:
    """A running app: its address and process."""
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.headless=true", f"--server.port={port}"]
    command += ["--server.address=127.0.0.1", *options]
    with subprocess.Popen(
        command, cwd=ROOT, env=QUIET, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            wait_for(port, process)
            yield f"http://127.0.0.1:{port}", process.pid
        finally:
            process.terminate()


def first_view(address: str, page: str) -> float:
    """Seconds from opening a page of the app at this address, in a new session, to the end of its run."""
    begin = time.perf_counter()
    with Visitor(address, page) as visitor:
        seconds = time.perf_counter() - begin
        if any(delta.new_element.WhichOneof("type") == "exception" for delta in visitor.elements.values()):
            raise SystemExit(f"The page {address}/{page} failed.")
    return seconds


def start(browser: BrowserContext, port: int, photo: Path, first: str = "") -> Start:
    """Start a server that runs the statement `first` before the app, and classify a photo in a new window.

    A browser that has visited this port before has cached Streamlit's front end, as a returning visitor's has.
    """
    page = browser.new_page()
    page.set_default_timeout(TIMEOUT_SECONDS * 1000)
    begin = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", SERVER.format(first=first, port=port)],
        cwd=ROOT,
        env=QUIET,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            wait_for(port, server)
            page.goto(f"http://127.0.0.1:{port}/classify")
            page.locator('input[type="file"]').set_input_files(photo)
            page.get_by_text(RESULT_TEXT).wait_for()
            return Start(time.perf_counter() - begin, megabytes(server.pid))
        finally:
            page.close()
            server.terminate()


def wait_for(port: int, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if server.poll() is not None:
                raise SystemExit(f"The server stopped with exit code {server.returncode}.") from None
            time.sleep(0.02)
        else:
            return
    raise SystemExit("The server did not start.")


def megabytes(process: int) -> float:
    """Resident memory of a process and its children."""
    parent = psutil.Process(process)
    return sum(each.memory_info().rss for each in [parent, *parent.children(recursive=True)]) / 1024**2
