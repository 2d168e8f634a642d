"""python -m train doctor: check that this machine is ready to train. One line per check, with a fix if needed."""

import argparse
import importlib
import importlib.metadata
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from skinapp.errors import ModelError, SkinappError
from skinapp.inference import registry
from train.options import add_runs

PASS, WARN, FAIL = "pass", "warn", "fail"
PYTHON = (3, 11)
REQUIREMENTS = {
    "requirements.txt": True,
    "requirements-train.txt": True,
    "requirements-dev.txt": False,
    "requirements-research.txt": False,
    "requirements-cluster.txt": False,
}
"""The requirements files, and whether training needs each."""
DISK_GB = {FAIL: 2, WARN: 10}
MEMORY_GB = {FAIL: 3, WARN: 7}
"""With less, in GB, the check fails or warns. Decoded images need some, checkpoints and activations the rest."""
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Finding:
    """One line: `status` is PASS, WARN or FAIL; `text` is the finding and, if needed, the fix."""

    status: str
    subject: str
    text: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Check this machine before training: Python, packages, GPU, disk, memory, data sets, initial weights, models. "
        "The exit code is 1 if something must be fixed first."
    )
    add_runs(parser)


def run(options: argparse.Namespace) -> int:
    worst = 0
    for finding in examine(options.runs):
        print(f"{finding.status}  {finding.subject:9} {finding.text}", flush=True)
        worst |= finding.status == FAIL
    return int(worst)


def examine(runs: Path) -> Iterator[Finding]:
    """All findings, the quick ones first."""
    yield python(sys.version_info[:3])
    for name, needed in REQUIREMENTS.items():
        if (ROOT / name).exists():
            yield packages(ROOT / name, needed)
    yield disk(runs)
    yield memory()
    yield from data_sets()
    yield weights()
    yield from models()
    yield backend()


def python(version: tuple[int, ...]) -> Finding:
    running = ".".join(map(str, version))
    if version[:2] < PYTHON:
        return Finding(
            FAIL, "python", f"{running}; 3.11 or newer is needed: make clean, then make setup PYTHON=python3.11"
        )
    return Finding(PASS, "python", running)


def packages(file: Path, needed: bool) -> Finding:
    """Whether the packages that `file` pins are installed, in those versions."""
    pins = [line.partition("#")[0].strip() for line in file.read_text().splitlines()]
    missing, other = [], []
    for name, _, version in (pin.partition("==") for pin in pins if "==" in pin):
        name, version = name.partition("[")[0].strip(), version.partition(";")[0].strip()
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
            continue
        # 2.9.0+cpu, a build for one kind of hardware, counts as 2.9.0
        if installed.partition("+")[0] != version.partition("+")[0]:
            other.append(f"{name} {installed} instead of {version}")
    remedy = f"{sys.executable} -m pip install -r {file.name}"
    if missing:
        purpose = "" if needed else "; only needed for the purpose stated in that file"
        return Finding(FAIL if needed else WARN, "packages", f"{file.name}: no {', '.join(missing)}{purpose}: {remedy}")
    if other:
        return Finding(WARN, "packages", f"{file.name}: {', '.join(other)}: {remedy}")
    return Finding(PASS, "packages", f"{file.name}: all as pinned")


def disk(folder: Path) -> Finding:
    existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(existing).free / 1e9
    return _amount("disk", free, f"{free:.1f} GB free in {existing}", DISK_GB, "free some, or pass another --runs")


def memory() -> Finding:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (AttributeError, ValueError, OSError):
        return Finding(WARN, "memory", f"unknown on this system; about {MEMORY_GB[WARN]} GB are needed")
    return _amount("memory", total, f"{total:.1f} GB", MEMORY_GB, "lower batch_size and image_size, or close programs")


