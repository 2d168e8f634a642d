"""Scores images on the machines of a Ray cluster, into the same folder of Parquet parts that one machine writes.

The images are listed in groups. On each core a Ray actor with a single-threaded classifier takes one group after
another, and writes its part itself, under a name that follows from the images in it. If Ray repeats a group because a
worker or a machine was lost, the same files are replaced with the same content, so that no row is lost or duplicated.
(Ray's own Parquet writer leaves half-written files behind, and may divide repeated work differently.) A later run lists
only the images that are in no part yet. It first removes the previous run's lists; surviving workers of that run then
write nothing more.
"""

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import secrets
import shutil
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from skinapp import files
from skinapp.errors import DataError, ImageError, SkinappError
from skinapp.inference import cases, manifest, parts, rows
from skinapp.inference.cases import Named
from skinapp.inference.cores import usable_cores
from skinapp.inference.disk_dict import DiskDict
from skinapp.inference.parts import PartsFolder
from skinapp.inference.registry import Model
from skinapp.inference.rows import NO_EXTRAS, Case, Content, Extras, Row
from skinapp.inference.runtime import Classifier
from skinapp.inference.scoring import Summary, errors_in_words, waiting

MAX_GROUP = 1024
"""Images per group, and therefore per part. Losing a core loses the work on at most one group."""
GROUPS_PER_CORE = 8
"""With fewer images per core than MAX_GROUP times this, groups are smaller, so that all cores finish at about the same
time."""
UNCOUNTED_GROUP = 256
"""Images per group if the total is not known."""
RETRIES = 20
"""How often a group is retried: a file that kills every worker must not do so forever, but one failure can cost several
retries until the worker runs elsewhere."""
WAITING = ".waiting"
"""The subfolder with the lists of the groups, one JSON file each."""
SETTLING_SECONDS = 1.0
"""How long to wait for workers of an ended run: milliseconds pass between a worker's last check of its list and its
part being in place."""
CONNECT_SECONDS = 5.0
"""How long a cluster's address may take to answer."""


def score(
    source: Path,
    model: Model,
    out: Path,
    address: str = "",
    progress: Callable[[int, int | None], None] = lambda done, total: None,
    extras: Extras = NO_EXTRAS,
) -> Summary:
    """As `scoring.score` into a folder of parts, row for row, but on the Ray cluster at `address` (host:port, or auto
    for the one that this machine belongs to), or without an address on the cores of this machine.

    Every machine must see images, model and output under the same paths, and have the same versions of the libraries.
    Files with the same content are each classified. Raises what `scoring.score` raises, and DataError if Ray is not
    installed, or no cluster answers.
    """
    rows.check(model, extras)
    if out.suffix.lower() == ".csv" or out.is_file():
        raise DataError(f"--engine ray writes a folder of Parquet files; with --out, name a folder instead of {out}.")
    output = PartsFolder(out, model, extras)
    _check_address(address)
    _check_installed()
    with errors_in_words(out), files.locked(output.manifest):
        opened = cases.open_source(source)
        output.check(source)
        _end_earlier_run(out / WAITING)
        done = DiskDict()
        for name in output.scored():
            done.add(cases.key(name))
        before = len(done)
        counts = Counter[str]()
        manifest.write(output.manifest, model, extras, cases.WHOLE)
        with (
            _connected(address) as cores,
            output,
            _lists(waiting(opened.cases, done, counts), out / WAITING, _group_size(opened.total, cores)) as lists,
        ):
            for predicted, failed in _scored(lists, out, model, extras, cores):
                counts["scored"] += predicted
                counts["failed"] += failed
                progress(counts["skipped"] + counts["scored"] + counts["failed"], opened.total)
        images = {"predicted": before + counts["scored"], "failed": counts["failed"]}
        manifest.write(output.manifest, model, extras, cases.WHOLE, images)
    return Summary(
        counts["scored"],
        counts["skipped"],
        counts["failed"],
        counts["repeated"],
        0,
        tuple(field.name for field in model.clinical if field.name not in opened.columns),
        output.failures,
    )


