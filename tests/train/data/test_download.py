import argparse
import base64
import errno
import hashlib
import io
import json
import socket
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest
import requests
from tqdm import tqdm

from skinapp.datasets import registry
from skinapp.errors import DataError
from train.data import download, splits, transfer


@dataclass
class Publisher:
    """A local server: the content of each path, and faults for the next requests."""

    files: dict[str, bytes] = field(default_factory=dict)
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    cuts: dict[str, list[int]] = field(default_factory=dict)
    statuses: dict[str, list[int]] = field(default_factory=dict)
    corrupted: dict[str, int] = field(default_factory=dict)
    ignores_range: bool = False
    tells_length: bool = True
    requests: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    url: str = ""

    def paths(self) -> list[str]:
        return [path for path, _, _ in self.requests]

    def ranges(self, path: str) -> list[str | None]:
        return [byte_range for requested, byte_range, _ in self.requests if requested == path]


@pytest.fixture
def publisher(monkeypatch: pytest.MonkeyPatch) -> Iterator[Publisher]:
    served = Publisher()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, byte_range = self.path.partition("?")[0], self.headers["Range"]
            served.requests.append((path, byte_range, self.headers["Authorization"]))
            status = served.statuses[path].pop(0) if served.statuses.get(path) else 200
            content = served.files.get(path)
            if status != 200 or content is None:
                self.send_error(status if status != 200 else 404)
                return
            if served.corrupted.get(path, 0) > 0:
                served.corrupted[path] -= 1
                content = bytes(255 - byte for byte in content)
            start = 0
            if byte_range and not served.ignores_range:
                start = int(byte_range.removeprefix("bytes=").removesuffix("-"))
                if start >= len(content):
                    self.send_error(416)
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            else:
                self.send_response(200)
            body = content[start:]
            if served.tells_length:
                self.send_header("Content-Length", str(len(body)))
            for name, value in served.headers.get(path, {}).items():
                self.send_header(name, value)
            self.end_headers()
            cut = served.cuts[path].pop(0) if served.cuts.get(path) else len(body)
            self.wfile.write(body[:cut])

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("DATAVERSE", "MENDELEY", "KAGGLE", "ISIC"):
        monkeypatch.setenv(f"SKINAPP_{name}_URL", served.url)
    monkeypatch.setattr(transfer, "BACKOFF_SECONDS", 0.0)
    monkeypatch.setattr(transfer, "CHUNK", 100)
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def command(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    download.add_arguments(parser)
    return download.run(parser.parse_args([str(argument) for argument in arguments]))


def silent() -> tqdm:
    return tqdm(disable=True)


FIRST, SECOND, TABLE = "/api/access/datafile/1", "/api/access/datafile/2", "/api/access/datafile/3"
LISTING = "/api/datasets/:persistentId/"


@pytest.fixture
def ham10000(publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Publisher:
    """Four images in two archives: a and b show the same lesion, and a is a test image."""
    test = tmp_path / "test.txt"
    test.write_text("ISIC_a\n")
    monkeypatch.setattr(splits, "HAM10000_TEST", test)
    table = b"lesion_id\timage_id\tdx\nL1\tISIC_a\tnv\nL1\tISIC_b\tnv\nL2\tISIC_c\tmel\nL3\tISIC_d\tbcc\n"
    publisher.files = {
        FIRST: zipped({"ISIC_a.jpg": b"a" * 40_000, "ISIC_b.jpg": b"b" * 40_000}),
        SECOND: zipped({"part/ISIC_c.jpg": b"c", "ISIC_d.JPG": b"d", "__MACOSX/ISIC_d.jpg": b"no"}),
        TABLE: table,
        "/api/access/datafile/4": zipped({"masks/ISIC_a_segmentation.png": b"mask"}),
    }
    relist(publisher)
    return publisher


def relist(publisher: Publisher) -> None:
    """Update the server's listing to the current files."""
    names = ["HAM10000_images_part_1.zip", "HAM10000_images_part_2.zip", "HAM10000_metadata.tab"]
    names += ["HAM10000_segmentations_lesion_tschandl.zip", "ISIC2018_Task3_Test_Images.zip"]
    listed = []
    for number, name in enumerate(names, start=1):
        content = publisher.files.get(f"/api/access/datafile/{number}", b"never requested")
        entry = {"id": number, "filename": name, "filesize": len(content), "md5": hashlib.md5(content).hexdigest()}
        if name.endswith(".tab"):
            entry |= {"originalFileFormat": "text/csv", "originalFileSize": len(content), "filesize": 7}
        listed.append({"dataFile": entry})
    publisher.files[LISTING] = json.dumps({"data": {"latestVersion": {"files": listed}}}).encode()


def test_ham10000_lies_as_training_reads_it(ham10000: Publisher, tmp_path: Path) -> None:
    assert command("ham10000", "--out", tmp_path / "data") == 0
    folder = tmp_path / "data" / "ham10000"
    assert {file.name for file in (folder / "images").iterdir()} == {f"ISIC_{letter}.jpg" for letter in "abcd"}
    assert (folder / "images" / "ISIC_d.jpg").read_bytes() == b"d"
    assert (folder / "masks" / "ISIC_a.png").read_bytes() == b"mask"
    table = pd.read_csv(folder / "metadata.csv")
    assert list(table["split"]) == ["test", "test_sibling", "train", "train"]
    assert list(table["lesion_id"]) == ["L1", "L1", "L2", "L3"]
    assert not (tmp_path / "data" / ".download-ham10000").exists()


def test_attribution_and_licence_are_stored_with_the_images(ham10000: Publisher, tmp_path: Path) -> None:
    command("ham10000", "--out", tmp_path)
    attribution = (tmp_path / "ham10000" / "ATTRIBUTION.md").read_text()
    assert "Tschandl" in attribution
    assert "10.7910/DVN/DBW86T" in attribution
    assert "CC BY-NC 4.0" in (tmp_path / "ham10000" / "LICENSE").read_text()
    record = json.loads((tmp_path / "ham10000" / "download.json").read_text())
    assert {file["name"] for file in record["files"]} >= {"images_1.zip", "images_2.zip"}


def test_complete_files_are_not_requested_again(
    ham10000: Publisher, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    command("ham10000", "--out", tmp_path)
    ham10000.requests.clear()
    assert command("ham10000", "--out", tmp_path) == 0
    assert not ham10000.requests
    assert "already complete" in capsys.readouterr().out


def test_a_folder_of_other_origin_is_left_alone(ham10000: Publisher, tmp_path: Path) -> None:
    (tmp_path / "ham10000").mkdir()
    with pytest.raises(DataError, match="not created by this command"):
        command("ham10000", "--out", tmp_path)
    assert not ham10000.requests


def test_cut_connections_are_resumed(ham10000: Publisher, tmp_path: Path) -> None:
    ham10000.cuts[FIRST] = [10_000, 20_000]
    command("ham10000", "--out", tmp_path)
    assert ham10000.ranges(FIRST) == [None, "bytes=10000-", "bytes=30000-"]
    assert (tmp_path / "ham10000" / "images" / "ISIC_b.jpg").read_bytes() == b"b" * 40_000


def test_a_server_that_ignores_range_starts_afresh(ham10000: Publisher, tmp_path: Path) -> None:
    ham10000.cuts[FIRST] = [10_000]
    ham10000.ignores_range = True
    command("ham10000", "--out", tmp_path)
    assert ham10000.ranges(FIRST) == [None, "bytes=10000-"]
    assert (tmp_path / "ham10000" / "images" / "ISIC_a.jpg").read_bytes() == b"a" * 40_000


def test_a_short_response_without_length_is_noticed(ham10000: Publisher, tmp_path: Path) -> None:
    ham10000.tells_length = False
    ham10000.cuts[FIRST] = [10_000]
    command("ham10000", "--out", tmp_path)
    assert ham10000.ranges(FIRST) == [None, "bytes=10000-"]


def test_server_errors_are_tried_again(ham10000: Publisher, tmp_path: Path) -> None:
    ham10000.statuses = {LISTING: [503], FIRST: [500, 429]}
    assert command("ham10000", "--out", tmp_path) == 0


def test_an_interrupted_download_resumes_later(ham10000: Publisher, tmp_path: Path) -> None:
    ham10000.cuts[SECOND] = [100] + [0] * (transfer.RETRIES - 1)
    with pytest.raises(DataError, match="Run the same command again to continue"):
        command("ham10000", "--out", tmp_path)
    assert not (tmp_path / "ham10000").exists()
    assert (tmp_path / ".download-ham10000" / "images_2.zip.part").stat().st_size == 100
    ham10000.requests.clear()
    command("ham10000", "--out", tmp_path)
    assert ham10000.ranges(FIRST) == []
    assert ham10000.ranges(SECOND) == ["bytes=100-"]
    assert (tmp_path / "ham10000" / "images" / "ISIC_c.jpg").read_bytes() == b"c"


def test_a_part_that_was_complete_is_only_checked(ham10000: Publisher, tmp_path: Path) -> None:
    work = tmp_path / ".download-ham10000"
    work.mkdir()
    (work / "images_1.zip.part").write_bytes(ham10000.files[FIRST])
    (work / "images_2.zip.part").write_bytes(ham10000.files[SECOND] + b"too much")
    command("ham10000", "--out", tmp_path)
    assert ham10000.ranges(FIRST) == []
    assert ham10000.ranges(SECOND) == [None]


def test_a_wrong_checksum_is_tried_once_more(ham10000: Publisher, tmp_path: Path) -> None:
    ham10000.corrupted[FIRST] = 1
    command("ham10000", "--out", tmp_path)
    assert ham10000.ranges(FIRST) == [None, None]
    assert (tmp_path / "ham10000" / "images" / "ISIC_a.jpg").read_bytes() == b"a" * 40_000


def test_a_checksum_wrong_twice_leaves_nothing(ham10000: Publisher, tmp_path: Path) -> None:
    ham10000.corrupted[FIRST] = 5
    with pytest.raises(DataError, match=r"images_1\.zip .* wrong checksum, twice"):
        command("ham10000", "--out", tmp_path)
    assert {file.name for file in (tmp_path / ".download-ham10000").iterdir()} <= {"metadata"}


def test_the_room_is_checked_before_anything_is_fetched(ham10000: Publisher, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"not enough room .* MB are needed and 0\.1 MB are free"):
        command("ham10000", "--out", tmp_path, "--max-bytes", 100_000)
    assert ham10000.paths() == [LISTING]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which Linux has")
def test_a_full_disk_is_reported(publisher: Publisher, tmp_path: Path) -> None:
    publisher.files["/file"] = b"x" * 1000
    (tmp_path / "file.part").symlink_to("/dev/full")
    remote = transfer.Remote("file", f"{publisher.url}/file", 1000, ("md5", hashlib.md5(b"x" * 1000).hexdigest()))
    with transfer.open_session() as session, pytest.raises(DataError, match="not enough room"):
        transfer.fetch(session, remote, tmp_path, silent())
    assert not (tmp_path / "file").exists()


def test_a_disk_that_fills_while_unpacking_leaves_the_archives(
    ham10000: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(transfer.shutil, "copyfileobj", fail)
        with pytest.raises(DataError, match="not enough room"):
            command("ham10000", "--out", tmp_path)
    assert not (tmp_path / "ham10000").exists()
    assert not (tmp_path / ".download-ham10000" / "ready").exists()
    ham10000.requests.clear()
    command("ham10000", "--out", tmp_path)
    assert ham10000.paths() == [LISTING]


def test_a_missing_file_is_named(ham10000: Publisher, tmp_path: Path) -> None:
    del ham10000.files[SECOND]
    with pytest.raises(DataError, match=r"nothing at http.*/datafile/2 \(status 404\)"):
        command("ham10000", "--out", tmp_path)


def test_a_changed_listing_is_named(ham10000: Publisher, tmp_path: Path) -> None:
    ham10000.files[LISTING] = b'{"data": {"latestVersion": {"files": []}}}'
    with pytest.raises(DataError, match="no longer lists metadata"):
        command("ham10000", "--out", tmp_path)
    for response in (b"<html>", b"[]", b'{"data": null}'):
        ham10000.files[LISTING] = response
        with pytest.raises(DataError, match="sent an unexpected response"):
            command("ham10000", "--out", tmp_path)


def test_an_unreachable_host_is_named(tmp_path: Path, publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("SKINAPP_DATAVERSE_URL", f"http://127.0.0.1:{port}")
    with pytest.raises(DataError, match=rf"127\.0\.0\.1:{port} could not be reached"):
        command("ham10000", "--out", tmp_path)
    assert not (tmp_path / "ham10000").exists()


@pytest.mark.parametrize("name", ["../../evil.jpg", "/evil.jpg", "..\\evil.jpg", "C:\\evil.jpg"])
def test_an_archive_cannot_write_elsewhere(ham10000: Publisher, tmp_path: Path, name: str) -> None:
    ham10000.files[FIRST] = zipped({"ISIC_a.jpg": b"a", name: b"evil"})
    relist(ham10000)
    with pytest.raises(DataError, match="leads out of its folder"):
        command("ham10000", "--out", tmp_path / "data")
    assert not list(tmp_path.rglob("evil*"))
    assert not (tmp_path / "data" / "ham10000").exists()


def test_an_archive_with_one_name_twice_is_refused(ham10000: Publisher, tmp_path: Path) -> None:
    ham10000.files[FIRST] = zipped({"ISIC_a.jpg": b"a", "other/ISIC_a.jpg": b"another"})
    relist(ham10000)
    with pytest.raises(DataError, match=r"two files that would be images/ISIC_a\.jpg"):
        command("ham10000", "--out", tmp_path)


def test_a_damaged_archive_is_removed(ham10000: Publisher, tmp_path: Path) -> None:
    ham10000.files[FIRST] = zipped({"ISIC_a.jpg": b"a" * 100}).replace(b"a" * 100, b"a" * 99 + b"b")
    relist(ham10000)
    with pytest.raises(DataError, match=r"images_1\.zip is damaged"):
        command("ham10000", "--out", tmp_path)
    assert not (tmp_path / ".download-ham10000" / "images_1.zip").exists()


def test_rows_without_images_are_counted(ham10000: Publisher, tmp_path: Path) -> None:
    ham10000.files[SECOND] = zipped({"ISIC_c.jpg": b"c", "ISIC_e.jpg": b"e"})
    relist(ham10000)
    with pytest.raises(DataError, match="1 rows without an image, 1 images without a row"):
        command("ham10000", "--out", tmp_path)
    assert not (tmp_path / "ham10000").exists()


def test_pad_ufes_20(publisher: Publisher, tmp_path: Path) -> None:
    files = {"metadata.csv": b"patient_id,img_id\nPAT_1,PAT_1_1_1.png\nPAT_2,PAT_2_2_2.png\nPAT_3,PAT_3_3_3.png\n"}
    for number in (1, 2, 3):
        files[f"imgs_part_{number}.zip"] = zipped({f"imgs_part_{number}/PAT_{number}_{number}_{number}.png": b"png"})
    publisher.files = {f"/files/{name}": content for name, content in files.items()}
    details = [
        {
            "filename": name,
            "content_details": {
                "download_url": f"{publisher.url}/files/{name}",
                "size": len(content),
                "sha256_hash": hashlib.sha256(content).hexdigest(),
            },
        }
        for name, content in files.items()
    ]
    publisher.files["/public-api/datasets/zr7vgbcyr2"] = json.dumps({"files": details}).encode()
    publisher.corrupted["/files/imgs_part_2.zip"] = 1
    assert command("pad-ufes-20", "--out", tmp_path) == 0
    folder = tmp_path / "pad_ufes_20"
    assert {file.name for file in (folder / "images").iterdir()} == {f"PAT_{n}_{n}_{n}.png" for n in (1, 2, 3)}
    assert (folder / "metadata.csv").read_bytes() == files["metadata.csv"]
    assert "CC BY 4.0" in (folder / "LICENSE").read_text()


KAGGLE = "/api/v1/datasets/download/fanconic/skin-cancer-malignant-vs-benign"


@pytest.fixture
def kaggle(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> Publisher:
    halves = {f"{half}/{kind}/{number}.jpg": b"x" * 9000 for half in ("train", "test") for kind, number in PAIRS}
    archive = zipped(halves | {f"data/{name}": content for name, content in halves.items()})
    digest = base64.b64encode(hashlib.md5(archive).digest()).decode()
    publisher.files[KAGGLE] = archive
    publisher.headers[KAGGLE] = {"x-goog-hash": f"crc32c=AAAAAA==,md5={digest}"}
    monkeypatch.setenv("KAGGLE_USERNAME", "someone")
    monkeypatch.setenv("KAGGLE_KEY", "secret")
    return publisher


PAIRS = [("benign", 3), ("malignant", 3)]


def test_malignant_benign(kaggle: Publisher, tmp_path: Path) -> None:
    kaggle.cuts[KAGGLE] = [10_000]
    assert command("malignant-benign", "--out", tmp_path) == 0
    images = {str(file.relative_to(tmp_path / "malignant_benign")) for file in tmp_path.rglob("*.jpg")}
    assert images == {"benign/3.jpg", "malignant/3.jpg", "test/benign/3.jpg", "test/malignant/3.jpg"}
    assert kaggle.ranges(KAGGLE) == [None, "bytes=10000-"]
    login = "Basic " + base64.b64encode(b"someone:secret").decode()
    assert {authorization for _, _, authorization in kaggle.requests} == {login}


def test_a_checksum_that_comes_with_the_file_counts(kaggle: Publisher, tmp_path: Path) -> None:
    kaggle.corrupted[KAGGLE] = 2
    with pytest.raises(DataError, match="wrong checksum, twice"):
        command("malignant-benign", "--out", tmp_path)


@pytest.mark.parametrize("tells_length", [True, False])
def test_a_size_that_comes_with_the_file_counts(kaggle: Publisher, tmp_path: Path, tells_length: bool) -> None:
    kaggle.tells_length = tells_length
    with pytest.raises(DataError, match="not enough room"):
        command("malignant-benign", "--out", tmp_path, "--max-bytes", 20_000)
    held = sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file())
    assert held <= 20_000


def test_without_a_checksum_a_part_is_not_continued(kaggle: Publisher, tmp_path: Path) -> None:
    kaggle.headers.clear()
    kaggle.cuts[KAGGLE] = [10_000]
    command("malignant-benign", "--out", tmp_path)
    assert kaggle.ranges(KAGGLE) == [None, "bytes=10000-", None]


def test_kaggle_needs_an_account(kaggle: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kaggle.statuses[KAGGLE] = [401]
    with pytest.raises(DataError, match="refuses access"):
        command("malignant-benign", "--out", tmp_path)
    kaggle.requests.clear()
    monkeypatch.delenv("KAGGLE_KEY")
    with pytest.raises(DataError, match="KAGGLE_USERNAME and KAGGLE_KEY"):
        command("malignant-benign", "--out", tmp_path)
    assert not kaggle.requests


@pytest.fixture
def archive(publisher: Publisher) -> Publisher:
    for number, licence in ((1, "CC-0"), (2, "CC-BY"), (3, "CC-BY")):
        image, content = f"ISIC_000000{number}", b"jpeg" * number
        publisher.files[f"/signed/{image}.JPG"] = content
        entry = {
            "isic_id": image,
            "copyright_license": licence,
            "attribution": "Hospital Clinic de Barcelona",
            "files": {"full": {"url": f"{publisher.url}/signed/{image}.JPG?key=1", "size": len(content)}},
            "metadata": {"clinical": {"sex": "female"}, "acquisition": {"image_type": "dermoscopic"}},
        }
        publisher.files[f"/api/v2/images/{image}/"] = json.dumps(entry).encode()
    return publisher


def ids_file(folder: Path, *lines: str) -> Path:
    file = folder / "ids.txt"
    file.write_text("\n".join(lines) + "\n")
    return file


def test_single_images_come_with_their_licences(archive: Publisher, tmp_path: Path) -> None:
    ids = ids_file(tmp_path, "ISIC_0000001", "", "ISIC_0000002")
    assert command("isic", "--ids", ids, "--out", tmp_path) == 0
    table = pd.read_csv(tmp_path / "isic" / "metadata.csv").set_index("image")
    assert (tmp_path / "isic" / "images" / table.loc["ISIC_0000002", "file"]).read_bytes() == b"jpegjpeg"
    assert list(table["licence"]) == ["CC-0", "CC-BY"]
    assert list(table["sex"]) == ["female", "female"]
    attribution = (tmp_path / "isic" / "ATTRIBUTION.md").read_text()
    assert "Hospital Clinic de Barcelona, CC-BY" in attribution
    assert "creativecommons.org/publicdomain/zero" in (tmp_path / "isic" / "LICENSE").read_text()


def test_further_images_join_those_that_are_there(archive: Publisher, tmp_path: Path) -> None:
    command("isic", "--ids", ids_file(tmp_path, "ISIC_0000001"), "--out", tmp_path)
    archive.requests.clear()
    command("isic", "--ids", ids_file(tmp_path, "ISIC_0000001"), "--out", tmp_path)
    assert not archive.requests
    command("isic", "--ids", ids_file(tmp_path, "ISIC_0000001", "ISIC_0000003"), "--out", tmp_path)
    assert archive.paths() == ["/api/v2/images/ISIC_0000003/", "/signed/ISIC_0000003.JPG"]
    assert list(pd.read_csv(tmp_path / "isic" / "metadata.csv")["image"]) == ["ISIC_0000001", "ISIC_0000003"]


def test_a_failure_keeps_the_images_before_it(archive: Publisher, tmp_path: Path) -> None:
    archive.cuts["/signed/ISIC_0000002.JPG"] = [3] * transfer.RETRIES
    ids = ids_file(tmp_path, "ISIC_0000001", "ISIC_0000002", "ISIC_0000003")
    with pytest.raises(DataError, match="Run the same command again to continue"):
        command("isic", "--ids", ids, "--out", tmp_path)
    assert [file.name for file in (tmp_path / "isic" / "images").iterdir()] == ["ISIC_0000001.jpg"]
    assert list(pd.read_csv(tmp_path / "isic" / "metadata.csv")["image"]) == ["ISIC_0000001"]
    command("isic", "--ids", ids, "--out", tmp_path)
    assert len(pd.read_csv(tmp_path / "isic" / "metadata.csv")) == 3


def test_ids_are_checked_before_any_request(archive: Publisher, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 2: isic_1"):
        command("isic", "--ids", ids_file(tmp_path, "ISIC_0000001", "isic_1"), "--out", tmp_path)
    with pytest.raises(DataError, match="ISIC_0000001, 2 times"):
        command("isic", "--ids", ids_file(tmp_path, "ISIC_0000001", "ISIC_0000001"), "--out", tmp_path)
    with pytest.raises(DataError, match="holds no ids"):
        command("isic", "--ids", ids_file(tmp_path), "--out", tmp_path)
    with pytest.raises(DataError, match="cannot be read"):
        command("isic", "--ids", tmp_path / "none.txt", "--out", tmp_path)
    with pytest.raises(DataError, match="pass --ids FILE"):
        command("isic", "--out", tmp_path)
    assert not archive.requests


def test_unknown_ids_are_named_before_an_image_is_fetched(archive: Publisher, tmp_path: Path) -> None:
    ids = ids_file(tmp_path, "ISIC_0000001", "ISIC_0000008", "ISIC_0000009")
    with pytest.raises(DataError, match=r"2 ids; remove them:\nISIC_0000008\nISIC_0000009"):
        command("isic", "--ids", ids, "--out", tmp_path)
    assert not any(path.startswith("/signed") for path in archive.paths())


@pytest.fixture
def milk10k(archive: Publisher, monkeypatch: pytest.MonkeyPatch) -> Publisher:
    """Two pictures of one lesion, and one picture that the archive does not have."""
    columns = splits.listed("milk10k").columns
    rows = [
        ("ISIC_0000001", "IL_1", "dermoscopy", "MEL", "mel", "", "ISIC_0024306", "train"),
        ("ISIC_0000002", "IL_1", "clinical", "MEL", "", "MEL", "", "train"),
        ("ISIC_0000009", "IL_2", "dermoscopy", "NV", "nv", "", "", "test"),
    ]
    monkeypatch.setattr(download, "listed", lambda _: pd.DataFrame(rows, columns=columns))
    return archive


def test_a_data_set_on_the_archive_is_downloaded_by_id(
    milk10k: Publisher, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "IDS_AT_ONCE", 2)
    assert command("milk10k", "--out", tmp_path) == 0
    assert "The archive no longer has 1 of 3 images." in capsys.readouterr().out
    folder = tmp_path / "milk10k"
    assert (folder / "dermoscopy" / "ISIC_0000001.jpg").read_bytes() == b"jpeg"
    assert (folder / "clinical" / "ISIC_0000002.jpg").read_bytes() == b"jpegjpeg"
    table = registry.published("milk10k", tmp_path)
    assert table["image"].tolist() == ["dermoscopy/ISIC_0000001", "clinical/ISIC_0000002"]
    assert set(registry.image_files("milk10k", tmp_path)) == set(table["image"])
    assert table["lesion"].tolist() == ["IL_1", "IL_1"]
    assert table["sex"].tolist() == ["female", "female"]
    assert table["age"].isna().all(), "not stated"
    assert pd.read_csv(folder / "metadata.csv")["licence"].tolist() == ["CC-0", "CC-BY"]
    assert "MILK study team" in (folder / "ATTRIBUTION.md").read_text()
    assert not list(tmp_path.glob(".download*"))
    milk10k.requests.clear()
    assert command("milk10k", "--out", tmp_path) == 0
    assert not milk10k.requests


def test_a_download_by_id_is_resumed(milk10k: Publisher, tmp_path: Path) -> None:
    milk10k.cuts["/signed/ISIC_0000002.JPG"] = [3] * transfer.RETRIES
    with pytest.raises(DataError, match="Run the same command again to continue"):
        command("milk10k", "--out", tmp_path)
    assert not (tmp_path / "milk10k").exists()
    # and another interruption while arranging the images
    arranged = tmp_path / ".download-milk10k" / "ready" / "dermoscopy"
    arranged.mkdir(parents=True)
    (tmp_path / ".download-milk10k" / "images" / "ISIC_0000001.jpg").rename(arranged / "ISIC_0000001.jpg")
    milk10k.requests.clear()
    command("milk10k", "--out", tmp_path)
    assert not [path for path in milk10k.paths() if path.startswith("/signed/ISIC_0000001")]
    assert len(list((tmp_path / "milk10k").glob("*/*.jpg"))) == 2


@pytest.mark.data
@pytest.mark.parametrize("name", ["milk10k", "isic_more"])
def test_the_lists_are_those_of_the_tables(name: str, data_root: Path) -> None:
    ours = splits.listed(name)
    table = pd.read_csv(data_root / name / "metadata.csv", dtype=str, keep_default_na=False)
    known = table[table["image_id"].isin(ours["image_id"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(known[list(ours.columns)], ours)
    assert not table["image_id"][~table["image_id"].isin(ours["image_id"])].str.match("ISIC_").any()


def test_impossible_options_are_refused(publisher: Publisher, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--max-bytes is 0"):
        command("ham10000", "--out", tmp_path, "--max-bytes", 0)
    with pytest.raises(DataError, match="downloaded whole"):
        command("ham10000", "--out", tmp_path, "--ids", tmp_path / "ids.txt")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be made"):
        command("ham10000", "--out", tmp_path / "file" / "data")


def encrypted(archive: bytes) -> bytes:
    """Every entry marked as encrypted, in its own header and in the directory."""
    content = bytearray(archive)
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    return bytes(content)


def unknown_compression(archive: bytes) -> bytes:
    content = bytearray(archive)
    for signature, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        content[content.index(signature) + offset] = 97
    return bytes(content)


def damaged_data(archive: bytes) -> bytes:
    """The first block of the deflated data has a type that does not exist."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        start = 30 + len(opened.infolist()[0].filename)
    return archive[:start] + b"\xff" * 8 + archive[start + 8 :]


@pytest.mark.parametrize("corrupt", [encrypted, unknown_compression, damaged_data])
def test_an_archive_that_cannot_be_unpacked_is_reported(corrupt: Callable[[bytes], bytes], tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("a.jpg", bytes(range(256)) * 100)
    archive = tmp_path / "images.zip"
    archive.write_bytes(corrupt(buffer.getvalue()))
    (tmp_path / "out").mkdir()
    with pytest.raises(DataError, match=r"images\.zip is damaged"):
        transfer.unzip(archive, tmp_path / "out", lambda name: Path(name))
    assert not archive.exists()


@pytest.mark.parametrize("failure", ["refused", "missing", "broken", "elsewhere"])
def test_no_message_holds_a_key_or_a_signature(
    failure: str,
    kaggle: Publisher,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("KAGGLE_KEY", "k3y-of-someone")
    monkeypatch.setenv("SKINAPP_KAGGLE_URL", kaggle.url.replace("://", "://someone:passw0rd@"))
    caplog.set_level("WARNING")
    if failure == "elsewhere":
        monkeypatch.setattr(requests.Session, "get", sent_to_an_address_with_a_signature)
    else:
        kaggle.statuses[KAGGLE] = {"refused": [403], "missing": [404], "broken": [500] * 9}[failure]
    with pytest.raises(DataError) as caught:
        command("malignant-benign", "--out", tmp_path)
    printed = "".join([str(caught.value), *capsys.readouterr(), caplog.text])
    assert "127.0.0.1" in printed
    assert "k3y-of" not in repr(download.kaggle("a", "b"))
    assert not [secret for secret in ("k3y-of", "passw0rd", "51gned") if secret in printed]


def sent_to_an_address_with_a_signature(*_: object, **__: object) -> requests.Response:
    raise requests.TooManyRedirects("https://storage.example/a?X-Goog-Signature=51gned")
