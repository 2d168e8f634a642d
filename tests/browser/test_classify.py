"""A photo, its answer and its map, at the width of a desk and of a phone."""

import re
from collections.abc import Callable

import pandas as pd
import pytest
from playwright.sync_api import Locator, Page, expect

from skinapp import formatting
from skinapp.images import imaging
from skinapp.inference import registry, runtime
from skinapp.ui import layout
from tests.browser.visitor import PHOTO, as_upload, headline, keep, settle, upload, wider_than_the_screen
from tests.pictures import encode, lesion

HEIGHT = 720
"""What a phone shows of a page at once, in pixels."""


def bottom(place: Locator) -> float:
    """How far below the top of the page an element ends, in pixels."""
    box = place.bounding_box()
    assert box
    return box["y"] + box["height"]


@pytest.mark.parametrize("width", [1280, 390])
def test_a_photo_gets_its_answer_and_map_in_view(
    app: str, open_page: Callable[..., Page], model: registry.Model, width: int
) -> None:
    assert len(PHOTO) > 2**20
    page = open_page(f"{app}/classify", width)
    disclaimer = page.get_by_text(layout.DISCLAIMER)
    expect(disclaimer).to_be_in_viewport()
    upload(page, as_upload(PHOTO))
    name, probability = headline(page).groups()

    prediction = runtime.classifier(model).predict(imaging.load(PHOTO, model.input_size))
    assert name == model.labels[prediction.predicted].spoken
    assert probability == formatting.percent(prediction.probabilities.max())
    for label in model.labels.labels:
        expect(page.locator(".annotation-text", has_text=label.name)).to_be_visible()
    picture = page.get_by_alt_text(re.compile("attention map of"))
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.complete && image.naturalWidth") > 400
    settle(page)
    # the answer first; then the picture with its map, and whether the map can be used
    badge = page.get_by_text(re.compile("Supported map|Weak map|Do not use this map")).first
    heading = page.get_by_role("heading", name=re.compile("Most likely"))
    assert bottom(heading) < HEIGHT / 2
    assert max(bottom(picture), bottom(badge)) < (900 if width == 1280 else 1.5 * HEIGHT)
    assert bottom(page.get_by_text(re.compile("doctor")).first) < HEIGHT
    assert not wider_than_the_screen(page)
    keep(page, "classify")
    # the disclaimer stays in view, whatever is scrolled to, on one line
    page.get_by_role("tab", name="Limits").click()
    page.get_by_text("What this does not tell you").scroll_into_view_if_needed()
    expect(disclaimer).to_be_in_viewport()
    box = disclaimer.bounding_box()
    assert box
    assert box["height"] < 30


@pytest.mark.slow
def test_the_image_stays_through_attention_back_and_the_menu(app: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{app}/classify", 390)
    upload(page, as_upload(PHOTO))
    answer = headline(page).group(0)
    page.locator(".st-key-menu").get_by_role("link", name="Attention").click()
    expect(page.get_by_alt_text(re.compile("^Attention map of"))).to_have_count(1, timeout=120_000)
    page.go_back()
    assert headline(page).group(0) == answer
    page.locator(".st-key-menu").get_by_role("link", name="Explore").click()
    page.get_by_role("link", name="Your image").click()
    assert headline(page).group(0) == answer
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_role("heading", name=re.compile("Most likely"))).to_have_count(0)
    expect(page.get_by_role("link", name="Your image")).to_have_count(0)


@pytest.mark.slow
def test_twenty_files_with_two_bad_ones_become_a_csv(app: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{app}/classify")
    good = [as_upload(encode(lesion(200, 150, seed=seed)), f"photo-{seed}.jpg") for seed in range(18)]
    bad = [as_upload(b"just text", "text.jpg"), as_upload(b"%PDF-1.7", "letter.pdf", "application/pdf")]
    page.locator('input[type="file"]').set_input_files([*good, *bad])
    expect(page.get_by_text("20 files")).to_be_visible(timeout=120_000)
    expect(page.get_by_text("2 not read")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as CSV").click()
    table = pd.read_csv(download.value.path())
    assert list(table["file"]) == [file["name"] for file in (*good, *bad)]
    assert (table["state"] == "Not read").sum() == 2


@pytest.mark.slow
def test_the_square_can_be_moved_and_sized(app: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{app}/classify")
    upload(page, as_upload(PHOTO))
    headline(page)
    settle(page)
    picture = page.get_by_alt_text(re.compile("^The image, with the square marked"))
    before = picture.get_attribute("src")
    page.get_by_role("button", name="Move or resize the square").click()
    assert page.get_by_role("slider", name="Top to bottom").count() == 0
    page.get_by_role("slider", name="Size").press("PageDown")
    expect(page.get_by_role("slider", name="Top to bottom")).to_be_visible()
    expect(picture).not_to_have_attribute("src", before or "")
    headline(page)


@pytest.mark.slow
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


@pytest.mark.slow
def test_home_leads_to_classify_and_a_drawing_needs_no_photo(app: str, open_page: Callable[..., Page]) -> None:
    page = open_page(app, 390)
    keep(page, "home")
    page.get_by_role("button", name="Classify an image").click()
    page.get_by_text("Without a photo").click()
    headline(page)
    expect(page.get_by_text("Not a photo of skin")).to_be_visible()
    assert not wider_than_the_screen(page)
    page.get_by_role("button", name="Change").click()
    page.get_by_role("button", name="Fetch").click()
    expect(page.get_by_text("The ISIC archive could not be reached")).to_be_visible()
    headline(page)


@pytest.mark.slow
def test_the_words_of_the_chart_can_be_read_in_the_dark(app: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{app}/classify", dark=True)
    upload(page, as_upload(PHOTO))
    headline(page)
    words = page.locator(".annotation-text").first
    words.wait_for()
    red, green, blue = map(int, re.findall(r"\d+", words.evaluate("element => getComputedStyle(element).fill"))[:3])
    assert min(red, green, blue) > 180
    keep(page, "classify-dark")
