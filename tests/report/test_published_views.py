import dataclasses

import pandas as pd

from skinapp.evaluation.bootstrap import Interval
from skinapp.evaluation.claims import CLAIMS, TWO, Compared, Figure
from skinapp.evaluation.head_search import HeadSearch
from skinapp.evaluation.operating_points import Threshold
from skinapp.report import published_views

FIGURE = Figure("a", Interval(0.5, 0.4, 0.6), 406, Threshold(0.25, "Validation images"))


def test_a_cell_says_what_is_missing_and_why() -> None:
    repeated = next(claim for claim in CLAIMS if claim.repeated_by and claim.question == TWO)
    unnamed = next(claim for claim in CLAIMS if not claim.repeated_by)
    table = published_views.claims([Compared(repeated, None, FIGURE, None), Compared(unnamed, None, None, FIGURE)])
    ours = table[[published_views.SAME_TEST, published_views.REPEATED, published_views.OURS]]
    assert ours.to_numpy().tolist() == [
        ["not trained", "0.500 (0.400 to 0.600)", "no operating point"],
        ["no network stated", "no network stated", "0.500 (0.400 to 0.600)"],
    ]
    assert table["Published"].tolist() == [
        "91% accuracy, malignant or benign",
        "85% to 90% accuracy, malignant or benign",
    ]


def test_the_notes_name_models_images_and_thresholds() -> None:
    claim = next(claim for claim in CLAIMS if claim.question == TWO)
    first, second = published_views.notes(
        [Compared(claim, None, None, FIGURE)], {"a": "Malignant or benign, network A"}
    )
    assert first == "Malignant or benign: ours are network A, on 406 images of held-out lesions."
    assert second.endswith("0.250 for network A (validation images).")
    three = [Compared(claim, None, None, dataclasses.replace(FIGURE, model=name)) for name in "abc"]
    first, _ = published_views.notes(three, {"a": "A", "b": "B", "c": "C"})
    assert "ours are A, B and C, on" in first
    assert published_views.notes([Compared(claim, None, None, None)], {}) == []


def test_every_head_of_a_search_has_a_row() -> None:
    trials = pd.DataFrame(
        {
            "augmentation": ["none", "standard"],
            "hidden": [0, 64],
            "dropout": [0.0, 0.2],
            "learning_rate": [0.001, 0.003],
            "parameters": [8967, 82503],
            "epoch": [3, 9],
            **{f"val_balanced_accuracy{end}": [0.6, 0.5] for end in ("", "_low", "_high")},
            **{f"val_accuracy{end}": [0.7, 0.8] for end in ("", "_low", "_high")},
        }
    )
    searched = HeadSearch(
        {"size": 160, "per_class": 400}, {"train": 1937, "validation": 967}, {"train": 1500, "validation": 754}, trials
    )
    table = published_views.search(searched)
    assert table["Balanced accuracy"].tolist() == ["0.600 (0.600 to 0.600)", "0.500 (0.500 to 0.500)"]
    assert table["Augmentation"].tolist() == ["none", "standard"]
    words = published_views.search_words(searched)
    for part in ("2 heads", "160 px", "1,937 images", "400 of each class", "967 images of 754 other lesions"):
        assert part in words
    assert "optimistic" in words
