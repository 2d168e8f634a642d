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
from skinapp.inference.runtime import softmax
from train import config
from train.__main__ import main
from train.config import Config
from train.data.datasets import encode, prepare, with_validation
from train.fit import augmentation, stages
from train.fit.validation import predict
from train.publish.evaluate import log_shares
from train.studies import ablation

SHIPPED = sorted((Path(config.__file__).parent / "configs" / "ablations").glob("*.yaml"))
ROWS = {"natural": {"sampling": "natural"}, "adjusted": {"logit_adjustment": 0.5}}


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """No augmentation to trace, and few resamples."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(augmentation.POLICIES, "standard", augmentation.none)
        patch.setattr(ablation, "RESAMPLES", 50)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ablate")


def write(file: Path, tiny: Config, rows: object = ROWS) -> Path:
    """The tiny run, of one epoch, with rows."""
    stages = [{"image_size": 24, "epochs": 1, "learning_rate": 0.01}]
    settings = dataclasses.asdict(tiny) | {"stages": stages, "cache_size": 24, "rows": rows}
    file.write_text(yaml.safe_dump(settings, sort_keys=False))
    return file


@pytest.fixture(scope="module")
def table(tiny: Config, folder: Path) -> pd.DataFrame:
    """What the command wrote; read again by row and score."""
    arguments = ["--config", str(write(folder / "tiny.yaml", tiny)), "--runs", str(folder / "runs")]
    assert main(["ablate", *arguments, "--out", str(folder / "new" / "rows.csv")]) == 0
    return pd.read_csv(folder / "new" / "rows.csv", keep_default_na=False, na_values=[""]).set_index(["row", "score"])


def test_every_row_has_every_score(table: pd.DataFrame) -> None:
    assert table.index.tolist() == [(row, score) for row in ("base", *ROWS) for score in ablation.SCORES]
    assert table.loc["natural", "change"].unique().tolist() == ["sampling: natural"]
    # of each class one lesion of two
    assert set(table["groups"]) == {7}
    # too few for an interval
    assert table[["low", "high"]].isna().all(axis=None)


def test_differences_are_to_the_base(table: pd.DataFrame) -> None:
    assert table.loc["base", ["difference", "difference_low", "difference_high"]].isna().all(axis=None)
    for row in ROWS:
        apart = table.loc[row, "value"] - table.loc["base", "value"]
        assert table.loc[row, "difference"].to_numpy() == pytest.approx(apart.to_numpy(), abs=1e-4)


def test_only_what_changes_training_is_trained(table: pd.DataFrame, folder: Path) -> None:
    assert {run.name for run in (folder / "runs").glob("tiny*")} == {"tiny", "tiny-natural"}
    assert (table.loc["adjusted", "seconds"] == 0).all()


def test_the_adjustment_comes_off_the_logits(table: pd.DataFrame, folder: Path, tiny: Config) -> None:
    base, _, adjusted = (row.config for row in ablation.read_rows(folder / "tiny.yaml"))
    splits = with_validation(prepare(base.dataset, 24, folder / "runs").table, base.folds, base.fold, base.seed)
    validation = splits[splits["split"] == "validation"]
    raw = ablation.validation_logits(base, folder / "runs")[1]
    network = keras.saving.load_model(folder / "runs" / "tiny" / "stage-1" / "best.keras", compile=False)
    images = prepare(base.dataset, 24, folder / "runs").images[validation.index]
    assert raw == pytest.approx(predict(network, images), abs=1e-5)
    expected = metrics.balanced_log_loss(
        encode(validation["label"], ablation.label_set(base.labels)),
        softmax(raw - 0.5 * log_shares(adjusted, splits)),
        np.ones((1, len(validation))),
    )
    assert table.loc[("adjusted", "balanced_log_loss"), "value"] == pytest.approx(expected[0], abs=1e-4)


def test_finished_rows_are_not_trained_again(
    table: pd.DataFrame, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("trained or predicted again")

    monkeypatch.setattr(stages, "fit_stage", refuse)
    monkeypatch.setattr(ablation, "best_network", refuse)
    arguments = ["--config", str(folder / "tiny.yaml"), "--runs", str(folder / "runs")]
    assert main(["ablate", *arguments, "--out", str(folder / "again.csv")]) == 0
    assert (folder / "again.csv").read_text() == (folder / "new" / "rows.csv").read_text()
    said = capsys.readouterr().out
    assert "one short run with one seed" in said
    assert said.count("adjusted") == len(ablation.SCORES)


def test_an_interruption_leaves_the_rows_before_it(
    tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = np.arange(7)

    def train(run: Config, runs: Path) -> int:
        if run.id == "tiny-natural":
            raise KeyboardInterrupt
        return 60

    def fixed_logits(run: Config, runs: Path) -> tuple[pd.DataFrame, np.ndarray]:
        codes = ablation.label_set(run.labels).codes
        return pd.DataFrame({"label": list(codes), "group": labels}), np.eye(7)

    monkeypatch.setattr(ablation, "train", train)
    monkeypatch.setattr(ablation, "validation_logits", fixed_logits)
    arguments = ["--config", str(write(tmp_path / "tiny.yaml", tiny)), "--out", str(tmp_path / "rows.csv")]
    assert main(["ablate", *arguments]) == 130
    assert "Stopped after 1 of 3 rows; run the same command again" in capsys.readouterr().err
    written = pd.read_csv(tmp_path / "rows.csv")
    assert written["row"].unique().tolist() == ["base"]
    assert written.set_index("score").loc["accuracy", ["value", "seconds"]].tolist() == [1, 60]


def test_a_difference_worked_by_hand() -> None:
    # of three rows of class 0 and one of class 1, the base gets two and none right, the row three and one
    labels = np.array([0, 0, 0, 1])
    base = np.array([[0.8, 0.2], [0.8, 0.2], [0.4, 0.6], [0.8, 0.2]])
    other = np.array([[0.8, 0.2], [0.8, 0.2], [0.8, 0.2], [0.2, 0.8]])
    result = ablation.compare(labels, other, base, np.arange(4)).set_index("score")
    assert result.loc["accuracy", ["value", "difference"]].tolist() == pytest.approx([1, 2 / 4])
    assert result.loc["balanced_accuracy", ["value", "difference"]].tolist() == pytest.approx([1, 1 - (2 / 3 + 0) / 2])
    before = -(np.log(0.8) * 2 / 3 + np.log(0.4) / 3 + np.log(0.2)) / 2
    assert result.loc["balanced_log_loss", "difference"] == pytest.approx(-np.log(0.8) - before)


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


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_shipped_rows_change_one_thing_each(path: Path) -> None:
    base, *rows = ablation.read_rows(path)
    assert len({row.config.id for row in rows} - {base.config.id}) >= 10
    for row in rows:
        before, after = (dataclasses.asdict(config) for config in (base.config, row.config))
        assert len([name for name in before if name != "id" and before[name] != after[name]]) == 1
    # overrides go into all rows
    assert {row.config.samples_per_epoch for row in ablation.read_rows(path, ("samples_per_epoch=64",))} == {64}
