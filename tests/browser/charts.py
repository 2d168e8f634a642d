"""What is wrong with the charts of a page: texts that overlap, are cut off or hard to read, lines that are hard to see,
and an axis in percent without its ends."""

import io
import itertools
import re
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from tests.browser.visitor import settle, whole
from tests.ui.test_contrast import MIN_CONTRAST, MIN_SHAPE_CONTRAST, Colour, contrast, mixed

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in pixels of the window."""

CHARTS = """() => [...document.querySelectorAll('.js-plotly-plot')].filter(chart => chart.getClientRects().length)
  .map(chart => {
    const all = names => [...chart.querySelectorAll(names)].filter(one => one.getClientRects().length);
    const box = one => (({left, top, right, bottom}) => [left, top, right, bottom])(one.getBoundingClientRect());
    const colour = (one, kind) => (style => style[kind] === 'none' || kind === 'stroke' && style.strokeWidth === '0px'
      ? [] : [[style[kind], style.opacity * style[`${kind}Opacity`]]])(getComputedStyle(one));
    return {
      box: box(chart),
      texts: all('svg text:not(:has(tspan.line)), svg tspan.line').filter(one => one.textContent.trim()).map(one =>
        ({words: one.textContent, box: box(one), colour: colour(one, 'fill')[0], legend: !!one.closest('.legend')})),
      covers: all('.legend, .modebar-group').map(one => [one.matches('.legend') ? 'legend' : 'camera', box(one)]),
      lines: [...all('.js-line, .errorbar path, .shapelayer path').map(one => colour(one, 'stroke')),
        ...all('.scatterlayer .points path, path.box').map(one => [...colour(one, 'fill'), ...colour(one, 'stroke')])],
      axes: Object.values(chart._fullLayout).filter(one => one?._id && one.visible && one.showticklabels
        && one.tickformat?.includes('%')).map(one =>
        ({range: one.range, ticks: all(`.${one._id}tick text`).map(tick => tick.textContent)})),
    };
  })"""
"""Each visible chart: where its texts, legends and buttons are, the colours of its texts and lines with their opacity,
and its axes in percent."""


def charts(page: Page) -> Locator:
    return page.locator(".js-plotly-plot:visible")


def problems(page: Page) -> list[str]:
    """Wait for the charts of the page; a sentence for everything that is wrong with one of them."""
    expect(charts(page).first).to_be_visible(timeout=120_000)
    settle(page, timeout=120_000)
    expect(page.locator(".stPlotlyChart:visible:not(:has(.main-svg))")).to_have_count(0)
    background = page.get_by_test_id("stApp").evaluate("app => getComputedStyle(app).backgroundColor")
    with whole(page):
        picture = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))
        found = [_of(chart, picture, _seen(background)) for chart in page.evaluate(CHARTS)]
    return list(dict.fromkeys(itertools.chain(*found)))


def _of(chart: dict[str, Any], picture: np.ndarray, background: Colour) -> list[str]:
    texts, edges = chart["texts"], chart["box"]
    wrong = [
        f"“{one['words']}” overlaps “{other['words']}”"
        for one, other in itertools.combinations(texts, 2)
        if _overlap(one["box"], other["box"])
    ]
    for name, box in chart["covers"]:
        beside = [text for text in texts if not (name == "legend" and text["legend"])]
        wrong += [f"a {name} covers “{text['words']}”" for text in beside if _overlap(box, text["box"])]
    for text in texts:
        left, top, right, bottom = text["box"]
        if left < edges[0] - 1 or top < edges[1] - 1 or right > edges[2] + 1 or bottom > edges[3] + 1:
            wrong.append(f"“{text['words']}” is cut off")
            continue
        behind = _most_common(picture[int(top) : int(bottom) + 1, int(left) : int(right) + 1])
        found = contrast(_seen(*text["colour"], behind=behind), behind)
        if found < MIN_CONTRAST:
            wrong.append(f"“{text['words']}” has a contrast of {found:.1f}")
    for line in chart["lines"]:
        found = max((contrast(_seen(*part, behind=background), background) for part in line), default=21)
        # an invisible mark only answers clicks
        if found < MIN_SHAPE_CONTRAST and any(opacity for _, opacity in line):
            wrong.append(f"a line in {line} has a contrast of {found:.1f}")
    for axis in chart["axes"]:
        if min(axis["range"]) <= 0 and max(axis["range"]) >= 1 and not {"0%", "100%"} <= set(axis["ticks"]):
            wrong.append(f"an axis from 0 to 100% has the ticks {', '.join(axis['ticks'])}")
    return wrong


def _overlap(one: Box, other: Box) -> bool:
    """Whether two boxes share more than their edges."""
    return one[0] < other[2] - 1 and other[0] < one[2] - 1 and one[1] < other[3] - 1 and other[1] < one[3] - 1


def _seen(computed: str, opacity: float = 1, behind: Colour = (0, 0, 0)) -> Colour:
    """A colour as the browser gives it, "rgb(70, 163, 157)" or "rgba(70, 163, 157, 0.5)", drawn over another."""
    red, green, blue, *alpha = map(float, re.findall(r"[\d.]+", computed))
    return mixed((red, green, blue), behind, opacity * (alpha[0] if alpha else 1))


def _most_common(pixels: np.ndarray) -> Colour:
    colours, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_counts=True)
    red, green, blue = colours[counts.argmax()].tolist()
    return red, green, blue
