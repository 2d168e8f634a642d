"""python -m benchmarks.load: many visitors at once on a real server, and with --write the table in the README; with
--large, the memory for one visitor who adds fifty files of 50 MB instead.

Each visitor is a client of Streamlit's protocol (`benchmarks/visitor.py`) with a different photo: they upload it, read
the answer, move the square, read again, and leave. Every answer is compared with the library's.
"""

import argparse
import contextlib
import itertools
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from benchmarks import pictures
from benchmarks.__main__ import README, machine
from benchmarks.startup import megabytes, server
from benchmarks.visitor import Visitor
from skinapp.images import imaging, quality
from skinapp.images.imaging import CENTRE, Crop
from skinapp.inference import analysis, modality, registry, warnings
from skinapp.lesion import square
from tests.pictures import encode, lesion

MARKED = re.compile(r"(?<=<!-- load -->\n).*(?=<!-- load end -->)", re.DOTALL)
VISITORS = (1, 10, 50)
FILES = 50
"""The number of files of the visitor who adds many."""
COMPANIONS = 10
"""The number of visitors with one photo each in addition to that one."""
SIDE = 70
"""Each visitor shrinks the square to this percentage of the shorter side."""
SESSION_SECONDS = 10
"""How long the server keeps the session of a visitor who has left; the default is 120."""
LARGE_BYTES = 50 * 10**6
"""The size of each file of the visitor who adds large ones."""
FREED_SECONDS = 8
"""How long to wait until it has freed the session's data."""

HEADER = (
    "| visitors at once | answers a second | time to the answer, median | 99th percentile | wrong | of another visitor "
    "| server's memory |\n|---|---|---|---|---|---|---|"
)

Probabilities = dict[str, float]


@dataclass(frozen=True)
class Photo:
    """A photo, and the library's answers for its centre square and for a smaller one."""

    data: bytes
    centre: Probabilities
    smaller: Probabilities


@dataclass(frozen=True)
class Answer:
    """Seconds from the visitor's action to the headline on the page, and whether it was correct, or the answer to
    another visitor's photo."""

    seconds: float
    right: bool
    of_another: bool


@dataclass(frozen=True)
class Round:
    """The answers to simultaneous visitors, the `seconds` from the first action to the last answer, and the server's
    memory while all of them were connected, in MB."""

    responses: list[Answer]
    seconds: float
    megabytes: float

    def row(self, visitors: str) -> str:
        times = [response.seconds for response in self.responses]
        wrong = sum(not response.right for response in self.responses)
        mixed = sum(response.of_another for response in self.responses)
        return (
            f"| {visitors} | {len(times) / self.seconds:.1f} | {np.median(times):.2f} s | "
            f"{np.percentile(times, 99):.2f} s | {wrong} of {len(times)} | {mixed} | {self.megabytes:.0f} MB |"
        )


def photos(count: int) -> list[Photo]:
    """Distinct photos that are classified without a question, with the library's answers."""
    return list(itertools.islice(filter(None, map(_photo, itertools.count())), count))


def _photo(seed: int) -> Photo | None:
    """A photo with its answers; None if the page would ask a question first, or start with another square."""
    data = encode(lesion(*pictures.HAM10000_SIZE, seed=seed))
    image = imaging.decode(data)
    route = modality.route(registry.ranked(), modality.recognise(image))
    kind = route.recognised.kind if route.recognised else ""
    doubtful = route.doubt or route.can_ask or warnings.of_quality(quality.measure(image, CENTRE), route.model.modality)
    if doubtful or (kind in square.figures() and square.propose(image, kind).used):
        return None
    responses = []
    for crop in (CENTRE, Crop(side=SIDE / 100)):
        prediction = analysis.analyse(imaging.decode(data, crop), route.model, crop).prediction
        responses.append(dict(zip(prediction.model.labels.codes, prediction.probabilities.tolist(), strict=True)))
    return Photo(data, *responses)


def visit(address: str, photo: Photo, others: Sequence[Photo], barrier: threading.Barrier) -> list[Answer]:
    """The actions of one visitor, starting and leaving at the same time as the others."""
    with Visitor(address) as visitor:
        barrier.wait()
        responses = [
            timed(
                visitor,
                lambda: visitor.upload({"photo.jpg": photo.data}),
                photo.centre,
                [other.centre for other in others],
            )
        ]
        if visitor.has("crop_side"):
            move = {"double_array_value": [SIDE]}
            expected = photo.smaller, [other.smaller for other in others]
            responses.append(timed(visitor, lambda: visitor.set("crop_side", **move), *expected))
        barrier.wait()
        # wait while the server's memory is measured
        barrier.wait()
    return responses


