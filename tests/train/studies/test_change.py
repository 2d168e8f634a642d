"""The noise of measures between two photos of one lesion."""

import math
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from PIL import Image

from skinapp.errors import DataError
from skinapp.inference.registry import Model
from skinapp.lesion.change import CANCER, SIZE, log_odds
from tests.pictures import closer, skin
from train.studies import change
from train.studies.change import Pair


def test_a_pair_is_a_test_image_and_another_image_of_its_lesion() -> None:
    rows = [("a", "test"), ("a", "excluded"), ("a", "excluded"), ("b", "test"), ("c", "train"), ("c", "train")]
    table = pd.DataFrame(rows, columns=["group", "split"])
    table["image"] = [f"i{number}" for number in range(len(rows))]
    table["path"] = [Path(name) for name in table["image"]]
    assert change.pairs(table) == [Pair((Path("i1"), Path("i0")), ("i1", "i0"))]


def test_pairs_of_phone_photos_show_one_lesion(monkeypatch: pytest.MonkeyPatch) -> None:
    images = ["PAT_1_10_5", "PAT_1_10_7", "PAT_1_11_6", "PAT_2_12_8"]
    table = pd.DataFrame({"image": images, "group": ["1", "1", "1", "2"], "path": [Path(name) for name in images]})
    published = pd.DataFrame({"image": images, "lesion": ["10", "10", "11", "12"]})
    parser = SimpleNamespace(parse=lambda folder: published)
    monkeypatch.setattr(change.datasets, "read", lambda name: table)
    monkeypatch.setattr(change.datasets_registry, "DATASETS", {"pad_ufes_20": parser})
    # different lesions of the same patient do not form a pair
    assert [pair.images for pair in change.pairs_of("smartphone")] == [("PAT_1_10_5", "PAT_1_10_7")]


def pair(folder: Path, *photos: tuple[int, float]) -> Pair:
    first, second = (saved(folder, seed, zoom) for seed, zoom in photos)
    return Pair((first, second), (first.name, second.name))


def saved(folder: Path, seed: int, zoom: float) -> Path:
    file = folder / f"{seed}-{zoom}.png"
    Image.fromarray(closer(skin(seed), 300, zoom)).save(file)
    return file


@pytest.mark.slow
def test_what_is_measured(model: Model, tmp_path: Path) -> None:
    # photos of three lesions from two distances, and two photos of different lesions
    photos = [pair(tmp_path, (seed, 1.0), (seed, 1.15)) for seed in (11, 12, 13)]
    photos.append(pair(tmp_path, (14, 1.0), (15, 1.0)))
    measured = change.measure([model], photos)
    assert (measured["pairs"], measured["matched"], measured["confused"]) == (4, 3, 0)
    assert 1 <= measured["measured"] <= 3
    assert 1 <= measured["noise"][SIZE] < 1.5
    assert 0 <= measured["cancer"][model.id]["noise"] < 5
    # the largest difference exceeds the 95th percentile
    assert 1 <= measured["cancer"][model.id]["exceeded"] <= measured["measured"]
    assert measured["cancer"][model.id]["networks"] == [model.card["files"]["model.tflite"]["sha256"]]
    assert CANCER not in measured["noise"]


def test_a_pair_in_which_any_measure_exceeds_its_limit_counts_once() -> None:
    rows = [{"a": a, "b": b} for a, b in ((0.0, 0.0), (2.0, 0.0), (0.0, 2.0), (2.0, 2.0), (1.0, 1.0))]
    assert change.exceeding(rows, {"a": 1.0, "b": 1.0}) == 3


def test_probabilities_in_the_models_folder_are_used_for_both_images_or_none(model: Model, tmp_path: Path) -> None:
    cancer = change.Cancer(model)
    files = saved(tmp_path, 11, 1.0), saved(tmp_path, 11, 1.2)
    cancer.known = {"a": 0.9, "b": 0.2}
    assert cancer.difference(Pair(files, ("a", "b"))) == pytest.approx(math.log(0.905 / 0.105 * 0.805 / 0.205))
    computed = abs(log_odds(cancer.computed(files[0])) - log_odds(cancer.computed(files[1])))
    assert cancer.difference(Pair(files, ("a", "c"))) == computed


def test_the_models_folder_has_its_probabilities_of_cancer(model: Model) -> None:
    table = pd.read_csv(model.folder / "predictions.csv")
    cancer = change.Cancer(model)
    assert set(cancer.known) >= set(table["image"])
    assert max(cancer.known.values()) <= 1.001
    # more than one class counts
    assert len(cancer.codes) > 1


def test_pairs_that_never_match(model: Model, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="could be aligned"):
        change.measure([model], [pair(tmp_path, (21, 1.0), (22, 1.0))])
