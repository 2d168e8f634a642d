"""The filters of explore, and the links between explore, guide and classify."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import served
from tests.browser.visitor import keep, settle, wider_than_the_screen
from tests.pictures import small_ham10000


def pick(page: Page, label: str, option: str) -> None:
    """Choose an option; retry if the click was lost because the page was still being laid out."""
    for _ in range(3):
        page.get_by_role("combobox", name=re.compile(label)).click()
        page.get_by_role("option", name=option, exact=True).click()
        page.keyboard.press("Escape")
        settle(page)
        if page.get_by_role("button", name=f"Remove {option}").count():
            return
    pytest.fail(f"{option} was not chosen")


def images(page: Page) -> str:
    return page.get_by_test_id("stMetric").filter(has_text="Images").get_by_test_id("stMetricValue").inner_text()


@pytest.mark.slow
def test_a_filter_changes_the_numbers_and_the_address(app: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{app}/explore?sex=female", 390)
    expect(page.get_by_role("heading", name="Who is in the data")).to_be_visible()
    settle(page)
    women = images(page)
    page.get_by_text("Show filters").click()
    pick(page, "Diagnosis", "Melanoma")
    expect(page).to_have_url(re.compile("diagnosis=mel"))
    settle(page)
    melanomas = images(page)
    assert 0 < int(melanomas.replace(",", "")) < int(women.replace(",", "")) < 10_015
    assert not wider_than_the_screen(page)

    # the address alone shows another visitor the same
    shared = open_page(page.url, 390)
    settle(shared)
    assert images(shared) == melanomas


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_the_count_is_read_off_without_scrolling_and_filters_are_folded_on_a_phone(
    app: str, open_page: Callable[..., Page], width: int
) -> None:
    page = open_page(f"{app}/explore?diagnosis=mel&sex=female&site=back&age=60&age=100", width)
    answer = "56 images of 36 lesions: melanoma, women, back, 60 or older; ages are recorded in steps of five years."
    expect(page.get_by_text(answer)).to_be_in_viewport()
    filters = page.get_by_role("combobox", name=re.compile("Diagnosis"))
    if width < 640:
        expect(filters).to_be_hidden()
        page.get_by_text("Show filters").click()
    expect(filters).to_be_visible()
    settle(page)
    assert not wider_than_the_screen(page)


def click_in_chart(page: Page, key: str, text: str) -> None:
    """Click the bar or cell of a chart that shows this number."""
    click(page, page.locator(f".st-key-{key} .bartext").filter(has_text=text).first)


def click(page: Page, mark: Locator) -> None:
    """Click the middle of a mark, where Plotly and not the mark itself receives it."""
    # in the middle of the screen, as the disclaimer covers its lower edge
    mark.evaluate("mark => mark.scrollIntoView({block: 'center'})")
    settle(page)
    box = mark.bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


@pytest.mark.slow
def test_a_cell_opens_its_images_and_the_menu_and_back_keep_the_choices(
    app: str, open_page: Callable[..., Page]
) -> None:
    page = open_page(f"{app}/explore?view=sites")
    expect(page.get_by_role("heading", name="Site by diagnosis")).to_be_visible()
    settle(page)
    click_in_chart(page, "site_by_diagnosis_0", "324")
    answer = page.get_by_text("324 images of 185 lesions: melanoma, back.")
    expect(answer).to_be_visible()
    expect(page.get_by_role("heading", name="Images", exact=True)).to_be_visible()
    expect(page).to_have_url(re.compile("diagnosis=mel"))
    expect(page).to_have_url(re.compile("view=images"))
    page.get_by_role("link", name="Guide", exact=True).click()
    expect(answer).to_be_hidden()
    page.get_by_role("link", name="Explore", exact=True).click()
    expect(answer).to_be_visible()
    page.get_by_role("link", name="Guide", exact=True).click()
    expect(answer).to_be_hidden()
    # the address changes after the page, and Back would otherwise leave the page before
    expect(page).to_have_url(re.compile("/guide"))
    page.go_back()
    expect(answer).to_be_visible()


@pytest.mark.slow
def test_a_click_on_a_bar_filters_by_it(app: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{app}/explore")
    expect(page.get_by_role("heading", name="Who is in the data")).to_be_visible()
    settle(page)
    # the second most common diagnosis
    click(page, page.locator(".st-key-diagnoses_0 .point path").nth(1))
    expect(page).to_have_url(re.compile("diagnosis=mel"))
    expect(page.get_by_text("1,113 images of 614 lesions: melanoma")).to_be_visible()
    settle(page)
    # a second click on what is already the whole selection clears the filter
    click(page, page.locator(".st-key-diagnoses_1 .point path"))
    expect(page).not_to_have_url(re.compile("diagnosis=mel"))
    settle(page)
    assert images(page) == "10,015"


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_melanomas_in_women_over_60_on_the_back_confirmed_by_histology(
    app: str, open_page: Callable[..., Page], width: int
) -> None:
    page = open_page(f"{app}/explore", width)
    expect(page.get_by_role("heading", name="Who is in the data")).to_be_visible()
    settle(page)
    assert images(page) == "10,015"
    if width < 640:
        page.get_by_text("Show filters").click()
    pick(page, "Diagnosis", "Melanoma")
    pick(page, "Sex", "Female")
    pick(page, "Site", "Back")
    pick(page, "Confirmation", "Histology")
    youngest = page.get_by_role("slider").first
    for _ in range(65):
        youngest.press("ArrowRight")
    settle(page)
    expect(youngest).to_have_value("65")
    value = page.get_by_test_id("stMetric").filter(has_text="Images").get_by_test_id("stMetricValue")
    expect(value).to_have_text("45")
    assert not wider_than_the_screen(page)
    keep(page, "explore-question")

    # the address alone shows another visitor the same
    shared = open_page(page.url, width)
    settle(shared)
    assert images(shared) == "45"


@pytest.mark.slow
def test_a_filter_from_a_fresh_server_and_back(fresh_app: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{fresh_app}/explore?diagnosis=df&site=face")
    expect(page.get_by_text("No image matches these filters")).to_be_visible()
    page.get_by_role("button", name="Clear all filters").click()
    expect(page.get_by_role("heading", name="Diagnoses")).to_be_visible()
    assert images(page) == "10,015"


@pytest.mark.slow
def test_a_class_name_leads_to_the_guide(app: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{app}/classify", 390)
    page.get_by_role("link", name=re.compile("Dermatofibroma")).click()
    expect(page.get_by_role("heading", name="Dermatofibroma", exact=True)).to_be_visible()
    assert not wider_than_the_screen(page)
    keep(page, "guide")


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("view", ["people", "sites", "associations", "models", "limits"])
def test_no_view_is_wider_than_the_screen(app: str, open_page: Callable[..., Page], view: str, width: int) -> None:
    page = open_page(f"{app}/explore?view={view}", width)
    expect(page.get_by_test_id("stMetricValue").first).to_be_visible()
    settle(page)
    assert not wider_than_the_screen(page)


@pytest.mark.slow
def test_an_image_of_the_gallery_goes_to_classify(
    open_page: Callable[..., Page], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKINAPP_DATA", str(small_ham10000(tmp_path)))
    with served() as address:
        page = open_page(f"{address}/explore?view=images&diagnosis=mel")
        expect(page.get_by_alt_text("ISIC_0, Melanoma")).to_be_visible()
        page.get_by_role("button", name="mel", exact=True).click()
        expect(page.get_by_role("dialog")).to_contain_text("ISIC_0")
        page.get_by_role("button", name="Classify this image").click()
        expect(page.get_by_role("heading", name="Classify an image")).to_be_visible()
        expect(page.get_by_role("heading", name=re.compile("Most likely"))).to_be_visible()
        expect(page.get_by_text("ISIC_0 from HAM10000")).to_be_visible()
