import json
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
import pandas as pd
import pytest

from skinapp.labels.sets import HAM10000
from train import __main__ as command
from train.config import Config
from train.studies import search

# KerasTuner's lock uses a deprecated name of Python's threading module
pytestmark = pytest.mark.filterwarnings("ignore:currentThread:DeprecationWarning", "ignore:getName:DeprecationWarning")

QUICK = ["--size", "16", "--per-class", "4", "--epochs", "1", "--trials", "2"]


@pytest.fixture(scope="module", autouse=True)
def data(tiny_data: Path, runs: Path) -> Any:
    """The tiny data set, of which no class has eight lesions, and networks that train in no time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SKINAPP_DATA", str(tiny_data))
        patch.setattr(Config, "folds", 2)
        patch.setitem(search.SPACE, "width", [2, 4, 8])
        patch.setattr(search, "RESAMPLES", 50)
        yield


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


def run(protocol: str, runs: Path, *more: str) -> int:
    return command.main(["search", "--protocol", protocol, "--runs", str(runs), *QUICK, *more])


def report(file: Path) -> dict[str, Any]:
    return json.loads(file.with_suffix(".json").read_text())


@pytest.fixture(scope="module")
def grouped(runs: Path, data: None) -> Path:
    """The table of a finished search."""
    assert run("grouped", runs) == 0
    return runs / "search-grouped.csv"


@pytest.mark.slow
def test_a_search_gives_a_row_per_network_and_tests_the_best(grouped: Path, runs: Path) -> None:
    table = pd.read_csv(grouped, dtype={"widths": str})
    assert table["trial"].tolist() == [1, 2]
    assert (table["seconds"] > 0).all()
    for row in table.to_dict("records"):
        assert search.build(row, 16).count_params() == row["parameters"]
        assert len(row["widths"].split("-")) == row["depth"]
    result_report = report(grouped)
    assert result_report["best"]["val_balanced_accuracy"] == table["val_balanced_accuracy"].max()
    assert result_report["parts"]["test"] == {"rows": 7, "images": 7, "lesions": 7}
    assert result_report["parts"]["train"]["rows"] == 7 * 4
    assert result_report["copies"] == result_report["lesions"] == 0
    scores = result_report["scores"]
    assert set(scores) == {"accuracy", "balanced_accuracy"}
    # seven lesions are too few for an interval
    assert all(0 <= score["value"] <= 1 and np.isnan(score["low"]) for score in scores.values())
    saved = runs.glob("search-grouped-*.keras")
    assert [file.name for file in saved] == [f"search-grouped-{result_report['best']['trial']}.keras"]


def test_a_finished_search_is_not_trained_again(
    grouped: Path, runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before, result = grouped.read_text(), report(grouped)
    trained = []
    monkeypatch.setattr(search, "train", lambda network, parts, epochs: trained.append(network))
    assert run("grouped", runs, "--trials", "1") == 0
    assert trained == []
    assert grouped.read_text() == before
    assert report(grouped) == result
    shown = capsys.readouterr().out
    assert "The best 2 of 2 networks, protocol grouped" in shown
    assert "balanced accuracy" in shown


@pytest.mark.slow
def test_an_interrupted_search_resumes_with_the_same_networks(
    grouped: Path, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, trained = search.train, []

    def interrupted(*arguments: Any) -> Any:
        trained.append(arguments)
        if len(trained) == 2:
            raise KeyboardInterrupt
        return work(*arguments)

    monkeypatch.setattr(search, "train", interrupted)
    file = runs / "again.csv"
    assert run("grouped", runs, "--out", str(file)) == 130
    assert len(pd.read_csv(file)) == 1
    assert run("grouped", runs, "--out", str(file)) == 0
    assert len(trained) == 3
    one, other = (pd.read_csv(path, dtype={"widths": str}).drop(columns="seconds") for path in (grouped, file))
    pd.testing.assert_frame_equal(one, other, atol=1e-3)
    before = file.read_text()
    assert run("grouped", runs, "--out", str(file), "--trials", "3") == 0
    assert file.read_text().startswith(before)
    assert len(trained) == 4


@pytest.mark.slow
def test_the_tutorials_protocol_tests_on_copies(runs: Path) -> None:
    assert run("resampled", runs, "--trials", "1", "--per-class", "12") == 0
    result = report(runs / "search-resampled.csv")
    assert result["parts"]["train"]["rows"] == 63
    assert result["parts"]["test"] == result["parts"]["validation"]
    assert result["parts"]["test"]["rows"] == 21
    # 84 draws from 29 images
    assert 0 < result["copies"] <= result["lesions"] <= 1
    # the same images choose and test the network
    assert result["scores"]["accuracy"]["value"] == pytest.approx(result["best"]["val_accuracy"])


def test_a_search_with_other_settings_is_not_resumed(
    grouped: Path, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = grouped.read_text()
    assert run("grouped", runs, "--size", "32", "--seed", "5") == 2
    assert "was started with other settings (size 16, seed 0)" in capsys.readouterr().err
    assert grouped.read_text() == before


def test_a_table_of_something_else_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "own.csv"
    file.write_text("mine")
    assert run("grouped", tmp_path, "--out", str(file)) == 2
    assert "is not the table of a search" in capsys.readouterr().err
    assert file.read_text() == "mine"


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--size", "8", "--size is 8; it must be from 16 to 128"),
        ("--size", "500", "--size is 500"),
        ("--per-class", "0", "--per-class is 0; it must be at least 1"),
        ("--trials", "0", "--trials is 0"),
        ("--epochs", "0", "--epochs is 0"),
        ("--seed", "-1", "--seed is -1; it must be at least 0"),
        ("--out", "table.txt", "it must end in .csv"),
    ],
)
def test_impossible_options_are_reported(
    option: str, value: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("grouped", tmp_path, option, value) == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_space_is_declared_whole() -> None:
    choices = keras_tuner.HyperParameters()
    network_settings = search.space(choices)
    assert (network_settings["depth"], network_settings["widths"]) == (1, "2")
    assert {choice.name for choice in choices.space} == {
        *("depth", "kernel", "dropout", "dense"),
        *(f"width_{layer}" for layer in search.SPACE["depth"]),
    }
    choices.values |= {"depth": 3, "width_1": 8, "width_2": 4, "width_3": 2}
    assert search.space(choices)["widths"] == "8-4-2"


def test_a_network_takes_0_to_255_at_the_smallest_size() -> None:
    deepest = {"depth": 4, "widths": "2-2-2-2", "kernel": 5, "dropout": 0.2, "dense": 8}
    network = search.build(deepest, search.SIZES[0])
    assert sum(isinstance(layer, keras.layers.Conv2D) for layer in network.layers) == 4
    result = search.probabilities(network, np.full((3, 16, 16, 3), 255, np.uint8))
    assert result.shape == (3, len(HAM10000.codes))
    assert result.sum(axis=1) == pytest.approx(1)
