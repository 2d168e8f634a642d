"""Every text is readable: at least 4.5 : 1 against its background, in both themes (WCAG 2.2, 1.4.3)."""

import re
import tomllib

import pytest

from skinapp.charts import performance, population
from skinapp.charts.style import INK
from skinapp.ui import layout

THEMES = tomllib.loads((layout.PAGES.parent / ".streamlit" / "config.toml").read_text())["theme"]
MIN_CONTRAST = 4.5
MIN_SHAPE_CONTRAST = 3
"""Of ticks and focus rings (WCAG 2.2, 1.4.11)."""
FADED = 0.6
"""The opacity at which Streamlit draws captions, placeholders and unselected tabs in the text colour."""
TINTED = 0.2
"""The maximum share of a colour that Streamlit mixes into the background of a badge or box of that colour."""
SELECTED = 0.1
"""The opacity of the accent behind a selected segment."""
NAMED = ("red", "orange", "yellow", "green", "blue", "gray")

Colour = tuple[float, float, float]


def rgb(code: str) -> Colour:
    red, green, blue = (int(code[at : at + 2], 16) for at in (1, 3, 5))
    return red, green, blue


def mixed(top: Colour, below: Colour, opacity: float) -> Colour:
    red, green, blue = (opacity * one + (1 - opacity) * other for one, other in zip(top, below, strict=True))
    return red, green, blue


def luminance(colour: Colour) -> float:
    parts = [part / 255 for part in colour]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: Colour, other: Colour) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_the_contrast_of_black_on_white_is_21() -> None:
    assert contrast(rgb("#000000"), rgb("#FFFFFF")) == pytest.approx(21)
    assert contrast(rgb("#767676"), rgb("#FFFFFF")) == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("background", ["backgroundColor", "secondaryBackgroundColor"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_captions_and_links_can_be_read(theme: str, background: str) -> None:
    colours = THEMES[theme]
    behind, text = rgb(colours[background]), rgb(colours["textColor"])
    assert contrast(text, behind) >= MIN_CONTRAST
    assert contrast(mixed(text, behind, FADED), behind) >= MIN_CONTRAST
    assert contrast(rgb(colours["linkColor"]), behind) >= MIN_CONTRAST


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_accent_can_be_read_as_text_also_on_its_own_tint(theme: str) -> None:
    colours = THEMES[theme]
    accent, page, secondary = (
        rgb(colours[name]) for name in ("primaryColor", "backgroundColor", "secondaryBackgroundColor")
    )
    assert contrast(accent, page) >= MIN_CONTRAST
    assert contrast(accent, secondary) >= MIN_CONTRAST
    # a chosen segment, and one below the pointer
    assert contrast(accent, mixed(accent, page, SELECTED)) >= MIN_CONTRAST
    assert contrast(accent, mixed(accent, page, TINTED)) >= MIN_CONTRAST


@pytest.mark.parametrize(("theme", "number"), [("light", 0), ("dark", 1)])
def test_words_on_the_accent_can_be_read_and_white_ticks_seen(theme: str, number: int) -> None:
    accent = rgb(THEMES[theme]["primaryColor"])
    [words] = re.findall(r"  color: light-dark\((\w+), (\w+)\); }", layout.STYLE)
    assert contrast(rgb({"white": "#FFFFFF", "black": "#000000"}[words[number]]), accent) >= MIN_CONTRAST
    assert contrast(rgb("#FFFFFF"), accent) >= MIN_SHAPE_CONTRAST


@pytest.mark.parametrize(("theme", "number"), [("light", 0), ("dark", 1)])
def test_the_focus_ring_can_be_seen(theme: str, number: int) -> None:
    [ring] = re.findall(r"outline: 2px solid light-dark\((\w+), (\w+)\)", layout.STYLE)
    colour = rgb({"white": "#FFFFFF", "black": "#000000"}[ring[number]])
    for behind in ("backgroundColor", "secondaryBackgroundColor"):
        assert contrast(colour, rgb(THEMES[theme][behind])) >= MIN_SHAPE_CONTRAST


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_coloured_text_can_be_read_on_the_page_and_in_a_badge(theme: str, name: str) -> None:
    colours = THEMES[theme]
    text = rgb(colours.get(f"{name}TextColor", colours[f"{name}Color"]))
    behind = rgb(colours["backgroundColor"])
    assert contrast(text, behind) >= MIN_CONTRAST
    assert contrast(text, mixed(rgb(colours[f"{name}Color"]), behind, TINTED)) >= MIN_CONTRAST


def test_the_ink_of_the_charts_and_the_words_on_their_scales_can_be_read() -> None:
    assert contrast(rgb(INK), rgb(THEMES["light"]["backgroundColor"])) >= MIN_CONTRAST
    for _, colour in population.SCALE:
        assert max(contrast(rgb(str(colour)), rgb(words)) for words in (INK, "#FFFFFF")) >= MIN_CONTRAST


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_lines_of_the_models_can_be_seen(theme: str) -> None:
    behind = rgb(THEMES[theme]["backgroundColor"])
    for colour in (*performance.MODEL_COLOURS, performance.GREY):
        assert contrast(rgb(colour), behind) >= MIN_SHAPE_CONTRAST, colour


def test_the_numbers_in_a_confusion_matrix_can_be_read() -> None:
    steps = list(performance.SHARES.items())
    for share in range(101):
        (low, pale), (high, dark) = steps[:2] if share <= 50 else steps[1:]
        cell = mixed(rgb(dark), rgb(pale), (share / 100 - low) / (high - low))
        words = "#FFFFFF" if share / 100 > performance.DARK else "#000000"
        assert contrast(rgb(words), cell) >= MIN_CONTRAST, share
