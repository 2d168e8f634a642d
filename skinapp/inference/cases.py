"""The images to score, one at a time: from a folder, a CSV, a Parquet file, or a list on standard input.

None of them is ever held in memory as a whole.
"""

import hashlib
import json
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pyarrow as pa
import pyarrow.parquet as pq

from skinapp import tables
from skinapp.errors import DataError
from skinapp.images import imaging
from skinapp.inference import rows
from skinapp.inference.disk_dict import DiskDict
from skinapp.inference.rows import Case

STANDARD_INPUT = Path("-")
PARQUET_MARK = b"PAR1"
SHOWN = 3
"""How many images a message names."""

Named = tuple[str, Case]


@dataclass(frozen=True)
class Shard:
    """One of `of` parts of the images, with `number` counted from 1. The name of an image alone decides its part."""

    number: int
    of: int

    def holds(self, name: str) -> bool:
        return zlib.crc32(os.fsencode(name)) % self.of == self.number - 1


WHOLE = Shard(1, 1)


def parse_shard(text: str) -> Shard:
    """ "2/8" -> Shard. DataError for anything else, such as a shard beyond the last."""
    try:
        shard = Shard(*map(int, text.split("/")))
    except (TypeError, ValueError):
        raise DataError(f"'{text}' is not a shard; write its number and the total, such as 2/8.") from None
    if not 1 <= shard.number <= shard.of:
        raise DataError(f"There is no shard {text}; shards of {shard.of} are 1/{shard.of} to {shard.of}/{shard.of}.")
    return shard


@dataclass(frozen=True)
class Source:
    """A source of images: its cases, by name, and the number of distinct ones, None if that is not known yet.

    `cases` may name an image several times, always with the same case. `columns` are those of the table.
    """

    cases: Iterator[Named]
    total: int | None
    columns: frozenset[str] = frozenset()


def find_cases(source: Path) -> dict[str, Case]:
    """All cases of `open_source`, by name, for data sets that fit into memory."""
    return dict(open_source(source).cases)


def open_source(source: Path, shard: Shard = WHOLE) -> Source:
    """The images of a folder (recursively, by extension, sorted), of a table's column `image`, or named on standard
    input, one a line.

    A name is the path relative to the folder, the cell of the table, whose relative paths start at the table's folder,
    or the line. Raises DataError if there is nothing to score, or the table lists an image twice with different
    values.
    """
    if source == STANDARD_INPUT:
        return Source((named for named in _lines() if shard.holds(named[0])), None)
    return _folder(source, shard) if source.is_dir() else _table(source, shard)


def _lines() -> Iterator[Named]:
    empty = True
    for line in sys.stdin.buffer:
        if name := os.fsdecode(line.rstrip(b"\r\n")):
            empty = False
            yield name, Case(Path(name), {})
    if empty:
        raise DataError("Standard input lists no images; write the path of one on each line.")


def _folder(folder: Path, shard: Shard) -> Source:
    names, empty = DiskDict(), True
    for name in _listed(folder):
        empty = False
        if shard.holds(name):
            names.add(os.fsencode(name))
    if empty:
        raise DataError(f"There are no images in {folder}; supported file types: {' '.join(imaging.EXTENSIONS)}.")
    return Source(((name, Case(folder / name, {})) for name in map(os.fsdecode, names)), len(names))


def _listed(folder: Path) -> Iterator[str]:
    """The images below a folder, in no particular order, by their paths relative to it."""
    waiting = [""]
    while waiting:
        below = waiting.pop()
        try:
            with os.scandir(folder / below) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(f"{below}{entry.name}/")
                    elif entry.name.lower().endswith(imaging.EXTENSIONS) and entry.is_file():
                        yield f"{below}{entry.name}"
        except OSError as error:
            raise DataError(f"The folder {folder / below} cannot be listed ({error.strerror}).") from None


def _table(source: Path, shard: Shard) -> Source:
    if not source.exists():
        raise DataError(f"There is no folder or table {source}.")
    read = _parquet_rows if _is_parquet(source) else _csv_rows

    def cases() -> Iterator[Named]:
        for row in read(source):
            name = str(row["image"] or "")
            if name and shard.holds(name):
                yield name, Case(source.parent / name, row)

    total, columns = _check(source, read, shard)
    return Source(cases(), total, columns)


def _check(
    source: Path, read: Callable[[Path], Iterator[dict[str, object]]], shard: Shard
) -> tuple[int, frozenset[str]]:
    """The number of distinct images of the shard in a table, and the table's columns. DataError if it lists no image,
    or one twice with different values."""
    listed, empty, conflicting = DiskDict(), True, []
    columns: frozenset[str] = frozenset()
    for row in read(source):
        name = str(row["image"] or "")
        if not name:
            continue
        if empty:
            empty, columns = False, frozenset(row)
        if shard.holds(name):
            values = hashlib.blake2b(json.dumps(row, default=str).encode(), digest_size=16).digest()
            if not listed.add(key(name), values) and listed.get(key(name)) != values and name not in conflicting:
                conflicting.append(name)
                if len(conflicting) > SHOWN:
                    break
    if empty:
        raise DataError(f"The column 'image' of {source} is empty.")
    if conflicting:
        shown = ", ".join(map(rows.printable, conflicting[:SHOWN])) + " and others" * (len(conflicting) > SHOWN)
        raise DataError(f"{source} lists {shown} more than once, with different values; keep one row for each image.")
    return len(listed), columns


def key(name: str) -> bytes:
    """16 bytes that stand for a name in a DiskDict."""
    return hashlib.blake2b(os.fsencode(name), digest_size=16).digest()


def _csv_rows(source: Path) -> Iterator[dict[str, object]]:
    for table in tables.chunks(source, required=("image",)):
        yield from cast(list[dict[str, object]], table.to_dict("records"))


def _is_parquet(source: Path) -> bool:
    try:
        with source.open("rb") as stream:
            return stream.read(len(PARQUET_MARK)) == PARQUET_MARK
    except OSError as error:
        raise DataError(f"{source} cannot be read ({error.strerror}).") from None


def _parquet_rows(source: Path) -> Iterator[dict[str, object]]:
    """The rows of a Parquet file, without columns that hold lists, structures or bytes."""
    try:
        with pq.ParquetFile(source) as file:
            schema = file.schema_arrow
            plain = [field.name for field in schema if not (pa.types.is_nested(field.type) or _is_bytes(field.type))]
            if "image" not in schema.names:
                raise DataError(f"{source} lacks the column image; it has {', '.join(schema.names)}.")
            if not _is_text(schema.field("image").type):
                raise DataError(
                    f"The column 'image' of {source} holds {schema.field('image').type}; it must hold the paths of "
                    "image files, as text."
                )
            for batch in file.iter_batches(batch_size=tables.CHUNK_ROWS, columns=plain):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{source} cannot be read as a Parquet file ({error}).") from None


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _is_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
