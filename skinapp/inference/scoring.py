"""Scores any number of image files with one model: on every core, resumable, in shards, and with a reason for every
failure."""

import contextlib
import json
import queue
import sqlite3
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from skinapp import files
from skinapp.errors import DataError, ImageError, SkinappError
from skinapp.images import imaging
from skinapp.inference import cases, manifest, rows
from skinapp.inference.cases import WHOLE, Named, Shard
from skinapp.inference.cores import usable_cores
from skinapp.inference.csv_file import CsvFile
from skinapp.inference.disk_dict import DiskDict
from skinapp.inference.duplicates import Duplicates
from skinapp.inference.parts import PartsFolder
from skinapp.inference.registry import Model
from skinapp.inference.rows import NO_EXTRAS, Case, Extras, Row
from skinapp.inference.runtime import Classifier, Prediction

T = TypeVar("T")
R = TypeVar("R")

READERS = 4
"""Threads that read files ahead of the threads that decode and classify, one of which runs per core."""
AHEAD = 256
"""How many images may be in progress or done while an earlier one is still in progress."""


@dataclass(frozen=True)
class Summary:
    """Counts of images: scored now, skipped because an earlier run scored them, failed, listed more than once, and
    scored without the network because another file has the same content.

    `missing_columns` are the model's questions for which the table has no column, `failures` the file or folder with
    the reasons, if any image failed.
    """

    scored: int
    skipped: int
    failed: int
    repeated: int
    duplicates: int
    missing_columns: tuple[str, ...]
    failures: Path


def score(
    source: Path,
    model: Model,
    out: Path,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
    extras: Extras = NO_EXTRAS,
    shard: Shard = WHOLE,
) -> Summary:
    """Append a row per image of `source`, see `cases.open_source`, to `out`, and the reason for every failed image.

    `out` is a CSV file if its name ends with .csv, see `CsvFile`, and otherwise a folder of Parquet parts, see
    `PartsFolder`. Its columns are those of `rows.columns`. A model with clinical inputs reads the metadata from the
    columns of the same names; a row with an impossible value fails. Images that `out` already holds are skipped, so an
    interrupted run resumes where it stopped; earlier failures are tried again. Only the images of the `shard` are
    scored. `progress` is called with the number of images done and the total, None if that is not known. Memory does
    not grow with the number of images.

    Raises ModelError for extras that the model does not have. Raises DataError for a coverage that is not stored, where
    another process writes to `out`, if the disk is full or, without changing anything, if `out` contains anything else
    or rows of another model, or is the source itself.
    """
    rows.check(model, extras)
    output: CsvFile | PartsFolder
    if out.suffix.lower() == ".csv" or out.is_file():
        if shard != WHOLE:
            raise DataError(f"Shards need a folder that they share; with --out, name a folder instead of {out}.")
        output = CsvFile(out, model, extras)
    else:
        output = PartsFolder(out, model, extras, shard)
    with errors_in_words(out):
        opened = cases.open_source(source, shard)
        with files.locked(output.manifest):
            output.check(source)
            done = DiskDict()
            for name in output.scored():
                done.add(cases.key(name))
            before = len(done)
            counts, duplicates = Counter[str](), Duplicates()
            manifest.write(output.manifest, model, extras, shard)
            with output:
                for row in _rows(waiting(opened.cases, done, counts), model, extras, duplicates):
                    output.add(row)
                    counts["failed" if "reason" in row else "scored"] += 1
                    progress(counts["skipped"] + counts["scored"] + counts["failed"], opened.total)
            images = {"predicted": before + counts["scored"], "failed": counts["failed"]}
            manifest.write(output.manifest, model, extras, shard, images)
    return Summary(
        counts["scored"],
        counts["skipped"],
        counts["failed"],
        counts["repeated"],
        duplicates.count,
        tuple(field.name for field in model.clinical if field.name not in opened.columns),
        output.failures,
    )


def waiting(named: Iterable[Named], done: DiskDict, counts: Counter[str]) -> Iterator[Named]:
    """The cases to score, each once. Those that are in `done` are counted as "skipped", and those listed again as
    "repeated"."""
    seen = DiskDict()
    for name, case in named:
        if not seen.add(cases.key(name)):
            counts["repeated"] += 1
        elif cases.key(name) in done:
            counts["skipped"] += 1
        else:
            yield name, case


@contextlib.contextmanager
def errors_in_words(out: Path) -> Iterator[None]:
    """Turn the system's error about a full disk into a DataError."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{out} cannot be written ({error.strerror or error}).") from None
    except sqlite3.OperationalError as error:
        raise DataError(
            f"The folder for temporary files cannot be used ({error}); set SQLITE_TMPDIR to another one."
        ) from None


def classify_all(named: Mapping[str, Case], model: Model) -> Iterator[tuple[str, Prediction | SkinappError]]:
    """Each name with its Prediction, or the error explaining why there is none, in the order of `named`."""
    free = _classifiers(model)

    def classify(one: Named) -> tuple[str, Prediction | SkinappError]:
        name, case = one
        try:
            content = rows.read(name, case, model)
            with _borrowed(free) as classifier:
                return name, classifier.predict(imaging.load(content.data, model.input_size), content.values)
        except (ImageError, DataError) as error:
            return name, error

    return _in_order(classify, named.items(), free.qsize())


def _rows(named: Iterable[Named], model: Model, extras: Extras, duplicates: Duplicates) -> Iterator[Row]:
    """The row of each case, in order."""
    free = _classifiers(model)

    def row(one: Named) -> Row:
        name, case = one
        try:
            content = rows.read(name, case, model)

            def predict() -> Row:
                with _borrowed(free) as classifier:
                    return rows.predict(content, classifier, extras)

            same = f"{content.sha256} {json.dumps(content.values, sort_keys=True)}".encode()
            return {"image": name, **duplicates.row(same, predict)}
        except (ImageError, DataError) as error:
            return rows.failure(name, error)

    return _in_order(row, named, free.qsize())


def _classifiers(model: Model) -> "queue.SimpleQueue[Classifier]":
    """One single-threaded classifier per core: together they classify more images per second than one that uses all
    cores. The thread that holds one may use its core for decoding as well."""
    free: queue.SimpleQueue[Classifier] = queue.SimpleQueue()
    for _ in range(usable_cores()):
        free.put(Classifier(model, threads=1))
    return free


@contextlib.contextmanager
def _borrowed(free: "queue.SimpleQueue[Classifier]") -> Iterator[Classifier]:
    classifier = free.get()
    try:
        yield classifier
    finally:
        free.put(classifier)


def _in_order(function: Callable[[T], R], items: Iterable[T], cores: int) -> Iterator[R]:
    """`function` of each item, in order, computed by several threads; items are consumed only as needed."""
    pool = ThreadPoolExecutor(cores + READERS)
    try:
        running: deque[Future[R]] = deque()
        for item in items:
            running.append(pool.submit(function, item))
            if len(running) > AHEAD:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
