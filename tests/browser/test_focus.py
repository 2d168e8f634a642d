"""A visitor without a mouse sees where they are, and words on the accent colour can be read, in both themes."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser.visitor import PHOTO, as_upload, headline, settle, upload
from tests.ui.test_contrast import MIN_CONTRAST, MIN_SHAPE_CONTRAST, contrast

RING = """() => {
  const focused = document.activeElement, rings = [];
  const kind = focused.type || focused.getAttribute("role") || focused.tagName;
  let place = focused;
  for (let up = 0; up < 4 && place; up++, place = place.parentElement) {
    const style = getComputedStyle(place);
    if (place.getBoundingClientRect().height > 4 && style.outlineStyle === "solid")
      rings.push(style.outlineColor);
    if (focused.matches("input:not([type=range]), textarea")) rings.push(style.borderTopColor);
  }
  return [kind, rings];
}"""
NAMELESS = {"BODY", "CANVAS"}
"""The end of the page; and a table, which marks the cell itself."""


def colour(computed: str) -> Any:
    """A colour as the browser gives it, "rgb(70, 163, 157)"."""
    return tuple(float(part) for part in re.findall(r"[\d.]+", computed)[:3])


def background(page: Page) -> Any:
    return colour(page.get_by_test_id("stApp").evaluate("app => getComputedStyle(app).backgroundColor"))


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
def test_every_control_shows_that_it_has_the_focus(app: str, open_page: Callable[..., Page], dark: bool) -> None:
    page = open_page(f"{app}/classify", dark=dark)
    upload(page, as_upload(PHOTO))
    headline(page)
    settle(page)
    behind = background(page)
    seen: set[str] = set()
    page.get_by_role("heading", name="Classify an image").click()
    for _ in range(30):
        page.keyboard.press("Tab")
        page.wait_for_timeout(100)
        kind, rings = page.evaluate(RING)
        seen.add(kind)
        if kind not in NAMELESS:
            assert max((contrast(colour(ring), behind) for ring in rings), default=0) >= MIN_SHAPE_CONTRAST, kind
    assert {"A", "submit", "button", "checkbox", "range", "tab"} <= seen


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
def test_words_on_the_accent_can_be_read(app: str, open_page: Callable[..., Page], dark: bool) -> None:
    page = open_page(f"{app}/explore?sex=female", dark=dark)
    tag = page.get_by_test_id("stMultiSelectTagsContainer").locator("span[tabindex]").first
    button = open_page(app, dark=dark).get_by_test_id("stBaseButton-primary").first
    for place in (tag, button):
        place.wait_for()
        words, behind = place.evaluate(
            "place => [place, ...place.querySelectorAll('*')].filter(one => one.innerText).slice(-1).concat(place)"
            ".map((one, last) => getComputedStyle(one)[last ? 'backgroundColor' : 'color'])"
        )
        assert contrast(colour(words), colour(behind)) >= MIN_CONTRAST
