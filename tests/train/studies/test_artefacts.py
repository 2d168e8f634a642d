"""Artefacts are drawn and detected, predictions compared with and without removal, and the tables written."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from skinapp.images import removal
from skinapp.images.removal import HAIR, INK, KINDS, STICKER
from skinapp.inference import registry
from tests.pictures import lesion
from train.studies import artefacts
from train.studies.drawn_artefacts import DRAWINGS


@pytest.mark.parametrize("kind", KINDS)
def test_drawings_leave_most_of_the_image_alone(kind: str) -> None:
    image = lesion(224, 224)
    before = np.asarray(image).astype(int)
    for seed in range(4):
        changed = DRAWINGS[kind](image, np.random.default_rng(seed))
        again = DRAWINGS[kind](image, np.random.default_rng(seed))
        assert changed.size == image.size
        assert np.array_equal(changed, again)
        # a ruler may turn the image it lies on
        after = [np.asarray(one).astype(int) for one in (changed, changed.transpose(Image.Transpose.ROTATE_270))]
        changed = min((np.abs(one - before).max(axis=2) > 8).mean() for one in after)
        assert 0.003 < changed < 0.45
    assert np.array_equal(np.asarray(image), before)


def test_predictions_are_compared_image_by_image() -> None:
    labels, groups = np.array([0, 0, 1, 1] * 10), np.arange(40)
    right = np.eye(2)[labels] * 0.8 + 0.1
    # one of four predictions turns from right to wrong, and one from wrong to right
    first, second = right.copy(), right.copy()
    first[3::4], second[0::4] = first[3::4, ::-1], second[0::4, ::-1]
    figures = artefacts.compare(labels, groups, first, second)
    assert figures["images"] == 40
    assert figures["changed"] == 0.5
    assert figures["accuracy"]["before"]["value"] == figures["accuracy"]["after"]["value"] == 0.75
    assert figures["accuracy"]["difference"]["low"] < 0 < figures["accuracy"]["difference"]["high"]
    # three of four at 0.9, the fourth at 0.1
    assert figures["probability"]["before"]["value"] == pytest.approx(0.7)


def outcome(probability: tuple[float, float], accuracy: float = 0.0) -> dict:
    value = sum(probability) / 2
    return {
        "images": 40,
        "probability": {"difference": {"value": value, "low": probability[0], "high": probability[1]}},
        "accuracy": {"difference": {"value": accuracy, "low": -0.1, "high": 0.1}},
    }


@pytest.mark.parametrize(
    ("drawn", "real", "on"),
    [
        (outcome((0.01, 0.1)), outcome((0.01, 0.1)), True),
        (outcome((-0.01, 0.1)), outcome((0.01, 0.1)), False),
        (outcome((0.01, 0.1)), outcome((-0.01, 0.1)), False),
        (outcome((0.01, 0.1)), outcome((0.01, 0.1), accuracy=-0.01), False),
        (outcome((0.01, 0.1)), {"images": 0}, False),
    ],
    ids=["both", "not when drawn", "not when real", "accuracy falls", "none found"],
)
def test_a_removal_is_on_where_it_helps_on_drawn_and_on_real_ones(drawn: dict, real: dict, on: bool) -> None:
    assert artefacts.helps({"removed": drawn}, real) is on


def test_hand_counts_are_read_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "checks.csv"
    file.write_text(
        "kind,dataset,image,right,date\nink,a,1,1,2026-01-01\nink,a,2,0,2026-01-02\nhair,a,1,1,2026-01-01\n"
    )
    assert artefacts.checked(INK, file) == {"right": 1, "looked_at": 2, "date": "2026-01-02"}
    assert artefacts.checked(STICKER, file) is None


@pytest.mark.slow
def test_it_measures_and_writes_its_tables(model: registry.Model, tmp_path: Path) -> None:
    rows = []
    for row, kind in enumerate([None, INK] * 2):
        path = tmp_path / f"{row}.png"
        image = lesion(300, 300, seed=row)
        (DRAWINGS[kind](image, np.random.default_rng(row)) if kind else image).save(path)
        part = artefacts.PARTS[row // 2]
        rows.append({"path": path, "image": str(row), "group": str(row), "dataset": "ham10000", "part": part})
    table = pd.DataFrame(rows).assign(label=model.labels.codes[0])
    figures = artefacts.measure(model, {"ham10000": table}, 2, 2, tmp_path / "sheets")
    assert list(figures["kinds"]) == list(KINDS)
    drawn = figures["kinds"][HAIR]["drawn"]["test"]
    assert drawn["detected"] == 1
    assert drawn["drawn"]["images"] == 2
    assert drawn["drawn"]["probability"]["difference"]["value"] != 0
    real = figures["kinds"][INK]["real"]["test"]
    assert (real["searched"], real["detected"]) == (2, 1)
    assert json.loads(json.dumps(figures)) == figures
    assert "| Ink |" in artefacts.markdown(figures)
    assert (tmp_path / "sheets" / "ink.png").exists()


def test_the_page_in_docs_is_that_of_the_figures() -> None:
    figures = removal.figures()["dermoscopy"]
    assert Path("docs/artefacts.md").read_text() == artefacts.markdown(figures)
    for kind, one in figures["kinds"].items():
        assert one["on"] is artefacts.helps(one["drawn"]["validation"], one["real"]["validation"])
        assert one["checked"] == artefacts.checked(kind)
