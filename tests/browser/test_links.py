"""Every page opens by its own address, with the whole menu, and on a phone nothing is wider than the screen."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from skinapp.ui import layout
from tests.browser.visitor import keep, settle, wider_than_the_screen

PAGES = sorted(file.stem for file in layout.PAGES.glob("*.py"))
MENU = [re.compile(title) for title in ("Home", "Classify", "Attention", "Explore", "Compare", "Guide", "Models")]


def assert_drawn(page: Page, name: str) -> None:
    """The page has its heading, no error, and the app's own menu instead of Streamlit's menu of file names."""
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.locator(".st-key-menu").get_by_role("link")).to_have_text(MENU)
    settle(page)
    expect(page).to_have_title(re.compile(re.escape(layout.NAME) if name == "home" else f".+ · {layout.NAME}"))
    expect(page.get_by_test_id("stException")).to_have_count(0)


@pytest.mark.parametrize(
    "name", [name if name == "guide" else pytest.param(name, marks=pytest.mark.slow) for name in PAGES]
)
def test_a_link_to_a_page_opens_it(app: str, open_page: Callable[..., Page], name: str) -> None:
    page = open_page(f"{app}/{'' if name == 'home' else name}")
    assert_drawn(page, name)
    page.set_viewport_size({"width": 390, "height": 900})
    settle(page)
    assert not wider_than_the_screen(page)
    keep(page, name)


@pytest.mark.slow
def test_the_first_request_to_a_server_goes_straight_to_a_page(fresh_app: str, open_page: Callable[..., Page]) -> None:
    """Streamlit answers such a request without the entry point. The link has a filter that selects nothing, and can be
    undone."""
    page = open_page(f"{fresh_app}/explore?diagnosis=Dermatofibroma&site=Face")
    assert_drawn(page, "explore")
    expect(page.get_by_text("No image matches these filters")).to_be_visible()
    page.get_by_role("button", name="Clear all filters").click()
    expect(page.get_by_role("heading", name="Diagnoses")).to_be_visible()
