"""Actions of a visitor on any page, and what they see."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from playwright.sync_api import FilePayload, Locator, Page, expect

from tests.pictures import encode, lesion

SCREENSHOTS = Path(__file__).parents[2] / "screenshots"
"""Create this folder to get screenshots of the pages; without it, none are taken."""
PHOTO = encode(lesion(600, 450, seed=1).resize((2400, 1800), Image.Resampling.NEAREST), quality=100)
"""Over 1 MB, the size from which a server may spool uploads to disk, and as sharp as the models require."""

HEIGHT = 720
"""The height of a screen, in pixels."""


def as_upload(data: bytes, name: str = "photo.jpg", mime_type: str = "image/jpeg") -> FilePayload:
    return {"name": name, "mimeType": mime_type, "buffer": data}


def upload(page: Page, file: FilePayload) -> None:
    """Add an image; the uploader is collapsed while there is one."""
    change = page.get_by_role("button", name="Change")
    if change.count():
        change.click()
    place = page.locator('input[type="file"]')
    expect(place).to_have_count(1)
    place.set_input_files(file)


def headline(page: Page) -> re.Match[str]:
    """Wait for the answer; group 1 is the class, group 2 its probability."""
    heading = page.get_by_role("heading", name=re.compile("Most likely"))
    heading.wait_for()
    match = re.fullmatch(r"Most likely: (.+), ((?:under |over )?\d+%)", heading.inner_text())
    assert match
    return match


def bottom(place: Locator) -> float:
    """How far below the top of the window an element ends, in pixels."""
    box = place.bounding_box()
    assert box
    return box["y"] + box["height"]


def settle(page: Page, timeout: float = 30_000) -> None:
    """Wait until the script has run, for at most `timeout` milliseconds, and its output is drawn."""
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning", timeout=timeout)
    page.wait_for_timeout(500)


@contextlib.contextmanager
def whole(page: Page) -> Iterator[None]:
    """Make the window as high as the page, so that nothing is outside it."""
    width, height = page.viewport_size["width"], page.viewport_size["height"]
    needed = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
    page.set_viewport_size({"width": width, "height": min(6000, needed + 40)})
    settle(page)
    yield
    page.set_viewport_size({"width": width, "height": height})


def keep(page: Page, name: str) -> None:
    """Save a screenshot of the whole page for visual inspection, if the folder for screenshots exists."""
    settle(page)
    if SCREENSHOTS.is_dir():
        with whole(page):
            page.screenshot(path=SCREENSHOTS / f"{name}-{page.viewport_size['width']}.png")


def wider_than_the_screen(page: Page) -> bool:
    return page.evaluate(
        """() => [document.scrollingElement, document.querySelector('[data-testid=stMain]')]
                 .some(element => element.scrollWidth > element.clientWidth + 1)"""
    )
