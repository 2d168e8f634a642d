"""A report is a self-contained file; a comparison's report contains what the page shows."""

import datetime
import re

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from skinapp.charts import architecture
from skinapp.evaluation import comparison, external, measures, predictions
from skinapp.evaluation.comparison import CLASSES
from skinapp.evaluation.operating_points import Threshold
from skinapp.inference import registry
from skinapp.report import comparison_report, document
from skinapp.report.document import Chart, Heading, List, Picture, Section

MADE = datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.UTC)


def test_every_kind_of_block_is_in_it_and_text_is_escaped() -> None:
    chart = Chart(go.Figure(go.Scatter(x=[1], y=[2])), pd.DataFrame({"x": [0.123456]}), "A dot")
    table = pd.DataFrame({"name": ["<b>"], "count": [1234], "share": [np.nan]})
    sections = [
        Section("First & <last>", ["2 < 3", table, chart]),
        Section("Second", [chart, Picture(b"png", "A cat")]),
    ]
    text = document.render("A <title>", sections, "Take care", MADE)
    assert text.count("plotly.js v") == 1
    assert text.count("Plotly.newPlot(") >= 2
    for escaped in ("First &amp; &lt;last&gt;", "2 &lt; 3", "&lt;b&gt;", "1,234", "0.1235", "A &lt;title&gt;"):
        assert escaped in text
    assert "2026-01-02 03:04 UTC" in text
    assert 'src="data:image/png;base64,cG5n"' in text
    assert "nan" not in re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)


def test_markup_is_shown_as_text_wherever_it_comes_from() -> None:
    evil = "<img src=x onerror=alert(1)>'\"</script>"
    chart = Chart(go.Figure(go.Scatter(x=[1], y=[2], name=evil)), pd.DataFrame({evil: [evil]}), evil)
    blocks = [evil, Heading(evil), List((evil,)), pd.DataFrame({evil: [evil]}), Picture(b"png", evil), chart]
    text = document.render(evil, [Section(evil, blocks)], evil, MADE)
    assert "<img src=x" not in text
    assert text.count("&lt;img src=x onerror=alert(1)&gt;&#39;&#34;&lt;/script&gt;") >= 14


def test_without_a_figure_the_script_is_left_out() -> None:
    assert "<script" not in document.render("Words", [Section("One", ["text"])], "Care", MADE)


def test_nothing_is_fetched() -> None:
    chart = Chart(go.Figure(), pd.DataFrame(), "Nothing")
    text = document.render("Title", [Section("One", [chart])], "Care", MADE)
    outside = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r"(src|href)=\"(https?:)?//", outside)
    assert "<script src" not in text


@pytest.fixture(scope="module")
def sections() -> list[Section]:
    known, _ = predictions.shipped()
    chosen = [known[model.id] for model in registry.ranked() if model.task == "diagnosis"][:2]
    shared = comparison.share(chosen, CLASSES)
    weights = shared.weights(50)
    names = {name: name.upper() for name in shared.ids}
    published = measures.published(CLASSES, chosen[0].datasets[0])
    thresholds = dict.fromkeys(shared.ids, Threshold(0.3))
    drawn = measures.draw(shared, weights)
    tested = [one for name in shared.ids for one in external.results(known[name], "accuracy", "mel", 20)]
    return comparison_report.sections(
        shared, weights, drawn, known, published, shared.ids, thresholds, 0.02, "At 30%", tested, names
    )


def test_a_comparisons_report_has_every_part(sections: list[Section]) -> None:
    headings = " | ".join(section.heading for section in sections)
    for part in (
        "Finding cancers and pre-cancers",
        "Scores",
        "(A) and",
        "Operating point",
        "Calibration",
        "Prediction sets of",
        "Confusion matrix and error rate by class",
        "Subgroups: sex",
        "was trained",
    ):
        assert part in headings
    text = document.render("Compared", sections, comparison_report.CAUTION, MADE)
    assert "assume that 2.0% of the people examined have a cancer or pre-cancer" in text
    assert "At 30%, " in text
    assert "also flags" in text


def test_the_layers_of_every_model() -> None:
    for model in registry.models().values():
        stages = architecture.stages(model)
        assert stages[0].shape == f"{model.input_size} x {model.input_size} x 3"
        assert stages[-1].shape == str(len(model.labels.codes))
        assert len(architecture.diagram(stages).layout.shapes) == len(stages)
        if "class_maps" in model.card["outputs"] and "model.keras" in model.card["files"]:
            height, width, _ = model.card["outputs"]["class_maps"]
            last = next(stage for stage in stages if stage.name == "Last convolution")
            assert last.shape == f"{height} x {width} x {model.card['outputs']['embedding'][0]}"
