"""Files that are either complete or absent, and have one writer at a time."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from skinapp.errors import DataError


@contextlib.contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """A path to write to, beside `file`, that replaces it at the end of the block.

    If the process stops before that, an older `file` is unchanged; if the machine does, `file` is the older or the
    newer one, complete, since what was written is synced to the disk before it is renamed. Each writer has its own
    path, so if several write at once, the last one wins with a complete file. DataError, and nothing left behind,
    where the disk is full or cannot be written to.
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
    """The only block, of all processes and threads, that writes to the file or folder `target`. It need not exist yet,
    and the folder that it is in is made.

    The lock is held on a hidden file beside it, which is removed at the end. If the process dies, the system releases
    the lock, and the file that may be left does not matter. Processes forked in the block hold it too, until they end.
    DataError, at once, where another block has the lock, or the folder of `target` cannot be written to.
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
        # before the release: whoever opened the file meanwhile sees that it is gone, and starts over with a new one
        with contextlib.suppress(OSError):
            file.unlink()
        lock.release()


def _partial(file: Path) -> Path:
    return file.with_name(f"partial-{secrets.token_hex(8)}-{file.name}")


def _sync_folder(folder: Path) -> None:
    """Make a rename in the folder outlast a power cut, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
