"""The guide page: an entry for every diagnosis, with counts and sensitivities."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from skinapp.labels import guide, self_check

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
    assert "Read more:" in " ".join(caption.value for caption in at.caption)
    assert len(at.dataframe[0].value)


@pytest.mark.parametrize(("linked", "code"), [("nv", "nv"), ("NEV", "nv"), ("Melanocytic nevus", "nv")])
def test_links_hold_codes_and_old_ones_still_open(linked: str, code: str) -> None:
    at = AppTest.from_file(ROOT / "app.py", default_timeout=60).switch_page("pages/guide.py")
    at.query_params["class"] = linked
    at.run()
    assert not at.exception
    assert at.header[0].value == guide.entry(code).name
    assert at.query_params.get("class") == (None if code == "mel" else code)


def test_how_to_check_a_spot_is_on_every_entry_with_sources() -> None:
    at = AppTest.from_file(ROOT / "app.py", default_timeout=60).switch_page("pages/guide.py").run()
    text = " ".join(element.value for element in (*at.markdown, *at.caption))
    for heading, sentences in self_check.SECTIONS.items():
        assert heading in text
        for sentence in sentences:
            assert sentence in text
    for source in self_check.SOURCES:
        assert source in text
    assert self_check.TITLE in [one.value for one in at.subheader]


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
