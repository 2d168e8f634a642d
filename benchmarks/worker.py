"""A process that does one task on each path it reads, and prints the seconds it took.

Each task has its own process (`python -m benchmarks.worker TASK CLOCK`, with paths on standard input), so that
libraries and threads of one do not disturb the other.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import runtimes
from benchmarks.tasks import TASKS

ROOT = Path(__file__).parents[1]
QUIET = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONPATH": str(ROOT)}


def main() -> None:
    # keep the libraries' output separate from the seconds
    with contextlib.redirect_stdout(sys.stderr):
        task = (TASKS | runtimes.TASKS)[sys.argv[1]]()
    clock = {"wall": time.perf_counter, "processor": time.process_time}[sys.argv[2]]
    for line in sys.stdin:
        with contextlib.redirect_stdout(sys.stderr):
            start = clock()
            task(Path(line.rstrip("\n")))
            seconds = clock() - start
        print(seconds, flush=True)


@contextlib.contextmanager
def worker(task: str, clock: str = "wall") -> Iterator[Callable[[Path], float]]:
    """Start such a process; yield a function that runs the task on a path and returns the seconds: of the clock on the
    "wall", or of the "processor", added up over all cores."""
    command = [sys.executable, "-m", "benchmarks.worker", task, clock]
    with (
        tempfile.TemporaryFile("w+") as messages,
        subprocess.Popen(
            command, cwd=ROOT, env=QUIET, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=messages, text=True
        ) as process,
    ):
        paths, seconds = process.stdin, process.stdout
        assert paths
        assert seconds

        def measure(path: Path) -> float:
            print(path, file=paths, flush=True)
            if line := seconds.readline():
                return float(line)
            messages.seek(0)
            raise SystemExit(f"The benchmark '{task}' stopped.\n{messages.read()}")

        yield measure
        paths.close()


if __name__ == "__main__":
    main()
