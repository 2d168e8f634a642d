"""The ISIC archive's client, against a local server."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from skinapp.datasets import isic
from skinapp.errors import SkinappError
from skinapp.images import imaging
from tests.pictures import encode, lesion

IMAGE = b"the bytes of an image"
PICTURE = encode(lesion(), "PNG")
ENTRY = {
    "isic_id": "ISIC_0024306",
    "copyright_license": "CC-BY-NC",
    "attribution": "ViDIR Group, Medical University of Vienna",
    "metadata": {"clinical": {"diagnosis_1": "Benign", "diagnosis_3": "Nevus"}},
}


LICENCES = dict(zip(isic.EXAMPLES, ("CC-0", "CC-BY", "CC-BY-NC", "CC-BY"), strict=True))
"""The third example is no longer open."""


MOVED = {"/moved.jpg": "/full.jpg", "/round.jpg": "/round.jpg"}


class Archive(BaseHTTPRequestHandler):
    """Serves one image, the examples, a broken entry and an endless file; everything else is unknown."""

    def do_GET(self) -> None:
        base = f"http://127.0.0.1:{self.server.server_port}"
        if self.path == "/api/v2/images/ISIC_0024306/":
            self.respond(json.dumps(ENTRY | {"files": {"full": {"url": f"{base}/full.jpg"}}}).encode())
        elif self.path == "/api/v2/images/ISIC_0000001/":
            self.respond(b"<html>maintenance</html>")
        elif self.path == "/api/v2/images/ISIC_0000002/":
            self.respond(json.dumps({"files": {}}).encode())
        elif self.path == "/api/v2/images/ISIC_0000003/":
            self.respond(json.dumps({"files": {"full": {"url": f"{base}/endless.jpg"}}}).encode())
        elif self.path == "/api/v2/images/ISIC_0000004/":
            self.respond(b"{}", status=500)
        elif self.path == "/api/v2/images/ISIC_0000005/":
            self.respond(b" " * (isic.MAX_ENTRY_BYTES + 1) + json.dumps(ENTRY).encode())
        elif self.path == "/api/v2/images/ISIC_0000006/":
            self.respond(json.dumps({"files": {"full": {"url": f"{base}/drip.jpg"}}}).encode())
        elif self.path == "/api/v2/images/ISIC_0000007/":
            self.respond(json.dumps({"files": {"full": {"url": f"{base}/moved.jpg"}}}).encode())
        elif self.path == "/api/v2/images/ISIC_0000008/":
            self.drip("HTTP/1.1 200 OK\r\nX: ")
        elif self.path == "/api/v2/images/ISIC_0000009/":
            self.respond(json.dumps({"files": {"full": {"url": f"{base}/round.jpg"}}}).encode())
        elif (moved := MOVED.get(self.path)) is not None:
            self.send_response(302)
            self.send_header("Location", moved)
            self.end_headers()
        elif self.path == "/drip.jpg":
            self.drip("HTTP/1.1 200 OK\r\n\r\n")
        elif (example := self.path.split("/")[-2]) in LICENCES:
            files = {"files": {"full": {"url": f"{base}/example.png"}}}
            self.respond(json.dumps(ENTRY | files | {"copyright_license": LICENCES[example]}).encode())
        elif self.path == "/example.png":
            self.respond(PICTURE)
        elif self.path == "/full.jpg":
            self.respond(IMAGE)
        elif self.path == "/endless.jpg":
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(bytes(2**16))
            except OSError:
                pass  # the client has seen enough
        else:
            self.respond(b"{}", status=404)

    def drip(self, head: str) -> None:
        """A byte now and then, so that no single read takes long."""
        try:
            self.wfile.write(head.encode())
            for _ in range(100):
                self.wfile.write(b"x")
                time.sleep(0.05)
        except OSError:
            pass  # the client has waited enough

    def respond(self, body: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def archive(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Archive) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        monkeypatch.setenv("SKINAPP_ISIC_URL", f"http://127.0.0.1:{server.server_port}/")
        yield
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("isic_id", ["ISIC_0024306", " isic_0024306\n", "0024306"])
def test_an_image_comes_with_its_licence_attribution_and_most_specific_diagnosis(isic_id: str) -> None:
    assert isic.fetch(isic_id) == isic.Example(
        "ISIC_0024306", IMAGE, "CC-BY-NC", "ViDIR Group, Medical University of Vienna", "Nevus"
    )


@pytest.mark.parametrize("isic_id", ["", "24306", "ISIC_24306x", "../secrets", "ISIC_0024306/..", "ISIC_٠٠٢٤٣٠٦"])
def test_a_malformed_id_is_refused_before_any_request(isic_id: str) -> None:
    with pytest.raises(SkinappError, match="looks like ISIC_0024306"):
        isic.fetch(isic_id)


def test_an_unknown_id_is_named() -> None:
    with pytest.raises(SkinappError, match="no public image ISIC_9999999"):
        isic.fetch("ISIC_9999999")


@pytest.mark.parametrize("isic_id", ["ISIC_0000001", "ISIC_0000002", "ISIC_0000004"])
def test_a_broken_response_is_reported(isic_id: str) -> None:
    with pytest.raises(SkinappError, match="sent an unexpected response"):
        isic.fetch(isic_id)


def test_an_unreachable_archive_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKINAPP_ISIC_URL", "http://127.0.0.1:9")
    with pytest.raises(SkinappError, match="could not be reached"):
        isic.fetch("ISIC_0024306")


def test_a_file_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imaging, "MAX_BYTES", 2**20)
    with pytest.raises(SkinappError, match="larger than 1 MB"):
        isic.fetch("ISIC_0000003")


def test_metadata_without_end_are_cut_off() -> None:
    with pytest.raises(SkinappError, match="larger than 1 MB"):
        isic.fetch("ISIC_0000005")


@pytest.mark.parametrize("isic_id", ["ISIC_0000006", "ISIC_0000008"])
def test_a_server_that_sends_a_byte_now_and_then_is_not_waited_for(
    isic_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isic, "TOTAL_SECONDS", 0.5)
    start = time.monotonic()
    with pytest.raises(SkinappError, match="too slow"):
        isic.fetch(isic_id)
    assert time.monotonic() - start < 3


def test_a_redirect_within_the_archive_is_followed_but_not_for_ever() -> None:
    assert isic.fetch("ISIC_0000007").data == IMAGE
    with pytest.raises(SkinappError, match="unexpected response"):
        isic.fetch("ISIC_0000009")


@pytest.mark.parametrize(
    "url",
    [
        "http://content.isic-archive.com/a.jpg",
        "https://isic-archive.com.example.org/a.jpg",
        "https://example-isic-archive.com/a.jpg",
        "https://example.org\\@api.isic-archive.com/a.jpg",
        "https://api.isic-archive.com@169.254.169.254/latest",
        "http://169.254.169.254/latest",
        "file:///etc/passwd",
        "ftp://content.isic-archive.com/a.jpg",
    ],
)
def test_no_address_but_the_archives_is_opened(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def entry(address: str, **_: object) -> requests.Response:
        assert address != url
        return requests_get(address, **_)

    requests_get = requests.get
    monkeypatch.setattr(requests, "get", entry)
    monkeypatch.setitem(MOVED, "/moved.jpg", url)
    with pytest.raises(SkinappError, match="unexpected response"):
        isic.fetch("ISIC_0000007")


@pytest.mark.parametrize("host", ["isic-archive.com", "api.isic-archive.com", "content.isic-archive.com"])
def test_the_archives_own_addresses_are_opened(host: str) -> None:
    isic._check_address(f"https://{host}/a.jpg?Expires=1")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "skinapp" / "examples"


OPEN = [isic_id for isic_id, licence in LICENCES.items() if licence != "CC-BY-NC"]


def test_examples_are_those_whose_licence_is_open_with_attribution_and_diagnosis(cache: Path) -> None:
    found = isic.examples()
    assert [example.isic_id for example in found] == OPEN
    assert {example.attribution for example in found} == {ENTRY["attribution"]}
    assert {example.diagnosis for example in found} == {"Nevus"}
    assert {example.data for example in found} == {PICTURE}


def test_examples_are_kept_on_disk_and_shown_without_the_archive(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = isic.examples()
    monkeypatch.setenv("SKINAPP_ISIC_URL", "http://127.0.0.1:9")
    assert isic.examples() == found
    assert not list(cache.glob("partial-*"))


def test_a_damaged_example_is_fetched_again(cache: Path) -> None:
    found = isic.examples()
    (cache / f"{OPEN[0]}.jpg").write_bytes(PICTURE[:100])
    (cache / f"{OPEN[1]}.json").write_text("{")
    assert isic.examples() == found
    assert (cache / f"{OPEN[0]}.jpg").read_bytes() == PICTURE


def test_examples_are_shown_where_the_disk_cannot_be_written(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.parent.parent.joinpath("skinapp").write_text("a file in place of the folder")
    assert [example.isic_id for example in isic.examples()] == OPEN


def test_without_the_archive_there_are_no_examples(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKINAPP_ISIC_URL", "http://127.0.0.1:9")
    assert isic.examples() == []


@pytest.mark.parametrize(
    ("isic_id", "dataset"),
    [
        ("ISIC_0024306", "ham10000"),
        ("ISIC_0034320", "ham10000"),
        ("ISIC_0024305", ""),
        ("ISIC_0034321", ""),
        (isic.EXAMPLES[0], "isic_more"),
    ],
)
def test_the_data_set_of_an_image(isic_id: str, dataset: str) -> None:
    assert isic.dataset_of(isic_id) == dataset
