"""The claim under a flawed and a sound protocol, and the fusion with a network."""

import numpy as np
import pandas as pd
import pytest

from train.studies import features as study


def test_copies_flatter_a_random_split_and_not_one_by_lesion() -> None:
    generator = np.random.default_rng(0)
    lesion = np.arange(600) // 6
    malignant = generator.random(100)[lesion] < 0.5
    table = pd.DataFrame(
        {
            "image": [f"image {number}" for number in range(600)],
            "group": [f"lesion {number}" for number in lesion],
            "label": np.where(malignant, "malignant", "benign"),
            "split": np.where(lesion % 5 == 0, "test", "train"),
        }
    )
    # features that identify the lesion, but not its diagnosis
    values = generator.normal(size=(100, 3))[lesion] + generator.normal(size=(600, 3)) * 0.001
    rows = study.claim(table, {"drawn": values})
    accuracy = {row[1]: float(row[3].split()[0]) for row in rows}
    assert accuracy["at random, five parts"] > 0.9
    assert accuracy["by lesion and copies, five parts"] < 0.7
    assert accuracy["by lesion, held-out fifth"] < 0.75
    assert [row[2] for row in rows] == ["600", "600", "120"]


def test_a_useful_second_opinion_gets_weight_and_a_useless_one_none() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 2000)

    def opinion(strength: float) -> np.ndarray:
        scores = generator.normal(size=(2000, 3))
        scores[np.arange(2000), labels] += strength
        # calibrated, if noise has a standard deviation of 1
        return study.softmax(strength * scores)

    network, useful, useless = opinion(1.5), opinion(1.0), opinion(0.0)
    fusion = study.fit_weights(labels, network, useful)
    assert fusion.network == pytest.approx(1, abs=0.15)
    assert fusion.features == pytest.approx(1, abs=0.15)
    noise = study.softmax(generator.normal(size=(2000, 3)))
    assert study.fit_weights(labels, network, noise).features == pytest.approx(0, abs=0.06)
    assert useless.std() == pytest.approx(0)
    together = fusion.probabilities(network, useful)
    assert together.sum(axis=1) == pytest.approx(np.ones(2000))
    assert (together.argmax(axis=1) == labels).mean() > (network.argmax(axis=1) == labels).mean()
