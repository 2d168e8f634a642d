"""Scores many image files with one model: parallel, resumable, one row per image, failures kept aside."""

import contextlib
import csv
import os
import queue
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from skinapp import tables
from skinapp.errors import DataError, ImageError, SkinappError
from skinapp.images import imaging
from skinapp.inference import metadata
from skinapp.inference.registry import Model
from skinapp.inference.runtime import Classifier, Prediction


@dataclass(frozen=True)
class Summary:
    """How many images were scored now, were there from an earlier run, and failed; and the model's questions for which
    the table had no column."""

    scored: int
    skipped: int
    failed: int
    not_asked: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """An image to score, and what the table says of its patient, by column."""

    path: Path
    given: dict[str, str]


def find_cases(source: Path) -> dict[str, Case]:
    """What to score: name -> case, of a folder (recursively, by extension) or of a CSV's `image` column.

    A name is the path relative to the folder, or the cell of the CSV, whose relative paths start at the CSV's folder.
    Raises DataError where there is nothing to score.
    """
    if source.is_dir():
        files = sorted(
            path for path in source.rglob("*") if path.suffix.lower() in imaging.EXTENSIONS and path.is_file()
        )
        found = {path.relative_to(source).as_posix(): Case(path, {}) for path in files}
        if not found:
            raise DataError(f"There are no images in {source}; these endings are read: {' '.join(imaging.EXTENSIONS)}.")
        return found
    if not source.exists():
        raise DataError(f"There is no folder or CSV file {source}.")
    table = tables.read_file(source, required=("image",))
    table = table[table["image"] != ""]
    if table.empty:
        raise DataError(f"The column 'image' of {source} is empty.")
    rows = [{str(column): str(cell) for column, cell in row.items()} for row in table.to_dict("records")]
    return {row["image"]: Case(source.parent / row["image"], row) for row in rows}


def score(
    source: Path, model: Model, out: Path, progress: Callable[[int, int], None] = lambda done, total: None
) -> Summary:
    """Append a row per image of `source` to the CSV `out`, and one per unreadable file to `failed.csv` beside it.

    A model with clinical inputs takes the answers from the columns of their names; a row with an impossible one fails.
    Columns: image, model, predicted, malignancy, and `p_<label>` in the model's order. Images that `out` already
    holds are skipped, so an interrupted run goes on where it stopped; earlier failures are tried again. `progress` is
    called with the count done and in all.
    """
    images = find_cases(source)
    asked = set().union(*(case.given for case in images.values()))
    columns = ["image", "model", "predicted", "malignancy", *(f"p_{code}" for code in model.labels.codes)]
    done = _already_scored(out, model, columns)
    waiting = {name: case for name, case in images.items() if name not in done}
    skipped = len(images) - len(waiting)
    failed_file = out.with_name("failed.csv")
    scored = failed = 0
    try:
        with _writer(out, columns, append=bool(done)) as rows, _writer(failed_file, ["image", "reason"]) as failures:
            for name, answer in classify_all(waiting, model):
                if isinstance(answer, Prediction):
                    probabilities = [f"{probability:.6f}" for probability in answer.probabilities]
                    rows.writerow([name, model.id, answer.predicted, f"{answer.malignancy:.6f}", *probabilities])
                    scored += 1
                else:
                    failures.writerow([name, str(answer)])
                    failed += 1
                progress(skipped + scored + failed, len(images))
    except OSError as error:
        raise DataError(f"{out} cannot be written ({error.strerror}).") from None
    if not failed:
        failed_file.unlink()
    return Summary(scored, skipped, failed, tuple(one.name for one in model.clinical if one.name not in asked))


def classify_all(images: dict[str, Case], model: Model) -> Iterator[tuple[str, Prediction | SkinappError]]:
    """Each name with its Prediction, or the error that says why there is none; in the order given.

    One single-threaded classifier a core: together they answer more images a second than one that uses all cores.
    """
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    classifiers: queue.SimpleQueue[Classifier] = queue.SimpleQueue()
    for _ in range(workers):
        classifiers.put(Classifier(model, threads=1))

    def answer(case: Case) -> Prediction | SkinappError:
        try:
            answers = metadata.parse(model.clinical, case.given)
            pixels = imaging.load(case.path, model.input_size)
        except (ImageError, DataError) as error:
            return error
        classifier = classifiers.get()
        try:
            return classifier.predict(pixels, answers)
        finally:
            classifiers.put(classifier)

    names = list(images)
    with ThreadPoolExecutor(workers) as pool:
        # in slices, so that neither results nor waiting work grow with the number of images
        for start in range(0, len(names), 64):
            part = names[start : start + 64]
            yield from zip(part, pool.map(answer, (images[name] for name in part)), strict=True)


def _already_scored(out: Path, model: Model, columns: list[str]) -> set[str]:
    """The images that `out` holds. A last line that was cut off is taken away. DataError for another table."""
    if not out.exists() or out.stat().st_size == 0:
        return set()
    content = out.read_bytes()
    if not content.endswith(b"\n"):
        out.write_bytes(content[: content.rfind(b"\n") + 1])
    try:
        table = pd.read_csv(out, dtype=str, keep_default_na=False)
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError):
        table = pd.DataFrame()
    if list(table.columns) != columns or set(table["model"]) - {model.id}:
        raise DataError(f"{out} holds something other than predictions of '{model.id}'; name another file.")
    return set(table["image"])


@contextlib.contextmanager
def _writer(path: Path, columns: list[str], append: bool = False) -> Iterator[Any]:
    path.parent.mkdir(parents=True, exist_ok=True)
    # line-buffered: what has been printed as done is on disk when the run is stopped
    with path.open("a" if append else "w", newline="", encoding="utf-8", buffering=1) as file:
        writer = csv.writer(file, lineterminator="\n")
        if not append:
            writer.writerow(columns)
        yield writer
