"""Figures of the explorer, and the drawn body."""

import pandas as pd
import pytest

from skinapp.charts import body, population, style
from skinapp.datasets.registry import DATASETS
from skinapp.demographics import records, statistics


@pytest.fixture
def frame() -> pd.DataFrame:
    return records.shipped("ham10000").frame


def test_a_class_has_its_own_colour_in_every_figure(frame: pd.DataFrame) -> None:
    histogram = population.age_histogram(statistics.age_bands(frame), str)
    boxes = population.age_boxes(statistics.age_summary(frame), str)
    for figure in (histogram, boxes):
        assert [trace.marker.color for trace in figure.data] == [
            style.class_colour(code) for code in frame["diagnosis"].cat.categories
        ]


def test_bars_stop_where_nobody_reads_on() -> None:
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
def test_every_published_site_is_on_the_body_or_listed_beside_it(dataset: str) -> None:
    sites = statistics.counts(records.shipped(dataset).frame, "site")
    rest = set(body.elsewhere(sites)["value"])
    assert rest <= {"trunk", "acral", records.NOT_STATED}
    named = [part for site in sites["value"] for part in body.SITES.get(site, (site,)) if site not in rest]
    assert set(named) == set(body.images_by_part(sites).index)


def test_the_body_is_darker_where_there_are_more_images() -> None:
    sites = pd.DataFrame({"value": ["back", "hand"], "images": [100, 4]})
    figure = body.drawing(sites)
    fills = {trace.text: trace.fillcolor for trace in figure.data}
    assert len({fills["back: 100 images"], fills["hand: 4 images"]}) == 2
    assert sum(trace.text == "hand: 4 images" for trace in figure.data) == 4
    assert any("not in this selection" in trace.text for trace in figure.data)
