"""The attention page in a real browser: upload, two methods, two classes, download."""

import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from skinapp.attention import attribution
from skinapp.attention import catalogue as methods
from skinapp.images import imaging
from skinapp.inference import registry
from tests.browser.charts import charts, problems
from tests.browser.visitor import PHOTO, as_upload, keep, settle, upload, wider_than_the_screen
from tests.pictures import encode


@pytest.fixture(scope="module")
def model() -> registry.Model:
    """The default model of the page: the best image-only single network."""
    return next(one for one in registry.ranked() if one.kind == "classifier" and not one.clinical)


def choose(page: Page, label: str, name: str) -> None:
    """Add an option to a list of several."""
    box = page.get_by_role("combobox", name=re.compile(label))
    box.click()
    box.fill(name)
    page.get_by_role("option", name=name, exact=True).click()
    page.keyboard.press("Escape")
    settle(page)


def saved(page: Page, place: int, label: str) -> tuple[str, bytes]:
    """The name and the content of a file offered by the panel at this position."""
    page.get_by_role("button", name="Save").nth(place).click()
    with page.expect_download() as download:
        page.get_by_role("button", name=label).click()
    page.keyboard.press("Escape")
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def problems_at_both_widths(page: Page) -> list[str]:
    """What is wrong with the charts on a desktop or on a phone."""
    found: list[str] = []
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        found += problems(page)
    return found


@pytest.mark.slow
def test_a_photo_gets_a_map_that_can_be_saved(app: str, open_page: Callable[..., Page], model: registry.Model) -> None:
    page = open_page(f"{app}/attention")
    page.set_default_timeout(120_000)
    upload(page, as_upload(PHOTO))
    attention_map = page.get_by_alt_text(re.compile("^Attention map of"))
    expect(attention_map).to_have_count(1, timeout=120_000)
    settle(page)
    assert not wider_than_the_screen(page)
    name, content = saved(page, 0, "Map as NumPy")
    code = name.removeprefix(f"map-{model.id}-last-convolution-").removesuffix(".npz")
    label = model.labels[code].name
    expect(attention_map).to_have_attribute("alt", re.compile(f"^Attention map of {re.escape(label)} by"))
    expected = methods.raw("last-convolution", model, imaging.load(PHOTO, model.input_size), code)
    with np.load(io.BytesIO(content)) as arrays:
        assert arrays["raw"] == pytest.approx(expected, abs=1e-4)

    page.get_by_role("tab", name="Faithfulness of the map").click()
    page.get_by_text("Measure this map").click()
    expect(charts(page)).to_have_count(2, timeout=60_000)
    assert problems_at_both_widths(page) == []
    assert not wider_than_the_screen(page)


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_upload_two_methods_two_classes_download(
    app: str, open_page: Callable[..., Page], model: registry.Model, width: int
) -> None:
    page = open_page(f"{app}/attention", width)
    page.set_default_timeout(120_000)
    upload(page, as_upload(PHOTO))
    maps = page.get_by_alt_text(re.compile("^Attention map of"))
    expect(maps).to_have_count(1, timeout=120_000)
    pixels = imaging.load(PHOTO, model.input_size)
    first = maps.first.get_attribute("alt") or ""
    other = next(label for label in model.labels.labels if not first.startswith(f"Attention map of {label.name} by"))
    choose(page, "Classes", other.name)
    page.get_by_role("button", name=methods.METHODS["occlusion"].title, exact=True).click()
    settle(page)
    expect(maps).to_have_count(4, timeout=120_000)
    settle(page)
    assert not wider_than_the_screen(page)
    keep(page, "attention")

    # classes in their order, the methods of each side by side
    expect(maps.nth(2)).to_have_attribute("alt", re.compile(re.escape(f"{other.name} by Grad-CAM")))
    name, content = saved(page, 2, "Map as NumPy")
    assert name == f"map-{model.id}-last-convolution-{other.code}.npz"
    expected = methods.raw("last-convolution", model, pixels, other.code)
    with np.load(io.BytesIO(content)) as arrays:
        assert arrays["raw"] == pytest.approx(expected, abs=1e-4)
        assert arrays["map"] == pytest.approx(methods.scaled(expected), abs=1e-4)
    name, content = saved(page, 2, "Settings as JSON")
    record = json.loads(content)
    assert record["model"]["sha256"] == model.card["files"]["model.tflite"]["sha256"]
    assert record["target"]["class"] == other.code
    assert "photo.jpg" not in content.decode()
    name, content = saved(page, 0, "Image as PNG")
    assert name.endswith(".png")
    assert content.startswith(b"\x89PNG")

    before = maps.first.get_attribute("src")
    page.get_by_role("slider", name="Opacity").press("PageDown")
    expect(maps.first).not_to_have_attribute("src", before or "")


@pytest.mark.slow
def test_the_chart_of_test_images_can_be_read(app: str, open_page: Callable[..., Page]) -> None:
    measured = next((one for one in registry.ranked() if attribution.measured(one)), None)
    if measured is None:
        pytest.skip("no shipped network was measured: run python -m train attribution")
    page = open_page(f"{app}/attention")
    page.set_default_timeout(120_000)
    upload(page, as_upload(PHOTO))
    expect(page.get_by_alt_text(re.compile("^Attention map of"))).to_have_count(1, timeout=120_000)
    page.get_by_role("button", name="Clear all").first.click()
    expect(page.get_by_text("Choose a model.")).to_be_visible()
    choose(page, "Models", measured.short_name)
    page.get_by_role("tab", name="Border, colour, texture").click()
    expect(charts(page)).to_have_count(1, timeout=60_000)
    assert problems_at_both_widths(page) == []


@pytest.mark.slow
def test_another_image_of_the_strip_is_opened(app: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{app}/classify")
    mirrored = Image.open(io.BytesIO(PHOTO)).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    page.locator('input[type="file"]').set_input_files([as_upload(PHOTO), as_upload(encode(mirrored), "mirrored.jpg")])
    expect(page.get_by_text("2 files")).to_be_visible(timeout=60_000)
    page.get_by_text("Open", exact=True).first.click()
    page.locator(".st-key-menu").get_by_role("link", name="Attention").click()
    maps = page.get_by_alt_text(re.compile("^Attention map of"))
    expect(maps.first).to_be_visible(timeout=60_000)
    before = maps.first.get_attribute("src")
    page.get_by_text("Open", exact=True).first.click()
    expect(maps.first).not_to_have_attribute("src", before or "", timeout=60_000)
