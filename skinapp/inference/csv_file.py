"""A CSV file with the rows of scored images, appended one by one, and the failures in a file next to it."""

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from skinapp.errors import DataError
from skinapp.inference import manifest, rows
from skinapp.inference.registry import Model
from skinapp.inference.rows import Extras, Row

ONLY_IN_PARTS = ("sha256", "embedding", "class_map")


class CsvFile:
    """The CSV `file`, and `<its stem>.failed.csv`, which exists only where an image failed.

    Rows have the columns of `rows.columns` but ONLY_IN_PARTS, numbers with 6 decimals, the codes of a set separated by
    spaces. Rows of an earlier run are kept; its failures are replaced.
    """

    def __init__(self, file: Path, model: Model, extras: Extras):
        """DataError for extras that a CSV cannot store."""
        if extras.embedding or extras.class_map:
            raise DataError(f"A CSV cannot hold embeddings or maps; with --out, name a folder instead of {file}.")
        self.file, self.failures = file, file.with_name(f"{file.stem}.failed.csv")
        self.manifest = file.with_name(f"{file.stem}.manifest.json")
        if _same(file, self.failures):
            raise DataError(f"{file} and {self.failures} are the same file; name another file with --out.")
        self._model, self._extras = model, extras
        self._columns = [name for name in rows.columns(model, extras) if name not in ONLY_IN_PARTS]
        self._failed = False

    def check(self, source: Path) -> None:
        """DataError if the files are the list of images itself, or the failures or the manifest would replace something
        else; or if the manifest is that of another model."""
        for file in (self.file, self.failures):
            if _same(file, source):
                raise DataError(f"{file} is the list of images to score; name another file with --out.")
        header = _line(rows.FAILURE_COLUMNS)
        start = _start(self.failures, len(header))
        if start is not None and not header.startswith(start):
            raise DataError(
                f"Failed images would be listed in {self.failures}, which holds something else; move that file, or "
                "name another file with --out."
            )
        if self.file.exists() and self.file.stat().st_size:
            manifest.check(self.manifest, self._model, self._extras)
        else:
            manifest.read(self.manifest)

    def scored(self) -> Iterator[str]:
        """The images in the file. A row or header that was cut off when a run was stopped is removed.

        DataError, with the file unchanged, if it contains anything else.
        """
        header = _line(self._columns)
        start = _start(self.file, len(header))
        if start is None:
            return
        other = DataError(
            f"{self.file} holds something other than predictions of '{self._model.id}'; name another file with --out."
        )
        if not header.startswith(start):
            raise other
        # without metadata, the network that a model with metadata shares answers
        answering = {self._model.id, self._model.card.get("fusion", {}).get("base")}
        end = 0
        if start == header:
            end = len(header)
            for size, record in _records(self.file, end):
                if len(record) != len(self._columns) or record[1] not in answering:
                    raise other
                end += size
                yield record[0]
        if self.file.stat().st_size > end:
            os.truncate(self.file, end)

    def __enter__(self) -> Self:
        self._rows = _opened(self.file, "a")
        self._reasons = _opened(self.failures, "w")
        self._write, self._write_reason = (
            csv.writer(stream, lineterminator="\n").writerow for stream in (self._rows, self._reasons)
        )
        if self._rows.tell() == 0:
            self._write(self._columns)
        self._write_reason(rows.FAILURE_COLUMNS)
        return self

    def add(self, row: Row) -> None:
        if "reason" in row:
            self._failed = True
            self._write_reason([row[column] for column in rows.FAILURE_COLUMNS])
        else:
            self._write([_text(row[column]) for column in self._columns])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._rows.close()
        self._reasons.close()
        if not self._failed and kind is None:
            self.failures.unlink()


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6f}"
    return " ".join(value) if isinstance(value, list) else str(value)


def _opened(file: Path, mode: str) -> IO[str]:
    # line-buffered, so that rows reported as done are on disk if the run is stopped
    return file.open(mode, newline="", encoding="utf-8", buffering=1)


def _line(columns: tuple[str, ...] | list[str]) -> bytes:
    return (",".join(columns) + "\n").encode()


def _start(file: Path, size: int) -> bytes | None:
    """The first bytes of a regular file, None if there is none. DataError for anything else."""
    if not file.exists():
        return None
    if not file.is_file():
        raise DataError(f"{file} is not a regular file; name another file with --out.")
    try:
        with file.open("rb") as stream:
            return stream.read(size)
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}).") from None


def _records(file: Path, start: int) -> Iterator[tuple[int, list[str]]]:
    """The complete records of a CSV from a byte on, each with its size in bytes, without one that is cut off at the
    end."""
    record = b""
    with file.open("rb") as stream:
        stream.seek(start)
        for line in stream:
            record += line
            # an odd number of quotes: a quoted name continues on the next line
            if record.endswith(b"\n") and record.count(b'"') % 2 == 0:
                try:
                    yield len(record), next(csv.reader([record.decode("utf-8", "replace")]), [])
                except csv.Error:
                    yield len(record), []
                record = b""


def _same(first: Path, second: Path) -> bool:
    """Whether two paths refer to the same file, which need not exist yet."""
    return first.resolve() == second.resolve() or (first.exists() and second.exists() and first.samefile(second))