def timed(
    visitor: Visitor, action: Callable[[], None], expected: Probabilities, of_others: Sequence[Probabilities]
) -> Answer:
    start = time.monotonic()
    action()
    shown = visitor.probabilities()
    return Answer(visitor.answered_at - start, shown == expected, shown != expected and shown in of_others)


def run_round(address: str, process: int, visitors: Sequence[Photo], many: Sequence[Photo] = ()) -> Round:
    """One simultaneous visitor per photo and, if `many` is given, another visitor who adds all of these."""
    barrier = threading.Barrier(len(visitors) + 1)
    with ThreadPoolExecutor(len(visitors) + 1) as pool:
        batch = None
        if many:
            started = threading.Event()
            batch = pool.submit(add_many, address, many, started)
            started.wait()
        runs = [
            pool.submit(visit, address, photo, [visitor for visitor in visitors if visitor is not photo], barrier)
            for photo in visitors
        ]
        barrier.wait()
        start = time.monotonic()
        barrier.wait()
        seconds, used = time.monotonic() - start, megabytes(process)
        barrier.wait()
        responses = [answer for run in runs for answer in run.result()]
        if batch:
            batch.result()
    return Round(responses, seconds, used)


def add_many(address: str, many: Sequence[Photo], started: threading.Event) -> None:
    with Visitor(address) as visitor:
        state = visitor.uploaded({f"{number}.jpg": photo.data for number, photo in enumerate(many)})
        visitor.request(state)
        started.set()
        visitor.wait()
        if f"{len(many)} answered" not in visitor.words():
            raise SystemExit("The visitor with many files did not get every answer.")


def measure() -> list[str]:
    """The rows of the table, and a sentence on memory."""
    rows = []
    known = photos(max(*VISITORS, FILES))
    with server(f"--server.disconnectedSessionTTL={SESSION_SECONDS}") as (address, process):
        empty = megabytes(process)
        run_round(address, process, known[:1])  # loads the networks
        wait_until_freed(process)
        first = megabytes(process)
        for count in VISITORS:
            rows.append(run_round(address, process, known[:count]).row(str(count)))
            print(rows[-1], flush=True)
        wait_until_freed(process)
        after = megabytes(process)
        mixed = run_round(address, process, known[:COMPANIONS], known[:FILES])
        rows.append(mixed.row(f"{COMPANIONS}, plus one who adds {FILES} files"))
        print(rows[-1], flush=True)
    memory = (
        f"Memory: {empty:.0f} MB before the first visitor, {first:.0f} MB after one had loaded the networks and left, "
        f"{after:.0f} MB after all {sum(VISITORS)} had left ({after / first - 1:+.0%})."
    )
    print(f"\n{memory}")
    return [*rows, "", memory]


def measure_large() -> str:
    """A sentence on what the server holds for one visitor who adds FILES files of LARGE_BYTES."""
    photo = encode(lesion(*pictures.PHONE_SIZE, seed=1))
    known = photos(1)
    with server(f"--server.disconnectedSessionTTL={SESSION_SECONDS}") as (address, process):
        run_round(address, process, known)
        wait_until_freed(process)
        before = megabytes(process)
        with peak_memory(process) as peak, Visitor(address) as visitor:
            # zeros after the end of a JPEG belong to the file, not to the picture
            visitor.run(
                visitor.uploaded(
                    {f"{number}.jpg": photo + number.to_bytes(LARGE_BYTES - len(photo)) for number in range(FILES)}
                )
            )
            counts = re.search(r"\*\*(\d+ files)\*\*: (.+)", visitor.words())
            if not counts:
                raise SystemExit(f"The page shows no grid: {visitor.words()}")
        wait_until_freed(process)
        after = megabytes(process)
    return (
        f"{counts[1]} of {LARGE_BYTES // 10**6} MB: {counts[2]}. Memory: {before:.0f} MB before, "
        f"{peak[0]:.0f} MB at its peak, {after:.0f} MB after the visitor had left."
    )


@contextlib.contextmanager
def peak_memory(process: int) -> Iterator[list[float]]:
    """The peak memory of a process and its children while the block runs, in MB."""
    peak, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            peak[0] = max(peak[0], megabytes(process))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def wait_until_freed(process: int) -> None:
    """Wait until the data of visitors who left is freed."""
    time.sleep(SESSION_SECONDS + FREED_SECONDS)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--write", action="store_true", help="put the table into benchmarks/README.md")
    either.add_argument("--large", action="store_true", help="measure only one visitor who adds fifty large files")
    options = parser.parse_args()
    if options.large:
        print(measure_large())
        return 0
    print(HEADER, flush=True)
    rows = measure()
    print(f"\n{machine()}")
    if options.write:
        table = "\n".join([HEADER, *rows])
        README.write_text(MARKED.sub(lambda _: f"\n{table}\n\n{machine()}\n\n", README.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
