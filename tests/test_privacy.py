"""Visitors' data never reaches a file, the server's output, the page's address or another visitor, and does not stay in
memory after they have left. docs/visitors.md says what is freed, and how."""

import io
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.visitor import Visitor
from skinapp.images import imaging
from skinapp.inference import registry
from tests.pictures import encode, lesion
from tests.watched_server import CRASHES_AT, SESSION_SECONDS, Watched, watched

WINDOW = 32
"""The length of a search pattern, in bytes or pixels."""
ROWS = 60
TABLE = "image,dx,age,sex,localization\n" + "".join(
    f"okapi-row-{number},{('nv', 'mel')[number % 2]},{30 + number % 50},male,back\n" for number in range(ROWS)
)
CLEANUP_SECONDS = 120
"""How long to wait after the time for which the session is kept; on a busy machine, a search alone takes 20."""


def photo(seed: int, width: int, height: int) -> bytes:
    """A JPEG with a description and a name in its EXIF."""
    exif = Image.Exif()
    exif[0x010E], exif[0x013B] = f"okapi-description-{seed}", f"okapi-artist-{seed}"
    image = lesion(600, 450, seed=seed).resize((width, height), Image.Resampling.NEAREST)
    return encode(image, exif=exif, quality=100)


def traces(name: str, data: bytes) -> dict[str, bytes]:
    """What to search for: a photo's name, its EXIF, parts of its bytes, and its pixels in the forms used in
    computations."""
    matches = {"its name": name.encode(), "its name, wide": name.encode("utf-32-le")}
    matches |= {f"EXIF {tag}": value.encode() for tag, value in Image.open(io.BytesIO(data)).getexif().items() if value}
    for share in (0.2, 0.4, 0.6, 0.8):
        start = int(share * len(data))
        matches[f"bytes from {share:.0%}"] = data[start : start + WINDOW]
    decoded = imaging.decode(data)
    forms = {
        "decoded": np.asarray(decoded),
        "shown": imaging.crop_resize(decoded, 512),
        "classified": imaging.crop_resize(decoded, registry.ranked()[0].input_size),
    }
    for form, pixels in forms.items():
        row = pixels[len(pixels) // 2, pixels.shape[1] // 3 :][:WINDOW]
        matches[f"{form} pixels"] = row.tobytes()
        matches[f"{form} pixels with a fourth channel"] = np.insert(row, 3, 255, axis=1).tobytes()
        matches[f"{form} pixels as numbers"] = row.astype(np.float32).tobytes()
    return {f"{name}: {what}": needle for what, needle in matches.items()}


PHOTO = {"okapi-photo-1.jpg": photo(1, 2400, 1800)}
"""Over 1 MB, the size from which a server may spool uploads to disk."""
BATCH = {f"okapi-batch-{seed}.jpg": photo(seed, 600, 450) for seed in (2, 3)}
LAST = {"okapi-last-4.jpg": photo(4, 600, 450)}
TRACES = {"the table's name": b"okapi-table.csv", "a row of the table": b"okapi-row-17"}
for name, data in (PHOTO | BATCH | LAST).items():
    TRACES |= traces(name, data)


def visit(server: Watched) -> list[str]:
    """Everything that a visitor can do with their own files; returns the addresses of the pages."""
    addresses = []
    with Visitor(server.address) as visitor:
        visitor.upload(PHOTO)
        assert visitor.headline()
        # the search finds data that is present
        matches = server.in_memory({name: needle for name, needle in TRACES.items() if name.startswith("okapi-photo")})
        for what in ("bytes from 40%", "EXIF 315", "decoded pixels with a fourth channel", "classified pixels"):
            assert f"okapi-photo-1.jpg: {what}" in matches
        assert b"Most likely" in visitor.download("save_answer")
        assert visitor.download("download_map").startswith(b"\x89PNG")
        addresses.append(visitor.query)
        go(visitor, "attention")
        assert visitor.has("attention_models")
        addresses.append(visitor.query)
        go(visitor, "explore", "data=own")
        visitor.upload({"okapi-table.csv": TABLE.encode()}, "own_upload")
        assert "okapi-table.csv" in visitor.words().replace("\\", "")
        addresses.append(visitor.query)
        go(visitor, "classify")
        visitor.set("millimetres_", double_value=CRASHES_AT)
        visitor.upload(BATCH | {"okapi-broken.jpg": b"no image"})
        assert "3 answered, 1 not read" in visitor.words()
        addresses.append(visitor.query)
    # one who leaves while the answer is computed
    with Visitor(server.address) as visitor:
        visitor.request(visitor.uploaded(LAST))
    return addresses


def go(visitor: Visitor, page: str, query: str = "") -> None:
    visitor.page, visitor.query = page, query
    visitor.run()


@pytest.mark.slow
def test_nothing_that_a_visitor_adds_is_kept(tmp_path: Path) -> None:
    with watched(tmp_path) as server:
        with Visitor(server.address) as other:
            other.upload({"theirs.jpg": photo(5, 600, 450)})
            addresses = visit(server)
            other.run()
            seen = other.words()
        assert "okapi" not in seen + "".join(addresses)
        deadline = time.monotonic() + SESSION_SECONDS + CLEANUP_SECONDS
        while (remaining := server.in_memory(TRACES)) and time.monotonic() < deadline:
            time.sleep(1)
        assert remaining == []
        output = server.output.read_text()
        assert "a crash on purpose" in output
        assert "Traceback" in output
        assert server.in_files(TRACES) == []
        # everything written is seen: in the trace, in hexadecimal
        traced = "".join(f"\\x{one:02x}" for one in b"a crash on purpose")
        assert not server.trace.exists() or traced in server.trace.read_text()
        assert server.audit.read_text() == ""
