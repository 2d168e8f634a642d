"""The tour: off until started, one step per page, and gone once ended."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from skinapp.evaluation import studies
from skinapp.ui import layout, tour

ROOT = Path(__file__).parents[2]


def buttons(at: AppTest) -> set[str]:
    return {str(button.key) for button in at.button if str(button.key).startswith("tour_")}


def note(at: AppTest) -> str:
    [words] = [one.value for one in at.caption if "Tour, step" in one.value]
    return words


def test_every_page_has_a_step() -> None:
    assert set(tour.STEPS) == set(layout.MENU)
    assert next(iter(tour.STEPS)) == "home"


def test_the_tour_leads_through_all_pages_and_ends() -> None:
    at = AppTest.from_file(ROOT / "app.py", default_timeout=30).run()
    assert not buttons(at)
    before = [one.value for one in (*at.markdown, *at.caption)]
    at.button(key="start_tour").click().run()
    assert "start_tour" not in {button.key for button in at.button}
    for number, words in enumerate(tour.STEPS.values(), 1):
        assert not at.exception
        assert note(at).endswith(f"step {number} of {len(layout.MENU)}")
        assert words in [one.value for one in at.markdown]
        if number < len(tour.STEPS):
            at.button(key="tour_next").click().run()
    assert at.title[0].value == "Guide"
    assert buttons(at) == {"tour_end"}
    at.button(key="tour_end").click().run()
    assert not at.exception
    assert not buttons(at)
    at.switch_page("pages/home.py").run()
    # as before
    assert [one.value for one in (*at.markdown, *at.caption)] == before
    assert at.button(key="start_tour")


def test_the_step_on_comparing_has_the_figures_of_the_tutorial() -> None:
    words = tour.tutorial_figures()
    table = studies.read(studies.TUTORIAL).set_index("score")
    for cell in table.loc["accuracy"]:
        assert cell in words
    at = AppTest.from_file(ROOT / "app.py", default_timeout=30).run()
    at.button(key="start_tour").click().run()
    at.switch_page("pages/compare.py").run()
    assert words in [one.value for one in at.markdown]
    at.switch_page("pages/guide.py").run()
    assert words not in [one.value for one in at.markdown]


def test_the_note_follows_the_menu_and_choices_are_kept() -> None:
    at = AppTest.from_file(ROOT / "app.py", default_timeout=30).run()
    at.button(key="start_tour").click().run()
    at.switch_page("pages/explore.py").run()
    at.pills(key="view").set_value("limits").run()
    assert note(at).endswith("step 2 of 7")
    at.switch_page("pages/home.py").run()
    at.button(key="tour_next").click().run()
    assert not at.exception
    assert at.title[0].value == "Who is in the data"
    assert at.pills(key="view").value == "limits"


@pytest.mark.parametrize("page", ["compare", "guide"])
def test_a_page_opened_first_has_no_note(page: str) -> None:
    at = AppTest.from_file(layout.path(page), default_timeout=30).run()
    assert not at.exception
    assert not buttons(at)
