import numpy as np
import pandas as pd
import pytest

from train.publish import retrieval_index


def clustered(per_class: int = 12) -> tuple[pd.DataFrame, np.ndarray]:
    """Two classes far apart in a space of 16 dimensions, every image of a lesion of its own."""
    generator = np.random.default_rng(0)
    labels = np.repeat(["nv", "mel"], per_class)
    embeddings = generator.normal(0, 0.1, (len(labels), 16)) + np.where(labels == "nv", 1, -1)[:, np.newaxis]
    names = [f"ISIC_{number:07}" for number in range(len(labels))]
    known = pd.DataFrame({"image": names, "group": names, "label": labels})
    return known, embeddings.astype(np.float32)


def test_neighbours_of_separate_classes_agree() -> None:
    known, embeddings = clustered()
    rows = np.arange(0, len(known), 2)
    result = retrieval_index.fit(known, embeddings, rows, 4)
    assert result.vectors.dtype == np.int8
    assert np.abs(result.vectors).max() == 127
    tested = np.arange(1, len(known), 2)
    predicted = known["label"].to_numpy().copy()
    predicted[tested[0]] = "mel"
    scores = retrieval_index.neighbour_scores(result, known, embeddings, predicted, tested)
    assert scores["right"]["value"] == 1
    assert scores["same"]["value"] == pytest.approx(11 / 12, abs=1e-4)
    # the one wrong prediction is the one that no neighbour shares
    assert scores["sure"]["all"]["images"] == 11
    assert scores["sure"]["all"]["right"]["value"] == 1
    assert scores["sure"]["fewer"]["right"]["value"] == 0
    assert "most" not in scores["sure"]


def test_a_share_and_its_interval() -> None:
    result = retrieval_index.share(np.tile([1.0, 0.0, 1.0, 1.0], 5), np.arange(20))
    assert result["value"] == 0.75
    assert result["low"] < 0.75 < result["high"]
