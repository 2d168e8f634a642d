"""Classifies files with the same content only once."""

import base64
import json
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import numpy as np

from skinapp.inference.disk_dict import DiskDict
from skinapp.inference.rows import Row

LIMIT = 2 * 1024**3
"""Bytes of rows that are remembered on disk; beyond that, all are forgotten, and their duplicates are computed
again."""


class Duplicates:
    """Rows by file content. `count` is the number of rows that were reused instead of computed."""

    def __init__(self) -> None:
        self.count = 0
        self._known = DiskDict()
        self._bytes = 0
        self._running: dict[bytes, Future[Row]] = {}
        self._lock = threading.Lock()

    def row(self, content: bytes, compute: Callable[[], Row]) -> Row:
        """The row for a content, computed unless it is known; while one thread computes it, other threads wait for
        it."""
        own: Future[Row] = Future()
        with self._lock:
            known, running = self._known.get(content), self._running.get(content)
            if known is None and running is None:
                self._running[content] = own
            else:
                self.count += 1
        if known is not None:
            return _decoded(known)
        if running is not None:
            return dict(running.result())
        try:
            row = compute()
        except BaseException as error:
            own.set_exception(error)
            with self._lock:
                del self._running[content]
            raise
        own.set_result(row)
        encoded = _encoded(row)
        with self._lock:
            if self._bytes > LIMIT:
                self._known.clear()
                self._bytes = 0
            self._known.add(content, encoded)
            self._bytes += len(encoded)
            del self._running[content]
        return row


def _encoded(row: Row) -> bytes:
    def array(value: np.ndarray) -> Any:
        return {"float32": base64.b85encode(value.astype(np.float32).tobytes()).decode()}

    return json.dumps(row, default=array).encode()


def _decoded(row: bytes) -> Row:
    def array(value: dict[str, Any]) -> Any:
        return np.frombuffer(base64.b85decode(value["float32"]), np.float32) if "float32" in value else value

    return json.loads(row, object_hook=array)
