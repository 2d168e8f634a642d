"""Trains the networks of several folds or seeds: one after another, or in parallel processes."""

import argparse
import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from tqdm import tqdm

from skinapp.errors import DataError
from skinapp.inference.cores import usable_cores
from train.config import Config
from train.data.datasets import prepare
from train.fit import cross_validation, hosts, training
from train.fit.run_folder import best_file, epochs

COMMAND = (sys.executable, "-m", "train")
LOG = "fit.log"
"""The output of a run's process, in the run's folder."""
SECONDS = 1.0
"""Seconds between two checks of the processes."""
GPUS = Path("/proc/driver/nvidia/gpus")
VISIBLE = "CUDA_VISIBLE_DEVICES"
THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "NPROC")
"""The environment variables from which PyTorch, TensorFlow and JAX take the number of threads."""


@dataclass(frozen=True)
class Job:
    """A network to train, and the additional arguments with which `train fit` trains it alone: options, and settings
    KEY=VALUE."""

    config: Config
    options: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()


def listed(config: Config, seeds: int, part: int | None) -> list[Job]:
    """The networks of a configuration: one, or one for each part of a cross-validation; with `seeds`, for each of those
    seeds. DataError if there is no such part."""
    if seeds < 0:
        raise DataError(f"--seeds is {seeds}; it must be at least 1.")
    if part is not None and config.fold is not None:
        raise DataError(f"--part is for a cross-validation; leave it out, or set fold=null, not fold={config.fold}.")
    runs = [(config, ())] if not seeds else [_seeded(config, seed) for seed in range(seeds)]
    jobs = []
    for run, settings in runs:
        networks = cross_validation.networks(run)
        if part is not None and not 0 <= part < len(networks):
            raise DataError(f"--part is {part}; this configuration has the parts 0 to {len(networks) - 1}.")
        for number, network in enumerate(networks):
            if part in (None, number):
                jobs.append(Job(network, ("--part", str(number)) if config.fold is None else (), settings))
    return jobs


def _seeded(config: Config, seed: int) -> tuple[Config, tuple[str, ...]]:
    id_ = f"{config.id}-seed-{seed}"
    return dataclasses.replace(config, id=id_, seed=seed), (f"id={id_}", f"seed={seed}")


def fit(config: Config, options: argparse.Namespace) -> list[Path]:
    """Train or resume the networks that the options of `train fit` ask for; return the file of each."""
    todo = listed(config, options.seeds, options.part)
    if options.jobs < 1:
        raise DataError(f"--jobs is {options.jobs}; it must be at least 1.")
    if options.jobs == 1 or len(todo) == 1:
        networks = [job.config for job in todo]
        return cross_validation.fit_all(networks, options.runs, options.devices, options.images_on_device)
    if os.environ.get(hosts.COUNT, "1") != "1":
        raise DataError("--jobs trains several networks on one host; for several hosts, leave it out.")
    for job in todo:
        training.check(job.config, options.runs)
    # decode once, not in each process
    prepare(config.dataset, config.cache_size, options.runs, **config.pixels)
    _side_by_side(todo, options)
    return [best_file(job.config, options.runs / job.config.id) for job in todo]


def _side_by_side(todo: Sequence[Job], options: argparse.Namespace) -> None:
    """Run the jobs, `options.jobs` at a time. DataError names those that failed, after the others have finished."""
    at_once = min(options.jobs, len(todo))
    waiting, free = deque(todo), list(range(at_once))
    running: dict[int, tuple[Job, subprocess.Popen]] = {}
    failed = []
    done, planned = _epochs(todo, options.runs)
    with _stoppable(), tqdm(total=planned, initial=done, unit=" epochs") as bar:
        try:
            while waiting or running:
                while waiting and free:
                    slot, job = free.pop(0), waiting.popleft()
                    running[slot] = job, _start(job, options, environment(slot, at_once, options.devices))
                time.sleep(SECONDS)
                for slot, (job, process) in list(running.items()):
                    if process.poll() is not None:
                        del running[slot]
                        free.append(slot)
                        if process.returncode:
                            failed.append(job)
                done, bar.total = _epochs(todo, options.runs)
                bar.update(done - bar.n)
        finally:
            # their finished epochs are saved
            for _, process in running.values():
                process.terminate()
            for _, process in running.values():
                process.wait()
    if failed:
        logs = [options.runs / job.config.id / LOG for job in failed]
        reasons = "\n".join(f"{log}: {_last_line(log)}" for log in logs)
        raise DataError(f"{len(failed)} of {len(todo)} networks were not trained:\n{reasons}")


def environment(slot: int, at_once: int, devices: int) -> dict[str, str]:
    """The environment of the job in a slot, 0 to `at_once` - 1: its GPUs or, without any, its number of threads."""
    gpus = _gpus()
    if not gpus:
        threads = str(max(1, usable_cores() // at_once))
        return {name: os.environ.get(name, threads) for name in THREADS}
    chosen = [gpus[(slot * devices + number) % len(gpus)] for number in range(devices)]
    shared = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    return {VISIBLE: ",".join(chosen)} | (shared if at_once * devices > len(gpus) else {})


def _gpus() -> list[str]:
    """The CUDA identifiers of the GPUs."""
    if VISIBLE in os.environ:
        return [name for name in os.environ[VISIBLE].split(",") if name]
    return [str(number) for number in range(len(list(GPUS.iterdir())))] if GPUS.is_dir() else []


def _start(job: Job, options: argparse.Namespace, variables: dict[str, str]) -> subprocess.Popen:
    log = options.runs / job.config.id / LOG
    log.parent.mkdir(parents=True, exist_ok=True)
    arguments = ["fit", "--config", options.config, "--runs", options.runs, "--devices", options.devices]
    arguments += ["--images-on-device"] * options.images_on_device
    arguments += [*job.options, *options.settings, *job.settings]
    with log.open("w") as stream:
        return subprocess.Popen(  # noqa: S603
            [*COMMAND, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=os.environ | variables,
            # only this process handles Ctrl-C, and ends the others
            start_new_session=True,
        )


def _epochs(jobs: Sequence[Job], runs: Path) -> tuple[int, int]:
    """Finished and planned epochs of all jobs."""
    counts = [epochs(job.config, runs / job.config.id) for job in jobs]
    return sum(count["done"] for count in counts), sum(count["planned"] for count in counts)


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "it printed nothing")


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Treat SIGTERM like Ctrl-C, so that no process is left behind."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    here = threading.current_thread() is threading.main_thread()
    usual = signal.signal(signal.SIGTERM, stop) if here else None
    try:
        yield
    finally:
        if here:
            signal.signal(signal.SIGTERM, usual)
