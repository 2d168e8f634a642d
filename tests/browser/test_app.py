"""What a visitor does, in a real browser, at the width of a desk and of a phone."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import FilePayload, Page, expect

from skinapp import formatting
from skinapp.images import imaging
from skinapp.inference import registry, runtime
from skinapp.ui import layout
from tests.pictures import encode, lesion

SCREENSHOTS = Path(__file__).parents[2] / "screenshots"
PHOTO = encode(lesion(3000, 2250, seed=3))
"""Over 1 MB, from where on a server is tempted to spool to disk."""


def as_upload(data: bytes, name: str = "photo.jpg", mime_type: str = "image/jpeg") -> FilePayload:
    return {"name": name, "mimeType": mime_type, "buffer": data}


def upload(page: Page, file: FilePayload) -> None:
    page.locator('input[type="file"]').set_input_files(file)


def headline(page: Page) -> re.Match[str]:
    """Wait for the answer; group 1 is the class, group 2 its probability."""
    heading = page.get_by_role("heading", name=re.compile("Most likely"))
    heading.wait_for()
    found = re.fullmatch(r"Most likely: (.+), ((?:under |over )?\d+%)", heading.inner_text())
    assert found
    return found


def settle(page: Page) -> None:
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
    page.wait_for_timeout(500)


def keep(page: Page, name: str) -> None:
    """A screenshot of the whole page, to be looked at by a person."""
    settle(page)
    SCREENSHOTS.mkdir(exist_ok=True)
    width, height = page.viewport_size["width"], page.viewport_size["height"]
    whole = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
    page.set_viewport_size({"width": width, "height": min(6000, whole + 40)})
    settle(page)
    page.screenshot(path=SCREENSHOTS / f"{name}-{width}.png")
    page.set_viewport_size({"width": width, "height": height})


def wider_than_the_screen(page: Page) -> bool:
    return page.evaluate(
        """() => [document.scrollingElement, document.querySelector('[data-testid=stMain]')]
                 .some(element => element.scrollWidth > element.clientWidth + 1)"""
    )


@pytest.mark.parametrize("width", [1280, 390])
def test_a_photo_gets_its_answer_and_map(
    app: str, open_page: Callable[..., Page], model: registry.Model, width: int
) -> None:
    assert len(PHOTO) > 2**20
    page = open_page(f"{app}/classify", width)
    upload(page, as_upload(PHOTO))
    name, probability = headline(page).groups()

    prediction = runtime.classifier(model).predict(imaging.load(PHOTO, model.input_size))
    assert name == model.labels[prediction.predicted].spoken
    assert probability == formatting.percent(prediction.probabilities.max())
    for label in model.labels.labels:
        expect(page.locator(".annotation-text", has_text=label.name)).to_be_visible()
    square, overlay = (page.get_by_alt_text(re.compile(words)) for words in ("^The square of", "attention map of"))
    for image in (square, overlay):
        expect(image).to_be_visible()
        assert image.evaluate("image => image.complete && image.naturalWidth") == 512
    # side by side where there is room, one above the other where there is not
    square_box, overlay_box = square.bounding_box(), overlay.bounding_box()
    assert square_box
    assert overlay_box
    if width == 1280:
        assert square_box["y"] == overlay_box["y"]
    else:
        assert square_box["y"] + square_box["height"] < overlay_box["y"]
    assert not wider_than_the_screen(page)
    keep(page, "classify")


def test_the_square_can_be_moved_and_sized(app: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{app}/classify")
    upload(page, as_upload(PHOTO))
    headline(page)
    settle(page)
    picture = page.get_by_alt_text("The image, with the square marked")
    before = picture.get_attribute("src")
    page.get_by_text("Move or resize the square").click()
    assert page.get_by_role("slider", name="Top to bottom").count() == 0
    page.get_by_role("slider", name="Size").press("PageDown")
    expect(page.get_by_role("slider", name="Top to bottom")).to_be_visible()
    expect(picture).not_to_have_attribute("src", before or "")
    headline(page)


@pytest.mark.parametrize("width", [1280, 390])
def test_the_disclaimer_stays_in_view(app: str, open_page: Callable[..., Page], width: int) -> None:
    page = open_page(f"{app}/classify", width)
    disclaimer = page.get_by_text(layout.DISCLAIMER)
    expect(disclaimer).to_be_in_viewport()
    upload(page, as_upload(PHOTO))
    headline(page)
    settle(page)
    expect(disclaimer).to_be_in_viewport()
    page.get_by_text("What this does not tell you").scroll_into_view_if_needed()
    expect(disclaimer).to_be_in_viewport()


def test_a_bad_file_gets_a_sentence_and_then_a_good_one_its_answer(app: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{app}/classify")
    for file, sentence in (
        (as_upload(b"just text"), "This is not an image that can be read"),
        (as_upload(PHOTO[: len(PHOTO) // 2]), "damaged or cut short"),
        (as_upload(b"%PDF-1.7", "letter.pdf", "application/pdf"), "This is a PDF"),
        (as_upload(b"<svg/>", "drawing.svg", "image/svg+xml"), "This is an SVG drawing"),
        (as_upload(b""), "The file is empty"),
    ):
        upload(page, file)
        expect(page.get_by_role("alert").filter(has_text=sentence)).to_be_visible()
        expect(page.get_by_role("heading", name=re.compile("Most likely"))).to_have_count(0)
    upload(page, as_upload(PHOTO))
    headline(page)
    expect(page.get_by_role("alert").filter(has_text=sentence)).to_have_count(0)


def test_a_first_request_straight_to_a_page(fresh_app: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{fresh_app}/classify")
    expect(page.get_by_role("heading", name="Classify an image")).to_be_visible()
    expect(page).to_have_title(f"Classify · {layout.NAME}")
    # the menu is the app's own, not the one that Streamlit makes of the file names
    menu = [re.compile(title) for title in ("Home", "Classify", "Attention", "Explore", "Compare", "Guide", "Models")]
    expect(page.get_by_test_id("stTopNavLink")).to_have_text(menu)
    upload(page, as_upload(PHOTO))
    headline(page)


def test_home_leads_to_classify_and_a_drawing_needs_no_photo(app: str, open_page: Callable[..., Page]) -> None:
    page = open_page(app, 390)
    keep(page, "home")
    assert not wider_than_the_screen(page)
    page.get_by_role("button", name="Classify an image").click()
    page.get_by_text("Without a photo").click()
    headline(page)
    expect(page.get_by_text("Not a photo of skin")).to_be_visible()
    assert not wider_than_the_screen(page)
    page.get_by_role("button", name="Fetch").click()
    expect(page.get_by_text("The ISIC archive was not reached")).to_be_visible()
    headline(page)


def test_home_on_a_desk(app: str, open_page: Callable[..., Page]) -> None:
    page = open_page(app)
    expect(page.get_by_role("heading", name="Models on this bench")).to_be_visible()
    keep(page, "home")


def test_the_words_of_the_chart_can_be_read_in_the_dark(app: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{app}/classify", dark=True)
    upload(page, as_upload(PHOTO))
    headline(page)
    words = page.locator(".annotation-text").first
    words.wait_for()
    red, green, blue = map(int, re.findall(r"\d+", words.evaluate("element => getComputedStyle(element).fill"))[:3])
    assert min(red, green, blue) > 180
    keep(page, "classify-dark")
