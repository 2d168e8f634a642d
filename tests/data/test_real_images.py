"""Tests on the real data sets, if they are available."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skinapp.inference import registry
from skinapp.inference.scoring import score
from skinapp.labels.sets import HAM10000
from train.data import datasets

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def ham10000(data_root: Path) -> pd.DataFrame:
    return datasets.ham10000(data_root / "ham10000")


def test_the_splits_are_the_published_ones_without_shared_lesions(ham10000: pd.DataFrame) -> None:
    assert ham10000["split"].value_counts().to_dict() == {"train": 7734, "test": 1503, "excluded": 778}
    assert set(ham10000["label"]) == set(HAM10000.codes)
    table = datasets.with_validation(ham10000, folds=8, fold=0, seed=0)
    groups = [set(rows["group"]) for split, rows in table.groupby("split") if split != "excluded"]
    assert sum(len(group) for group in groups) == len(set.union(*groups))
    validation = table[table["split"] == "validation"]
    assert set(validation["label"]) == set(HAM10000.codes)


def test_scoring_the_test_images_gives_the_published_predictions(
    ham10000: pd.DataFrame, model: registry.Model, tmp_path: Path
) -> None:
    published = pd.read_csv(model.folder / "predictions.csv").set_index("image").sample(100, random_state=0)
    files = ham10000.set_index("image")["path"].loc[published.index]
    pd.DataFrame({"image": files.map(str)}).to_csv(tmp_path / "images.csv", index=False)

    summary = score(tmp_path / "images.csv", model, tmp_path / "predictions.csv")

    assert (summary.scored, summary.skipped, summary.failed) == (100, 0, 0)
    found = pd.read_csv(tmp_path / "predictions.csv")
    assert [Path(name).stem for name in found["image"]] == published.index.tolist()
    columns = [f"p_{code}" for code in model.labels.codes]
    assert np.abs(found[columns].to_numpy() - published[columns].to_numpy()).max() < 0.02
