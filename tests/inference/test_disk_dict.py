"""A dict that grows on disk."""

import os

from skinapp.inference.disk_dict import DiskDict


def test_the_first_value_of_a_key_stays_and_keys_are_sorted() -> None:
    entries = DiskDict()
    assert entries.add(b"b", b"1")
    assert entries.add(b"a")
    assert not entries.add(b"b", b"2")
    assert (entries.get(b"b"), entries.get(b"a"), entries.get(b"c")) == (b"1", b"", None)
    assert b"a" in entries
    assert b"c" not in entries
    assert (list(entries), len(entries)) == ([b"a", b"b"], 2)
    entries.clear()
    assert not list(entries)


def test_two_dicts_share_nothing() -> None:
    first, second = DiskDict(), DiskDict()
    first.add(b"a")
    assert b"a" not in second


def test_values_beyond_the_cache_are_read_back() -> None:
    entries = DiskDict()
    values = {os.urandom(16): os.urandom(2**16) for _ in range(400)}
    for key, value in values.items():
        entries.add(key, value)
    assert all(entries.get(key) == value for key, value in values.items())
