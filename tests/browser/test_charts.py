"""Every chart of every page, on a wide light screen and on a narrow dark one: nothing overlaps or is cut off, an axis
from 0 to 100% shows both ends, and texts and lines can be seen. The charts of an attention map are in
test_attention.py; Home and Guide have none."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from skinapp.datasets.registry import DATASETS
from skinapp.inference import registry
from skinapp.report.operating_point_views import CURVES
from tests.browser.charts import problems
from tests.browser.visitor import PHOTO, as_upload, headline, upload

pytestmark = [pytest.mark.slow, pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])]

MODELS = ("efficientnetb1", "efficientnetb1-clinical", "efficientnetv2b0", "cnn32", "features")
MANY = "a=ham10000-committee" + "".join(f"&{'also' if at else 'b'}=ham10000-{name}" for at, name in enumerate(MODELS))
"""Six models, with a long legend."""

EXPLORE = [
    *(f"data={data}&view={view}" for data in DATASETS for view in ("overview", "people", "sites")),
    "view=confirmation",
    "view=models",
    "view=people&diagnosis=mel&sex=female&site=back",
    "data=pad_ufes_20&view=symptoms",
    "view=compare&against=selection&b_data=milk10k",
]
COMPARE = [
    f"tab=scores&{MANY}",
    "tab=pair",
    *(f"tab=operating&curve={kind}&{MANY}" for kind in CURVES),
    *(f"tab=calibration&shown={shown}" for shown in ("target", "class", "sets")),
    "tab=subgroups",
    *(f"tab=errors&errors_view={view}" for view in ("matrix", "rates")),
    "tab=training",
    "tab=training&a=ham10000-features&b=ham10000-cnn32",
    "tab=protocols&published=protocols",
    "test=pad_ufes_20&tab=subgroups",
    "test=malignant_benign&tab=operating",
]


@pytest.mark.parametrize(("name", "choices"), [("explore", EXPLORE), ("compare", COMPARE)])
def test_the_charts_of_a_page(
    app: str, open_page: Callable[..., Page], name: str, choices: list[str], width: int, dark: bool
) -> None:
    page = open_page(app, width, dark)
    page.set_default_timeout(120_000)
    found = {}
    for choice in choices:
        page.goto(f"{app}/{name}?{choice}")
        found[choice] = problems(page)
    assert {choice: sentences for choice, sentences in found.items() if sentences} == {}


@pytest.mark.parametrize("choice", ["explore?view=people", "explore?view=overview", "compare?tab=operating"])
def test_a_chart_stays_readable_when_the_system_turns_dark(
    app: str, open_page: Callable[..., Page], choice: str, width: int, dark: bool
) -> None:
    page = open_page(f"{app}/{choice}", width, dark)
    assert problems(page) == []
    page.emulate_media(color_scheme="light" if dark else "dark")
    assert problems(page) == []


@pytest.mark.parametrize("card", ["ham10000-committee", "ham10000-efficientnetb1"])
def test_the_layers_of_a_network(app: str, open_page: Callable[..., Page], card: str, width: int, dark: bool) -> None:
    page = open_page(f"{app}/models?card={card}", width, dark)
    page.get_by_text("Layers of the network").click()
    assert problems(page) == []


def test_the_charts_of_an_answer(app: str, open_page: Callable[..., Page], width: int, dark: bool) -> None:
    page = open_page(f"{app}/classify", width, dark)
    upload(page, as_upload(PHOTO))
    headline(page)
    assert problems(page) == []

    measuring = next(model for model in registry.ranked() if model.kind == "features")
    page.get_by_role("button", name="Change").click()
    page.get_by_test_id("stPopoverBody").get_by_role("combobox", name="Model").click()
    page.get_by_role("option", name=measuring.short_name, exact=True).click()
    page.keyboard.press("Escape")
    expect(page.get_by_text(f"Answered by “{measuring.short_name}”")).to_be_visible()
    expect(page.get_by_text("What counted towards the class")).to_be_visible()
    assert problems(page) == []
