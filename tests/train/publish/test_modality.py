"""The recogniser of the kind of image, trained on synthetic embeddings."""

import numpy as np
import pandas as pd

from skinapp.inference.modality import KINDS
from train.publish import modality

WIDTH = 80
"""More than the components in which distances are measured."""


def examples(count: int = 120) -> tuple[pd.DataFrame, np.ndarray]:
    """Three groups of embeddings far apart; the last tenth of the skin images is only for test."""
    generator = np.random.default_rng(0)
    rows, embedded = [], []
    for kind, dataset, shift in (
        ("dermoscopy", "ham10000", 0),
        ("smartphone", "milk10k-clinical", 1),
        ("neither", "photographs", 2),
    ):
        for number in range(count):
            group = f"{kind} {number // 3}"
            test = kind != "neither" and number >= count * 9 // 10
            rows.append({"dataset": dataset, "group": group, "kind": kind, "test": test, "view": kind == "neither"})
            embedded.append(generator.normal(size=WIDTH) + 4 * np.eye(WIDTH)[shift])
    return pd.DataFrame(rows), np.array(embedded)


def test_different_kinds_are_distinguished_on_held_out_images() -> None:
    table, embedded = examples()
    recogniser, card = modality.learn(table, embedded)
    assert card["learnt_from"] == {"dermoscopy": 108, "smartphone": 108, "neither": 120}
    tests = {row["name"]: row for row in card["tests"]}
    assert list(tests) == [
        "dermoscopy, HAM10000, test lesions",
        "close-ups, MILK10k, test lesions",
        "training photographs, each held out once",
    ]
    assert all(row["right"]["value"] >= 0.75 for row in tests.values())
    photographs = tests["training photographs, each held out once"]
    assert photographs["recognised_as"]["neither"] == round(photographs["right"]["value"] * 120)
    # one in a hundred held-out skin images is beyond each limit
    assert 0 < recogniser.neither_limit < 1
    assert np.isfinite(recogniser.limit)
    page = modality.markdown(card | {"network": "block2 of a network"})
    assert "| dermoscopy, HAM10000, test lesions: 12 (4) |" in page
    assert "108 dermoscopy images" in page


def test_a_wrong_answer_counts_as_confused_and_an_unsure_one_as_asked() -> None:
    kinds = np.array([0, 0, 0, 0])
    decided = np.array([0, 1, 1, 2])
    probabilities = np.array([[0.9, 0.1, 0], [0.05, 0.95, 0], [0.4, 0.6, 0], [0, 0, 1.0]])
    row = modality.recognition("x", np.full(4, True), probabilities, decided, kinds, np.array(list("abcd")))
    assert row["right"] == {"value": 0.25, "low": None, "high": None}
    assert row["taken_for_other"]["value"] == 0.5
    assert row["without_asking"]["value"] == 0.25
    assert row["recognised_as"] == dict(zip(KINDS, (1, 2, 1), strict=True))
