"""What two models detect and what it costs, in words."""

import pytest

from skinapp.evaluation import comparison, operating_points
from skinapp.evaluation.operating_points import Threshold
from skinapp.labels.sets import HAM10000, MILK10K, PAD_UFES_20, LabelSet
from skinapp.report import operating_point_views
from tests.evaluation.conftest import made

NAMES = {"one": "A"}


@pytest.mark.parametrize(
    ("labels", "target", "words"),
    [
        (HAM10000, "mel", "a melanoma"),
        (HAM10000, "nv", "a mole (melanocytic nevus)"),
        (HAM10000, "vasc", "a vascular lesion"),
        (PAD_UFES_20, "ACK", "an actinic keratosis"),
        (MILK10K, "MAL_OTH", "another cancer"),
        (HAM10000, "cancer", "a cancer"),
        (HAM10000, "cancer-or-pre-cancer", "a cancer or pre-cancer"),
    ],
)
def test_a_target_has_its_article(labels: LabelSet, target: str, words: str) -> None:
    assert operating_point_views.article(comparison.targets(labels)[target]) == words


@pytest.mark.parametrize(
    ("code", "who", "row"),
    [
        ("mel", "a melanoma", "Missed melanomas per 1,000 people"),
        ("nv", "a mole (melanocytic nevus)", "Missed per 1,000 people: mole (melanocytic nevus)"),
    ],
)
def test_missed_people_are_not_called_images(code: str, who: str, row: str) -> None:
    target = comparison.targets(HAM10000)[code]
    shared = comparison.share([made("one", HAM10000)], comparison.CLASSES, target=target)
    points = {"one": operating_points.operating_point(shared, shared.weights(), "one", Threshold(0.5), 0.05)}
    cost = operating_point_views.answer(points, None, target, NAMES, "")[2]
    assert cost.startswith(f"Among 1,000 people, 50 of them with {who}, A would raise ")
    assert cost.endswith(f" false alarms and miss {points['one'].missed.value:.1f} of the 50.")
    table = operating_point_views.table_of(points, NAMES, target).set_index("Measure")
    assert table.loc[row, "A"] == points["one"].missed.text(".1f")
