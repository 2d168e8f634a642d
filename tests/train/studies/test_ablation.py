import dataclasses
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import yaml

from skinapp.errors import DataError
from skinapp.evaluation import metrics
from train import config
from train.__main__ import main
from train.config import Config
from train.data.datasets import encode, prepare, validation_rows, with_validation
from train.fit import augmentation, stages
from train.fit.validation import predict
from train.publish.fuse import HeldOut
from train.studies import ablation

pytestmark = pytest.mark.slow

SHIPPED = Path(config.__file__).parent / "configs" / "studies" / "ablation.yaml"
ROWS = {
    "natural": {"sampling": "natural"},
    "metadata": {"metadata": True},
    "views": {"views": ["upright", "mirrored"]},
    "five": {"committee": True},
}


@pytest.fixture(scope="module", autouse=True)
def quick(without_graphs: None) -> Iterator[None]:
    """No augmentation to trace, and few resamples."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(augmentation.POLICIES, "standard", augmentation.none)
        patch.setattr(ablation, "RESAMPLES", 50)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ablate")


def write(file: Path, tiny: Config, rows: object = ROWS, **changes: object) -> Path:
    """The tiny run, of one epoch in each of two folds, with rows."""
    stages = [{"image_size": 24, "epochs": 1, "learning_rate": 0.01}]
    settings = dataclasses.asdict(tiny) | {"stages": stages, "cache_size": 24, "fold": None, "rows": rows} | changes
    file.write_text(yaml.safe_dump(settings | {"views": ["upright"]}, sort_keys=False))
    return file


@pytest.fixture(scope="module")
def table(tiny: Config, folder: Path) -> pd.DataFrame:
    """The table written by the command, indexed by row and score."""
    arguments = ["--config", str(write(folder / "tiny.yaml", tiny)), "--runs", str(folder / "runs")]
    assert main(["ablate", *arguments, "--out", str(folder / "new" / "rows.csv")]) == 0
    return pd.read_csv(folder / "new" / "rows.csv", keep_default_na=False, na_values=[""]).set_index(["row", "score"])


def test_every_row_has_every_score(table: pd.DataFrame, tiny: Config) -> None:
    names = ["base", "natural", "metadata", "metadata, stated", "views", "five"]
    assert table.index.tolist() == [(row, score) for row in names for score in ablation.scores(tiny)]
    assert table.loc["natural", "change"].unique().tolist() == ["sampling: natural"]
    # every training image is held out once
    assert set(table.loc[names[:-1], "images"]) == {21}
    assert set(table.loc[names[:-1], "groups"]) == {14}
    assert set(table.loc["five", "images"]) == {1}


def test_differences_are_to_the_base(table: pd.DataFrame) -> None:
    assert table.loc["base", ["difference", "low", "high"]].isna().all(axis=None)
    for row in ("natural", "metadata", "metadata, stated", "views"):
        apart = table.loc[row, "value"] - table.loc["base", "value"]
        assert table.loc[row, "difference"].to_numpy() == pytest.approx(apart.to_numpy(), abs=1e-4)
        assert (table.loc[row, "low"] <= table.loc[row, "difference"]).all()


def test_only_what_changes_training_is_trained(table: pd.DataFrame, folder: Path) -> None:
    expected = {f"tiny{row}-fold-{fold}" for row in ("", "-natural", "-metadata") for fold in (0, 1)}
    assert {run.name for run in (folder / "runs").glob("tiny*")} == expected
    assert (table.loc[["views", "five"], "seconds"] == 0).all()


def test_a_fold_is_scored_by_the_last_network_that_has_not_seen_it(table: pd.DataFrame, folder: Path) -> None:
    base, *_ = (row.config for row in ablation.read_rows(folder / "tiny.yaml"))
    images = ablation.held_out(base, base, folder / "runs")["ham10000"]
    data = prepare(base.dataset, 24, folder / "runs")
    accuracies = []
    for part in ablation.parts(base):
        rows = validation_rows(with_validation(data.table, **part.division))
        network = keras.saving.load_model(folder / "runs" / part.id / "stage-1" / "last.keras", compile=False)
        by_hand = predict(network, data.images[rows])
        assert images.logits[images.folds == part.fold] == pytest.approx(by_hand, abs=1e-5)
        truth = encode(data.table["label"].iloc[rows], ablation.label_set(base.labels))
        accuracies.append((by_hand.argmax(axis=1) == truth).mean())
    assert table.loc[("base", "accuracy"), "value"] == pytest.approx(np.mean(accuracies), abs=1e-4)


def test_finished_rows_are_not_trained_again(
    table: pd.DataFrame, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(stages, "fit_stage", refuse)
    arguments = ["--config", str(folder / "tiny.yaml"), "--runs", str(folder / "runs")]
    assert main(["ablate", *arguments, "--out", str(folder / "again.csv")]) == 0
    assert (folder / "again.csv").read_text() == (folder / "new" / "rows.csv").read_text()
    output = capsys.readouterr().out
    assert "| row | balanced accuracy | difference from base (95%) |" in output
    assert output.count("| natural |") == 1
    assert "one difference per fold" in output


def test_an_interruption_leaves_the_rows_before_it(
    tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def train(run: Config, runs: Path) -> int:
        if run.id == "tiny-natural":
            raise KeyboardInterrupt
        return 60

    def fixed(run: Config, base: Config, runs: Path) -> dict[str, HeldOut]:
        table = pd.DataFrame({"group": np.arange(7)})
        return {"ham10000": HeldOut(table, np.eye(7), np.arange(7), np.zeros(7))}

    monkeypatch.setattr(ablation, "train", train)
    monkeypatch.setattr(ablation, "held_out", fixed)
    arguments = ["--config", str(write(tmp_path / "tiny.yaml", tiny)), "--out", str(tmp_path / "rows.csv")]
    assert main(["ablate", *arguments]) == 130
    assert "Stopped after 1 of 5 rows; run the same command again" in capsys.readouterr().err
    written = pd.read_csv(tmp_path / "rows.csv")
    assert written["row"].unique().tolist() == ["base"]
    assert written.set_index("score").loc["accuracy", ["value", "seconds"]].tolist() == [1, 60]


def test_a_t_interval_worked_by_hand() -> None:
    # standard deviation sqrt(2.5), Student's t with four degrees of freedom 2.776
    interval = ablation.t_interval(np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    half = 2.7764 * np.sqrt(2.5) / np.sqrt(5)
    assert [interval.value, interval.low, interval.high] == pytest.approx([3, 3 - half, 3 + half], abs=1e-3)


def test_networks_together_are_compared_with_the_mean_of_each_alone() -> None:
    """Of forty lesions, one network classifies all correctly and the other none; the committee follows the more
    confident one."""
    truth = np.tile([0, 1], 20)
    right = np.where(np.eye(2)[truth] > 0, 5.0, 0.0)
    each = np.array([right, 0.5 - right / 5])
    table = pd.DataFrame({"group": np.arange(40)})
    images = HeldOut(table, each.mean(axis=0), truth, np.full(40, -1))
    scores = ablation.committee_scores(images, each, {"accuracy": metrics.accuracy}).set_index("score")
    assert scores.loc["accuracy", ["value", "difference", "images"]].tolist() == [1, 0.5, 40]


def test_a_change_of_stages_goes_into_each_or_replaces_them() -> None:
    settings = {"stages": [{"image_size": 24, "mixup": 0.1}, {"image_size": 32}], "ema": 0.9}
    result = ablation.changed(settings, {"stages": {"mixup": 0.4}})
    assert result == {"stages": [{"image_size": 24, "mixup": 0.4}, {"image_size": 32, "mixup": 0.4}], "ema": 0.9}
    assert ablation.changed(settings, {"stages": [{"image_size": 8}]})["stages"] == [{"image_size": 8}]
    assert ablation.changed(settings, {"ema": 0.0}) == settings | {"ema": 0.0}


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (None, "has no 'rows' of the form"),
        ({"a": 3}, "has no 'rows' of the form"),
        ({"base": {"ema": 0.5}}, "The row 'base' needs another name"),
        ({"a/b": {"ema": 0.5}}, "The row 'a/b' needs another name"),
        ({"a": {"colour": "red"}}, "Row 'a': There is no setting 'colour'"),
        ({"a": {"stages": {"colour": "red"}}}, "Row 'a': There is no setting 'stages: colour'"),
        ({"a": {"seed": 1}}, "The row 'a' changes seed, and so the lesions"),
        ({"a": {"dataset": "milk10k"}}, "The row 'a' changes the first data set, and so the lesions"),
    ],
)
def test_a_row_that_cannot_be_is_named(rows: object, sentence: str, tiny: Config, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=sentence):
        ablation.read_rows(write(tmp_path / "tiny.yaml", tiny, rows))


def test_missing_files_are_reported_before_training(
    tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(ablation, "train")
    file = write(tmp_path / "tiny.yaml", tiny, {"a": {"init": "absent.weights.h5"}})
    with pytest.raises(DataError, match=r"no weights file .*absent"):
        ablation.ablate(file, (), tmp_path / "runs", tmp_path / "rows.csv")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be made"):
        ablation.ablate(write(file, tiny), (), tmp_path / "runs", tmp_path / "file" / "rows.csv")


def test_the_shipped_rows_are_short_runs_of_the_committee() -> None:
    base, *rows = ablation.read_rows(SHIPPED)
    committee = config.load_config(SHIPPED.parents[1] / "ham10000-committee.yaml")
    for name in ("dataset", "shares", "reference", "folds", "seed", "architecture", "init"):
        assert getattr(base.config, name) == getattr(committee, name)
    draws = [row.config.samples_per_epoch * sum(stage.epochs for stage in row.config.stages) for row in (base, *rows)]
    assert set(draws) == {8000, 16000}
    for row in rows:
        before, after = (dataclasses.asdict(one) for one in (base.config, row.config))
        changes = {name for name in before if name != "id" and before[name] != after[name]}
        assert len(changes) == 1 or changes == {"dataset", "shares", "reference"}
    # overrides go into all rows
    assert {row.config.samples_per_epoch for row in ablation.read_rows(SHIPPED, ("ema=0.5",))} == {4000, 8000}


def test_a_base_of_one_fold_is_refused(tiny: Config, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="with 'fold: null' each row is run on all of them"):
        ablation.read_rows(write(tmp_path / "tiny.yaml", tiny, fold=0))
