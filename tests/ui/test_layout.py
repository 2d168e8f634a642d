"""The shared parts of the pages."""

import asyncio
import importlib.metadata
import tomllib
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor

import pytest
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartParser

from skinapp.images import imaging
from skinapp.ui import layout


def test_an_upload_at_the_limit_is_not_spooled_to_disk() -> None:
    size = imaging.MAX_BYTES

    async def body() -> AsyncGenerator[bytes, None]:
        yield b'--edge\r\nContent-Disposition: form-data; name="file"; filename="photo.jpg"\r\n\r\n'
        for _ in range(size // 2**20):
            yield bytes(2**20)
        yield b"\r\n--edge--\r\n"

    async def parse() -> tuple[int | None, bool]:
        form = await MultiPartParser(Headers({"content-type": "multipart/form-data; boundary=edge"}), body()).parse()
        upload = form["file"]
        assert isinstance(upload, UploadFile)
        spooled = upload.file._rolled  # type: ignore[attr-defined]
        await form.close()
        return upload.size, spooled

    # in a thread, as the browser tests keep an event loop in this one
    with ThreadPoolExecutor() as threads:
        assert threads.submit(asyncio.run, parse()).result() == (size, False)


@pytest.mark.parametrize("text", ["**bold** [link](http://a.b)", ":red[x] $x$ `y` <b>", "a\nb"])
def test_plain_text_keeps_no_markdown(text: str) -> None:
    escaped = layout.plain(text)
    assert "\n" not in escaped
    for sign in "*[]()$:<>`":
        assert escaped.count(sign) == escaped.count(f"\\{sign}")


def test_the_server_accepts_what_decode_accepts() -> None:
    config = tomllib.loads((layout.PAGES.parent / ".streamlit" / "config.toml").read_text())
    assert config["server"]["maxUploadSize"] * 2**20 == imaging.MAX_BYTES


def test_only_this_machine_can_open_the_app_by_default() -> None:
    config = tomllib.loads((layout.PAGES.parent / ".streamlit" / "config.toml").read_text())
    assert config["server"]["address"] == "localhost"


def test_requests_from_other_sites_are_refused() -> None:
    config = tomllib.loads((layout.PAGES.parent / ".streamlit" / "config.toml").read_text())
    assert config["server"]["enableXsrfProtection"] is True
    assert config["server"]["enableCORS"] is True


def test_the_package_that_is_patched_is_pinned() -> None:
    pinned = (layout.PAGES.parent / "requirements.txt").read_text().splitlines()
    assert f"starlette=={importlib.metadata.version('starlette')}" in pinned
