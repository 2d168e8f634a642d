"""Files that are either complete or absent."""

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path

from skinapp.errors import DataError


@contextlib.contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """A path to write to, beside `file`, that replaces it at the end of the block.

    If the process stops before that, an older `file` is unchanged. Each writer has its own path, so if several write
    at once, the last one wins with a complete file. DataError, and nothing left behind, where the disk is full or
    cannot be written to.
    """
    partial = _partial(file)
    try:
        yield partial
        partial.replace(file)
    except OSError as error:
        raise DataError(
            f"{file} cannot be written: {error.strerror or error}. Free some space there and run the same command "
            "again; finished work is saved."
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def _partial(file: Path) -> Path:
    return file.with_name(f"partial-{secrets.token_hex(8)}-{file.name}")
