"""Metadata trained with the network: coded on training images, left out at random, and saved with the network."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from skinapp.errors import DataError
from tests.train.conftest import light_augmentation
from train.config import Config
from train.data.datasets import read, with_validation
from train.fit import augmentation, trained_metadata, training
from train.fit.trained_metadata import CodedMetadata

pytestmark = pytest.mark.slow


@pytest.fixture
def with_ages(tiny: Config, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """The tiny data set with an age that gives melanoma away, and one image without any metadata."""
    import pandas as pd

    folder = tmp_path / "data" / "ham10000"
    folder.mkdir(parents=True)
    (folder / "images").symlink_to(tiny_data / "ham10000" / "images")
    table = pd.read_csv(tiny_data / "ham10000" / "metadata.csv")
    table["age"] = np.where(table["dx"] == "mel", 85.0, 40.0)
    table.loc[0, ["age", "sex", "localization"]] = [np.nan, "unknown", "unknown"]
    table.to_csv(folder / "metadata.csv", index=False)
    monkeypatch.setenv("SKINAPP_DATA", str(tmp_path / "data"))
    monkeypatch.setitem(augmentation.POLICIES, "standard", light_augmentation)
    return dataclasses.replace(tiny, id="with-metadata", metadata=True, metadata_dropout=0.25)


def test_answers_are_coded_on_training_images_and_zero_where_not_stated(with_ages: Config) -> None:
    table = with_validation(read("ham10000"), with_ages.folds, with_ages.fold, with_ages.seed)
    known = trained_metadata.coded_metadata(with_ages, table)
    assert known.coded.shape == (len(table), len(known.column_fields))
    assert not known.coded[0].any()
    stated = (table["split"] == "train").to_numpy() & (np.arange(len(table)) > 0)
    assert known.coded[stated].mean(axis=0) == pytest.approx(np.zeros(known.coded.shape[1]), abs=1e-5)


def test_complete_fields_are_left_out_at_the_given_rate() -> None:
    known = CodedMetadata(np.ones((1000, 3), np.float32), (), np.array([0, 0, 1]))
    known = dataclasses.replace(known, fields=(None, None))  # type: ignore[arg-type]
    dropped = known.with_dropout(np.arange(1000), 0.3, np.random.default_rng(0))
    assert (dropped[:, 0] == dropped[:, 1]).all()
    assert 1 - dropped.mean(axis=0) == pytest.approx(np.full(3, 0.3), abs=0.05)
    assert 0 < np.abs(dropped[:, 0] - dropped[:, 2]).mean() < 1


def test_the_weights_are_learned_passed_on_and_saved_with_each_network(with_ages: Config, tmp_path: Path) -> None:
    file = training.fit(with_ages, tmp_path / "runs")
    fields, fusion = trained_metadata.read(file.with_name(trained_metadata.FILES["best"]))
    assert [field.name for field in fields] == ["age", "sex", "site"]
    mel = 4
    age = trained_metadata.metadata.code(fields, {"age": 85.0})
    assert (age @ fusion.weights).argmax() == mel
    first, last = (
        trained_metadata.read(tmp_path / "runs" / "with-metadata" / f"stage-{number}" / trained_metadata.FILES["last"])[
            1
        ]
        for number in (1, 2)
    )
    # the second stage starts from the first one's weights, which a start from zero could not reach at its rate
    assert np.corrcoef(first.weights.ravel(), last.weights.ravel())[0, 1] > 0.5


def test_a_data_set_without_metadata_is_named(tiny: Config, tmp_path: Path) -> None:
    other = dataclasses.replace(tiny, dataset="malignant_benign", labels="malignancy", metadata=True)
    with pytest.raises(DataError, match="'malignant_benign' publishes no patient metadata"):
        training.fit(other, tmp_path)


def test_a_teacher_makes_up_its_share_of_the_targets(crossed: object, tiny: Config) -> None:
    from train.fit import stages

    pupil = dataclasses.replace(tiny, teacher="crossed", teacher_share=0.4)
    logits = stages.teacher_logits(pupil, crossed.runs)  # type: ignore[attr-defined]
    table = read("ham10000")
    targets = np.eye(7, dtype=np.float32)[np.zeros(len(table), int)]
    offsets = np.zeros_like(targets)
    offsets[::2, 3] = 2.0
    mixed = stages.distilled_targets(targets, table["image"], logits, 0.4, offsets)
    known = table["image"].isin(logits.index).to_numpy()
    assert known.any()
    assert not known.all()
    assert (mixed[~known] == targets[~known]).all()
    assert mixed.sum(axis=1) == pytest.approx(np.ones(len(mixed)))
    shifted = logits.loc[table["image"][known]].to_numpy() + offsets[known]
    expected = 0.6 * targets[known] + 0.4 * stages.softmax(shifted)
    assert mixed[known] == pytest.approx(expected, abs=1e-6)


def test_a_teacher_that_is_not_there_or_has_other_classes_is_named(crossed: object, tiny: Config) -> None:
    from train.fit import stages

    runs = crossed.runs  # type: ignore[attr-defined]
    with pytest.raises(DataError, match="'teacher: nobody' names a run without"):
        stages.teacher_logits(dataclasses.replace(tiny, teacher="nobody"), runs)
    with pytest.raises(DataError, match="has 7 classes, not 6"):
        stages.teacher_logits(dataclasses.replace(tiny, teacher="crossed", labels="pad_ufes_20"), runs)


def test_settings_that_are_not_used_leave_the_fingerprint_alone(tiny: Config) -> None:
    assert dataclasses.replace(tiny, teacher_share=0.1, metadata_dropout=0.1).fingerprint == tiny.fingerprint
    assert dataclasses.replace(tiny, metadata=True).fingerprint != tiny.fingerprint
    assert json.dumps(dataclasses.asdict(tiny))
