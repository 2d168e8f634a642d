"""The row of a content is computed once, and every copy gets it."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from skinapp.errors import ImageError
from skinapp.inference import duplicates
from skinapp.inference.duplicates import Duplicates
from skinapp.inference.rows import Row

ROW: Row = {"predicted": "nv", "p_nv": 0.1 + 0.2, "set_0.9": ["nv", "mel"], "embedding": np.float32([0.1, -1e-8, 3])}


def same(row: Row) -> bool:
    return row.keys() == ROW.keys() and all(np.array_equal(row[name], ROW[name]) for name in ROW)


def test_a_copy_gets_the_same_row_to_the_last_bit() -> None:
    known, computed = Duplicates(), []

    def compute() -> Row:
        computed.append(1)
        return dict(ROW)

    rows = [known.row(content, compute) for content in (b"a", b"a", b"b", b"a")]
    assert all(map(same, rows))
    assert rows[1]["embedding"].dtype == np.float32
    assert (len(computed), known.count) == (2, 2)


def test_while_one_thread_computes_a_row_others_wait_for_it() -> None:
    known, computed, begun = Duplicates(), [], threading.Event()

    def compute() -> Row:
        computed.append(1)
        begun.set()
        time.sleep(0.05)
        return dict(ROW)

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(known.row, b"a", compute)
        begun.wait()
        others = [pool.submit(known.row, b"a", compute) for _ in range(3)]
        assert all(same(one.result()) for one in (first, *others))
    assert (len(computed), known.count) == (1, 3)


def test_a_failure_is_not_remembered() -> None:
    known = Duplicates()

    def fails() -> Row:
        raise ImageError("damaged")

    for _ in range(2):
        with pytest.raises(ImageError, match="damaged"):
            known.row(b"a", fails)
    assert same(known.row(b"a", lambda: dict(ROW)))


def test_beyond_the_limit_it_starts_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "LIMIT", 0)
    known = Duplicates()
    for content in (b"a", b"b", b"a", b"a"):
        known.row(content, lambda: dict(ROW))
    assert known.count == 1
