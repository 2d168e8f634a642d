"""The figures of a comparison: the content of each trace, and frames that are empty or have gaps."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from skinapp.charts import performance
from skinapp.charts.performance import GREY, MODEL_COLOURS


@pytest.mark.parametrize("span", [0.0011, 0.099, 0.0999, 0.17, 0.181, 0.44, 0.46, 0.89, 0.91, 0.99, 1.0])
@pytest.mark.parametrize("low", [-0.37, 0.0, 0.6])
def test_an_axis_has_a_few_round_numbers_within_it(low: float, span: float) -> None:
    ticks = performance._ticks(low, low + span)
    assert 3 <= len(ticks) <= 10
    assert min(ticks) >= low - 1e-6
    assert max(ticks) <= low + span + 1e-6
    assert np.diff(ticks) == pytest.approx(np.diff(ticks)[0], abs=2e-6)


def drawn(figure: go.Figure) -> dict:
    """The figure as the browser gets it; fails if it cannot be drawn."""
    assert figure.to_json()
    return {trace.name: trace for trace in figure.data}


def notes(figure: go.Figure) -> list[str]:
    return [annotation.text for annotation in figure.layout.annotations]


def forest_frame(*rows: tuple) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["row", "series", "value", "low", "high", "note"])


def test_forest_draws_a_dot_and_an_interval_for_each_row() -> None:
    frame = forest_frame(
        ("Accuracy", "a", 0.8, 0.7, 0.85, "0.80"),
        ("Accuracy", "published", 0.6, 0.5, 0.7, "0.60"),
        ("Brier score", "a", 0.3, 0.2, 0.4, "0.30"),
    )
    figure = performance.forest(frame, "Score", ["a"])
    traces = drawn(figure)
    assert traces["a"].x.tolist() == [0.8, 0.3]
    assert traces["a"].error_x.array == pytest.approx([0.05, 0.1])
    assert traces["a"].error_x.arrayminus == pytest.approx([0.1, 0.1])
    assert traces["a"].marker.color == MODEL_COLOURS[0]
    assert (traces["published"].marker.color, traces["published"].marker.symbol) == (GREY, "circle-open")
    # from top to bottom as in the frame: rows with their dots, no two of them at one height
    heights = [*traces["a"].y, *traces["published"].y]
    assert len(set(heights)) == 3
    assert traces["a"].y[0] < traces["published"].y[0] < traces["a"].y[1]
    assert notes(figure) == ["Accuracy", "Brier score", "0.80", "0.60", "0.30"]
    assert traces["a"].customdata.tolist() == [["Accuracy", "0.80"], ["Brier score", "0.30"]]


@pytest.mark.parametrize(("letters", "beside"), [(20, False), (50, True)])
def test_a_note_is_never_over_a_long_name(letters: int, beside: bool) -> None:
    figure = performance.forest(
        forest_frame(("x" * letters, "a", 0.8, 0.7, 0.85, "0.80 (0.70 to 0.85)")), "Score", ["a"]
    )
    name, note = figure.layout.annotations
    assert (note.y == figure.data[0].y[0]) == beside
    assert (note.y == name.y) != beside
    # there is room for it on the right of the interval
    assert (figure.layout.xaxis.range[1] > 0.95) == beside


def test_forest_shows_a_row_without_a_value_as_its_note_alone() -> None:
    frame = forest_frame(("men", "a", 0.8, 0.7, 0.9, "0.80"), ("women", "a", np.nan, np.nan, np.nan, "too few images"))
    figure = performance.forest(frame, "Score", ["a"])
    assert drawn(figure)["a"].x.tolist() == [0.8]
    assert notes(figure) == ["men", "women", "0.80", "too few images"]


def test_forest_draws_a_value_without_an_interval() -> None:
    figure = performance.forest(forest_frame(("all", "a", 0.8, np.nan, np.nan, "0.80 (no interval)")), "Score", ["a"])
    assert drawn(figure)["a"].x.tolist() == [0.8]
    low, high = figure.layout.xaxis.range
    assert low < 0.8 < high


def test_forest_reaches_to_values_without_an_interval() -> None:
    frame = forest_frame(("one", "a", 0.2, 0.1, 0.3, "0.20"), ("two", "a", 5.0, np.nan, np.nan, "5.00"))
    low, high = performance.forest(frame, "Score", ["a"]).layout.xaxis.range
    assert low < 0.1
    assert high > 5


def test_forest_leaves_more_room_for_longer_notes() -> None:
    def right(note: str) -> float:
        frame = forest_frame(("Score", "a", 0.5, 0.4, 0.6, note), ("Score", "b", 0.5, 0.4, 0.6, note))
        return performance.forest(frame, "Score", ["a", "b"]).layout.xaxis.range[1]

    # a note of 36 characters takes about half the width of a phone
    assert right("+0.143 (+0.106 to +0.182) · A better") > 0.6 + 0.2
    assert right("0.50 (0.40 to 0.60)") < 0.6 + 0.2


@pytest.mark.parametrize("rows", [[], [("all", "a", np.nan, np.nan, np.nan, "too few images")]])
def test_forest_of_nothing(rows: list[tuple]) -> None:
    figure = performance.forest(forest_frame(*rows), "Score", ["a"], reference=0)
    assert figure.to_json()
    assert np.isfinite(figure.layout.xaxis.range).all()
    assert all(len(trace.x) == 0 for trace in figure.data)
    assert notes(figure) == [text for row in rows for text in (row[0], row[-1])]


def curve(low: float | None = 0.1) -> pd.DataFrame:
    y = np.array([0.0, 0.5, 1.0])
    gap = np.nan if low is None else low
    return pd.DataFrame({"x": [0.0, 0.5, 1.0], "y": y, "low": y - gap, "high": y + gap})


def test_lines_draw_curve_band_mark_and_reference() -> None:
    figure = performance.lines({"a": curve(), "b": curve(0.2)}, "X", "Y", {"b": (0.25, 0.75)}, performance.diagonal())
    assert figure.to_json()
    reference, band_a, line_a, band_b, line_b, mark = figure.data
    assert reference.name == "Chance"
    assert line_a.y.tolist() == [0, 0.5, 1]
    assert band_a.y.tolist() == pytest.approx([0.1, 0.6, 1.1, 0.9, 0.4, -0.1])
    assert band_a.x.tolist() == [0, 0.5, 1, 1, 0.5, 0]
    assert line_b.customdata[1].tolist() == pytest.approx([0.3, 0.7])
    assert (mark.x, mark.y) == ((0.25,), (0.75,))
    # band, line and mark of one model have its colour, and its legend entry hides all three
    assert mark.marker.color == line_b.line.color == MODEL_COLOURS[1] != line_a.line.color
    assert band_b.legendgroup == line_b.legendgroup == mark.legendgroup == "b"
    assert line_a.line.dash != line_b.line.dash


def test_lines_without_a_band_or_without_a_curve() -> None:
    band, line = performance.lines({"a": curve(None)}, "X", "Y").data
    assert np.isnan(band.y).all()
    assert line.y.tolist() == [0, 0.5, 1]
    assert "customdata" not in line.hovertemplate
    empty = performance.lines({"a": curve().iloc[:0]}, "X", "Y")
    assert empty.to_json()
    assert [len(trace.x) for trace in empty.data] == [0, 0]
    assert not performance.lines({}, "X", "Y").data


def reliability_frame(*rows: tuple) -> pd.DataFrame:
    columns = ["low", "high", "images", "confidence", "accuracy", "accuracy_low", "accuracy_high"]
    return pd.DataFrame(rows, columns=columns)


def test_reliability_draws_accuracy_over_confidence_and_counts_below() -> None:
    table = reliability_frame((0.5, 0.6, 4, 0.55, 0.25, np.nan, np.nan), (0.9, 1.0, 60, 0.97, 0.95, 0.9, 0.98))
    names = {"a": table, "a, before calibration": table}
    figure = performance.reliability(names, {"a": 1, "a, before calibration": 1}, {"a, before calibration"})
    assert figure.to_json()
    perfect, after, counts, before, counts_before = figure.data
    assert perfect.name == "Perfect calibration"
    assert (list(perfect.x), list(perfect.y)) == ([0, 1], [0, 1])
    assert after.x.tolist() == [0.55, 0.97]
    assert after.y.tolist() == [0.25, 0.95]
    assert after.error_y.array == pytest.approx([np.nan, 0.03], nan_ok=True)
    assert after.error_y.arrayminus == pytest.approx([np.nan, 0.05], nan_ok=True)
    assert counts.x.tolist() == pytest.approx([0.55, 0.95])
    assert counts.y.tolist() == counts_before.y.tolist() == [4, 60]
    assert after.line.color == before.line.color == MODEL_COLOURS[1]
    assert before.marker.symbol == f"{after.marker.symbol}-open"
    assert (after.yaxis, counts.yaxis) == ("y", "y2")


def test_reliability_of_nothing() -> None:
    assert [trace.name for trace in performance.reliability({}, {}, set()).data] == ["Perfect calibration"]
    figure = performance.reliability({"a": reliability_frame()}, {"a": 0}, set())
    assert figure.to_json()
    assert [len(trace.x) for trace in figure.data[1:]] == [0, 0]


def confusion_frame(counts: list[list[int]], codes: str = "ab") -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "label": np.repeat(list(codes), len(codes)),
            "predicted": np.tile(list(codes), len(codes)),
            "images": np.ravel(counts),
        }
    )
    with np.errstate(invalid="ignore"):
        return frame.assign(share=np.ravel(np.array(counts) / np.sum(counts, axis=1, keepdims=True)))


def test_confusion_has_labels_down_and_predictions_across() -> None:
    figure = performance.confusion(confusion_frame([[3, 1], [0, 1200]]))
    assert figure.to_json()
    heat, words = figure.data
    assert (heat.x, heat.y) == (("a", "b"), ("a", "b"))
    assert heat.z.tolist() == [[0.75, 0.25], [0, 1]]
    assert list(words.text) == ["3<br>75%", "1<br>25%", "0<br>0%", "1,200<br>100%"]
    assert list(zip(words.y, words.x, strict=True)) == [("a", "a"), ("a", "b"), ("b", "a"), ("b", "b")]
    assert words.mode == "text"
    assert figure.layout.yaxis.autorange == "reversed"
    assert (figure.layout.xaxis.title.text, figure.layout.yaxis.title.text) == ("Predicted", "Label")


def test_confusion_of_a_class_without_images_has_counts_alone() -> None:
    heat, words = performance.confusion(confusion_frame([[3, 1], [0, 0]])).data
    assert heat.z.tolist() == [[0.75, 0.25], [0, 0]]
    assert list(words.text[2:]) == ["0", "0"]


def test_the_cells_of_a_selectable_matrix_have_invisible_marks_with_label_and_prediction() -> None:
    _, marks = performance.confusion(confusion_frame([[3, 1], [0, 2]]), selectable=True).data
    assert marks.mode == "markers+text"
    assert marks.customdata.tolist() == [["a", "a"], ["a", "b"], ["b", "a"], ["b", "b"]]
    assert {marks.marker.opacity, marks.selected.marker.opacity, marks.unselected.marker.opacity} == {0}


def test_across_joins_the_test_sets_of_a_model() -> None:
    frame = pd.DataFrame(
        [("a", "own (internal)", 0.9, 0.8, 0.95, "x"), ("a", "other (external)", 0.7, np.nan, np.nan, "y")],
        columns=["series", "test_set", "value", "low", "high", "note"],
    )
    [line] = performance.across(frame, "Accuracy", ["b", "a"]).data
    assert list(line.x) == ["own<br>(internal)", "other<br>(external)"]
    assert line.y.tolist() == [0.9, 0.7]
    assert line.error_y.arrayminus == pytest.approx([0.1, np.nan], nan_ok=True)
    assert line.line.color == MODEL_COLOURS[1]


def test_confusion_of_nothing() -> None:
    figure = performance.confusion(pd.DataFrame(columns=["label", "predicted", "images", "share"], dtype=float))
    assert figure.to_json()
    assert figure.data[0].z.size == 0


def test_class_bars_have_error_bars_where_there_is_an_interval() -> None:
    frame = pd.DataFrame(
        [("mel", "Melanoma", "40%", 0.4, 0.3, 0.6), ("df", "Dermatofibroma", "20%", 0.2, np.nan, np.nan)],
        columns=["label", "name", "note", "value", "low", "high"],
    )
    [bars] = performance.class_bars(frame).data
    assert bars.y.tolist() == [0.4, 0.2]
    assert bars.error_y.array == pytest.approx([0.2, np.nan], nan_ok=True)
    assert bars.error_y.arrayminus == pytest.approx([0.1, np.nan], nan_ok=True)


@pytest.mark.parametrize(
    ("series", "titles"),
    [(["loss", "accuracy", "val_loss"], ["Loss", "Accuracy"]), (["loss"], ["Loss"]), (["val_accuracy"], ["Accuracy"])],
)
def test_the_epochs_are_below_the_last_part_of_a_history(series: list[str], titles: list[str]) -> None:
    rows = [(epoch, name, 0.5, epoch == 2) for name in series for epoch in (1, 2, 3)]
    figure = performance.training(pd.DataFrame(rows, columns=["epoch", "series", "value", "chosen"]))
    assert set(drawn(figure)) == set(map(performance.series_name, series))
    assert [axis.title.text for axis in figure.select_yaxes()] == titles
    assert [axis.title.text for axis in figure.select_xaxes()] == [None, "Epoch"][-len(titles) :]
    assert notes(figure) == ["chosen"]


@pytest.mark.parametrize(
    ("series", "name"),
    [
        ("loss", "Loss, training"),
        ("accuracy", "Accuracy, training"),
        ("val_balanced_log_loss", "Balanced log loss, validation"),
        ("val_milk10k_balanced_accuracy", "Balanced accuracy, MILK10k validation"),
    ],
)
def test_a_curve_is_named_after_its_metric_and_data_set(series: str, name: str) -> None:
    assert performance.series_name(series) == name