def data_sets() -> Iterator[Finding]:
    """Whether each data set's table can be read and every image has its file."""
    from train.data.datasets import READERS, TRAINABLE, data_root

    for name, source in TRAINABLE.items():
        if name != source.folder:
            continue
        folder = data_root() / name
        remedy = (
            f"set SKINAPP_DATA to the folder that holds {name}/, or run "
            f"python -m train download {name.replace('_', '-')}"
        )
        if not folder.is_dir():
            yield Finding(WARN, "data", f"no {folder}; to train on {source.name}, {remedy}")
            continue
        try:
            table = READERS[name](folder)
        except SkinappError as error:
            yield Finding(FAIL, "data", f"{folder} cannot be read: {error} To fix it, {remedy}")
        else:
            yield Finding(PASS, "data", f"{folder}: {len(table):,} images of {source.name}")


def weights() -> Finding:
    folder = Path(os.environ.get("SKINAPP_WEIGHTS", "weights"))
    files = sorted(file.name for file in folder.glob("*.h5")) if folder.is_dir() else []
    if not files:
        return Finding(
            WARN,
            "weights",
            f"none in {folder}; set SKINAPP_WEIGHTS to a folder with backbone weights, or train with init=imagenet, "
            "which downloads them",
        )
    return Finding(PASS, "weights", f"{folder}: {', '.join(files)}")


def models(root: Path | None = None) -> Iterator[Finding]:
    """Whether each model folder is complete and matches the hashes in its card."""
    known = registry.models(root)
    for name, model in known.items():
        try:
            registry.verify(model)
        except ModelError as error:
            yield Finding(FAIL, "models", str(error))
        else:
            yield Finding(PASS, "models", f"{name}: all files match the card")
    for problem in registry.problems(root).values():
        yield Finding(FAIL, "models", problem)
    if not known:
        folder = root or registry.default_root()
        yield Finding(FAIL, "models", f"no usable model in {folder}; get the project again, or train and export one")


def backend() -> Finding:
    """Whether the backend that KERAS_BACKEND names is installed, and whether it sees a GPU."""
    name = os.environ.get("KERAS_BACKEND", "tensorflow")
    if name not in GPUS:
        return Finding(FAIL, "backend", f"KERAS_BACKEND is '{name}'; set it to one of {', '.join(GPUS)}")
    installed = [module for module in GPUS if importlib.util.find_spec(module)]
    if name not in installed:
        return Finding(FAIL, "backend", f"{name} is not installed: {sys.executable} -m pip install {name}")
    others = f" (also installed: {', '.join(module for module in installed if module != name)})" * (len(installed) > 1)
    count = GPUS[name]()
    if count:
        return Finding(PASS, "backend", f"{name}, {count} GPU{'s' * (count > 1)}{others}")
    if Path("/proc/driver/nvidia").exists():
        text = f"{name} does not use this machine's GPU{others}: install its CUDA build, for TensorFlow with "
        return Finding(WARN, "backend", f"{text}pip install 'tensorflow[and-cuda]'")
    return Finding(
        WARN, "backend", f"{name}, no GPU{others}: training works but takes hours, or minutes for small networks"
    )


def _tensorflow_gpus() -> int:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return len(importlib.import_module("tensorflow").config.list_physical_devices("GPU"))


def _torch_gpus() -> int:
    return int(importlib.import_module("torch").cuda.device_count())


def _jax_gpus() -> int:
    return sum(device.platform == "gpu" for device in importlib.import_module("jax").devices())


GPUS: dict[str, Callable[[], int]] = {"tensorflow": _tensorflow_gpus, "torch": _torch_gpus, "jax": _jax_gpus}
"""How to count GPUs, for each Keras backend."""


def _amount(subject: str, amount: float, text: str, limits: dict[str, int], remedy: str) -> Finding:
    status = next((status for status in (FAIL, WARN) if amount < limits[status]), PASS)
    advice = "" if status == PASS else f"; {limits[WARN]} GB are recommended: {remedy}"
    return Finding(status, subject, text + advice)
