"""Comparing models in a real browser: the operating point moves every number, and the address keeps it."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.visitor import keep, settle, wider_than_the_screen


def shown(page: Page, label: str) -> float:
    """The first value of that name."""
    metric = page.get_by_test_id("stMetric").filter(has_text=label).first
    return float(metric.get_by_test_id("stMetricValue").inner_text().rstrip("%"))


@pytest.mark.parametrize(
    ("query", "width"), [("?models=ham10000-cnn32", 1280), pytest.param("", 390, marks=pytest.mark.slow)]
)
def test_the_operating_point_moves_the_numbers(
    app: str, open_page: Callable[..., Page], query: str, width: int
) -> None:
    page = open_page(f"{app}/compare{query}", width)
    expect(page.get_by_role("heading", name="Operating point")).to_be_visible(timeout=120_000)
    expect(page.get_by_test_id("stMetric").first).to_be_visible(timeout=120_000)
    settle(page)
    before = {label: shown(page, label) for label in ("Sensitivity", "Specificity", "Missed cancers", "False alarms")}
    page.get_by_role("slider", name="Threshold").press("PageDown")
    expect(page).to_have_url(re.compile("threshold="))
    sensitivity = page.get_by_test_id("stMetric").filter(has_text="Sensitivity").first
    expect(sensitivity.get_by_test_id("stMetricValue")).not_to_have_text(f"{before['Sensitivity']:.1f}%")
    settle(page)
    after = {label: shown(page, label) for label in before}
    assert after["Sensitivity"] > before["Sensitivity"]
    assert after["Missed cancers"] < before["Missed cancers"]
    assert after["Specificity"] <= before["Specificity"]
    assert after["False alarms"] >= before["False alarms"]
    assert not wider_than_the_screen(page)
    keep(page, "compare")


@pytest.mark.slow
def test_a_card_with_its_layers(app: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{app}/models", 390)
    page.get_by_text("Layers of the network").click()
    expect(page.locator(".annotation-text", has_text="Global average pooling")).to_be_visible()
    assert not wider_than_the_screen(page)
    keep(page, "models")
