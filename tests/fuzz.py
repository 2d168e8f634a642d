"""python -m tests.fuzz: send mutated files of every format through the decoders for visitors' images.

Each file must give an image or an error message, within SECONDS and ADDRESS_SPACE, and must not kill the decoder.
Mutations depend only on the number of a file, so that a finding can be reproduced: `--first 1234 --count 1`.
"""

import argparse
import collections
import datetime
import functools
import random
import sys
import time
from pathlib import Path

import numpy as np
from pydicom.uid import JPEG2000Lossless
from tqdm import tqdm

from skinapp.errors import ImageError
from skinapp.images import imaging, isolated
from tests import dicom
from tests.images.test_imaging import GREY, READABLE, UPRIGHT
from tests.pictures import encode

FILES = 10_000
SECONDS = 10.0
ADDRESS_SPACE = 1024**3
FINDINGS = Path("build/fuzz")
TODAY = datetime.date(2026, 1, 1)
ODD_BYTES = (b"\0", b"\x7f", b"\x80", b"\xff\xff", b"\xff\xd9", b"\0" * 4, b"\x7f\xff\xff\xff", b"\xff" * 4)
ALWAYS_THE_SAME = {"SOPInstanceUID": "1.2.3"}


@functools.cache
def originals() -> dict[str, bytes]:
    """A small file of every supported format and kind, by name."""
    rgb = np.asarray(UPRIGHT)
    files = {name: undated(make()) for name, (make, *_) in READABLE.items()}
    files["dicom"] = dicom.native(rgb, **ALWAYS_THE_SAME)
    files["dicom of 16-bit grey"] = dicom.native(
        np.asarray(GREY).astype(np.uint16) * 16, "MONOCHROME1", **ALWAYS_THE_SAME
    )
    files["dicom, JPEG inside"] = dicom.compressed(encode(UPRIGHT), **ALWAYS_THE_SAME)
    files["dicom, JPEG 2000 inside"] = dicom.compressed(
        encode(UPRIGHT, "JPEG2000", irreversible=False, mct=1), "YBR_RCT", JPEG2000Lossless, **ALWAYS_THE_SAME
    )
    return files


def undated(data: bytes) -> bytes:
    """The file with the creation time of its colour profile, if any, removed."""
    mark = data.find(b"acsp")
    return data if mark < 0 else data[: mark - 12] + bytes(12) + data[mark:]


def mutated(number: int) -> tuple[str, bytes]:
    """The name of the original, and its bytes with one to eight changes; deterministic for each number."""
    names = list(originals())
    name = names[number % len(names)]
    draw = random.Random(number)
    data = bytearray(originals()[name])
    for _ in range(draw.choice((1, 1, 2, 4, 8))):
        # headers determine most of a decoder's behaviour
        end = len(data) if draw.random() < 0.5 else min(len(data), 1024)
        place = draw.randrange(max(end, 1))
        length = draw.choice((1, 2, 4, 16, 256, 4096))
        match draw.randrange(7):
            case 0:
                data[place : place + 1] = bytes([draw.randrange(256)])
            case 1 if data:
                data[min(place, len(data) - 1)] ^= 1 << draw.randrange(8)
            case 2:
                odd = draw.choice(ODD_BYTES)
                data[place : place + len(odd)] = odd
            case 3:
                del data[place : place + length]
            case 4:
                data[place:place] = data[place : place + length]
            case 5:
                other = originals()[draw.choice(names)]
                begin = draw.randrange(len(other))
                data[place : place + length] = other[begin : begin + length]
            case _:
                if draw.random() < 0.3:
                    del data[place + 64 :]
    return name, bytes(data)


def outcome(data: bytes) -> str:
    """ "image" or "sentence", or else a description of the failure."""
    start = time.monotonic()
    try:
        image = isolated.decode(data)
        isolated.day_taken(data, TODAY)
        fine = image.mode == "RGB" and min(image.size) > 0 and not image.info
        result = "image" if fine else f"a picture that is none: {image}"
    except ImageError as error:
        result = "the limits, or a crash" if str(error) == imaging.TOO_MUCH else "sentence"
    except Exception as error:  # noqa: BLE001  # that is what is searched for
        result = f"{type(error).__name__}: {error}"
    seconds = time.monotonic() - start
    return result if seconds < 2 * SECONDS else f"{seconds:.1f} s"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--first", type=int, default=0, metavar="N", help="the number of the first file")
    parser.add_argument("--count", type=int, default=FILES, metavar="N", help="how many files (default: %(default)s)")
    options = parser.parse_args()
    isolated.SECONDS, isolated.ADDRESS_SPACE = SECONDS, ADDRESS_SPACE
    if not isolated.start():
        print("Decoders cannot be started here, so nothing was tested.", file=sys.stderr)
        return 2
    counts: collections.Counter[str] = collections.Counter()
    for number in tqdm(range(options.first, options.first + options.count), unit="file", mininterval=5):
        name, data = mutated(number)
        result = outcome(data)
        counts[result if result in ("image", "sentence") else "finding"] += 1
        if result not in ("image", "sentence"):
            FINDINGS.mkdir(parents=True, exist_ok=True)
            (FINDINGS / f"{number}.bin").write_bytes(data)
            print(f"{number}, {name}: {result}; {FINDINGS / f'{number}.bin'}", flush=True)
    print(f"{counts['image']:,} images, {counts['sentence']:,} sentences, {counts['finding']:,} findings")
    return 1 if counts["finding"] else 0


if __name__ == "__main__":
    sys.exit(main())
