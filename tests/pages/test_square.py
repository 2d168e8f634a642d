"""The square of a photo: proposed, chosen among two lesions, drawn, and remembered."""

import pytest
from streamlit.testing.v1 import AppTest

from skinapp.inference.modality import Recognised
from skinapp.lesion import square
from skinapp.ui import layout
from tests.lesion.test_square import spots
from tests.pages.test_classify import headline, upload, upload_several
from tests.pictures import encode

ONE, TWO = encode(spots((700, 350), (150, 180, 30))), encode(spots((700, 350), (150, 180, 45), (530, 170, 65)))


@pytest.fixture(autouse=True)
def recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every image is recognised as a phone photo, none fails on quality, and squares are used for small lesions."""
    certain = Recognised("smartphone", {"dermoscopy": 0.01, "smartphone": 0.98, "neither": 0.01}, unlike=False)
    monkeypatch.setattr("skinapp.inference.modality.recognise", lambda image: certain)
    monkeypatch.setattr("skinapp.images.quality.problems", lambda *_: [])
    figures = {"smartphone": square.figures()["smartphone"] | {"margin": 2.5, "largest": 0.3, "used": True}}
    monkeypatch.setattr(square, "figures", lambda: figures)


@pytest.fixture
def page() -> AppTest:
    return AppTest.from_file(layout.PAGES.parent / "app.py", default_timeout=60).switch_page("pages/classify.py").run()


def settings(page: AppTest) -> dict[str, int]:
    return {slider.label: slider.value for slider in page.slider if str(slider.key).startswith("crop_")}


def buttons(page: AppTest, start: str) -> list[str]:
    """The keys of the buttons with this prefix."""
    return [str(button.key) for button in page.button if str(button.key).startswith(start)]


def test_the_square_starts_around_a_small_lesion(page: AppTest) -> None:
    upload(page, ONE)
    headline(page)
    chosen = settings(page)
    assert chosen["Size"] == pytest.approx(100 * 2.5 * 60 / 350, abs=8)
    assert chosen["Left to right"] < 25
    [centre] = buttons(page, "centre_")
    page.button(key=centre).click().run()
    assert settings(page) == {"Size": 100, "Left to right": 50}
    [around] = buttons(page, "around_")
    assert "test images" in page.button(key=around).help
    page.button(key=around).click().run()
    assert settings(page) == chosen


def test_it_stays_in_the_centre_where_squares_cost(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = {"smartphone": square.figures()["smartphone"] | {"used": False}}
    monkeypatch.setattr(square, "figures", lambda: figures)
    upload(page, ONE)
    assert settings(page) == {"Size": 100, "Left to right": 50}
    assert buttons(page, "around_")


def test_of_two_lesions_the_visitor_chooses(page: AppTest) -> None:
    upload(page, TWO)
    assert any("Which one do you mean?" in one.value for one in page.markdown)
    answers = []
    for key in buttons(page, "lesion_"):
        page.button(key=key).click().run()
        assert not page.exception
        answers.append((headline(page), settings(page)["Left to right"]))
    # the larger is on the right
    assert answers[0][1] > 60
    assert answers[1][1] < 40


def test_a_grid_finds_the_lesions_of_each_image_once(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    lesions = square.lesions
    monkeypatch.setattr(square, "lesions", lambda image: (calls.append(image), lesions(image))[1])
    upload_several(page, {"one.jpg": ONE, "two.jpg": TWO})
    page.run()
    page.selectbox(key="batch_order").set_value("name").run()
    assert not page.exception
    assert len(calls) == 2


def test_one_lesion_asks_nothing(page: AppTest) -> None:
    upload(page, ONE)
    assert not buttons(page, "lesion_")


def test_the_square_follows_the_photo_to_attention_and_is_removed_with_it(page: AppTest) -> None:
    upload(page, ONE)
    [photo] = page.session_state["images"].values()
    chosen = settings(page)
    assert f"start_None_{photo.key}" in page.session_state
    page.switch_page("pages/attention.py").run()
    assert not page.exception
    assert settings(page) == chosen
    page.button(key="remove_image").click().run()
    for name in ("crop_side", "proposed_None", "start_None"):
        assert f"{name}_{photo.key}" not in page.session_state
