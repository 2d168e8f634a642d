"""Figures of the explorer, and the drawn body."""

import re
import urllib.parse

import pandas as pd
import pytest

from skinapp.charts import body, population, style
from skinapp.datasets.registry import DATASETS
from skinapp.demographics import records, statistics
from tests.ui.test_contrast import contrast, rgb


@pytest.fixture
def frame() -> pd.DataFrame:
    return records.shipped("ham10000").frame


def test_a_class_has_its_own_colour_in_every_figure(frame: pd.DataFrame) -> None:
    histogram = population.age_histogram(statistics.age_bands(frame), str)
    boxes = population.age_boxes(statistics.age_summary(frame), str)
    colours = [style.class_colour(code) for code in frame["diagnosis"].cat.categories]
    assert [trace.marker.color for trace in histogram.data] == colours
    assert [trace.fillcolor for trace in boxes.data] == colours


def test_bars_are_limited_in_number() -> None:
    many = pd.DataFrame({"value": list(map(str, range(90))), "images": range(90), "share": [0.0] * 90})
    figure = population.bars(many, many["value"].tolist(), ["#000000"] * 90)
    assert len(figure.data[0].x) == population.MAX_ROWS
    assert population.bars(many, many["value"].tolist(), ["#000000"] * 90, whole=500).layout.xaxis.range[1] == 500


def test_values_with_a_meaning_keep_their_colour(frame: pd.DataFrame) -> None:
    found = statistics.cross(frame, "diagnosis", "sex")
    figure = population.share_bars(statistics.shares(found), found, str)
    colours = {trace.name: trace.marker.color for trace in figure.data}
    assert colours["female"] == population.CATEGORY_COLOURS["female"]
    assert len(set(colours.values())) == 3


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_published_site_is_on_the_body_or_listed_separately(dataset: str) -> None:
    sites = statistics.counts(records.shipped(dataset).frame, "site")
    rest = set(body.elsewhere(sites)["value"])
    assert rest <= {"trunk", "acral", records.NOT_STATED}
    named = [part for site in sites["value"] for part in body.SITES.get(site, (site,)) if site not in rest]
    assert set(named) == set(body.images_by_part(sites).index)


def test_the_body_is_darker_where_there_are_more_images() -> None:
    sites = pd.DataFrame({"value": ["back", "hand"], "images": [100, 4]})
    figure = body.drawing(sites)
    *shapes, markers = figure.data
    fills = {trace.text: trace.fillcolor for trace in shapes}
    assert len({fills["back: 100 images"], fills["hand: 4 images"]}) == 2
    assert sum(trace.text == "hand: 4 images" for trace in shapes) == 4
    assert any("not in this selection" in trace.text for trace in shapes)
    assert sorted(markers.text) == ["back: 100 images", *["hand: 4 images"] * 4]


def test_a_part_of_the_body_names_every_site_that_it_belongs_to() -> None:
    sites = pd.DataFrame({"value": ["head/neck", "scalp"], "images": [2, 3]})
    markers = body.drawing(sites).data[-1]
    clicks = {text: data[0] for text, data in zip(markers.text, markers.customdata, strict=True)}
    assert clicks["head/neck and scalp: 5 images"] == "site=head%2Fneck&site=scalp"
    assert clicks["head/neck: 2 images"] == "site=head%2Fneck"


def test_a_body_without_any_site_has_nothing_to_click() -> None:
    figure = body.drawing(pd.DataFrame({"value": [], "images": []}))
    assert all(trace.mode == "lines" for trace in figure.data)


def test_a_cell_and_a_bar_name_their_filter(frame: pd.DataFrame) -> None:
    sites = statistics.cross(frame, "diagnosis", "site")
    cells = population.heat_map(statistics.shares(sites), sites, str, "site").data[0]
    stands_for = {data[-1]: text for data, text in zip(cells.customdata, cells.text, strict=True)}
    assert stands_for["diagnosis=mel&site=back"] == "324<br>29%"
    assert stands_for["diagnosis=df&site=trunk"] == "0"
    # a row of the least common sites stands for all of them
    few, merged = statistics.merge_rare_columns(sites, 12)
    cells = population.heat_map(statistics.shares(few), few, str, "site", merged).data[0]
    [others] = [data[-1] for data in cells.customdata if data[0].startswith("mel, 3 others")]
    assert urllib.parse.parse_qs(others) == {"diagnosis": ["mel"], "site": merged["3 others"]}
    bars = population.bars(statistics.counts(frame, "site"), ["x"] * 15, ["#000000"] * 15, column="site").data[0]
    assert bars.customdata[0][-1] == f"site={urllib.parse.quote_plus(frame['site'].cat.categories[0])}"
    ages = population.age_histogram(statistics.age_bands(frame), str).data[4]
    assert (ages.name, ages.customdata[12][-1]) == ("mel", "diagnosis=mel&age=60-64")


def test_bars_of_100_percent_have_their_last_tick_and_their_numbers_inside(frame: pd.DataFrame) -> None:
    found = statistics.cross(frame, "diagnosis", "sex")
    figure = population.share_bars(statistics.shares(found), found, str)
    assert figure.layout.xaxis.tickvals[-1] == figure.layout.xaxis.range[1] == 1
    male = next(trace for trace in figure.data if trace.name == "male")
    assert male.text[4] == "689 · 62%"
    assert population.share_bars(statistics.shares(found), found, str).data[-1].text[5] == ""


@pytest.mark.parametrize("colour", [*population.CATEGORY_COLOURS.values(), "rgb(54, 138, 133)", "#777777"])
def test_numbers_inside_bars_can_be_read(colour: str) -> None:
    channels = [int(part) for part in re.findall(r"\d+", colour)] if colour.startswith("rgb") else rgb(colour)
    assert contrast(rgb(population.ink_on(colour)), tuple(channels)) >= 4.5
