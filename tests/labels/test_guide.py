"""The guide has an entry for every class, with every section and its sources."""

import re

import pytest

from skinapp.errors import DataError
from skinapp.labels import guide, skin_cancer
from skinapp.labels.sets import LABEL_SETS


def test_every_class_of_every_label_set_has_an_entry() -> None:
    for labels in LABEL_SETS.values():
        for label in labels.labels:
            assert label.code in guide.entry(label.code).codes


def test_names_are_unique_and_every_section_is_written() -> None:
    assert len({entry.name for entry in guide.ENTRIES}) == len(guide.ENTRIES)
    for entry in guide.ENTRIES:
        assert all(getattr(entry, field).endswith(".") for field in guide.SECTIONS)
        assert entry.sources
        assert set(entry.sources) <= set(guide.ADDRESSES)


def test_sources_are_links_and_none_is_left_over() -> None:
    assert guide.links(("NHS: Moles",)) == "[NHS: Moles](https://www.nhs.uk/conditions/moles/)"
    assert all(address.startswith("https://") for address in guide.ADDRESSES.values())
    assert {source for entry in guide.ENTRIES for source in entry.sources} == set(guide.ADDRESSES)


def test_every_chapter_names_its_sources_by_links() -> None:
    sources = [source for topic in skin_cancer.TOPICS for source in topic.sources]
    assert all(re.fullmatch(r"\[[^\]]+\]\(https://\S+\)", source) for source in sources)
    assert all(topic.points and topic.sources for topic in skin_cancer.TOPICS)


def test_pictures_are_images_of_the_archive() -> None:
    ids = [isic_id for entry in guide.ENTRIES for pair in entry.pictures for isic_id in pair]
    assert all(re.fullmatch(r"ISIC_\d{7}", isic_id) for isic_id in ids)
    assert all(entry.pictures for entry in guide.ENTRIES if entry.name != "Other cancer")


def test_an_unknown_class_is_named() -> None:
    with pytest.raises(DataError, match="no entry for the class 'wart'"):
        guide.entry("wart")
