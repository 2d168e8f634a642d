"""The warnings before and next to an answer: shown if they predict errors, with the measured rates."""

from typing import Any

import pytest
from PIL import ImageFilter
from streamlit.testing.v1 import AppTest

from skinapp.inference import registry, warnings
from skinapp.inference.modality import Recognised
from skinapp.ui import layout
from tests.pages.test_classify import upload
from tests.pictures import encode, lesion

PHOTO = encode(lesion(400, 300, seed=1))
BLURRED = encode(lesion(400, 300, seed=1).filter(ImageFilter.GaussianBlur(8)))
MEASURED = {
    "images_with": 80,
    "images_without": 85,
    "with": {"value": 0.65, "low": 0.55, "high": 0.75},
    "without": {"value": 0.22, "low": 0.14, "high": 0.31},
}


@pytest.fixture
def page() -> AppTest:
    return AppTest.from_file(layout.PAGES.parent / "app.py", default_timeout=30).switch_page("pages/classify.py").run()


def use(monkeypatch: pytest.MonkeyPatch, distance_limit: float = 1e9, **predicts: bool) -> None:
    """Install measured warnings, and whether each of them predicts errors."""
    known = {name: {"predicts_errors": value, "test": MEASURED} for name, value in predicts.items()}
    card: dict[str, Any] = {kind: {"distance_limit": distance_limit, "warnings": known} for kind in kinds_of_model()}
    monkeypatch.setattr(warnings, "card", lambda: card)
    # a blurred drawing may be recognised as any kind
    certain = Recognised("dermoscopy", {"dermoscopy": 0.98, "smartphone": 0.01, "neither": 0.01}, unlike=False)
    monkeypatch.setattr("skinapp.inference.modality.recognise", lambda image: certain)


def kinds_of_model() -> set[str]:
    return {model.modality for model in registry.ranked()}


def warned(page: AppTest) -> list[str]:
    return [warning.value for warning in page.warning]


def test_a_blurred_picture_says_how_often_such_answers_were_wrong(
    page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, sharpness=True, disagreement=False)
    upload(page, BLURRED)
    [sentence] = warned(page)
    assert "The image is blurred" in sentence
    assert "65% (55% to 75%) of 80 answers with this warning were wrong, compared with 22%" in sentence
    assert not page.metric


def test_a_warning_that_predicts_no_errors_does_not_withhold_the_answer(
    page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, sharpness=False, disagreement=False)
    upload(page, BLURRED)
    assert warned(page) == []
    assert page.metric
    [hint] = [caption.value for caption in page.caption if "The image is blurred" in caption.value]
    assert warnings.UNCLEAR in hint


def test_an_image_far_from_the_training_images_is_answered_with_a_warning(
    page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, distance_limit=-1.0, distance=True, disagreement=False)
    upload(page, PHOTO)
    assert any(sentence.startswith(warnings.FAR) for sentence in warned(page))
    assert page.metric


def test_an_answer_that_changes_with_the_square_has_a_warning(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, disagreement=True)
    monkeypatch.setattr(warnings, "disagrees", lambda _: True)
    upload(page, PHOTO)
    assert [sentence for sentence in warned(page) if sentence.startswith(warnings.UNSTABLE)]
    assert page.metric
