"""A dict on disk, for what grows with the number of images."""

import sqlite3
from collections.abc import Iterator

CACHE_KIB = 16_384
"""Of each dict that is held in memory."""


class DiskDict:
    """Bytes to bytes, in a temporary database that the system removes when the process ends, however it ends.

    Several threads may use it. Every method raises sqlite3.OperationalError where the folder for temporary files, which
    SQLITE_TMPDIR names, is full.
    """

    def __init__(self) -> None:
        # "" is a database of this connection alone, written to a temporary file where the cache is too small
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        for setting in (f"cache_size = -{CACHE_KIB}", "journal_mode = OFF", "synchronous = OFF"):
            self._database.execute(f"PRAGMA {setting}")
        self._database.execute("CREATE TABLE entries (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID")

    def add(self, key: bytes, value: bytes = b"") -> bool:
        """Whether the key is new; if not, its value stays."""
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