class Scorer:
    """A Ray actor: classifies groups of images, and writes the part of each into `folder`."""

    def __init__(self, folder: Path, model: Model, extras: Extras, versions: Mapping[str, str]):
        """ModelError if the model's files differ on this machine, DataError if the libraries do."""
        if differing := [name for name, version in libraries().items() if version != versions[name]]:
            raise DataError(
                f"On {socket.gethostname()}, the versions of {', '.join(differing)} are not those of the machine where "
                "the command was started; use the same requirements.txt on every machine."
            )
        self._classifier = Classifier(model, threads=1)
        self._folder, self._extras, self._schema = folder, extras, parts.schema(model, extras)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Lists of groups -> the number of images with and without a prediction in each."""
        counts = [self._write(Path(file)) for file in batch["file"]]
        return {"predicted": [predicted for predicted, _ in counts], "failed": [failed for _, failed in counts]}

    def _write(self, listed: Path) -> tuple[int, int]:
        group = _read(listed)
        results = list(_rows(group, self._classifier, self._extras))
        failed = [row for row in results if "reason" in row]
        predicted = [row for row in results if "reason" not in row]
        name = part_name([name for name, _ in group])
        for folder, content, schema in (
            (parts.PREDICTIONS, predicted, self._schema),
            (parts.FAILURES, failed, parts.FAILURE_SCHEMA),
        ):
            file = self._folder / folder / name
            if content:
                with files.replacing(file) as partial:
                    parts.write(partial, content, schema)
                    _check_listed(listed)
            else:
                _check_listed(listed)
                # left by an attempt that ended differently
                file.unlink(missing_ok=True)
        return len(predicted), len(failed)


def _check_listed(file: Path) -> None:
    """DataError if another run has begun since this one."""
    if not file.exists():
        raise DataError("Another run has started writing to this folder; this one stops here.")


def part_name(names: Iterable[str]) -> str:
    """The file name of the part with these images: always the same for the same images, and never a counter."""
    digest = hashlib.sha256("\0".join(names).encode("utf-8", "surrogatepass")).hexdigest()
    return f"{parts.BY_CONTENT}{digest[:20]}.parquet"


def libraries() -> dict[str, str]:
    """The library versions that rows depend on."""
    return {name: importlib.metadata.version(name) for name in manifest.LIBRARIES}


def _rows(group: Iterable[Named], classifier: Classifier, extras: Extras) -> Iterator[Row]:
    """The row of each case, in order. A file is read while the one before it is classified."""

    def read(name: str, case: Case) -> Content | SkinappError:
        try:
            return rows.read(name, case, classifier.model)
        except (ImageError, DataError) as error:
            return error

    def row(name: str, content: Content | SkinappError) -> Row:
        if isinstance(content, SkinappError):
            return rows.failure(name, content)
        try:
            return {"image": name, **rows.predict(content, classifier, extras)}
        except ImageError as error:
            return rows.failure(name, error)

    with ThreadPoolExecutor(1) as pool:
        upcoming = None
        for name, case in group:
            reading = pool.submit(read, name, case)
            if upcoming:
                yield row(upcoming[0], upcoming[1].result())
            upcoming = name, reading
        if upcoming:
            yield row(upcoming[0], upcoming[1].result())


def _group_size(total: int | None, cores: int) -> int:
    if total is None:
        return UNCOUNTED_GROUP
    return max(1, min(MAX_GROUP, -(-total // (cores * GROUPS_PER_CORE))))


@contextlib.contextmanager
def _lists(named: Iterable[Named], folder: Path, size: int) -> Iterator[list[Path]]:
    """Files that list the images in groups of that size, until the end of the block. Each run has its own."""
    folder = folder / secrets.token_hex(8)
    folder.mkdir(parents=True)
    written: list[Path] = []

    def write(group: list[list[Any]]) -> None:
        file = folder / f"{len(written):07}.json"
        with files.replacing(file) as partial:
            partial.write_text(json.dumps(group, default=str))
        written.append(file)

    try:
        group: list[list[Any]] = []
        for name, case in named:
            group.append([name, os.fspath(case.path.absolute()), dict(case.row)])
            if len(group) == size:
                write(group)
                group = []
        if group:
            write(group)
        yield written
    finally:
        shutil.rmtree(folder.parent, ignore_errors=True)


def _end_earlier_run(folder: Path) -> None:
    """Remove the lists of a killed run, and wait until its workers can no longer write."""
    if folder.exists():
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(SETTLING_SECONDS)


def _read(file: Path) -> list[Named]:
    return [(name, Case(Path(path), row)) for name, path, row in json.loads(file.read_text())]


def _scored(lists: list[Path], out: Path, model: Model, extras: Extras, cores: int) -> Iterator[tuple[int, int]]:
    """The counts of predictions and failures of each group, as they are finished."""
    import ray

    if not lists:
        return
    items = [{"file": str(file.absolute())} for file in lists]
    # one block per group: an actor gets one block at a time
    groups = ray.data.from_items(items, override_num_blocks=len(items))
    counts = groups.map_batches(
        Scorer,
        fn_constructor_args=(out.absolute(), model, extras, libraries()),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=max(1, min(cores, len(items)))),
        num_cpus=1,
        max_restarts=-1,
        max_task_retries=RETRIES,
    )
    try:
        for batch in counts.iter_batches(batch_size=None, prefetch_batches=0):
            yield from zip(map(int, batch["predicted"]), map(int, batch["failed"]), strict=True)
    except ray.exceptions.RayError as error:
        raise _sentence(error) from None


def _sentence(error: Exception) -> DataError:
    """What went wrong on a machine of the cluster: our own message, which Ray quotes at the end of a traceback."""
    if ours := re.findall(r"skinapp\.errors\.\w+: (.+)", str(error)):
        return DataError(ours[-1])
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    last = lines[-1] if lines else type(error).__name__
    return DataError(f"The cluster stopped the run ({last}); run the same command again to continue.")


@contextlib.contextmanager
def _connected(address: str) -> Iterator[int]:
    """Connect to the cluster and yield its number of cores; disconnect at the end unless it was connected before.
    DataError if no cluster answers."""
    # disables Ray's usage reports
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    before = ray.is_initialized()
    if not before:
        _begin(address)
    try:
        yield max(1, int(ray.cluster_resources().get("CPU", 1)))
    finally:
        if not before:
            ray.shutdown()


def _check_installed() -> None:
    if importlib.util.find_spec("ray") is None:
        raise DataError("--engine ray needs Ray: pip install -r requirements-cluster.txt")


def _check_address(address: str) -> None:
    """DataError if nothing answers at host:port; Ray itself would take minutes to say so."""
    if address in ("", "auto"):
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except (OSError, ValueError, OverflowError) as error:
        raise _unreachable(address, error) from None


def _begin(address: str) -> None:
    """Connect to the cluster, or start one on the cores of this machine."""
    import ray

    # lets workers on this machine find the package; other machines have it installed
    path = os.pathsep.join(folder or str(Path.cwd()) for folder in sys.path)
    own = {"num_cpus": usable_cores(), "include_dashboard": False, "runtime_env": {"env_vars": {"PYTHONPATH": path}}}
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level="ERROR", **({} if address else own))
    except (OSError, ValueError, RuntimeError) as error:
        raise _unreachable(address, error) from None


def _unreachable(address: str, error: Exception) -> DataError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return DataError(
        f"No Ray cluster answers at {address or 'this machine'} ({reason}). Name the host and port that ray start "
        "--head printed, such as 10.0.0.1:6379; without --address, this machine is used alone."
    )
