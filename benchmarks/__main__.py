"""python -m benchmarks: measure everything, print the table, and with --write put it into benchmarks/README.md."""

import argparse
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from playwright.sync_api import sync_playwright

from benchmarks import pictures, startup
from benchmarks.comparison import HEADER, Comparison, against_limit, alternate
from benchmarks.tasks import CLASSIFICATIONS, EVERY, FEATURES, MASKS, MASKS_EVERY, MEMBERS, RESAMPLES, VIEWS, model
from benchmarks.worker import QUIET, worker

README = Path(__file__).with_name("README.md")
MARKED = re.compile(r"(?<=<!-- measured -->\n).*(?=<!-- end -->)", re.DOTALL)
PAGES = {"Home": "", "Classify": "classify", "Explore": "explore", "Compare": "compare"}
"""The addresses of pages by title."""


def photo(folder: Path) -> Iterator[Comparison]:
    file = pictures.phone_photo(folder / "photo.jpg")
    with worker("plain_photo") as plain, worker("photo") as ours:
        alternate(plain, ours, file, repeats=3)  # warm up
        values = alternate(plain, ours, file, repeats=15)
    yield Comparison("12-megapixel JPEG to probabilities and map", "s", 5, *values)


def decode(folder: Path) -> Iterator[Comparison]:
    file = pictures.phone_photo(folder / "photo.jpg")
    with worker("decoding") as plain, worker("decoding_apart") as ours:
        alternate(plain, ours, file, repeats=5)  # warm up
        values = alternate(plain, ours, file, repeats=45)
    # at most 5 ms longer than about 30 ms
    yield Comparison("the same JPEG decoded in the same process, and in a separate one", "s", 0.85, *values)


def committee(folder: Path) -> Iterator[Comparison]:
    file = pictures.phone_photo(folder / "photo.jpg")
    with worker("one_by_one") as plain, worker("committee_photo") as ours:
        alternate(plain, ours, file, repeats=3)  # warm up
        values = alternate(plain, ours, file, repeats=15)
    count = MEMBERS * len(VIEWS)
    yield Comparison(
        f"the same by {MEMBERS} networks and {len(VIEWS)} views, against {count} classifications", "s", 1, *values
    )


def features(folder: Path) -> Iterator[Comparison]:
    file = pictures.phone_photo(folder / "photo.jpg")
    for name in FEATURES:
        with worker(name) as ours:
            seconds = [ours(file) for _ in range(18)][3:]  # the first three warm up
        yield against_limit(f"12-megapixel JPEG to the answer of `{name}`", 0.3, seconds)


def scoring(folder: Path, count: int = 500) -> Iterator[Comparison]:
    few = pictures.dermoscopy_images(folder / "few", 8)
    many = pictures.dermoscopy_images(folder / "many", count)
    with worker("plain_scoring") as plain, worker("scoring") as ours:
        alternate(plain, ours, few, repeats=1)  # warm up
        values = alternate(plain, ours, many, repeats=3)
    yield Comparison(f"`score`, {count} JPEGs of {'x'.join(map(str, pictures.HAM10000_SIZE))}", "s", 3, *values)


def memory(folder: Path) -> Iterator[Comparison]:
    few = pictures.dermoscopy_images(folder / "few", 500)
    many = pictures.hard_links(few, folder / "many", 200_000)
    peaks = [
        [peak_megabytes("score", images, "--model", model().id, "--out", f"{images}-parts")] for images in (few, many)
    ]
    yield Comparison("peak memory of `score`, 500 files, against 200,000", "MB", 0.8, *peaks)


def peak_megabytes(*arguments: str | Path) -> float:
    """The peak memory of `python -m skinapp` while it runs a command."""
    process = subprocess.Popen([sys.executable, "-m", "skinapp", *arguments], env=QUIET, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"skinapp {arguments[0]} failed.")
    return usage.ru_maxrss / 1024


def statistics(folder: Path) -> Iterator[Comparison]:
    with worker("plain_statistics") as plain, worker("statistics") as ours:
        alternate(plain, ours, folder, repeats=1)  # warm up
        seconds, values = alternate(plain, ours, folder, repeats=5)
    whole = [EVERY * value for value in seconds]
    yield Comparison(f"{RESAMPLES:,} resamples of six scores of eight models", "s", 30, whole, values)


