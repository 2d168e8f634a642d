"""Two synthetic models and their shared images, for tests of comparisons."""

import numpy as np
import pandas as pd
import pytest

from skinapp.evaluation import comparison
from skinapp.evaluation.comparison import CLASSES, Shared
from skinapp.evaluation.predictions import Predictions
from skinapp.labels.sets import HAM10000, MALIGNANCY, LabelSet

RESAMPLES = 60


def made(
    name: str, labels: LabelSet, images: int = 90, seed: int = 0, skill: float = 2.0, start: int = 0
) -> Predictions:
    """Predictions for images from number `start`; the truth of an image does not depend on the model."""
    codes = np.array(labels.codes)
    numbers = np.arange(start, start + images)
    truth = np.random.default_rng(99).integers(0, 7, 1000)[numbers]
    if labels is MALIGNANCY:
        truth = np.array([HAM10000.labels[k].malignant for k in truth]).astype(int)
    logits = np.random.default_rng(seed).normal(size=(images, len(codes)))
    logits[np.arange(images), truth] += skill
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    table = pd.DataFrame(probabilities, columns=[f"p_{code}" for code in codes], index=[f"i{n}" for n in numbers])
    table["label"] = codes[truth]
    table["group"] = [f"g{n // 2}" for n in numbers]
    table["dataset"] = "made"
    table["sex"] = np.where(numbers % 3 == 0, "male", "female")
    table["age"] = np.where(numbers % 10 == 0, np.nan, numbers % 90)
    return Predictions(name, name, labels, table, f"{name}{seed}")


@pytest.fixture(scope="module")
def shared() -> Shared:
    chosen = [made("one", HAM10000, seed=1), made("two", HAM10000, 80, seed=2, skill=1.0, start=10)]
    return comparison.share(chosen, CLASSES)


@pytest.fixture(scope="module")
def weights(shared: Shared) -> np.ndarray:
    return shared.weights(RESAMPLES)


def repeats(weights: np.ndarray) -> list[np.ndarray]:
    return [np.repeat(np.arange(len(row)), row.astype(int)) for row in weights]
