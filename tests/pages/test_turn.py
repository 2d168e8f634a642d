"""What a visitor sees when others are served first: the expected wait, or when to come back."""

import contextlib
import threading
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from skinapp.attention import catalogue, faithfulness
from skinapp.errors import ModelError
from skinapp.ui import admission, layout, map_grid, turn
from skinapp.ui.admission import Admission, Wait
from tests.pages.test_classify import PHOTO, headline, upload, upload_several
from tests.pictures import encode, lesion
from tests.ui.test_admission import TIMEOUT_SECONDS, taken

pytestmark = pytest.mark.usefixtures("clear_dermoscopy")


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Admission:
    """A server that computes one answer at a time, with no room to wait."""
    turns = Admission(1, 0, 3.0)
    monkeypatch.setattr(turn, "FOR_ANSWER", turns)
    return turns


def opened(page: str = "classify") -> AppTest:
    at = AppTest.from_file(layout.PAGES.parent / "app.py", default_timeout=60)
    return at.switch_page(f"pages/{page}.py").run()


@pytest.mark.parametrize("cores", [1, turn.VISITORS, 64])
def test_a_visitor_can_wait_however_many_cores_there_are(cores: int) -> None:
    answers = turn.turns_at_answers(cores)
    with contextlib.ExitStack() as running:
        for number in range(cores):
            running.enter_context(answers.turn(f"visitor {number}"))
        waiting = threading.Event()
        thread = threading.Thread(target=lambda: wait_for(answers, waiting))
        thread.start()
        try:
            assert waiting.wait(TIMEOUT_SECONDS)
        finally:
            running.close()
            thread.join()


def wait_for(turns: Admission, waiting: threading.Event) -> None:
    with turns.turn("one more", lambda _: waiting.set()):
        pass


def test_a_busy_server_says_so_and_answers_when_asked_again(full: Admission) -> None:
    at = opened()
    with taken(full, "another visitor"):
        upload(at, PHOTO)
        assert [box.value for box in at.warning] == [
            "The server is busy: 0 visitors are waiting for an answer. Try again in 3 seconds."
        ]
        assert not at.error
    at.button(key="try_again_show_photo").click().run()
    assert not at.exception
    assert not at.warning
    assert headline(at)


def test_a_batch_on_a_busy_server_resumes(full: Admission) -> None:
    photos = {f"photo-{seed}.jpg": encode(lesion(160, 120, seed=seed)) for seed in range(2)}
    at = opened()
    with taken(full, "another visitor"):
        upload_several(at, photos)
        assert "The server is busy" in at.warning[0].value
    at.button(key="try_again_batch").click().run()
    assert not at.exception
    assert "**2 files**: 2 answered" in " ".join(element.value for element in at.markdown)


def test_the_attention_page_of_a_busy_server_says_so(full: Admission) -> None:
    at = opened("attention")
    with taken(full, "another visitor"):
        at.file_uploader[0].upload("photo.jpg", PHOTO).run()
        assert not at.exception
        assert "The server is busy" in at.warning[0].value
    at.button(key="try_again_attention").click().run()
    assert at.multiselect(key="attention_models").value


def test_a_waiting_visitor_is_told_for_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    turns, shown_wait = Admission(1, 5, 4.0), threading.Event()
    monkeypatch.setattr(turn, "FOR_ANSWER", turns)
    monkeypatch.setattr(admission, "SHOW_SECONDS", 0.01)
    said: list[str] = []
    sentence = Wait.sentence.fget

    def noted(wait: Wait) -> str:
        said.append(sentence(wait))
        shown_wait.set()
        return said[-1]

    monkeypatch.setattr(Wait, "sentence", property(noted))
    at = opened()

    def others() -> None:
        with taken(turns, "another visitor"):
            begun.set()
            assert shown_wait.wait(TIMEOUT_SECONDS)

    begun = threading.Event()
    thread = threading.Thread(target=others)
    thread.start()
    begun.wait(TIMEOUT_SECONDS)
    upload(at, PHOTO)
    thread.join()
    assert said[0] == "Waiting for your turn. 1 visitor is ahead of you; it should take about 4 seconds."
    assert headline(at)


@pytest.mark.slow
def test_slow_work_on_an_answer_does_not_delay_other_answers(full: Admission, monkeypatch: pytest.MonkeyPatch) -> None:
    curves, answered = faithfulness.curves, []

    def meanwhile(*parts: object) -> object:
        with full.turn("another visitor"):
            answered.append(True)
        return curves(*parts)

    monkeypatch.setattr(faithfulness, "curves", meanwhile)
    at = opened()
    upload(at, PHOTO)
    at.toggle(key="measure_map").set_value(True).run()
    assert not at.exception
    assert answered == [True] * 3


def test_the_number_of_maps_is_limited_by_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    requested: list[str] = []
    raw: Any = catalogue.raw

    def counted(method_id: str, *rest: object, **settings: object) -> object:
        requested.append(method_id)
        return raw("last-convolution", *rest[:2], rest[2])

    monkeypatch.setattr(catalogue, "raw", counted)
    at = opened("attention")
    at.session_state["attention_rise_masks"] = 1000
    at.file_uploader[0].upload("photo.jpg", PHOTO).run()
    at.pills(key="attention_methods").set_value(["rise"])
    [classes] = [box for box in at.multiselect if str(box.key).startswith("attention_classes")]
    classes.set_value(["nv", "mel", "bcc", "akiec", "bkl", "df", "vasc"]).run()
    assert not at.exception
    # seven thousand classifications, of which six thousand are allowed
    assert requested.count("rise") == 6
    assert any("the app shows only the first 6." in box.value for box in at.info)
    assert at.number_input(key="attention_rise_masks").max == 1000


def test_cancelled_maps_are_not_made_until_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    raw: Any = catalogue.raw

    def cancelled_once(method_id: str, *rest: object, **settings: object) -> object:
        made.append(method_id)
        if method_id == "occlusion" and made.count("occlusion") == 1:
            # the effect of a click on Cancel
            raise ModelError(map_grid.CANCELLED)
        return raw("last-convolution", *rest[:2], rest[2])

    monkeypatch.setattr(catalogue, "raw", cancelled_once)
    at = opened("attention")
    at.file_uploader[0].upload("photo.jpg", PHOTO).run()
    at.pills(key="attention_methods").set_value(["occlusion"]).run()
    assert [box.value for box in at.warning] == [map_grid.CANCELLED]
    at.slider(key="attention_opacity").set_value(20).run()
    assert made.count("occlusion") == 1
    at.button(key="make_cancelled").click().run()
    assert not at.exception
    assert made.count("occlusion") == 2
    assert not at.warning
