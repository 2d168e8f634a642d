"""Files that are either complete or absent, and have one writer at a time."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from skinapp.errors import DataError


@contextlib.contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """A path to write to, next to `file`, that replaces it at the end of the block.

    If the process stops before that, an older `file` is unchanged; if the machine crashes, `file` is either the
    complete older or the complete newer version, since the content is synced to disk before the rename. Each writer has
    its own path, so if several write at once, the last one wins with a complete file. DataError, and no leftovers, if
    the disk is full or not writable.
    """
    partial = _partial(file)
    try:
        yield partial
        with partial.open("rb+") as stream:
            os.fsync(stream.fileno())
        partial.replace(file)
        _sync_folder(file.parent)
    except OSError as error:
        raise DataError(
            f"{file} cannot be written: {error.strerror or error}. Free some space there and run the same command "
            "again; finished work is saved."
        ) from error
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(target: Path) -> Iterator[None]:
    """An exclusive lock, across processes and threads, for writing to the file or folder `target`. The target need not
    exist yet; its parent folder is created.

    The lock is a hidden file next to the target, which is removed at the end. If the process dies, the system releases
    the lock, and a leftover file does no harm. Processes forked in the block also hold it until they end. DataError, at
    once, if another block has the lock, or the folder of `target` cannot be written to.
    """
    # only commands that write need it
    import filelock

    file = target.with_name(f".{target.name}.lock")
    lock = filelock.FileLock(file, blocking=False, thread_local=False)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise DataError(
            f"Another process is writing to {target}. Wait until it has finished, or choose another location."
        ) from None
    except OSError as error:
        raise DataError(f"{target} cannot be written: {error.strerror or error}.") from error
    try:
        yield
    finally:
        # unlink before releasing: a process that opened the file meanwhile sees that it is gone, and starts over with a
        # new one
        with contextlib.suppress(OSError):
            file.unlink()
        lock.release()


def _partial(file: Path) -> Path:
    return file.with_name(f"partial-{secrets.token_hex(8)}-{file.name}")


def _sync_folder(folder: Path) -> None:
    """Make a rename in the folder survive a power cut, if the system supports it."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