def explore(folder: Path) -> Iterator[Comparison]:
    for rows in (10_015, 500_000):
        file = pictures.demographics_table(folder / f"{rows}.csv", rows)
        with worker("plain_explore") as plain, worker("explore") as ours:
            alternate(plain, ours, file, repeats=3)  # load and warm up
            values = alternate(plain, ours, file, repeats=15)
        # at most three times as long as the group-by, that is, a ratio of at least one third
        yield Comparison(f"explorer, a filter changed on {rows:,} rows", "s", 1 / 3, *values)


def sanity(folder: Path) -> Iterator[Comparison]:
    file = pictures.phone_photo(folder / "photo.jpg")
    with worker("classifications") as plain, worker("sanity") as ours:
        alternate(plain, ours, file, repeats=3)  # warm up
        values = alternate(plain, ours, file, repeats=15)
    yield Comparison(f"the sanity check of a map, against {CLASSIFICATIONS} classifications", "s", 1, *values)


def attention(folder: Path) -> Iterator[Comparison]:
    file = pictures.phone_photo(folder / "photo.jpg")
    for name, plain_task, task in (
        ("the map of the last convolution, against a classification", "classification", "last_convolution"),
        ("Grad-CAM at the earliest block, against 3 Keras classifications", "three_predictions", "early_block"),
    ):
        with worker(plain_task) as plain, worker(task) as ours:
            alternate(plain, ours, file, repeats=3)  # load and warm up
            values = alternate(plain, ours, file, repeats=15)
        yield Comparison(name, "s", 1, *values)
    with worker("plain_rise") as plain, worker("rise") as ours:
        plain(file), ours(file)  # load and warm up
        seconds, values = alternate(plain, ours, file, repeats=3)
    yield Comparison(f"RISE with {MASKS} masks", "s", 3, [MASKS_EVERY * value for value in seconds], values)


def start(folder: Path) -> Iterator[Comparison]:
    chromium = startup.chromium()
    if chromium is None:
        print(
            "Start-up is not measured, since Chromium is not installed; on Debian, `apt-get install chromium`.",
            file=sys.stderr,
        )
        return
    file, port = pictures.phone_photo(folder / "upload.jpg"), startup.free_port()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        visitor = browser.new_context()
        starts = [
            (startup.start(visitor, port, file, "import tensorflow"), startup.start(visitor, port, file))
            for _ in range(8)
        ][1:]  # the first run warms up the browser cache, byte code and file cache
        browser.close()
    seconds = zip(*[(plain.seconds, ours.seconds) for plain, ours in starts], strict=True)
    yield Comparison("server start to the first answer", "s", 2, *seconds)
    memory = zip(*[(plain.megabytes, ours.megabytes) for plain, ours in starts], strict=True)
    yield Comparison("the server's resident memory then", "MB", 2, *memory)


def pages(folder: Path) -> Iterator[Comparison]:
    for title, page in PAGES.items():
        cold, warm = [], []
        for _ in range(4):
            with startup.server() as (address, _):
                cold.append(startup.first_view(address, page))
                warm += [startup.first_view(address, page) for _ in range(5)]
        # the first server warms up byte code and file cache
        yield against_limit(f"first view of {title}, server just started", 4, cold[1:])
        yield against_limit(f"first view of {title}, warm server", 1.5, warm[5:])


PARTS: dict[str, Callable[[Path], Iterator[Comparison]]] = {
    "photo": photo,
    "decode": decode,
    "committee": committee,
    "features": features,
    "score": scoring,
    "memory": memory,
    "statistics": statistics,
    "explore": explore,
    "sanity": sanity,
    "attention": attention,
    "start": start,
    "pages": pages,
}


def machine() -> str:
    """A sentence on the machine, versions and model of the measurements."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("ai-edge-litert", "keras", "tensorflow", "streamlit")
    )
    return (
        f"{os.cpu_count()} cores, {names[0].partition(': ')[2] if names else platform.processor()}; "
        f"Python {platform.python_version()}, {versions}; model `{model().id}`, input {model().input_size} px."
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"the parts to measure (default: {', '.join(PARTS)})")
    parser.add_argument("--write", action="store_true", help="put the table into benchmarks/README.md")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; choose from {', '.join(PARTS)}")

    if options.write and options.parts:
        parser.error("--write needs the whole table; leave out the parts")

    print(HEADER, flush=True)
    comparisons = []
    for part in options.parts or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            for comparison in PARTS[part](Path(folder)):
                print(comparison.row, flush=True)
                comparisons.append(comparison)
    print(f"\n{machine()}")
    if options.write:
        table = "\n".join([HEADER, *(comparison.row for comparison in comparisons)])
        README.write_text(MARKED.sub(lambda _: f"\n{table}\n\n{machine()}\n\n", README.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
