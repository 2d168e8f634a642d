"""The report on all models in a real browser without network access."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from skinapp.__main__ import main
from skinapp.inference import registry
from tests.browser.visitor import SCREENSHOTS
from tests.pictures import encode, lesion

pytestmark = pytest.mark.slow

LOADED = 240_000
FACTS = (
    """section => [...section.querySelectorAll("tr")].map(row => [...row.cells].map(cell => cell.innerText.trim()))"""
)


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    (folder / "skin.jpg").write_bytes(encode(lesion(400, 300)))
    assert main(["report", "--out", str(folder / "report.html"), "--images", str(folder / "skin.jpg")]) == 0
    return folder / "report.html"


@pytest.mark.parametrize("width", [1280, 390])
def test_it_opens_without_a_network(browser: Browser, document: Path, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, is_mobile=width < 600, offline=True)
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: request.url.startswith(("file:", "data:", "blob:")) or wrong.append(request.url))
    # some 40 figures are drawn before the page counts as loaded
    page.goto(document.as_uri(), timeout=LOADED)

    models = registry.models().values()
    for heading in ("All models", "Data: HAM10000", *(model.title for model in models), "Where the models looked"):
        expect(page.get_by_role("heading", name=heading, exact=True).first).to_be_visible()
    for model in models:
        section = page.locator("section").filter(has=page.get_by_role("heading", name=model.title, exact=True))
        section = section.filter(has_text=model.id).first
        rows = {row[0]: row[1:] for row in section.evaluate(FACTS) if len(row) == 4}
        score = model.card["scores"]["balanced_accuracy"]
        assert rows["Balanced accuracy"] == [f"{score[part]:.4g}" for part in ("value", "low", "high")]
    # charts are drawn, and within the page
    assert page.locator(".js-plotly-plot .main-svg").count() > 3 * len(models)
    chart = page.locator(".js-plotly-plot").first.bounding_box()
    assert chart
    assert chart["width"] > 0.8 * min(width, 1000) - 32
    assert page.evaluate("document.scrollingElement.scrollWidth") <= width
    picture = page.locator("img").last
    assert picture.evaluate("image => image.complete && image.naturalWidth > 600")
    if SCREENSHOTS.is_dir():
        page.screenshot(path=SCREENSHOTS / f"report-{width}.png", full_page=True)
    assert not wrong
    context.close()


def test_it_prints(browser: Browser, document: Path) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(document.as_uri(), timeout=LOADED)
    page.evaluate(
        """addEventListener("beforeprint", () => { window.widths = [...document.querySelectorAll(".main-svg")]
             .map(figure => figure.getBoundingClientRect().width); })"""
    )
    printed = page.pdf(format="A4")
    assert printed.startswith(b"%PDF")
    # no figure is wider than the paper, which would make everything smaller
    assert 300 < max(page.evaluate("window.widths")) <= 700
    page.close()
