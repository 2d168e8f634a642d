"""A folder of Parquet parts with the rows of scored images: `predictions/`, `failures/` and `manifest.json`.

A part is either complete or absent, so a killed run loses at most the rows of one part.
"""

import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from skinapp.errors import DataError
from skinapp.files import replacing
from skinapp.inference import manifest, rows
from skinapp.inference.cases import WHOLE, Shard
from skinapp.inference.registry import Model
from skinapp.inference.rows import Extras, Row

PREDICTIONS, FAILURES = "predictions", "failures"
"""The subfolders of the parts: rows, and images without a prediction, with the reason."""

ROWS = 4096
"""The maximum number of rows in a part, predictions and failures combined."""
SECONDS = 300
"""After this time a part is written even with fewer rows, to limit what a slow model can lose."""

BY_CONTENT = "part-of-"
"""Prefix of parts that are named after the images in them, see `cluster`; others are numbered."""

MANIFEST = re.compile(r"manifest(?:-\d+-of-(\d+))?\.json")
FAILURE_SCHEMA = pa.schema([(name, pa.string()) for name in rows.FAILURE_COLUMNS])


def schema(model: Model, extras: Extras) -> pa.Schema:
    """The columns of `rows.columns` in Parquet: probabilities float64, sets lists of codes, the embedding float32 [D],
    the class map float32 [h * w], row by row.

    The schema's metadata name the model of the rows, so that the schemas of different models differ.
    """
    outputs = model.card["outputs"]
    types = {
        "image": pa.string(),
        "sha256": pa.string(),
        "model": pa.string(),
        "predicted": pa.string(),
        "networks_agreeing": pa.int32(),
    }
    types |= {f"set_{coverage:g}": pa.list_(_element(pa.string())) for coverage in extras.coverages}
    if extras.embedding:
        types["embedding"] = pa.list_(_element(pa.float32()), outputs["embedding"][0])
    if extras.class_map:
        height, width, _ = outputs["class_maps"]
        types["class_map"] = pa.list_(_element(pa.float32()), height * width)
    described = {"model": model.id, "version": model.card["version"], "model_sha256": rows.fingerprint(model, extras)}
    return pa.schema(
        [(name, types.get(name, pa.float64())) for name in rows.columns(model, extras)], metadata=described
    )


def write(file: Path, content: Sequence[Row], columns: pa.Schema) -> None:
    """Write rows to a Parquet file atomically. DataError if the disk is full or not writable."""
    table = pa.table({name: [row[name] for row in content] for name in columns.names}, schema=columns)
    # a Python file object gives shorter error messages
    with replacing(file) as partial, partial.open("wb") as stream:
        pq.write_table(table, stream, compression="zstd")


def images(file: Path, columns: pa.Schema) -> Iterator[str]:
    """The names of the images in a part, in order. DataError if it is damaged, or has other columns or the rows of
    another model."""
    try:
        with pq.ParquetFile(file) as part:
            if not part.schema_arrow.equals(columns, check_metadata=True):
                raise DataError(
                    f"{file} holds predictions of another model or version, or with other columns; name another folder "
                    "with --out."
                )
            for batch in part.iter_batches(columns=["image"]):
                yield from batch.column(0).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file} cannot be read ({error}); delete it, and run the same command again.") from None


class PartsFolder:
    """The folder `folder`, to which several shards may write at once, each its own parts.

    Parts of an earlier run are kept, except its failures, which are retried.
    """

    def __init__(self, folder: Path, model: Model, extras: Extras, shard: Shard = WHOLE):
        self.file, self.failures = folder, folder / FAILURES
        suffix = "" if shard == WHOLE else f"-{shard.number}-of-{shard.of}"
        self.manifest = folder / f"manifest{suffix}.json"
        self._model, self._extras = model, extras
        self._schema = schema(model, extras)
        self._prefix = f"part{suffix}-"
        self._shard = shard

    def check(self, source: Path) -> None:
        """DataError if the folder contains anything else, parts of another model, or parts of a run with another number
        of shards."""
        if not self.file.exists():
            return
        for entry in self.file.iterdir():
            if entry.name in (PREDICTIONS, FAILURES) or entry.name.startswith((".", "partial-")):
                continue
            named = MANIFEST.fullmatch(entry.name)
            if not named:
                raise DataError(f"{self.file} holds other files, such as {entry.name}; name another folder with --out.")
            shards = int(named[1] or 1)
            if shards != self._shard.of:
                raise DataError(
                    f"{self.file} was made in {shards} shards, not {self._shard.of}; continue with {shards}, or name "
                    "another folder with --out."
                )
            manifest.check(entry, self._model, self._extras)

    def scored(self) -> Iterator[str]:
        """The images in the parts. DataError if one is damaged, or of another model or other columns."""
        for part in self._parts(PREDICTIONS):
            yield from images(part, self._schema)

    def __enter__(self) -> Self:
        for name in (PREDICTIONS, FAILURES):
            (self.file / name).mkdir(parents=True, exist_ok=True)
            for partial in (self.file / name).glob(f"partial-*-{self._prefix}*"):
                partial.unlink()
        for part in self._parts(FAILURES):
            part.unlink()
        numbers = (part.stem.removeprefix(self._prefix) for part in self._parts(PREDICTIONS))
        self._next = max((int(number) for number in numbers if number.isdecimal()), default=-1) + 1
        self._begin()
        return self

    def add(self, row: Row) -> None:
        (self._failed if "reason" in row else self._rows).append(row)
        if len(self._rows) + len(self._failed) >= ROWS or time.monotonic() - self._start > SECONDS:
            self._flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # finished rows are kept if the run is stopped, but not if writing failed
        if not isinstance(error, DataError):
            self._flush()

    def _begin(self) -> None:
        self._rows: list[Row] = []
        self._failed: list[Row] = []
        self._start = time.monotonic()

    def _flush(self) -> None:
        name = f"{self._prefix}{self._next:05}.parquet"
        if self._rows:
            write(self.file / PREDICTIONS / name, self._rows, self._schema)
        if self._failed:
            write(self.file / FAILURES / name, self._failed, FAILURE_SCHEMA)
        self._next += 1
        self._begin()

    def _parts(self, name: str) -> list[Path]:
        numbered = sorted((self.file / name).glob(f"{self._prefix}[0-9]*.parquet"))
        return numbered + sorted((self.file / name).glob(f"{BY_CONTENT}*.parquet")) * (self._shard == WHOLE)


def _element(kind: pa.DataType) -> pa.Field:
    """The element type of a list, under Parquet's name for it."""
    return pa.field("element", kind)
