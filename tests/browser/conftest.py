"""A running app and a browser. Without Chromium the tests here are skipped."""

import contextlib
import os
import resource
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from skinapp.inference import registry

ROOT = Path(__file__).parents[2]
MAX_FILE_BYTES = 64 * 1024
START_SECONDS = 60

expect.set_options(timeout=30_000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """On a busy machine a click can be lost while a page is being redrawn, so each test here gets a second try, which
    the summary lists."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("no Chromium found: install it, on Debian with `apt-get install chromium`, to run these tests")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ],
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def model() -> registry.Model:
    """The bundled model that classifies an image if no model is chosen and no kind of image is recognised."""
    return registry.ranked()[0]


def no_large_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_FILE_BYTES, MAX_FILE_BYTES))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def served() -> Iterator[str]:
    """The address of a new server that cannot write files of more than MAX_FILE_BYTES bytes."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.headless=true"]
    command += [f"--server.port={port}", "--server.address=127.0.0.1"]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"SKINAPP_ISIC_URL": "http://127.0.0.1:9", "XDG_CACHE_HOME": os.devnull},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=no_large_files,
    ) as server:
        try:
            deadline = time.monotonic() + START_SECONDS
            while True:
                try:
                    with urllib.request.urlopen(f"{address}/_stcore/health", timeout=5):
                        break
                except OSError:
                    assert server.poll() is None, "the server stopped"
                    assert time.monotonic() < deadline, "the server did not start"
                    time.sleep(0.1)
            yield address
        finally:
            server.terminate()


@pytest.fixture(scope="session")
def app() -> Iterator[str]:
    with served() as address:
        yield address


@pytest.fixture
def fresh_app() -> Iterator[str]:
    """A server that has had no request."""
    with served() as address:
        yield address


def is_local(address: str) -> bool:
    """Whether an address is on this machine: nothing may be fetched from, or sent to, another site."""
    parts = urllib.parse.urlsplit(address)
    return parts.scheme in ("data", "blob", "file") or parts.hostname == "127.0.0.1"


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open an address in a new window of this width; afterwards, fail on any script error."""
    pages: list[Page] = []
    wrong: list[str] = []

    def open_page(address: str, width: int = 1280, dark: bool = False) -> Page:
        page = browser.new_page(
            viewport={"width": width, "height": 900},
            is_mobile=width < 600,
            has_touch=width < 600,
            color_scheme="dark" if dark else "light",
        )
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: is_local(request.url) or wrong.append(f"request elsewhere: {request.url}"))
        pages.append(page)
        page.goto(address)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert not wrong
