"""A data set, or several, in one file: a Parquet table in the common form with every image as WebP of one size.

WebP is lossy, so these are not quite the pixels of the published files. A run records the digest of the file that it
was trained on, and decoded images are cached under that digest.
"""

import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image
from tqdm import tqdm

from skinapp.errors import DataError, ImageError
from skinapp.files import replacing
from skinapp.images import imaging

WEBP = "webp"
"""The column with the bytes of the images."""
KEY = b"skinapp"
"""The entry of the file's metadata that describes it, as JSON."""
GROUP = 256
"""The number of images in memory at a time, and of rows in a row group."""


@dataclass(frozen=True)
class Pack:
    """A packed file: images of `size` x `size` px, WebP of that `quality` (1-100); `terms` maps each of its data sets
    to attribution and licence; `digest` is a hash of all rows and images."""

    file: Path
    size: int
    quality: int
    terms: Mapping[str, str]
    digest: str


def write(file: Path, table: pd.DataFrame, size: int, quality: int, terms: Mapping[str, str]) -> Pack:
    """Pack a table in the common form with its images: the centre square, as training caches it.

    If images cannot be read, one DataError lists them all, and no file is left.
    """
    rows = table.drop(columns="path")
    rows = rows.astype(object).where(rows.notna(), None)
    fields = [pa.field(name, pa.float64() if name == "age" else pa.string()) for name in rows]
    schema = pa.schema([*fields, pa.field(WEBP, pa.binary())])
    digest = hashlib.sha256(rows.to_csv(index=False).encode())
    failures: list[str] = []

    def webp(image: str, path: Path) -> bytes:
        try:
            return encoded(imaging.load(path, size), quality)
        except ImageError as error:
            failures.append(f"{image}: {error}")
            return b""

    compression = dict.fromkeys(rows, "ZSTD") | {WEBP: "NONE"}
    with (
        replacing(file) as partial,
        ThreadPoolExecutor() as pool,
        tqdm(total=len(table), desc=f"packing {file.name}", unit="image") as bar,
        pq.ParquetWriter(partial, schema, compression=compression) as writer,
    ):
        for start in range(0, len(table), GROUP):
            part = table.iloc[start : start + GROUP]
            images = list(pool.map(webp, part["image"], part["path"]))
            for image in images:
                digest.update(len(image).to_bytes(8, "big") + image)
            columns = rows.iloc[start : start + GROUP].assign(**{WEBP: images})
            writer.write_table(pa.Table.from_pandas(columns, schema, preserve_index=False))
            bar.update(len(part))
        if failures:
            raise unreadable(failures, len(table))
        described = {"size": size, "quality": quality, "terms": dict(terms), "digest": digest.hexdigest()}
        writer.add_key_value_metadata({KEY: json.dumps(described)})
    return read(file)


def encoded(pixels: np.ndarray, quality: int) -> bytes:
    """Uint8 RGB [size, size, 3] as WebP."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "WEBP", quality=quality)
    return stream.getvalue()


def unreadable(failures: list[str], total: int) -> DataError:
    """The error that lists images, each with its reason."""
    shown = "\n".join(sorted(failures)[:20])
    return DataError(f"{len(failures)} of {total} images cannot be read:\n{shown}")


def read(file: Path) -> Pack:
    """The metadata of a packed file. DataError if the file is missing, or is not a packed file."""
    try:
        described = (pq.read_metadata(file).metadata or {}).get(KEY)
    except FileNotFoundError:
        raise DataError(f"There is no file {file}; python -m train pack writes it.") from None
    except (pa.ArrowInvalid, OSError):
        described = None
    if described is None:
        raise DataError(f"{file} was not written by python -m train pack, or is cut short; pack the data set again.")
    return Pack(file=file, **json.loads(described))


def table(pack: Pack, dataset: str, columns: tuple[str, ...]) -> pd.DataFrame:
    """The rows of one data set in these columns of the common form; `path` is empty. DataError if it is not packed."""
    if dataset not in pack.terms:
        raise DataError(
            f"{pack.file} has the data sets {', '.join(pack.terms)}, but not {dataset}; pack together what is trained "
            "on together: python -m train pack A+B."
        )
    rows = pq.read_table(pack.file, columns=[name for name in columns if name != "path"]).to_pandas()
    return rows[rows["dataset"] == dataset].reindex(columns=list(columns)).reset_index(drop=True)


def images(pack: Pack, dataset: str) -> Iterator[bytes]:
    """The WebP images of one data set, in the order of its rows."""

    with pq.ParquetFile(pack.file) as stored:
        for batch in stored.iter_batches(GROUP, columns=["dataset", WEBP]):
            yield from batch.filter(pc.equal(batch["dataset"], dataset))[WEBP].to_pylist()
