"""The guide has an entry for every class, with every section and its sources."""

import pytest

from skinapp.errors import DataError
from skinapp.labels import guide
from skinapp.labels.sets import LABEL_SETS


def test_every_class_of_every_label_set_has_an_entry() -> None:
    for labels in LABEL_SETS.values():
        for label in labels.labels:
            assert label.code in guide.entry(label.code).codes


def test_names_are_told_apart_and_every_section_is_written() -> None:
    assert len({entry.name for entry in guide.ENTRIES}) == len(guide.ENTRIES)
    for entry in guide.ENTRIES:
        assert all(getattr(entry, field).endswith(".") for field in guide.SECTIONS)
        assert entry.sources


def test_an_unknown_class_is_named() -> None:
    with pytest.raises(DataError, match="no entry for the class 'wart'"):
        guide.entry("wart")
