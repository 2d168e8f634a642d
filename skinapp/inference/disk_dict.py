"""A dict on disk, for data that grows with the number of images."""

import sqlite3
from collections.abc import Iterator

CACHE_KIB = 16_384
"""The part of each dict that is kept in memory."""


class DiskDict:
    """Maps bytes to bytes, in a temporary database that the system removes when the process ends, even if it crashes.

    Several threads may use it. Every method raises sqlite3.OperationalError if the folder for temporary files, set by
    SQLITE_TMPDIR, is full.
    """

    def __init__(self) -> None:
        # "" is a private database, written to a temporary file once it outgrows the cache
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        for setting in (f"cache_size = -{CACHE_KIB}", "journal_mode = OFF", "synchronous = OFF"):
            self._database.execute(f"PRAGMA {setting}")
        self._database.execute("CREATE TABLE entries (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID")

    def add(self, key: bytes, value: bytes = b"") -> bool:
        """Add a key; return whether it is new. The value of an existing key is kept."""
        return bool(self._database.execute("INSERT OR IGNORE INTO entries VALUES (?, ?)", (key, value)).rowcount)

    def get(self, key: bytes) -> bytes | None:
        row = self._database.execute("SELECT value FROM entries WHERE key = ?", (key,)).fetchone()
        return row and row[0]

    def __contains__(self, key: bytes) -> bool:
        return self.get(key) is not None

    def __iter__(self) -> Iterator[bytes]:
        """The keys, sorted."""
        return (key for (key,) in self._database.execute("SELECT key FROM entries ORDER BY key"))

    def __len__(self) -> int:
        return int(self._database.execute("SELECT count(*) FROM entries").fetchone()[0])

    def clear(self) -> None:
        self._database.execute("DELETE FROM entries")
