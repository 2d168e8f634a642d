"""Decoding in separate processes gives the same pixels and messages, and survives its decoders."""

import datetime
import functools
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skinapp.errors import ImageError
from skinapp.images import imaging, isolated, taken
from skinapp.images.imaging import Crop
from tests import fuzz
from tests.images.test_imaging import READABLE, UPRIGHT
from tests.pictures import encode, lesion

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="decoders need Linux")
PHOTO = encode(lesion())


@pytest.fixture
def own_decoders(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Decoders for one test, so that limits can be changed before they start."""
    monkeypatch.setattr(isolated, "_free", queue.LifoQueue())
    monkeypatch.setattr(isolated, "_works", [])
    yield
    isolated._stop_all()


def process() -> int:
    """The id of the process that decodes next."""
    return isolated._free.queue[-1].process.pid


@functools.cache
def slow_image() -> bytes:
    """An image that takes most of a second to decode, and the maximum memory for an image."""
    return encode(Image.new("RGB", (7_000, 5_700)), "PNG", compress_level=1)


@pytest.mark.parametrize("name", READABLE)
def test_every_format_gives_the_same_pixels(name: str) -> None:
    data = READABLE[name][0]()
    image = isolated.decode(data)
    assert image.mode == "RGB"
    assert np.array_equal(np.asarray(image), np.asarray(imaging.decode(data)))


def test_the_crop_decides_the_size_as_it_does_in_this_process() -> None:
    large = encode(lesion(1600, 1200))
    for crop in (Crop(), Crop(0.3, 0.3, 0.2)):
        assert isolated.decode(large, crop).size == imaging.decode(large, crop).size
        assert isolated.reduction(large, crop) == imaging.reduction(large, crop)


@pytest.mark.parametrize("data", [b"", b"text", b"%PDF-1.7", PHOTO[:2000], bytes(imaging.MAX_BYTES + 1)])
def test_files_that_are_not_images_get_the_same_error_message(data: bytes) -> None:
    with pytest.raises(ImageError) as expected:
        imaging.decode(data)
    with pytest.raises(ImageError) as caught:
        isolated.decode(data)
    assert str(caught.value) == str(expected.value)


def test_the_day_of_a_photo_is_read_there_too() -> None:
    exif = Image.Exif()
    exif[306] = "2025:03:01 10:00:00"
    today = datetime.date(2026, 1, 1)
    assert isolated.day_taken(encode(lesion(), exif=exif), today) == datetime.date(2025, 3, 1)
    assert isolated.day_taken(PHOTO, today) is taken.taken(PHOTO, today) is None


def test_a_decoder_that_crashes_costs_one_image(own_decoders: None) -> None:
    assert isolated.start()
    crashed, slow = process(), slow_image()
    shared = isolated._free.queue[-1].shared
    failures: list[str] = []

    def upload() -> None:
        with pytest.raises(ImageError) as caught:
            isolated.decode(slow)
        failures.append(str(caught.value))

    # otherwise decoding might finish before the crash
    os.kill(crashed, signal.SIGSTOP)
    visitor = threading.Thread(target=upload)
    visitor.start()
    # the file exists only once the process has been found alive
    while not shared[0]:
        time.sleep(0.001)
    os.kill(crashed, signal.SIGSEGV)
    os.kill(crashed, signal.SIGCONT)
    visitor.join()
    assert failures == [imaging.TOO_MUCH]
    assert isolated.decode(PHOTO).size == imaging.decode(PHOTO).size
    assert process() != crashed


def test_a_decoder_that_died_between_images_costs_none(own_decoders: None) -> None:
    assert isolated.start()
    dead = process()
    os.kill(dead, signal.SIGKILL)
    isolated._free.queue[-1].process.wait()
    assert isolated.decode(PHOTO).size == imaging.decode(PHOTO).size
    assert process() != dead


def test_decoders_are_stopped_down_to_one(own_decoders: None) -> None:
    assert isolated.start()
    first, second = isolated._free.get(), isolated._free.get()
    assert second is None
    second = isolated._Decoder()
    isolated._free.put(second)
    isolated._free.put(first)
    isolated.stop_spare()
    assert second.process.poll() is not None
    assert isolated._free.queue == [None, first]
    assert isolated.decode(PHOTO).size == imaging.decode(PHOTO).size
    # also where one is at work
    assert isolated._free.get() is first
    isolated.stop_spare()
    assert isolated._free.queue == [None]
    isolated._free.put(first)


def test_an_image_that_takes_too_long_is_given_up(own_decoders: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolated, "SECONDS", 0.05)
    with pytest.raises(ImageError, match="too much time or memory"):
        isolated.decode(slow_image())


def test_an_image_that_takes_too_much_memory_is_given_up(own_decoders: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolated, "ADDRESS_SPACE", 64 * 1024**2)
    with pytest.raises(ImageError, match="too much time or memory"):
        isolated.decode(slow_image())
    assert isolated.decode(PHOTO).size == imaging.decode(PHOTO).size


def test_a_decoder_that_stops_is_replaced(own_decoders: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isolated.start()
    stopped = process()
    isolated._free.queue[-1].connection.settimeout(0.2)
    os.kill(stopped, signal.SIGSTOP)
    with pytest.raises(ImageError, match="too much time or memory"):
        isolated.decode(PHOTO)
    assert isolated.decode(PHOTO).size == imaging.decode(PHOTO).size


def test_an_interrupted_request_leaves_no_reply_for_the_next_visitor(
    own_decoders: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isolated.start()

    def interrupted(*_: object) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(isolated.json, "loads", interrupted)
        with pytest.raises(KeyboardInterrupt):
            isolated.decode(encode(lesion(seed=1)))
    assert np.array_equal(np.asarray(isolated.decode(PHOTO)), np.asarray(imaging.decode(PHOTO)))


def test_nothing_of_an_image_stays_in_a_decoder(own_decoders: None) -> None:
    exif = Image.Exif()
    exif[0x010E] = "the camera of M. Mustermann" * 9
    data = encode(lesion(), exif=exif)
    pixels = isolated.decode(data).tobytes()
    traces = {"file": data[2000:2032], "name": b"Mustermann", "pixels": pixels[len(pixels) // 2 :][:48]}
    memory = memory_of(process())
    assert b"skinapp" in memory
    assert [name for name, trace in traces.items() if trace in memory] == []
    assert not any(isolated._free.queue[-1].shared[: len(pixels)])


def memory_of(process: int) -> bytes:
    """The writable memory of a process."""
    parts = []
    with Path(f"/proc/{process}/maps").open() as maps, Path(f"/proc/{process}/mem").open("rb", 0) as memory:
        for line in maps:
            span, permissions, *_ = line.split()
            first, last = (int(end, 16) for end in span.split("-"))
            if permissions.startswith("rw") and "memfd" not in line:
                memory.seek(first)
                parts.append(memory.read(last - first))
    return b"".join(parts)


def test_a_decoder_knows_nothing_of_the_server(own_decoders: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COOKIE_SECRET", "51gned")
    assert isolated.start()
    assert b"51gned" not in Path(f"/proc/{process()}/environ").read_bytes()
    assert {Path(f"/proc/{process()}/fd/{number}").resolve() for number in range(3)} == {Path(os.devnull)}


def test_where_decoders_cannot_start_the_server_decodes(
    own_decoders: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert isolated.decode(PHOTO).size == imaging.decode(PHOTO).size
    assert isolated.reduction(PHOTO) == 1
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize("first", [0, 40])
def test_mutated_files_give_an_image_or_an_error_message(first: int) -> None:
    """`make fuzz` does this with 10,000."""
    results = {number: fuzz.outcome(fuzz.mutated(number)[1]) for number in range(first, first + 40)}
    assert {number: result for number, result in results.items() if result not in ("image", "sentence")} == {}
    assert set(results.values()) == {"image", "sentence"}


def test_mutations_depend_on_the_number_alone() -> None:
    lab = encode(UPRIGHT.convert("LAB"), "TIFF")
    when = lab.index(b"acsp") - 12
    assert fuzz.undated(lab) == fuzz.undated(lab[:when] + b"another time" + lab[when + 12 :])
    first = [fuzz.mutated(number) for number in range(50)]
    fuzz.originals.cache_clear()
    assert [fuzz.mutated(number) for number in range(50)] == first
    assert len({data for _, data in first}) == 50
