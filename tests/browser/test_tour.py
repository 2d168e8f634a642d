"""The tour as a visitor takes it on a phone."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from skinapp.ui import tour
from tests.browser.visitor import keep, settle, wider_than_the_screen


@pytest.mark.slow
def test_the_tour_goes_from_page_to_page(app: str, open_page: Callable[..., Page]) -> None:
    page = open_page(app, 390)
    page.get_by_role("button", name="Take the tour").click()
    note = page.locator(".st-key-tour")
    for number, name in enumerate(tour.STEPS, 1):
        expect(note).to_contain_text(f"Tour, step {number} of {len(tour.STEPS)}")
        expect(page).to_have_url(re.compile(rf"{re.escape(app)}/{'' if name == 'home' else name}(\?.*)?$"))
        settle(page)
        assert not wider_than_the_screen(page)
        keep(page, f"tour-{number}")
        if number < len(tour.STEPS):
            page.get_by_role("button", name="Next: ").click()
    page.get_by_role("button", name="End the tour").click()
    expect(note).to_have_count(0)
    expect(page.get_by_role("heading", level=1)).to_have_text("Guide")
    page.locator(".st-key-menu").get_by_role("link", name="Home").click()
    expect(page.get_by_role("button", name="Take the tour")).to_be_visible()
