"""Comparing models in a real browser: the answer, the images behind a number, and what fits on a few screens."""

import re
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import Locator, Page, expect

from skinapp.evaluation.predictions import image_file
from skinapp.inference import registry
from tests.browser.visitor import HEIGHT, bottom, keep, settle, wider_than_the_screen

A, B = "ham10000-efficientnetb1", "ham10000-efficientnetv2b0"
MODELS = f"a={A}&b={B}"
SCREENS = 3
"""How many screens a tab may have."""
TABS = ("scores", "pair", "operating", "calibration", "subgroups", "errors", "training", "protocols")


def headline(page: Page) -> Locator:
    return page.get_by_role("heading", name=re.compile("also flags"))


def predictions(model_id: str) -> pd.DataFrame:
    return pd.read_csv(registry.default_root() / model_id / "predictions.csv")


def flagged(model_id: str) -> np.ndarray:
    """Boolean [n]: the probability of melanoma is at least the threshold that 95% of the melanomas of the model's
    validation lesions reached, which its card has for its prediction sets."""
    sets = registry.model(model_id).card["conformal"]
    threshold = sets["classes"]["mel"]["thresholds"][sets["coverages"].index(0.95)]
    return predictions(model_id)["p_mel"].to_numpy() >= threshold


@pytest.mark.parametrize("width", [1280, pytest.param(390, marks=pytest.mark.slow)])
def test_the_answer_for_melanoma_at_95_percent(app: str, open_page: Callable[..., Page], width: int) -> None:
    page = open_page(f"{app}/compare?{MODELS}", width)
    expect(headline(page)).to_be_visible(timeout=120_000)
    settle(page)
    table = predictions(A)
    others = (table["label"] != "mel").to_numpy()
    a, b = flagged(A) & others, flagged(B) & others
    match = re.fullmatch(
        r"Set to find 95% of melanomas, A also flags ([\d,]+) of ([\d,]+) other images, and B flags ([\d,]+): "
        r"difference ([+-]\d+) \(95% interval ([+-]\d+) to ([+-]\d+)\)\.",
        headline(page).inner_text(),
    )
    assert match
    shown = [int(number.replace(",", "")) for number in match.groups()]
    assert shown[:4] == [a.sum(), others.sum(), b.sum(), a.sum() - b.sum()]
    # the interval computed independently: lesions drawn one by one, with other random numbers
    lesions = [rows.to_numpy() for _, rows in table.reset_index()["index"].groupby(table["group"])]
    apart, total = a.astype(int) - b, others.astype(int)
    sums = np.array([[apart[rows].sum(), total[rows].sum()] for rows in lesions])
    drawn = sums[np.random.default_rng(7).integers(0, len(sums), (2000, len(sums)))].sum(axis=1)
    limits = np.percentile(drawn[:, 0] / drawn[:, 1] * others.sum(), (2.5, 97.5))
    assert shown[4:] == pytest.approx(limits, abs=5)
    # on a phone, the settings above it fill the first screen
    assert bottom(headline(page)) < (HEIGHT if width > 600 else 1.5 * HEIGHT)
    assert not wider_than_the_screen(page)
    keep(page, "compare")


@pytest.mark.slow
def test_the_threshold_moves_the_answer(app: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{app}/compare?{MODELS}&by=threshold")
    expect(headline(page)).to_contain_text("At a threshold of 50% for melanoma", timeout=120_000)
    settle(page)
    page.get_by_role("slider", name="Threshold").press("PageDown")
    expect(page).to_have_url(re.compile("threshold="))
    expect(headline(page)).not_to_contain_text("50%")
    chosen = re.search(r"threshold=(\d+)", page.url)
    assert chosen
    table = predictions(A)
    count = ((table["label"] != "mel") & (table["p_mel"] >= int(chosen[1]) / 100)).sum()
    expect(headline(page)).to_contain_text(f"At a threshold of {chosen[1]}% for melanoma, A also flags {count:,} of")


@pytest.mark.slow
def test_a_click_on_a_cell_opens_its_images(app: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{app}/compare?{MODELS}&tab=errors")
    table = predictions(A)
    columns = [name for name in table if name.startswith("p_")]
    cell = table[(table["label"] == "mel") & (table[columns].idxmax(axis=1) == "p_nv")]
    matrix = page.locator(f".st-key-confusion_{A}")
    share = len(cell) / (table["label"] == "mel").sum()
    number = matrix.locator(".textpoint text").filter(has_text=f"{len(cell)}{share:.0%}").first
    expect(number).to_be_visible(timeout=120_000)
    settle(page)
    number.scroll_into_view_if_needed()
    box = number.bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(page).to_have_url(re.compile(r"cell_label=mel"))
    expect(page.get_by_text(f"{len(cell):,} images of {len(table):,}, most confident answers first.")).to_be_visible()
    best = cell.sort_values("p_nv", ascending=False)["image"].head(3)
    for image in best:
        expect(page.get_by_role("link", name=image)).to_be_visible()
    # scrolling down by less than one screen shows the first picture with the name below it
    assert bottom(page.get_by_role("link", name=best.iloc[0])) < 2 * HEIGHT
    page.get_by_role("button", name="Attention").first.click()
    if image_file("ham10000", best.iloc[0]):
        expect(page).to_have_url(re.compile("attention"))
    else:
        # the archive is not there for tests
        expect(page.get_by_text("The ISIC archive could not be reached")).to_be_visible()


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_every_tab_fits(app: str, open_page: Callable[..., Page], width: int) -> None:
    page = open_page(f"{app}/compare?{MODELS}", width)
    expect(headline(page)).to_be_visible(timeout=120_000)
    for tab in TABS:
        page.goto(f"{app}/compare?{MODELS}&tab={tab}")
        expect(headline(page)).to_be_visible()
        expect(page.get_by_role("button", name="Download the whole comparison")).to_be_visible()
        settle(page)
        assert not wider_than_the_screen(page)
        if width > 600:
            height = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
            assert height <= SCREENS * HEIGHT, tab
        keep(page, f"compare-{tab}")


@pytest.mark.slow
def test_a_card_with_its_layers(app: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{app}/models", 390)
    page.get_by_text("Layers of the network").click()
    expect(page.locator(".annotation-text", has_text="Global average pooling")).to_be_visible()
    assert not wider_than_the_screen(page)
    keep(page, "models")
