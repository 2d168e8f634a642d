"""Scores many image files with one model: parallel, resumable, one row per image, failures in a file of their own."""

import contextlib
import csv
import os
import queue
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skinapp import tables
from skinapp.errors import DataError, ImageError, SkinappError
from skinapp.images import imaging
from skinapp.inference import conformal, metadata, runtime
from skinapp.inference.registry import Model
from skinapp.inference.runtime import Classifier, Prediction

FAILURE_COLUMNS = ["image", "reason"]
AGREEMENT_COLUMNS = ["networks_agreeing", "malignancy_low", "malignancy_high"]
SHOWN = 3
"""How many images a message names."""


@dataclass(frozen=True)
class Summary:
    """Counts of images: scored now, skipped because an earlier run scored them, failed, and repeated in the CSV.

    `missing_columns` are the model's questions for which the CSV has no column, `failures` the file with the reasons,
    which exists only where an image failed.
    """

    scored: int
    skipped: int
    failed: int
    repeated: int
    missing_columns: tuple[str, ...]
    failures: Path


@dataclass(frozen=True)
class Case:
    """An image to score, and the row of the CSV that lists it, by column: empty for an image of a folder."""

    path: Path
    row: dict[str, str]


def find_cases(source: Path) -> dict[str, Case]:
    """What to score: name -> case, of a folder (recursively, by extension) or of a CSV's `image` column.

    A name is the path relative to the folder, or the cell of the CSV, whose relative paths start at the CSV's folder.
    Raises DataError where there is nothing to score, or the CSV lists an image twice with different rows.
    """
    return _cases(source)[0]


def _cases(source: Path) -> tuple[dict[str, Case], int]:
    """The cases of `find_cases`, and how many rows of the CSV repeat another one."""
    if source.is_dir():
        files = sorted(
            path for path in source.rglob("*") if path.suffix.lower() in imaging.EXTENSIONS and path.is_file()
        )
        if not files:
            raise DataError(f"There are no images in {source}; supported file types: {' '.join(imaging.EXTENSIONS)}.")
        return {path.relative_to(source).as_posix(): Case(path, {}) for path in files}, 0
    rows = _listed(source)
    cases: dict[str, Case] = {}
    conflicting = []
    for row in rows:
        case = Case(source.parent / row["image"], row)
        if cases.setdefault(row["image"], case) != case:
            conflicting.append(row["image"])
    if conflicting:
        raise DataError(
            f"{source} lists {_names(conflicting)} more than once, with different values; keep one row for each image."
        )
    return cases, len(rows) - len(cases)


def score(
    source: Path,
    model: Model,
    out: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
    coverage: float | None = None,
) -> Summary:
    """Append a row per image of `source` to the CSV `out`, and one per failed image to `<out's stem>.failed.csv`.

    A model with clinical inputs reads the metadata from the columns of the same names; a row with an impossible value
    fails. Columns: image, model, predicted, malignancy, `p_<label>` in the model's order and, for a model of several
    networks or views, AGREEMENT_COLUMNS, as in `runtime.Agreement`. With a `coverage`, `set_<coverage>` has the codes
    of the prediction set, separated by spaces. Images that `out` already holds are skipped, so an interrupted run
    resumes where it stopped; earlier failures are tried again. `progress` is called with the count done and in all.

    Raises ModelError for a coverage if the model has no prediction sets. Raises DataError for a coverage that is not
    stored and, changing nothing, where one of the two files holds anything else or is the source itself.
    """
    failures_file = out.with_name(f"{out.stem}.failed.csv")
    columns = ["image", "model", "predicted", "malignancy", *(f"p_{code}" for code in model.labels.codes)]
    columns += AGREEMENT_COLUMNS if len(model.weights) * len(model.views) > 1 else []
    if coverage is not None:
        conformal.check(model, coverage)
        columns.append(f"set_{coverage:g}")
    cases, repeated = _cases(source)
    for file in (out, failures_file):
        if _same(file, source):
            raise DataError(f"{file} is the list of images to score; name another file with --out.")
    if _same(out, failures_file):
        raise DataError(f"{out} and {failures_file} are the same file; name another file with --out.")
    done = _scored_before(out, model, columns)
    _check_failures(failures_file)
    waiting = {name: case for name, case in cases.items() if name not in done}
    skipped = len(cases) - len(waiting)
    scored = failed = 0
    try:
        with _writer(out, columns, append=True) as rows, _writer(failures_file, FAILURE_COLUMNS) as failures:
            for name, result in classify_all(waiting, model):
                if isinstance(result, Prediction):
                    probabilities = [f"{probability:.6f}" for probability in result.probabilities]
                    row = [name, model.id, result.predicted, f"{result.malignancy:.6f}", *probabilities]
                    if agreed := runtime.agreement(result):
                        row += [str(agreed.agreeing), f"{agreed.low:.6f}", f"{agreed.high:.6f}"]
                    if coverage is not None:
                        row.append(" ".join(conformal.prediction_set(result, coverage)))
                    rows.writerow(row)
                    scored += 1
                else:
                    failures.writerow([_printable(name), _printable(str(result))])
                    failed += 1
                progress(skipped + scored + failed, len(cases))
        if not failed:
            failures_file.unlink()
    except OSError as error:
        raise DataError(f"{out} cannot be written ({error.strerror}).") from None
    known = set().union(*(case.row for case in cases.values()))
    return Summary(
        scored,
        skipped,
        failed,
        repeated,
        tuple(field.name for field in model.clinical if field.name not in known),
        failures_file,
    )


