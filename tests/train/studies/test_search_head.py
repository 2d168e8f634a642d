import json
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
import pandas as pd
import pytest

from skinapp.evaluation import head_search
from tests.train.conftest import tiny_network_on
from train import __main__ as command
from train.config import Config
from train.studies import search_head

# KerasTuner's lock uses a deprecated name of Python's threading module
pytestmark = pytest.mark.filterwarnings("ignore:currentThread:DeprecationWarning", "ignore:getName:DeprecationWarning")

QUICK = ["--init", "none", "--size", "32", "--per-class", "2", "--epochs", "1", "--trials", "2"]


@pytest.fixture(scope="module", autouse=True)
def data(tiny_data: Path) -> Any:
    """The tiny data set, of which no class has eight lesions, and a tiny backbone."""
    with tiny_network_on(tiny_data) as patch:
        patch.setattr(Config, "folds", 2)
        patch.setattr(search_head, "ARCHITECTURE", "tiny")
        yield


def run(runs: Path, *more: str) -> int:
    return command.main(["search-head", "--runs", str(runs), "--out", str(runs / "result.json"), *QUICK, *more])


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory, data: None) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    assert run(runs) == 0
    return runs


@pytest.mark.slow
def test_a_search_gives_a_row_per_head_and_no_test_score(searched: Path) -> None:
    result = head_search.read(searched / "result.json")
    assert result is not None
    assert sorted(result.trials["trial"]) == [1, 2]
    assert result.trials["val_balanced_accuracy"].is_monotonic_decreasing
    # at most two of the three training images of a class, and none of the test lesions
    assert result.images["train"] <= 2 * 7
    assert result.lesions["train"] + result.lesions["validation"] == 2 * 7
    for row in result.trials.to_dict("records"):
        assert search_head.build(row, 16).count_params() == row["parameters"]
    assert "test" not in json.loads((searched / "result.json").read_text())["parts"]
    table = pd.read_csv(searched / "search-head.csv")
    assert (table["val_balanced_accuracy_low"].isna()).all(), "seven lesions are too few for an interval"


def test_a_search_resumes_with_the_same_heads(searched: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, trained = (searched / "search-head.csv").read_text(), []
    work = search_head.train
    monkeypatch.setattr(search_head, "train", lambda *arguments: trained.append(arguments) or work(*arguments))
    monkeypatch.setattr(search_head, "pretrained", lambda *_: pytest.fail("embeddings are there"))
    assert run(searched) == 0
    assert not trained
    assert run(searched, "--trials", "3") == 0
    assert len(trained) == 1
    assert (searched / "search-head.csv").read_text().startswith(before)


def test_an_epoch_takes_every_image_once_by_any_of_its_views() -> None:
    seen = np.arange(2 * 100).reshape(2, 100, 1).astype(np.float32)
    labels, weights = np.arange(100), np.ones(100, np.float32)
    endless = search_head.batches(seen, labels, weights, seed=0)
    for _ in range(2):
        epoch = [next(endless) for _ in range(search_head.steps(seen))]
        images = np.concatenate([codes for _, codes, _ in epoch])
        assert sorted(images) == list(range(100))
        view, image = np.divmod(np.concatenate([x[:, 0] for x, _, _ in epoch]), 100)
        assert (image == images).all()
        assert set(view) == {0, 1}


def test_the_views_of_an_augmentation(data: None) -> None:
    backbone = search_head.pretrained("none", 32)
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    one, turned, changed = (search_head.embedding(backbone, images, name, 0) for name in search_head.AUGMENTATIONS)
    assert one.shape == (1, 3, 16)
    assert turned.shape == changed.shape == (4, 3, 16)
    assert turned[0] == pytest.approx(one[0])
    assert not np.allclose(turned[1], one[0])
    assert len(np.unique(changed.round(6), axis=0)) == search_head.VIEWS, "random views differ"


def test_the_space_is_declared_whole() -> None:
    choices = keras_tuner.HyperParameters()
    search_head.space(choices)
    assert {choice.name for choice in choices.space} == set(search_head.SPACE)


def test_impossible_options_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for option, value, sentence in (
        ("--size", "8", "--size is 8; it must be at least 32"),
        ("--trials", "0", "--trials is 0"),
        ("--out", "table.csv", "it must end in .json"),
    ):
        assert run(tmp_path, option, value) == 2
        assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
