"""python -m benchmarks.cluster: score on a Ray cluster of local processes, killing some at random, and count the rows.

Each run is compared row by row with a run on one machine. It needs requirements-cluster.txt.
"""

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import pictures
from benchmarks.nodes import Nodes

MODEL = "ham10000-efficientnetb1"
DIFFERENT = 100
"""The number of distinct pictures; the others are hard links to them."""
MACHINES = 3
STEP = 0.2
"""Seconds between two checks of a run."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster", description=__doc__)
    parser.add_argument("--model", default=MODEL, help="the model to score with (default: %(default)s)")
    parser.add_argument("--images", type=int, default=20_000, help="images of each run (default: %(default)s)")
    parser.add_argument(
        "--machines", type=int, nargs="*", default=[1, 2], help="clusters on which nothing is killed (default: 1 2)"
    )
    parser.add_argument("--runs", type=int, default=3, help="runs with kills (default: %(default)s)")
    parser.add_argument("--kills", type=int, default=3, help="kills of each run (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of what is killed, and when (default: %(default)s)")
    options = parser.parse_args()
    random.seed(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = linked(folder / "images", options.images)
        expected = rows(scored(images, folder / "local", options.model, [])[0])
        print("| machines | killed | seconds | images a second | lost | doubled | other rows than one machine's |")
        print("|---|---|---|---|---|---|---|")
        for machines in options.machines:
            nodes = Nodes(machines)
            try:
                cluster = ["--engine", "ray", "--address", nodes.address]
                out, seconds = scored(images, folder / "whole", options.model, cluster)
            finally:
                nodes.shutdown()
            report(str(machines), "nothing", seconds, rows(out), expected)
            shutil.rmtree(out)
        for _ in range(options.runs):
            out, seconds, killed = with_kills(images, folder / "killed", options.model, options.kills)
            report(str(MACHINES), killed, seconds, rows(out), expected)
            shutil.rmtree(out)


def linked(folder: Path, count: int) -> Path:
    """A folder of `count` JPEGs, most of them hard links."""
    files = sorted(pictures.dermoscopy_images(folder, min(count, DIFFERENT)).iterdir())
    for number in range(len(files), count):
        (folder / f"link-{number:06}.jpg").hardlink_to(files[number % len(files)])
    return folder


def command(images: Path, out: Path, model: str, more: list[str]) -> list[str]:
    return [sys.executable, "-m", "skinapp", "score", str(images), "--model", model, "--out", str(out), *more]


def scored(images: Path, out: Path, model: str, more: list[str]) -> tuple[Path, float]:
    """The folder of parts, and the seconds taken."""
    start = time.perf_counter()
    subprocess.run(command(images, out, model, more), check=True, stderr=subprocess.DEVNULL)
    return out, time.perf_counter() - start


def with_kills(images: Path, out: Path, model: str, kills: int) -> tuple[Path, float, str]:
    """The same on three machines, while workers, machines or the run itself are killed at random moments; a killed run
    is restarted."""
    moments = sorted(random.uniform(0.05, 0.9) for _ in range(kills))
    total = sum(1 for _ in images.iterdir())
    nodes = Nodes(MACHINES)
    arguments = command(images, out, model, ["--engine", "ray", "--address", nodes.address])
    killed: Counter[str] = Counter()
    start = time.perf_counter()
    try:
        process = subprocess.Popen(arguments, stderr=subprocess.DEVNULL)
        while True:
            time.sleep(STEP)
            if process.poll() == 0:
                break
            if process.returncode:
                process = subprocess.Popen(arguments, stderr=subprocess.DEVNULL)
            elif moments and finished(out) > moments[0] * total:
                moments.pop(0)
                what = random.choice(("worker", "machine", "run"))
                killed[what] += 1
                if what == "worker":
                    nodes.kill_worker()
                elif what == "machine":
                    nodes.kill_node()
                    nodes.add_node()
                else:
                    process.kill()
                    process.wait()
    finally:
        nodes.shutdown()
    return out, time.perf_counter() - start, ", ".join(f"{count} x {what}" for what, count in killed.items())


def finished(out: Path) -> int:
    """The rows that are on disk."""
    return sum(pq.read_metadata(part).num_rows for part in (out / "predictions").glob("part-*.parquet"))


def rows(out: Path) -> pa.Table:
    """All rows of a folder of parts, by image."""
    return pa.concat_tables([pq.read_table(part) for part in (out / "predictions").glob("part-*.parquet")]).sort_by(
        "image"
    )


def report(machines: str, killed: str, seconds: float, scored_rows: pa.Table, expected: pa.Table) -> None:
    names = Counter(scored_rows["image"].to_pylist())
    lost = len(set(expected["image"].to_pylist()) - names.keys())
    doubled = sum(count - 1 for count in names.values())
    wanted = set(map(str, expected.to_pylist()))
    other = sum(str(row) not in wanted for row in scored_rows.to_pylist())
    speed = expected.num_rows / seconds
    print(f"| {machines} | {killed} | {seconds:.0f} | {speed:.1f} | {lost} | {doubled} | {other} |", flush=True)


if __name__ == "__main__":
    main()
