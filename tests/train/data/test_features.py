"""Measuring a data set once, and resuming."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skinapp.errors import DataError
from skinapp.images import imaging
from skinapp.lesion import features
from tests.pictures import encode, lesion
from train.data import features as measuring
from train.data.datasets import READERS


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    rows = []
    for seed in range(3):
        path = tmp_path / f"{seed}.jpg"
        path.write_bytes(encode(lesion(240, 240, seed=seed)))
        rows.append({"image": f"malignant/{seed}", "path": path})
    table = pd.DataFrame(rows)
    monkeypatch.setitem(READERS, "malignant_benign", lambda root: table)
    return table


def test_features_are_measured_once_as_the_app_measures_them(
    images: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = measuring.measured("malignant_benign", tmp_path)
    assert list(measured.index) == list(images["image"])
    expected = features.measure(imaging.load(images["path"][1], features.SIDE))
    assert tuple(measured.columns) == expected.names
    assert np.array_equal(measured.iloc[1].to_numpy(), expected.values, equal_nan=True)
    monkeypatch.setattr(features, "measure", None)
    assert measuring.measured("malignant_benign", tmp_path).equals(measured)


def test_a_line_that_was_cut_off_is_measured_again(images: pd.DataFrame, tmp_path: Path) -> None:
    measured = measuring.measured("malignant_benign", tmp_path)
    [file] = (tmp_path / "features").iterdir()
    lines = file.read_text().splitlines(keepends=True)
    for cut in (40, len(lines[1]) - 4):
        file.write_text(lines[0] + lines[1][:cut])
        assert measuring.measured("malignant_benign", tmp_path).equals(measured)


def test_images_that_cannot_be_read_are_listed(images: pd.DataFrame, tmp_path: Path) -> None:
    images["path"][2].write_bytes(b"no image")
    with pytest.raises(DataError, match="malignant/2"):
        measuring.measured("malignant_benign", tmp_path)