def classify_all(cases: dict[str, Case], model: Model) -> Iterator[tuple[str, Prediction | SkinappError]]:
    """Each name with its Prediction, or the error that says why there is none, in the order of `cases`.

    One single-threaded classifier a core: together they classify more images a second than one that uses all cores.
    """
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    classifiers: queue.SimpleQueue[Classifier] = queue.SimpleQueue()
    for _ in range(workers):
        classifiers.put(Classifier(model, threads=1))

    def classify(name: str, case: Case) -> Prediction | SkinappError:
        try:
            _check_name(name)
            values = metadata.parse(model.clinical, case.row)
            pixels = imaging.load(case.path, model.input_size)
        except (ImageError, DataError) as error:
            return error
        classifier = classifiers.get()
        try:
            return classifier.predict(pixels, values)
        finally:
            classifiers.put(classifier)

    names = list(cases)
    with ThreadPoolExecutor(workers) as pool:
        # in slices, so that neither results nor waiting work grow with the number of images
        for start in range(0, len(names), 64):
            part = names[start : start + 64]
            yield from zip(part, pool.map(classify, part, (cases[name] for name in part)), strict=True)


def _listed(source: Path) -> list[dict[str, str]]:
    """The rows of a CSV that name an image, by column."""
    if not source.exists():
        raise DataError(f"There is no folder or CSV file {source}.")
    table = tables.read_file(source, required=("image",))
    table = table[table["image"] != ""]
    if table.empty:
        raise DataError(f"The column 'image' of {source} is empty.")
    return [{str(column): str(cell) for column, cell in row.items()} for row in table.to_dict("records")]


def _check_name(name: str) -> None:
    """ImageError for a name that no file can have, or that no CSV can hold."""
    if "\0" in name:
        raise ImageError("The file name contains a NUL character; correct it in the list.")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ImageError("The file name is not valid UTF-8; rename the file.") from None


def _printable(text: str) -> str:
    """Text that any CSV can hold: what is not valid UTF-8, and NUL, as escapes."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", r"\x00")


def _names(names: list[str]) -> str:
    first = ", ".join(_printable(name) for name in names[:SHOWN])
    return first if len(names) <= SHOWN else f"{first} and {len(names) - SHOWN:,} more"


def _same(first: Path, second: Path) -> bool:
    """Whether two paths lead to one file, which need not exist yet."""
    return first.resolve() == second.resolve() or (first.exists() and second.exists() and first.samefile(second))


def _scored_before(out: Path, model: Model, columns: list[str]) -> set[str]:
    """The images that `out` holds. A row, or a header, that was cut off when a run was stopped is removed.

    DataError, and the file left as it is, where it holds anything else.
    """
    content = _read(out)
    if content is None:
        return set()
    refused = DataError(f"{out} holds something other than predictions of '{model.id}'; name another file with --out.")
    header = (",".join(columns) + "\n").encode()
    if not content.startswith(header) and not header.startswith(content):
        raise refused
    whole = content.startswith(header)
    end, done = len(header), set()
    if whole:
        for size, row in _records(content[len(header) :]):
            if len(row) != len(columns) or row[1] != model.id:
                raise refused
            end += size
            done.add(row[0])
    if len(content) > end or not whole:
        try:
            os.truncate(out, end if whole else 0)
        except OSError as error:
            raise DataError(f"{out} cannot be written ({error.strerror}).") from None
    return done


def _records(content: bytes) -> Iterator[tuple[int, list[str]]]:
    """The complete records of a CSV's rows, each with its size in bytes, without one that is cut off at the end."""
    record = b""
    for line in content.splitlines(keepends=True):
        record += line
        # an odd number of quotes: a quoted name continues after its line break
        if record.endswith(b"\n") and record.count(b'"') % 2 == 0:
            try:
                yield len(record), next(csv.reader([record.decode("utf-8", "replace")]), [])
            except csv.Error:
                yield len(record), []
            record = b""


def _check_failures(file: Path) -> None:
    """DataError where `file` is there and is not the failures of an earlier run."""
    content = _read(file)
    header = (",".join(FAILURE_COLUMNS) + "\n").encode()
    if content is not None and not content.startswith(header) and not header.startswith(content):
        raise DataError(
            f"Failed images would be listed in {file}, which holds something else; move that file, or name another "
            "file with --out."
        )


def _read(file: Path) -> bytes | None:
    """The content of a regular file, None where there is none. DataError for anything else."""
    if not file.exists():
        return None
    if not file.is_file():
        raise DataError(f"{file} is not a regular file; name another file with --out.")
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}).") from None


@contextlib.contextmanager
def _writer(path: Path, columns: list[str], append: bool = False) -> Iterator[Any]:
    path.parent.mkdir(parents=True, exist_ok=True)
    # line-buffered: what has been printed as done is on disk when the run is stopped
    with path.open("a" if append else "w", newline="", encoding="utf-8", buffering=1) as file:
        writer = csv.writer(file, lineterminator="\n")
        if file.tell() == 0:
            writer.writerow(columns)
        yield writer
