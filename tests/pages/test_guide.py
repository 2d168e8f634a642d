"""The guide page: an entry for every diagnosis, with counts and sensitivities."""

import re
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from skinapp.datasets import isic
from skinapp.labels import guide, self_check, skin_cancer
from skinapp.ui import privacy
from tests.pictures import encode, lesion

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("entry", guide.ENTRIES, ids=lambda entry: entry.codes[0])
@pytest.mark.parametrize("form", ["code", "former name"])
def test_an_address_opens_its_entry(entry: guide.Entry, form: str) -> None:
    at = AppTest.from_file(ROOT / "app.py", default_timeout=60).switch_page("pages/guide.py")
    at.query_params["class"] = entry.codes[-1] if form == "code" else entry.name
    at.run()
    assert not at.exception
    assert not at.error
    assert at.header[0].value == entry.name
    assert "Read more:" in " ".join(one.value for one in at.markdown)
    assert len(at.dataframe[0].value)


@pytest.mark.parametrize(("linked", "code"), [("nv", "nv"), ("NEV", "nv"), ("Melanocytic nevus", "nv")])
def test_links_hold_codes_and_old_ones_still_open(linked: str, code: str) -> None:
    at = AppTest.from_file(ROOT / "app.py", default_timeout=60).switch_page("pages/guide.py")
    at.query_params["class"] = linked
    at.run()
    assert not at.exception
    assert at.header[0].value == guide.entry(code).name
    assert at.query_params.get("class") == (None if code == "mel" else code)


def open_chapter(chapter: str) -> AppTest:
    at = AppTest.from_file(ROOT / "app.py", default_timeout=60).switch_page("pages/guide.py")
    at.query_params["chapter"] = chapter
    at.run()
    assert not at.exception
    return at


@pytest.mark.parametrize("chapter", ["diagnoses", "general", "check", "privacy"])
def test_when_to_see_a_doctor_comes_first_in_every_chapter(chapter: str) -> None:
    at = open_chapter(chapter)
    assert at.subheader[0].value == "When to see a doctor"
    text = " ".join(element.value for element in at.markdown)
    assert all(sentence in text for sentence in self_check.SECTIONS[self_check.DOCTOR])


@pytest.mark.parametrize("page", ["classify", "attention", "home"])
def test_where_a_page_promises_to_store_nothing_it_links_to_how_that_is_tested(page: str) -> None:
    at = AppTest.from_file(ROOT / "app.py", default_timeout=60).switch_page(f"pages/{page}.py").run()
    assert any("Nothing you add is stored" in one.value for one in (*at.markdown, *at.caption))
    [link] = [one.proto for one in at.get("page_link") if one.proto.label == privacy.LINK]
    assert link.query_string == "chapter=privacy"
    assert link.page == "guide"


def test_the_chapter_on_images_names_a_test_that_is_there() -> None:
    text = " ".join(one.value for one in open_chapter("privacy").markdown)
    [test] = re.findall(r"`(tests/\S+)`", text)
    assert (ROOT / test).is_file()
    assert "the session is kept for 2 minutes" in text


def test_how_to_check_a_spot_has_the_signs_and_sources() -> None:
    at = open_chapter("check")
    text = " ".join(element.value for element in (*at.markdown, *at.caption))
    for heading, sentences in self_check.SECTIONS.items():
        assert heading in text or heading == self_check.DOCTOR
        assert all(sentence in text for sentence in sentences)
    assert all(f"**{sign}**: {words}" in text for sign, words in self_check.SIGNS.items())
    assert all(source in text for source in self_check.SOURCES)
    assert self_check.TITLE in [one.value for one in at.subheader]


def test_the_general_chapter_names_rare_cancers_and_its_sources() -> None:
    at = open_chapter("general")
    text = " ".join(element.value for element in (*at.markdown, *at.caption))
    for cancer in ("Merkel cell carcinoma", "Angiosarcoma", "Lymphoma", "Kaposi sarcoma"):
        assert f"**{cancer}" in text
    assert "UV index" in text
    for topic in skin_cancer.TOPICS:
        assert all(words in text for words in (*topic.points, *topic.sources))


def test_pictures_are_links_where_the_archive_is_not_reached() -> None:
    at = open_chapter("diagnoses")
    first, _ = guide.ENTRIES[0].pictures[0]
    (words,) = (one.value for one in at.markdown if "cannot reach" in one.value)
    assert f"https://api.isic-archive.com/images/{first}/" in words


def test_pictures_have_attribution_and_licence_where_the_archive_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    def examples(ids: tuple[str, ...], licences: tuple[str, ...]) -> list[isic.Example]:
        assert "CC-BY-NC" in licences
        return [isic.Example(ids[1], encode(lesion()), "CC-BY-NC", "MILK study team", "Melanoma")]

    monkeypatch.setattr(isic, "examples", examples)
    monkeypatch.setenv("SKINAPP_ISIC_URL", "http://127.0.0.1:9/with-pictures")
    at = open_chapter("diagnoses")
    assert not any("cannot reach" in one.value for one in at.caption)
    shown = guide.ENTRIES[0].pictures[0][1]
    assert any(shown in one.value and r"MILK study team, CC\-BY\-NC" in one.value for one in at.markdown)


def test_a_link_to_an_unknown_class_opens_the_first() -> None:
    at = AppTest.from_file(ROOT / "app.py", default_timeout=60).switch_page("pages/guide.py")
    at.query_params["class"] = "no such class"
    at.run()
    assert not at.exception
    assert at.header[0].value == guide.ENTRIES[0].name
    assert "class" not in at.query_params


def test_a_choice_is_in_the_address_by_its_code() -> None:
    at = AppTest.from_file(ROOT / "app.py", default_timeout=60).switch_page("pages/guide.py").run()
    assert "class" not in at.query_params
    at.button_group(key="class").set_value("Basal cell carcinoma").run()
    assert at.header[0].value == "Basal cell carcinoma"
    assert at.query_params["class"] == "bcc"


def test_melanoma_has_its_counts_and_how_often_models_find_it() -> None:
    at = AppTest.from_file(ROOT / "app.py", default_timeout=60).switch_page("pages/guide.py").run()
    data = at.dataframe[0].value.set_index("Data set")
    assert data.loc["HAM10000", ["Images", "Lesions"]].tolist() == [1113, 614]
    assert at.metric[0].value.endswith("%")
    assert "n = 168" in at.metric[0].delta
