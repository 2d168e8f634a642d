"""A photo, its answer and its map, on a desktop and on a phone."""

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from skinapp import formatting
from skinapp.images import imaging
from skinapp.inference import registry, runtime
from skinapp.ui import layout
from tests.browser.visitor import (
    HEIGHT,
    PHOTO,
    as_upload,
    bottom,
    headline,
    keep,
    settle,
    upload,
    wider_than_the_screen,
)
from tests.pictures import closer, encode, lesion, skin


@pytest.mark.parametrize("width", [pytest.param(1280, marks=pytest.mark.slow), 390])
def test_a_photo_gets_its_answer_and_map_in_view_and_a_tap_saves_it(
    app: str, open_page: Callable[..., Page], model: registry.Model, width: int, tmp_path: Path
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
    # the answer comes first; then the picture with its map, and whether the map can be used
    badge = page.get_by_text(re.compile("Supported map|Weak map|Do not use this map")).first
    heading = page.get_by_role("heading", name=re.compile("Most likely"))
    assert bottom(heading) < HEIGHT / 2
    assert max(bottom(picture), bottom(badge)) < (HEIGHT if width == 1280 else 1.5 * HEIGHT)
    assert bottom(page.get_by_text(re.compile("doctor")).first) < HEIGHT
    assert not wider_than_the_screen(page)
    keep(page, "classify")
    # the second tap of at most four
    with page.expect_download(timeout=120_000) as download:
        page.get_by_role("button", name="Save this answer").click()
    file = tmp_path / "answer.html"
    download.value.save_as(file)
    saved = open_page(file.as_uri(), width)
    expect(saved.get_by_role("heading", name=f"Most likely: {name}, {probability}")).to_be_visible()
    # the image, the map and the border of the lesion
    assert saved.get_by_role("img").count() == 3
    assert not saved.evaluate("document.scrollingElement.scrollWidth > innerWidth")
    # the disclaimer stays in view while scrolling, on one line
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
    headline(page)
    # not the default model
    chosen = registry.model("ham10000-efficientnetv2b0")
    page.get_by_role("button", name="Change").click()
    page.get_by_test_id("stPopoverBody").get_by_role("combobox", name="Model").click()
    page.get_by_role("option", name=chosen.short_name, exact=True).click()
    answered = page.get_by_text(f"Answered by “{chosen.short_name}”")
    expect(answered).to_be_visible()
    answer = headline(page).group(0)
    page.locator(".st-key-menu").get_by_role("link", name="Attention").click()
    expect(page.get_by_alt_text(re.compile("^Attention map of"))).to_have_count(1, timeout=120_000)
    expect(page.get_by_test_id("stMultiSelectTagsContainer").filter(has_text=chosen.short_name)).to_be_visible()
    page.go_back()
    expect(answered).to_be_visible()
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
    # one of them, and back to all
    page.get_by_text("Open", exact=True).first.click()
    expect(page.get_by_role("button", name="All 20 files")).to_be_visible()
    expect(page).to_have_url(re.compile("open=1"))
    settle(page)
    page.go_back()
    expect(page.get_by_text("2 not read")).to_be_visible()
    page.go_forward()
    expect(page.get_by_role("button", name="All 20 files")).to_be_visible()
    page.get_by_role("link", name="Guide", exact=True).click()
    expect(page).to_have_url(re.compile("/guide"))
    page.get_by_role("link", name="Your image").click()
    expect(page.get_by_role("button", name="All 20 files")).to_be_visible()


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_two_photos_of_one_spot_are_compared(app: str, open_page: Callable[..., Page], width: int) -> None:
    page = open_page(f"{app}/classify", width)
    files = [
        as_upload(encode(Image.fromarray(closer(skin(11), 500, zoom))), f"{name}.jpg")
        for name, zoom in (("spring", 1.0), ("summer", 1.15))
    ]
    page.locator('input[type="file"]').set_input_files(files)
    page.get_by_role("button", name="Compare over time").click()
    # drawn skin fails some check, which does not prevent the comparison
    expect(page.get_by_role("heading", name="The same spot over time")).to_be_visible()
    for number, day in enumerate(("20250301", "20250601")):
        page.get_by_role("spinbutton", name="year, Taken on").nth(number).click()
        page.keyboard.type(day)
        page.keyboard.press("Tab")
        settle(page)
    # a drawing may not be recognised as skin: then the page asks before answering, for each photo
    later = page.get_by_alt_text("1 June 2025")
    unasked = page.get_by_role("switch", name="Show the answer anyway", checked=False)
    for _ in files:
        expect(later.or_(unasked).first).to_be_visible()
        if unasked.count():
            unasked.last.locator("xpath=ancestor::label").click()
            settle(page)
    expect(later).to_be_visible()
    expect(page.get_by_text(re.compile("points on the skin line up with those in the first"))).to_be_visible()
    blended = page.get_by_alt_text("Both photos, one laid over the other")
    before = blended.get_attribute("src")
    page.get_by_role("slider", name="From the first photo to the later one").press("End")
    expect(blended).not_to_have_attribute("src", before or "")
    expect(page.get_by_text(re.compile("of an unchanged spot")).first).to_be_visible()
    assert not wider_than_the_screen(page)
    keep(page, "over-time")


@pytest.mark.slow
def test_a_box_is_dragged_around_the_lesion(app: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{app}/classify")
    upload(page, as_upload(PHOTO))
    headline(page)
    settle(page)
    page.get_by_role("button", name="Move or resize the square").click()
    chart = page.get_by_test_id("stPopoverBody").locator(".js-plotly-plot .nsewdrag")
    box = chart.bounding_box()
    assert box
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.2 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"], steps=8)
    page.mouse.up()
    # 30% of the width of a picture that is four by three
    expect(page.get_by_role("slider", name="Size")).to_have_value(re.compile("^(38|39|40|41|42)$"))
    expect(page.get_by_role("slider", name="Top to bottom")).to_be_visible()
    headline(page)


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
def test_a_bad_file_gets_an_error_message_and_the_next_good_one_an_answer(
    app: str, open_page: Callable[..., Page]
) -> None:
    page = open_page(f"{app}/classify")
    for file, sentence in (
        (as_upload(b"just text"), "This is not a readable image"),
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
    page.get_by_test_id("stButtonGroup").get_by_text("Example").click()
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


@pytest.mark.slow
def test_another_photo_from_the_tab_opens_the_comparison(app: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{app}/classify")
    upload(page, as_upload(PHOTO))
    headline(page)
    page.get_by_role("tab", name="Over time").click()
    uploader = page.get_by_role("tabpanel").filter(has_text="Has this spot changed?")
    uploader.locator('input[type="file"]').set_input_files(as_upload(encode(lesion(200, 150, seed=1))))
    expect(page.get_by_role("heading", name="The same spot over time")).to_be_visible(timeout=60_000)
