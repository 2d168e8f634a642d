"""A folder of Parquet parts with the rows of scored images: `predictions/`, `failures/` and `manifest.json`.

A part is there whole or not at all, so a run that is stopped loses at most the rows of one part.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from skinapp.errors import DataError
from skinapp.files import replacing
from skinapp.inference import rows
from skinapp.inference.registry import Model
from skinapp.inference.rows import Extras, Row

PREDICTIONS, FAILURES = "predictions", "failures"
"""The folders of the parts: of rows, and of images without a prediction, with the reason."""

FAILURE_SCHEMA = pa.schema([(name, pa.string()) for name in rows.FAILURE_COLUMNS])


def schema(model: Model, extras: Extras) -> pa.Schema:
    """The columns of `rows.columns` in Parquet: probabilities float64, sets lists of codes, the embedding float32 [D],
    the class map float32 [h * w], row by row.

    The schema's metadata say which model the rows are from, so that parts of different models do not match.
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
    """Write rows to a Parquet file, whole or not at all. DataError where the disk is full or cannot be written to."""
    table = pa.table({name: [row[name] for row in content] for name in columns.names}, schema=columns)
    with replacing(file) as partial:
        pq.write_table(table, partial, compression="zstd")


def images(file: Path, columns: pa.Schema) -> Iterator[str]:
    """The names of the images in a part, in order. DataError where it is damaged, or has other columns or rows of
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


def _element(kind: pa.DataType) -> pa.Field:
    """What a list consists of, by the name that Parquet gives it."""
    return pa.field("element", kind)
