"""A comparison as JSON and as lines."""

import dataclasses
import json

import numpy as np
import pytest

from skinapp.evaluation import summary
from skinapp.evaluation.comparison import Shared, targets


def test_the_summary_is_json(shared: Shared) -> None:
    compared = json.loads(json.dumps(summary.summary(shared), allow_nan=False))
    assert compared["images"] == 80
    assert list(compared["models"]) == ["one", "two"]
    [pair] = compared["pairs"]
    assert pair["differences"]["accuracy"]["value"] == pytest.approx(
        compared["models"]["one"]["accuracy"]["value"] - compared["models"]["two"]["accuracy"]["value"]
    )


def test_the_lines_for_a_terminal(shared: Shared) -> None:
    compared = summary.summary(shared)
    text = "\n".join(summary.lines(compared))
    assert text.startswith("80 images of 40 lesions or patients; question: which class\n")
    assert "one minus two" in text
    assert compared["pairs"][0]["sentence"] in text
    assert f"p = {compared['pairs'][0]['mcnemar_p']:.3g}" in text
    assert "Holm" not in text


def test_the_answer_of_a_pair_comes_before_the_scores(shared: Shared) -> None:
    compared = summary.summary(shared)
    compared["pairs"][0]["answer"] = ["One finds more."]
    printed = list(summary.lines(compared))
    assert printed.index("One finds more.") < printed.index("one")


def test_scores_of_a_class_are_printed_with_its_name(shared: Shared) -> None:
    melanoma = targets(shared.labels)["mel"]
    text = "\n".join(summary.lines(summary.summary(dataclasses.replace(shared, target=melanoma))))
    assert "  ROC AUC, melanoma " in text
    assert "DeLong's test of the ROC AUC, melanoma: p = " in text
    assert "{" not in text


def test_few_lesions_are_reported_as_few(shared: Shared) -> None:
    compared = summary.summary(dataclasses.replace(shared, groups=np.zeros(len(shared.images), int)))
    json.dumps(compared, allow_nan=False)
    [pair] = compared["pairs"]
    assert {one["conclusion"] for one in pair["differences"].values()} == {"no interval"}
    text = "\n".join(summary.lines(compared))
    assert "(no interval)" in text
    assert "not tested" in text
    assert "better" not in text
