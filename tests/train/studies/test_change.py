"""The noise of measures between two photos of one lesion."""

from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from skinapp.errors import DataError
from skinapp.inference.registry import Model
from skinapp.lesion.change import CANCER, SIZE
from tests.pictures import closer, skin
from train.studies import change


def test_a_pair_is_a_test_image_and_another_image_of_its_lesion() -> None:
    rows = [("a", "test"), ("a", "excluded"), ("a", "excluded"), ("b", "test"), ("c", "train"), ("c", "train")]
    table = pd.DataFrame(rows, columns=["group", "split"])
    table["image"] = [f"i{number}" for number in range(len(rows))]
    table["path"] = [Path(name) for name in table["image"]]
    assert change.pairs(table) == [(Path("i1"), Path("i0"))]


def saved(folder: Path, seed: int, zoom: float) -> Path:
    file = folder / f"{seed}-{zoom}.png"
    Image.fromarray(closer(skin(seed), 300, zoom)).save(file)
    return file


def test_what_is_measured(model: Model, tmp_path: Path) -> None:
    # photos of three lesions from two distances, and two photos of different lesions
    photos = [(saved(tmp_path, seed, 1.0), saved(tmp_path, seed, 1.15)) for seed in (11, 12, 13)]
    photos.append((saved(tmp_path, 14, 1.0), saved(tmp_path, 15, 1.0)))
    measured = change.measure(model, photos)
    assert (measured["pairs"], measured["matched"], measured["confused"]) == (4, 3, 0)
    assert 1 <= measured["measured"] <= 3
    assert 1 <= measured["noise"][SIZE] < 1.5
    assert 0 <= measured["noise"][CANCER] <= 1


def test_pairs_that_never_match(model: Model, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="could be laid over each other"):
        change.measure(model, [(saved(tmp_path, 21, 1.0), saved(tmp_path, 22, 1.0))])
